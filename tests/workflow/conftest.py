"""One finished smallest study, shared by the tests of a session; tests that change files copy it."""

import shutil
from pathlib import Path

import pytest

from tests.workflow.study import Study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study, run once from nothing."""
    study = Study(tmp_path_factory.mktemp("study"))
    study.jobs = study.run()
    return study


@pytest.fixture
def copied(finished: Study, tmp_path: Path) -> Study:
    """A copy of the finished study, with its times of change."""
    shutil.copytree(finished.directory, tmp_path / "study", symlinks=True, copy_function=shutil.copy2)
    return Study(tmp_path / "study")
