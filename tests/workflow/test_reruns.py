"""docs/rerun.md, row by row: what Snakemake plans for the finished smallest study after a change.

The rows that were tested in dry runs are `CASES`; the others name the test that runs them.
"""

import ast
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.devices import MODELS, virtual
from tests.workflow.study import ENVIRONMENT, ROOT, Study, planned_jobs

PAGE = ROOT / "docs" / "rerun.md"
DRY = "dry run"
SUMMARY = "results/devices/comb/summary.parquet"
STAGES = {  # what the page calls them, in its order; the first ones are costly
    "data": ["data"],
    "import": ["network"],
    "teachers": ["teacher"],
    "prunings": ["prune"],
    "widths": ["widths", "baseline_widths"],
    "sweeps": ["sweep"],
    "choices": ["snap", "fleet"],
    "races": ["race", "race_lap"],
    "students": ["student", "tuned"],
    "compressions": ["deep_compression", "weight_pruning", "ternary"],
    "exports": ["export", "decode", "quantise"],
    "lists": ["candidates", "baseline_candidates", "baselines", "fleet_candidates"],
    "benchmarks": ["benchmark"],
    "scores": ["score"],
}
TABLES = "tables and plots"
UNCOUNTED = ("races", "students", "exports")  # methods that choose the same widths share their students
STAGE_OF = {rule: stage for stage, rules in STAGES.items() for rule in rules}
SPARED = ("data", "teachers", "prunings", "sweeps", "choices", "students", "benchmarks")
WHOLE = ("Snakefile", "rules", "workflow", "hakd", "config", "profiles", "envs")  # of a checkout


@dataclass(frozen=True)
class Case:
    """A change: of the configuration (by dotted keys, or by a function), of the study's files, of the program's."""

    config: Mapping[str, Any] | Callable[[dict], None] = field(default_factory=dict)
    files: Callable[[Path], None] | None = None
    program: Callable[[Path], None] | None = None
    options: tuple[str, ...] = ()


def renamed(key: str, old: str, new: str) -> Callable[[dict], None]:
    """An entry of a registry under another name."""

    def change(config: dict) -> None:
        config[key] = {new if name == old else name: entry for name, entry in config[key].items()}
        config["run"][key] = [new]

    return change


def reordered(config: dict) -> None:
    """Every list whose order says nothing, every mapping, and numbers of another type."""
    for key in ("levels", "methods", "seeds", "networks", "devices"):
        config["run"][key].reverse()
    config["students"]["losses"].reverse()
    for recipes in config["students"]["recipes"].values():
        recipes.reverse()
    config["devices"]["local"] = {"rounds": 5.0}
    for key, value in list(config.items()):
        config[key] = dict(reversed(value.items())) if isinstance(value, dict) else value


def defaults(config: dict) -> None:
    """Values written out that are the defaults."""
    config["data"] = {"name": "digits", "seed": 0, "validation": 0.1}
    config["devices"]["local"] |= {"threads": 1, "epoch": 1}
    config["students"] |= {"alpha": 0.9}
    config["run"]["search_seeds"] = "first"


def contrasts(change: Callable[[list[dict]], Any]) -> Callable[[dict], None]:
    """The declared contrasts changed."""
    return lambda config: change(config["analysis"]["contrasts"]) and None


def edited(*names: str) -> Callable[[Path], None]:
    """A statement more in modules of the program."""

    def edit(checkout: Path) -> None:
        for name in names:
            with open(checkout / name, "a") as stream:
                stream.write("\nADDED = 1\n")

    return edit


def commented(checkout: Path) -> None:
    """A comment more in every module and script."""
    for path in [*checkout.glob("hakd/**/*.py"), *checkout.glob("workflow/scripts/*.py")]:
        path.write_text(path.read_text() + "\n# A comment.\n")


def touched(folder: Path) -> None:
    """Every file has the present time, as after a clone or a copy."""
    for path in folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            os.utime(path)


def removed(*names: str) -> Callable[[Path], None]:
    """Files of the study are gone."""
    return lambda folder: [(folder / "results" / name).unlink() for name in names] and None


