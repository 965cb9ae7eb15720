"""What a rule's script tells: everything of ours in its log, warnings and the final error at the terminal."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hakd.study import ownership
from hakd.study.logs import seconds_by_rule

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import logging, sys
from hakd.records.errors import HakdError
from hakd.study.scripting import reporting
with reporting(sys.argv[1]):
    logging.getLogger("hakd.boards.session").info("8 of 8 curves trusted")
    logging.getLogger("hakd.boards.session").warning("device pi: waiting for the board")
    logging.getLogger("somebody.else").info("step 1 of 1000")
    logging.getLogger("somebody.else").warning("old format")
    {end}
"""


def run(
    tmp_path: Path, end: str, log: str = "logs/rule.log"
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a script; it and the lines of its log, without the time."""
    path = tmp_path / log
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{end}", end), path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return done, [line.split(" ", 2)[2] for line in path.read_text().splitlines() if line.startswith("20")]


def test_a_mistake_is_one_line_at_the_terminal_and_in_the_log(tmp_path):
    done, lines = run(tmp_path, 'raise HakdError("no answer", where="device pi", remedy="Switch it on")')
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "warning: device pi: waiting for the board",
        "error: device pi: no answer. Switch it on",
    ]
    assert lines == [
        "8 of 8 curves trusted",
        "device pi: waiting for the board",
        "old format",
        "error: device pi: no answer. Switch it on",
    ]


def test_a_defect_leaves_its_traceback_in_both(tmp_path):
    done, lines = run(tmp_path, "1 / 0")
    assert done.returncode == 1 and done.stderr.count("ZeroDivisionError") == 1
    assert lines[-1] == "Traceback (most recent call last):"
    assert "ZeroDivisionError" in (tmp_path / "logs" / "rule.log").read_text()


def test_a_job_that_succeeds_says_how_long_it_took_for_the_last_words_of_the_study(tmp_path, monkeypatch):
    done, lines = run(tmp_path, "pass", log="results/logs/student/a.log")
    assert done.returncode == 0 and re.fullmatch(r"done in \d+\.\d s", lines[-1])
    monkeypatch.chdir(tmp_path)
    assert list(seconds_by_rule(0)) == ["student"] and 0 <= seconds_by_rule(0)["student"][0] < 10


def test_ctrl_c_leaves_no_traceback_and_is_no_error_of_the_job(tmp_path):
    done, lines = run(tmp_path, "raise KeyboardInterrupt")
    assert (done.returncode, lines[-1]) == (130, "interrupted")
    assert done.stderr.splitlines() == ["warning: device pi: waiting for the board"]


def test_a_full_disk_is_one_line_with_its_path(tmp_path):
    done, lines = run(tmp_path, 'raise OSError(28, "No space left on device", "/x/y")')
    assert done.returncode == 1
    line = "error: /x/y: cannot write (No space left on device). Make room, then run the same command again"
    assert done.stderr.splitlines()[1:] == [line] and lines[-1] == line


def test_a_log_that_cannot_be_written_does_not_hide_the_error():
    script = SCRIPT.replace("{end}", 'raise HakdError("no answer", where="device pi")')
    done = subprocess.run(
        [sys.executable, "-c", script, "/dev/full"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stderr.splitlines() == [
        "warning: device pi: waiting for the board",
        "error: device pi: no answer",
    ]


@pytest.mark.parametrize("where", ["'results/a.json'", "Path('b.json')", "'pyproject.toml'"])
def test_an_error_says_the_whole_path_as_the_study_may_be_in_another_folder(tmp_path, where):
    done, _ = run(tmp_path, f"from pathlib import Path; raise HakdError('not JSON', where={where})")
    path = where.strip("Path()'")
    assert done.stderr.splitlines()[1:] == [f"error: {ROOT}/{path}: not JSON"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_job_whose_snakemake_was_killed_before_it_could_look_ends_at_once(tmp_path, elsewhere):
    """While it loads its packages nobody watches; a process of another namespace is nobody's to watch."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    machine = "a container" if elsewhere else ownership._machine()
    script = SCRIPT.replace("{end}", "import time; time.sleep(2); print('to its end')")
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "rule.log"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), ownership.OWNER: f"{machine}:{gone.pid}"},
        capture_output=True,
        text=True,
    )
    if elsewhere:
        assert (done.returncode, done.stdout) == (0, "to its end\n")
    else:
        assert (done.returncode, done.stdout) == (130, "")
        assert "Snakemake has ended, so this job stops" in done.stderr
        assert (tmp_path / "rule.log").read_text().endswith("interrupted\n")
