"""A study on this machine and two boards behind real sshds: one is away, comes back, gets another engine."""

import copy
import fcntl
import io
import json
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import pypdfium2
import pytest

from hakd.records.tables import read_table
from tests.boards.rigs.needs import Unavailable
from tests.boards.rigs.sshd import Sshd
from tests.workflow.study import Job, Study, executed, jobs

BRANCH = {
    "sweep": 1, "snap": 1, "candidates": 1, "benchmark": 1, "score": 1, "device_summary": 1, "device_pareto": 1,
    "device_staircases": 1, "audit": 1, "verification": 1, "certificates": 1, "hazards": 1,
    "race": 2, "race_table": 1,
}  # fmt: skip
PLOTS = ("pareto", "pareto_page", "staircases", "widths_plot", "seeds", "stack")
JOINT = dict.fromkeys(("summary", *PLOTS, "contrasts", "checks"), 1)
QUICK = {"rounds": 3, "burst_ms": 0.3, "min_step": 1}
# Gives the engine another version, as an update on the board does, without changing anything else.
NEWER = """
import importlib.machinery, sys
class Newer:
    def find_spec(self, name, path=None, target=None):
        if name != "onnxruntime":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            module.__version__ = "99.1"
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, Newer())
"""


def interpreter(board: Sshd, newer: bool = False) -> str:
    """The board's Python: always at the same path, with this machine's engine or a newer one."""
    site = board.folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(NEWER if newer else "")
    return board.wrapper(f'PYTHONPATH={site} exec {sys.executable} "$@"')


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sshd]]:
    """Two boards, each with a processor of this machine."""
    folder = tmp_path_factory.mktemp("boards")
    made: dict[str, Sshd] = {}
    try:
        for number, name in ((2, "north"), (3, "south")):
            made[name] = Sshd(folder / name, f"127.0.0.{number}").start()
        yield made
    except Unavailable as why:
        told = f"{why}. On Debian, as root: make system-deps"
        (pytest.fail if os.environ.get("HAKD_REQUIRE_SYSTEM") == "1" else pytest.skip)(told)
    finally:
        for board in made.values():
            board.stop()


@dataclass
class Course:
    """What happened to a study whose board `south` was away at first."""

    study: Study
    first: str  # output of the run without it
    plotted: str  # of `available` after that
    kept: dict[str, bytes]  # what was there then
    second: str  # of the run with it


@pytest.fixture(scope="module")
def course(finished: Study, boards: dict[str, Sshd], tmp_path_factory: pytest.TempPathFactory) -> Course:
    """From the finished study of this machine: add two boards, run with one away, plot, run with both."""
    study = Study(tmp_path_factory.mktemp("several") / "study", cores=8)
    shutil.copytree(finished.directory, study.directory, symlinks=True, copy_function=shutil.copy2)
    study.config["run"]["devices"] = ["local", "north", "south"]
    for cpu, (name, board) in enumerate(boards.items()):
        study.config["devices"][name] = board.device(cpus=[cpu], python=interpreter(board), **QUICK)
    boards["south"].stop()
    first = study.snakemake()
    assert first.returncode == 1, first.stdout[-6000:]
    plotted = study.snakemake("available")
    assert plotted.returncode == 0, plotted.stdout[-6000:]
    kept = {
        str(path.relative_to(study.directory)): path.read_bytes()
        for pattern in ("results/devices/*/*", "results/available/*", "results/*.pdf")
        for path in study.directory.glob(pattern)
    }
    boards["south"].start()
    second = study.snakemake()
    assert second.returncode == 0, second.stdout[-6000:]
    return Course(study, first.stdout, plotted.stdout, kept, second.stdout)


def of_device(found: list[Job]) -> dict[str | None, dict[str, int]]:
    """{device (None: of no device): {rule: jobs}}."""
    counts: dict[str | None, dict[str, int]] = defaultdict(dict)
    for job in found:
        own = counts[job.wildcards.get("device")]
        own[job.rule] = own.get(job.rule, 0) + 1
    return dict(counts)


def changed(course: Course, name: str, **settings: Any) -> dict:
    """The course's configuration with settings of one device changed."""
    config = copy.deepcopy(course.study.config)
    config["devices"][name].update(settings)
    return config


def test_a_board_that_is_away_fails_alone(course):
    done = [job for job in jobs(course.first) if job.end is not None]
    assert [(job.rule, job.wildcards["device"]) for job in done if job.failed] == [("sweep", "south")]
    ended = of_device([job for job in done if not job.failed])
    assert ended["north"] == BRANCH and "south" not in ended
    for name in ("local", "north"):
        for plot in ("pareto", "staircases", "audit"):
            assert course.kept[f"results/devices/{name}/{plot}.pdf"].startswith(b"%PDF")
    assert not [path for path in course.kept if path.startswith("results/devices/south")]
    assert "Traceback" not in course.first