CASES = {
    # Devices
    "a device is added to `run.devices`": Case({"run.devices": ["local", "pair"]}),
    "a device is renamed": Case(renamed("devices", "local", "here")),
    "a value is added to a list of `threads`, `engine` or `precision`": Case(
        {"devices.pair.threads": [1, 2], "run.devices": ["local", "pair-t2"]}
    ),
    "`energy` of a device: nothing is timed again": Case({"devices.local.energy": {"command": "meter"}}),
    "`epoch` of a device is raised": Case({"devices.local.epoch": 2}),
    "a device is changed that is not run": Case({"devices.pair.rounds": 9}),
    # Networks
    "a network is added to `run.networks`": Case({"run.networks": ["tiny", "other"]}),
    "a network is renamed": Case(renamed("networks", "tiny", "small")),
    "a network is changed": Case({"networks.tiny.growth": 5}),
    "a network is changed that is not run": Case({"networks.other.multiplier": 0.25}),
    # Levels
    "a lower level is added": Case({"run.levels": [0.8, 0.7]}),
    "a higher level is added": Case({"run.levels": [0.8, 0.9]}),
    # Seeds
    "a seed is added": Case({"run.seeds": [0, 1]}),
    "a seed is replaced": Case({"run.seeds": [1]}),
    "a search seed is added (`search_seeds: [0, 1]`)": Case({"run.search_seeds": [0, 1]}),
    "a seed is added with a search of its own (`paired`)": Case(
        {"run.seeds": [0, 1], "run.search_seeds": "paired"}
    ),
    # Methods
    "a method with a pruning of its own is added (`l1`)": Case(
        {"run.methods": ["fisher", "joint", "race", "l1"]}
    ),
    "a method that times tables is added (`knapsack`)": Case(
        {"run.methods": ["fisher", "joint", "race", "knapsack"]}
    ),
    "a method that needs neither is added (`round8`)": Case(
        lambda config: config["run"]["methods"].append("round8")
    ),
    "a method is removed": Case(lambda config: config["run"]["methods"].remove("hakd")),
    "a latency budget is added": Case({"choosing.budgets": [{"like": "fisher"}, {"speedup": 1.1}]}),
    "`choosing.reach` is changed": Case({"choosing.reach": 0.5}),
    # Training
    "a loss is added": Case({"students.losses": ["ce", "logits", "at", "logits-std"]}),
    "a loss is removed": Case({"students.losses": ["ce", "logits"]}),
    "a setting of one loss is changed (`students.alpha`)": Case({"students.alpha": 0.5}),
    "a recipe is added": Case(lambda config: config["students"]["recipes"]["random"].append("scratch")),
    "a recipe is removed": Case(lambda config: config["students"]["recipes"]["fisher"].remove("scratch_b")),
    "`students.epochs` is changed": Case({"students.epochs": 2}),
    "`teacher.epochs` is changed": Case({"teacher.epochs": 3}),
    "`int8.images` is changed, where no device has `precision: int8`": Case({"int8.images": 100}),
    "`prune.count` is changed": Case({"prune.count": "params"}),
    "`training.device: cpu` instead of `auto`": Case({"training.device": "cpu"}),
    # Analysis
    "`stack.accuracy` is changed": Case({"stack": {"accuracy": 0.5}}),
    "a contrast is added, changed, renamed or removed": Case(contrasts(lambda declared: declared.pop())),
    # Configuration as a whole
    "the order of keys, of losses, of recipes and of what is in `run`; `5.0` for `5`": Case(reordered),
    "a default is written out": Case(defaults),
    # Data
    "`data.seed` is changed": Case({"data.seed": 1}),
    # The program
    "the program: a comment in every file": Case(program=commented),
    "the program: every file touched, a fresh clone": Case(program=touched),
    "the program: a plot (`hakd/plots/pareto.py`)": Case(program=edited("hakd/plots/pareto.py")),
    "the program: how a board is driven (`hakd/boards/`)": Case(
        program=edited("hakd/boards/agent.py", "hakd/boards/session.py")
    ),
    "the program: what is timed (`hakd/sweeping/sweep.py`)": Case(program=edited("hakd/sweeping/sweep.py")),
    "the program: training (`hakd/training/loop.py`)": Case(program=edited("hakd/training/loop.py")),
    "the program: the configuration's checks (`hakd/study/configuration.py`)": Case(
        program=edited("hakd/study/configuration.py")
    ),
    # Files of the study
    "every file of `results/` touched, or the study copied": Case(files=touched),
    "an intermediate file deleted": Case(
        files=removed("tiny/teacher/0.safetensors", "tiny/latency/local.parquet")
    ),
    "`-R` with a file: `-R results/tiny/teacher/0.safetensors`": Case(
        options=("-R", "results/tiny/teacher/0.safetensors")
    ),
    "`-R results/tiny/latency/local.parquet`": Case(options=("-R", "results/tiny/latency/local.parquet")),
}


