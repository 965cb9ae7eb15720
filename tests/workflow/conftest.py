"""One finished smallest study, shared by the tests of a session; tests that change files copy it."""

import fcntl
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.workflow.study import Study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Study:
    """The study, run once from nothing: by the first of the processes that share the tests."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder if worker_id == "master" else folder.parent
    study, said = Study(folder / "finished"), folder / "finished.json"
    study.directory.mkdir(exist_ok=True)
    with open(folder / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            jobs = study.run()
            said.write_text(json.dumps([jobs, study.output]))
    jobs, study.output = json.loads(said.read_text())
    study.jobs = Counter(jobs)
    return study


@pytest.fixture
def copied(finished: Study, tmp_path: Path) -> Study:
    """A copy of the finished study, with its times of change."""
    shutil.copytree(finished.directory, tmp_path / "study", symlinks=True, copy_function=shutil.copy2)
    return Study(tmp_path / "study")