def test_the_end_of_the_output_says_which_board_why_and_what_to_do(course, boards):
    end = course.first[course.first.index("Exiting because a job execution failed") :]
    assert "1 of 3 devices failed" in end
    (line,) = [line for line in end.splitlines() if line.startswith("  device ")]
    assert line.startswith("  device south: ") and f"port {boards['south'].port}" in line
    assert "refused" in line and "Check that" in line and "run the same command again" in line
    assert "`snakemake available`" in end
    log = course.study.directory / "results" / "logs" / "sweep" / "tiny-south.log"
    assert course.second.count("1 of 3 devices failed") == 0 and "refused" not in log.read_text()


def test_available_shows_what_is_there_and_names_the_rest(course):
    assert executed(course.plotted) == {"available_pareto": 1, "available": 1}
    frame = pd.read_csv(io.BytesIO(course.kept["results/available/summary.csv"]))
    assert set(frame["device"]) == {"local", "north"}
    document = pypdfium2.PdfDocument(course.kept["results/available/pareto.pdf"])
    pages = [page.get_textpage().get_text_range() for page in document]
    assert len(pages) == 2 and all("no results from: south" in page for page in pages)
    for text in (course.plotted, course.kept["results/available/devices.txt"].decode()):
        (line,) = [line for line in text.splitlines() if "no results from" in line]
        assert line.startswith("no results from south: device south: ") and "refused" in line


def test_a_board_in_use_is_waited_for_in_sight_and_not_for_ever(course, boards, tmp_path):
    study = Study(tmp_path / "study")
    shutil.copytree(course.study.directory, study.directory, symlinks=True, copy_function=shutil.copy2)
    target = "results/tiny/latency/north.parquet"
    with open(boards["north"].device()["lock_path"]) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = study.snakemake(target, "--forcerun", target, config=changed(course, "north", lock_wait_s=1))
    assert done.returncode == 1
    held = f"lock is held by process {os.getpid()}"
    assert (
        f"warning: device north: waiting for the board: {lock.name} is held by process {os.getpid()}"
        in done.stdout
    )
    (line,) = {line for line in done.stdout.splitlines() if line.startswith("error: device north: ")}
    assert "the board is in use" in line and held in line and "lock_wait_s" in line


def test_the_next_run_makes_only_what_is_missing(course):
    ended = of_device([job for job in jobs(course.second) if job.end is not None and job.rule != "all"])
    assert ended.pop("south") == BRANCH
    others = ended.pop(None)
    assert (
        others.items() >= JOINT.items()
        and set(others) <= {*JOINT, "student", "export", "race_lap"}
        and ended == {}
    )
    for path, content in course.kept.items():
        if path.startswith("results/devices/"):
            assert (course.study.directory / path).read_bytes() == content
    assert course.study.plan() == []


def test_available_follows_the_summaries_and_nothing_else(course, tmp_path):
    study = Study(tmp_path / "study")
    shutil.copytree(course.study.directory, study.directory, symlinks=True, copy_function=shutil.copy2)
    study.config = course.study.config
    assert study.run("available") == {"available_pareto": 1, "available": 1}  # one was added
    assert "no results" not in (study.directory / "results" / "available" / "devices.txt").read_text()
    again = study.snakemake("available")
    assert executed(again.stdout) == {"available": 1} and "south: " in again.stdout
    # Whatever else is asked of the devices: no upstream job, no board.
    assert {job.rule for job in study.plan("available", config=changed(course, "north", epoch=2))} == {
        "available"
    }
    shutil.rmtree(study.directory / "results" / "tiny")
    os.unlink(study.directory / "results" / "devices" / "local" / "summary.parquet")
    assert study.run("available") == {"available_pareto": 1, "available": 1}
    frame, _ = read_table(study.directory / "results" / "available" / "summary.csv", "summary")
    assert set(frame["device"]) == {"north", "south"}


def test_available_without_any_results_is_one_clear_error(tmp_path):
    done = Study(tmp_path).snakemake("available")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "error: available: no device has results yet: local (its jobs have not finished)" in done.stdout


def test_the_joint_summary_has_a_row_per_candidate_and_device_and_tells_where_each_was_timed(course):
    results = course.study.directory / "results"
    frame, metadata = read_table(results / "summary.parquet", "summary")
    names = set(course.study.config["run"]["devices"])
    timed = frame.groupby("candidate")["device"].agg(set)
    for candidate, target in frame.groupby("candidate")["target_device"].first().items():
        assert timed[candidate] == (names if target is None or target != target else {target})
    assert set(metadata["devices"]) == names
    for name in names:
        own = json.loads((results / "devices" / name / "benchmark.json").read_text())["device"]
        assert metadata["devices"][name]["device"] == own and own["name"] == name
        snap = json.loads((results / "tiny" / "snap" / "0.8" / f"{name}.json").read_text())
        assert snap["chosen_on"]["fingerprint"] == own["fingerprint"] and snap["device"] == name
    assert metadata["devices"]["north"]["device"]["context"]["affinity"] == [0]
    assert metadata["devices"]["south"]["device"]["context"]["affinity"] == [1]
    for plot, titles in (("pareto", "timed on {}"), ("staircases", "level 0.8 on {}")):
        document = pypdfium2.PdfDocument(results / f"{plot}.pdf")
        pages = [page.get_textpage().get_text_range() for page in document]
        assert [sum(titles.format(name) in page for page in pages) for name in names] == [1, 1, 1]


