"""What a rule's script tells: everything of ours in its log, warnings and the final error at the terminal."""

import re
import subprocess
import sys
from pathlib import Path

from hakd.study.logs import seconds_by_rule

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
        cwd=Path(__file__).resolve().parents[2],
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