def rows() -> list[list[str]]:
    """The cells of the page's tables."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("change", "---")]


def stages(jobs: Counter) -> Counter:
    """Jobs by what the page calls them."""
    found: Counter = Counter()
    for rule, count in jobs.items():
        found[STAGE_OF.get(rule, TABLES)] += count
    return found


def runs(jobs: Counter) -> str:
    """What runs again, as the page says it."""
    found = stages(jobs)
    present = [stage for stage in (*STAGES, TABLES) if found[stage]]
    return ", ".join(name if name in UNCOUNTED else f"{name} {found[name]}" for name in present) or "nothing"


def cells(jobs: Counter) -> list[str]:
    """What runs again and what of the costly stages does not: students are not planned before the widths are known."""
    found = stages(jobs)
    later = [] if found["students"] or not found["choices"] + found["widths"] else ["students"]
    spared = [stage for stage in SPARED if not found[stage] and stage not in later]
    return [runs(jobs) + "; then students" * len(later), ", ".join(spared) or "nothing" if jobs else "all"]


def made(case: Case, finished: Study, folder: Path) -> Study:
    """The study after the change; copies are made only of what it changes."""
    study = Study(finished.directory)
    study.config = copy.deepcopy(finished.config)
    if case.files:
        study.directory = folder / "study"
        shutil.copytree(finished.directory, study.directory, symlinks=True, copy_function=shutil.copy2)
        case.files(study.directory)
    if case.program:
        study.checkout = folder / "checkout"
        study.checkout.mkdir(parents=True)
        for name in WHOLE:
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, study.checkout / name)
        case.program(study.checkout)
    if callable(case.config):
        case.config(study.config)
        return study
    for path, value in case.config.items():
        *parents, last = path.split(".")
        place = study.config
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return study


def dry_runs(cases: Mapping[str, Case], finished: Study, folder: Path) -> dict[str, str]:
    """{change: what its dry run prints}: side by side, and those of a changed program in processes of their own."""
    studies = {
        change: made(case, finished, folder / f"{i}") for i, (change, case) in enumerate(cases.items())
    }
    alone = [change for change, case in cases.items() if case.program]
    with ThreadPoolExecutor(1) as pool:
        outputs = pool.map(
            lambda change: studies[change].snakemake("-n", *cases[change].options).stdout, alone
        )
        forked = [change for change in cases if change not in alone]
        files = [str(folder / f"{number}.txt") for number, _ in enumerate(forked)]
        commands = [studies[change].command("-n", *cases[change].options) for change in forked]
        requests = [(command[3:], file) for command, file in zip(commands, files, strict=True)]
        command = [sys.executable, "-m", "tests.workflow.dry_runs"]
        subprocess.run(command, input=json.dumps(requests), text=True, cwd=ROOT, env=ENVIRONMENT, check=True)
        found = {change: Path(file).read_text() for change, file in zip(forked, files, strict=True)}
        return found | dict(zip(alone, outputs, strict=True))


@pytest.fixture(scope="module")
def foreseen(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All dry runs."""
    return dry_runs(CASES, finished, tmp_path_factory.mktemp("reruns"))