def test_how_a_board_is_reached_reruns_nothing(course, boards):
    reach = {"user": "somebody", "port": 2222, "known_hosts": "hosts", "jump": "gate", "lock_wait_s": 5.5}
    reach |= {"identity_file": "~/.ssh/other", "lock_path": "/tmp/another.lock"}
    assert course.study.plan(config=changed(course, "north", **reach)) == []
    less = changed(course, "north")
    del less["devices"]["north"]["user"], less["devices"]["north"]["lock_path"]
    assert course.study.plan(config=less) == []


@pytest.mark.parametrize(
    "change", [{"host": "localhost"}, {"python": "/usr/bin/python3"}, {"cpus": [1]}, {"epoch": 2}]
)
def test_everything_else_about_a_device_reruns_that_device_alone(course, change):
    planned = of_device(course.study.plan(config=changed(course, "north", **change)))
    assert planned == {"north": BRANCH, None: JOINT}


def test_a_device_that_is_removed_reruns_the_joint_plots_alone(course):
    config = copy.deepcopy(course.study.config)
    config["run"]["devices"].remove("north")
    assert of_device(course.study.plan(config=config)) == {None: JOINT}


def test_another_engine_in_mid_study_is_refused_until_all_is_measured_anew(course, boards, tmp_path):
    study = Study(tmp_path / "study")
    shutil.copytree(course.study.directory, study.directory, symlinks=True, copy_function=shutil.copy2)
    study.config = course.study.config
    before = json.loads((study.directory / "results/devices/north/benchmark.json").read_text())["device"]
    snap, benchmark = "results/tiny/snap/0.8/north.json", "results/devices/north/benchmark.json"
    interpreter(boards["north"], newer=True)
    try:
        for target, built_on in (
            (benchmark, "results/candidates/tiny/0.8/north.json"),
            (snap, "results/tiny/latency/north.parquet"),
        ):
            done = study.snakemake(target, "--forcerun", target)
            assert done.returncode == 1 and "Traceback" not in done.stdout
            (line,) = {line for line in done.stdout.splitlines() if line.startswith("error: device north: ")}
            assert f"another engine than {built_on}" in line and before["fingerprint"] in line
            assert f"{before['engine']} (" in line and "onnxruntime 99.1 (" in line
            assert "set `epoch: 2` for north" in line
        study.run(benchmark, config=changed(course, "north", epoch=2))
    finally:
        interpreter(boards["north"])
    after = json.loads((study.directory / benchmark).read_text())["device"]
    assert after["engine"] == "onnxruntime 99.1" and after["fingerprint"] != before["fingerprint"]


def test_a_board_measures_one_thing_at_a_time_while_others_measure_too(finished, boards, tmp_path):
    study = Study(tmp_path / "study", cores=8)
    shutil.copytree(finished.directory, study.directory, symlinks=True, copy_function=shutil.copy2)
    board_of = {}
    for batch in range(1, 5):  # four devices on each board: eight sweeps are ready at once
        for cpu, (name, board) in enumerate(boards.items()):
            board_of[f"{name}-b.{batch}"] = name
            settings = board.device(
                cpus=[cpu], batch=batch, lock_path=str(board.folder / f"lock{batch}"), **QUICK
            )
            study.config["devices"][f"{name}-b.{batch}"] = settings
    study.config["run"]["devices"] = list(board_of)
    targets = [f"results/tiny/latency/{device}.parquet" for device in board_of]
    done = study.snakemake(*targets)
    assert done.returncode == 0, done.stdout[-6000:]
    spans = {
        job.wildcards["device"]: (job.start, job.end) for job in jobs(done.stdout) if job.rule == "sweep"
    }
    assert set(spans) == set(board_of)
    bursts = measured(study.directory)
    assert set(bursts) == set(board_of)
    side_by_side = 0
    for one, other in combinations(board_of, 2):
        apart = [
            a[1] <= b[0] or b[1] <= a[0]
            for a, b in ((spans[one], spans[other]), (bursts[one], bursts[other]))
        ]
        if board_of[one] == board_of[other]:  # with a lock for each device, only the token keeps them apart
            assert apart == [True, True], (one, other)
        side_by_side += not apart[1]
    assert side_by_side >= 2
    for job in study.plan("--forceall"):
        token = f"board_{board_of.get(job.wildcards.get('device'))}_b_1"
        needed = {name for name in job.resources if name.startswith("board_")}
        assert needed == ({token} if job.rule in ("sweep", "snap", "benchmark") else set()), job


def measured(directory: Path) -> dict[str, tuple[float, float]]:
    """{device: (first, last) time of its bursts}, from the journals."""
    found: dict[str, list[float]] = defaultdict(list)
    for path in directory.glob("results/measurements/*/*.jsonl"):
        head, *records = map(json.loads, path.read_text().splitlines())
        found[head["device"]["name"]] += [
            record["at_ns"] / 1e9 for record in records if record["type"] == "burst"
        ]
    return {name: (min(times), max(times)) for name, times in found.items() if times and name != "local"}
