"""The last words of a study: what it made, where the time went, what is open or useless, what failed."""

import os
from pathlib import Path

import numpy as np
import pytest

from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.checkpoint import write_checkpoint
from hakd.records.files import write_json
from hakd.study.closing import failure_words, success_words

CONFIG = {"run": {"devices": ["pi", "local"], "networks": ["net"], "levels": [0.5], "seeds": [0, 1]}}
CONFIG["networks"] = {"net": {}}
ONE = {**CONFIG, "run": {**CONFIG["run"], "devices": ["pi"]}}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """All paths are relative to the study's folder."""
    monkeypatch.chdir(tmp_path)


def log(name: str, text: str, at: float) -> None:
    """The log of a job, written at a time of day."""
    path = Path(f"results/logs/{name}.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"2026-11-20 16:29:42,097 looked\n2026-11-20 16:29:43,001 {text}\n")
    os.utime(path, (at, at))


def result(name: str, at: float) -> None:
    """A result, written at a time of day."""
    path = Path("results", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (at, at))


def teacher(seed: int, accuracy: float, classes: int) -> None:
    """A trained teacher."""
    architecture = Architecture(NetworkSpec("net", "mobilenet", 1, 8, classes), {"a": 1})
    path = f"results/net/teacher/{seed}.safetensors"
    write_checkpoint(path, architecture, {"w": np.zeros(1)}, {"val_accuracy": accuracy})


def test_the_results_are_named_by_paths_that_lead_to_them_from_anywhere(tmp_path):
    result("pareto.pdf", 50)
    result("summary.csv", 100)
    words = success_words(CONFIG, 60)
    for name in ("pareto.pdf", "summary.csv", "devices"):
        assert f"  {tmp_path}/results/{name}: " in words
    assert "staircases" not in words and "available" not in words
    # A run that wrote none of them says nothing of them.
    assert success_words(CONFIG, 101) == ""
    result("available/pareto.pdf", 102)
    assert f"{tmp_path}/results/available/pareto.pdf: " in success_words(CONFIG, 101)


def test_where_the_time_went_is_said_by_rule(tmp_path):
    log("student/a", "done in 50.0 s", 100)
    log("student/b", "done in 70.5 s", 100)
    log("sweep/net-pi", "done in 7200.0 s", 110)
    log("teacher/net-0", "done in 1000.0 s", 50)
    log("score/pi", "error: no", 110)
    words = success_words(CONFIG, 60)
    assert words == "Time by rule (number of jobs): sweep 2.0 h (1), student 2 min (2)\n"
    for number in range(6):
        log(f"quick{number}/x", "done in 10.0 s", 100)
    assert success_words(CONFIG, 60).endswith("10 s (1), all others 20 s (2)\n")


@pytest.mark.parametrize(
    ("accuracy", "classes", "useless"),
    [
        (0.12, 10, True),
        (0.25, 10, False),
        (0.53, 2, True),
        (0.6, 2, False),
        (0.0, 10, True),
        (0.1, 1000, False),
    ],
)
def test_a_teacher_at_chance_is_named_with_what_to_do(accuracy, classes, useless):
    teacher(0, 0.99, classes)
    teacher(1, accuracy, classes)
    for words in (success_words(CONFIG, 0), failure_words(CONFIG, 0)):
        assert (f"net, seed 1: {accuracy:.1%} of the validation images right" in words) == useless
        assert ("`teacher.epochs`" in words) == useless and "seed 0" not in words


def test_the_last_words_of_a_failed_run_repeat_the_errors_of_that_run_only(tmp_path):
    again = (
        f"Run the same command again to complete the study in {tmp_path}; finished jobs do not run again.\n"
    )
    assert failure_words(CONFIG, 0) == again
    log("sweep/net-pi", "error: device pi: host: no answer. Check that it is on", 100)
    assert failure_words(CONFIG, 101) == again
    words = failure_words(CONFIG, 99)
    assert words.startswith("1 of 2 devices failed") and again in words
    assert "  device pi: host: no answer. Check that it is on\n" in words and "`snakemake available`" in words


def test_errors_that_are_no_devices_are_repeated_too(tmp_path):
    log("student/net-0", "error: training diverged. Lower `lr`", 90)
    log("student/net-1", "error: training diverged. Lower `lr`", 95)
    log("data/data", "error: images: data.root: no such folder", 100)
    log("pareto/pareto", "Traceback (most recent call last):\nValueError: no", 110)
    words = failure_words(CONFIG, 80)
    assert words.startswith(
        "These jobs failed:\n  training diverged. Lower `lr`\n  images: data.root: no such folder\n"
    )
    assert words.count("diverged") == 1 and "traceback is in results/logs/pareto/pareto.log" in words
    logs = "student/net-0.log, student/net-1.log, data/data.log, pareto/pareto.log"
    assert f"Their logs, in {tmp_path}/results/logs: {logs}\n" in words
    assert "devices failed" not in words and "available" not in words
    log("benchmark/pi", "error: device pi: the link was lost", 100)
    log("teacher/net-0", "done in 90.0 s", 100)
    words = failure_words(CONFIG, 80)
    assert "Time by rule (number of jobs): teacher 90 s (1)\n" in words
    assert words.count("the link was lost") == 1 and "diverged" in words


def test_the_last_words_name_what_a_noisy_device_left_open(tmp_path):
    config = ONE
    assert success_words(config, 0) == ""

    def choice(group, trusted, full=32):
        return {"group": group, "trusted": trusted, "width_from": 20, "full_width": full}

    choices = [choice("a", True), choice("b", False), choice("whole", False, 20)]
    methods = {
        "hakd": {"choices": choices, "repair": {"verified": False}},
        "hakd_free": {"choices": choices, "repair": {}},
        "joint": {"choices": [choice("a", False)], "repair": {"verified": True}},
    }
    path = tmp_path / "results/net/snap/0.5/pi.json"
    path.parent.mkdir(parents=True)
    write_json(path, "snap", {"methods": methods})
    measured = tmp_path / "results/devices/pi/benchmark.json"
    measured.parent.mkdir(parents=True)
    write_json(measured, "benchmark", {"rows": [{"trusted": True}, {"trusted": False}]})
    words = success_words(config, 0)
    assert "pi: 1 of 2 widths undecided: net 0.5 b\n" in words
    assert "pi: could not be verified, the widths before the choice stay: net 0.5 hakd\n" in words
    assert "pi: 1 of 2 latencies not known" in words and "\n  snakemake --cores all -R sweep\n" in words
    assert "budget" not in words
    write_json(
        path, "snap", {"methods": methods, "unkept": {"joint@1ms": "none meet the budget (1 ms on pi)"}}
    )
    words = success_words(config, 0)
    assert "  net 0.5 joint@1ms, pi: none meet the budget (1 ms on pi)\n" in words
    assert "lower `choosing.reach`" in words and "1 of 2 widths" in words
    path.write_text("{damaged")
    assert "widths undecided" not in success_words(config, 0)


def test_a_study_that_decided_everything_says_nothing(tmp_path):
    path = tmp_path / "results/net/snap/0.5/pi.json"
    path.parent.mkdir(parents=True)
    told = {"group": "a", "trusted": True, "width_from": 20, "full_width": 32}
    write_json(path, "snap", {"methods": {"hakd": {"choices": [told], "repair": {}}}})
    assert success_words(ONE, 0) == ""