def test_the_page_and_the_tests_have_the_same_rows():
    found = rows()
    assert len({row[0] for row in found}) == len(found) and {len(row) for row in found} == {4}
    assert [row[0] for row in found if row[3] == DRY] == list(CASES)
    for row in found:
        if row[3] != DRY:
            file, name = re.fullmatch(r"\[(\S+)\]\(\.\./tests/\S+\) `(test_\w+)`", row[3]).groups()
            path = ROOT / "tests" / re.search(r"\.\./tests/(\S+)\)", row[3])[1]
            tests = {node.name for node in ast.parse(path.read_text()).body if hasattr(node, "name")}
            assert path.name == file and name in tests, row[0]


@pytest.mark.parametrize("change", CASES)
def test_a_change_runs_again_what_the_page_says_and_nothing_more(foreseen, change):
    jobs = planned_jobs(foreseen[change])
    said = {row[0]: row[1:3] for row in rows()}
    assert cells(jobs) == said[change]


def bursts(study: Study) -> Counter:
    """How often the store holds each burst: of a point, for a purpose (which names the look), in its slot and round."""
    found: Counter = Counter()
    for path in study.directory.glob("results/measurements/*/*.jsonl"):
        identity, *records = map(json.loads, path.read_text().splitlines())
        for one in records:
            if one["type"] == "burst" and not one["reference"]:
                place = (one["key"], one["purpose"], one["slot"], one["round"])
                found[identity["identity"]["fingerprint"], *place] += 1
    return found


@pytest.fixture(scope="module")
def grown(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The finished study, gone on with few methods, another level, another network and a virtual device alone."""
    study = Study(tmp_path_factory.mktemp("grown") / "study")
    shutil.copytree(finished.directory, study.directory, symlinks=True, copy_function=shutil.copy2)
    study.config["devices"]["comb"] = {**virtual(MODELS["comb"]), "rounds": 3, "min_step": 1}
    study.config["run"] |= {"devices": ["comb"], "methods": ["teacher", "fisher"]}
    study.config["run"] |= {"networks": ["tiny", "other"], "levels": [0.8, 0.9]}
    study.config["students"]["recipes"] = {"fisher": ["tuned/ce"]}
    study.config["analysis"]["contrasts"] = []
    study.jobs = study.run(SUMMARY)
    return study


def test_an_added_level_and_network_bring_their_students_and_nothing_of_others(grown):
    said = "teachers 1, prunings 3, widths 3, sweeps 2, choices 4, students, exports, lists 6, benchmarks 1, scores 1"
    assert runs(grown.jobs) == f"{said}, {TABLES} 1"
    assert grown.jobs["tuned"] == 3 and grown.jobs["export"] == 4 and grown.planned(SUMMARY) == {}


@pytest.mark.parametrize(
    ("key", "left", "said"),
    [
        ("networks", ["tiny"], f"benchmarks 1, scores 1, {TABLES} 1"),
        ("levels", [0.8], f"sweeps 2, choices 2, lists 2, benchmarks 1, scores 1, {TABLES} 1"),
    ],
)
def test_what_remains_of_networks_and_levels_is_not_made_again(grown, key, left, said):
    fewer = copy.deepcopy(grown.config)
    fewer["run"][key] = left
    assert runs(grown.planned(SUMMARY, config=fewer)) == said


def test_what_was_timed_is_not_timed_again(grown):
    """Under another name of the device, and for a student that is trained again to the same shapes.

    What was not precise enough may get further looks.
    """
    target, boards = "results/devices/twin/benchmark.json", {board for board, *_ in bursts(grown)}
    config = copy.deepcopy(grown.config)
    renamed("devices", "comb", "twin")(config)
    config["run"]["networks"] = ["tiny"]
    assert runs(grown.run(target, config=config)) == "sweeps 1, choices 2, lists 2, benchmarks 1"
    (student,) = grown.directory.glob("results/tiny/students/*/tuned-fisher-0.9-ce-0.safetensors")
    jobs = grown.run(target, "-R", str(student.relative_to(grown.directory)), config=config)
    assert jobs == {"tuned": 1, "export": 1, "candidates": 1, "benchmark": 1}
    after = bursts(grown)
    assert set(after.values()) == {1} and {board for board, *_ in after} == boards
