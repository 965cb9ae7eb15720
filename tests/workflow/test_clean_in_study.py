"""`hakd clean` on a real study: what it removes was not needed, and it knows every file that the rules make."""

import json
import re
import subprocess
import sys
from pathlib import Path

from hakd.study.cleaning import LEFT
from hakd.study.result_paths import parts_of
from tests.workflow.study import ROOT, Study


def changed(study: Study, **run) -> dict:
    """The study's configuration with other values in `run`."""
    return {**study.config, "run": {**study.config["run"], **run}}


def clean(study: Study, config: dict, *words: str) -> dict:
    """What `hakd clean --json` prints in the study's folder."""
    path = study.directory / "clean.yaml"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "hakd", "clean", "--config", str(path), "--json", *words]
    done = subprocess.run(
        command,
        cwd=study.directory,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def made(study: Study) -> set[Path]:
    """The files of the results, without the store's and logs."""
    results = study.directory / "results"
    files = (path.relative_to(results) for path in results.rglob("*") if path.is_file())
    return {path for path in files if path.parts[0] not in LEFT}


def test_a_removed_seed_and_method_leave_nothing_that_the_study_needs(copied):
    assert clean(copied, copied.config)["groups"] == []  # all that the rules have made is used
    assert {path for path in made(copied) if parts_of(str(path)) is None} == {
        path for path in made(copied) if len(path.parts) == 1
    }
    before = made(copied)
    copied.run(
        "results/tiny/teacher/1.onnx", "results/tiny/teacher/1.csv", config=changed(copied, seeds=[0, 1])
    )
    assert clean(copied, copied.config, "--yes")["groups"][0]["reason"] == "seed 1 is not in run.seeds"
    assert made(copied) == before
    assert copied.planned() == {}
    methods = [
        name for name in copied.config["run"]["methods"] if name not in ("race", "random_order", "round16")
    ]
    fewer = changed(copied, methods=methods)
    copied.run("--touch", config=fewer)  # as if it had run
    groups = clean(copied, fewer, "--yes")["groups"]
    reasons = {group["reason"] for group in groups}
    assert reasons >= {"method race is not in run.methods", "method random_order is not in run.methods"}
    gone = before - made(copied)
    assert {path.parts[1] for path in gone if path.parts[0] == "tiny"} == {
        "race",
        "random_order",
        "students",
        "widths",
    }
    assert not any(re.search("teacher|snap|latency|fisher", str(path)) for path in gone)
    assert copied.planned(config=fewer) == {}
