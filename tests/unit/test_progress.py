"""How far a study is: jobs counted by the records of Snakemake's logger plugins, time by the logs of its jobs."""

import logging
import os
import re
from pathlib import Path

import pytest

from hakd.study.progress import CHECKPOINTS, Progress

ROOT = Path(__file__).resolve().parents[2]
STATS = {"teacher": 2, "tuned": 4, "benchmark": 1, "all": 1, "total": 8}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def took(name: str, seconds: float, at: float) -> None:
    """The log of a job that ended well."""
    path = Path(f"results/logs/{name}.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"2026-11-20 16:29:43,001 done in {seconds} s\n")
    os.utime(path, (at, at))


class Run:
    """A run that began at 1000 s, as its records tell it."""

    def __init__(self, stats: dict[str, int]) -> None:
        self.said: list[str] = []
        self.now, self.done, self.total = 1000.0, 0, stats["total"]
        self.progress = Progress(1000.0, self.said.append, lambda: self.now)
        self.log(event="run_info", stats=stats)

    def log(self, **about) -> None:
        self.progress.handle(logging.makeLogRecord(about))

    def job(self, rule: str, seconds: float, logged: float | None = None) -> list[str]:
        """A job that begins now and ends well; what was said at its end. `logged`: without what its start takes."""
        before, number = len(self.said), self.done
        self.log(event="job_info", jobid=number, rule_name=rule)
        self.now += seconds
        took(f"{rule}/{number}", seconds if logged is None else logged, self.now)
        self.done += 1
        self.log(event="job_finished", job_id=number)
        self.log(event="progress", done=self.done, total=self.total)
        return self.said[before:]


def test_a_line_says_what_is_done_and_how_long_the_rest_takes():
    took("benchmark/pi", 300.0, 10)  # of an earlier run
    took("tuned/x", 50.0, 10)
    run = Run(STATS)
    assert run.job("teacher", 40.0) == []  # within the first minute
    run.total = 9  # a checkpoint has added a job
    # Left: four tuned of 50 s, a benchmark of 300 s, and a job that is only counted, the rules' mean of 137 s.
    assert run.job("teacher", 80.0) == [
        "Study: 2 of 9 jobs, 2 min so far, about 11 min left (benchmark 1, tuned 4)\n"
    ]
    assert run.job("tuned", 30.0) == []  # 30 s after the last line
    (line,) = run.job(
        "tuned", 30.0
    )  # left: two of 30 s, as in this run, a benchmark, and the rules' mean, 130 s
    assert line == "Study: 4 of 9 jobs, 3 min so far, about 8 min left (benchmark 1, tuned 2)\n"


def test_jobs_under_way_and_what_a_start_takes_count():
    took("benchmark/pi", 300.0, 10)
    run = Run({"tuned": 1, "data": 1, "benchmark": 1, "total": 3})
    run.log(event="job_info", jobid=90, rule_name="benchmark")  # runs beside the others from here on
    Path("results/logs/benchmark/pi.log").write_text("")  # it begins
    run.now += 20
    (line,) = run.job("data", 80.0, logged=60.0)
    # Worked: 100 + 80 s in 100 s. Left: 300 + 20 - 100 s of the benchmark, at 1.8 at once. `tuned` has never run.
    assert line == "Study: 1 of 3 jobs, 2 min so far, 2 min or more left (tuned 1, benchmark 1)\n"
    run.log(event="job_error", jobid=90)
    run.now += 60
    run.log(event="progress", done=1, total=3)  # left: all 320 s of it, at 80 s in 160 s
    assert run.said[-1].startswith("Study: 1 of 3 jobs, 3 min so far, 11 min or more left")


def test_a_job_that_a_checkpoint_added_counts_with_others_of_its_rule():
    took("benchmark/pi", 6000.0, 10)
    run = Run({"teacher": 1, "total": 1})
    run.job("teacher", 50.0)
    run.total = 3
    (line,) = run.job("student", 50.0)
    assert line == "Study: 2 of 3 jobs, 2 min so far, about 50 s left\n"  # 50 s, not the mean of all rules


def test_jobs_side_by_side_end_sooner():
    run = Run({"tuned": 4, "total": 4})
    for number in (1, 2):
        run.log(event="job_info", jobid=number, rule_name="tuned")
    run.now += 200
    for number in (1, 2):
        took(f"tuned/{number}", 200.0, run.now)
        run.log(event="job_finished", job_id=number)
    run.log(event="progress", done=2, total=4)
    assert run.said == ["Study: 2 of 4 jobs, 3 min so far, about 3 min left (tuned 2)\n"]  # not 7


def test_what_is_not_known_is_not_guessed():
    run = Run({"snap": 1, "teacher": 2, "score": 1, "total": 4})
    (line,) = run.job("teacher", 100.0)
    assert (
        line == "Study: 1 of 4 or more jobs, 2 min so far, 2 min or more left (snap 1, score 1, teacher 1)\n"
    )
    run = Run({"score": 2, "total": 2})
    run.now += 100
    run.log(event="progress", done=1, total=2)  # its log is not there
    assert run.said == ["Study: 1 of 2 jobs, 2 min so far (score 2)\n"]


def test_the_checkpoints_are_those_of_the_rules():
    text = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    assert set(CHECKPOINTS) == set(re.findall(r"^checkpoint (\w+):", text, re.MULTILINE))
