"""Kills of a study at random moments: does the same command continue, is anything done twice, are results the same?

The smallest study runs once undisturbed. Then it runs again in stages, and in each Snakemake or the job under way is
killed (SIGKILL) at a random moment. The same command runs again, until all kills of the stage are made and its files
are there. Counted is what was done twice, compared are weights, removals, architectures and accuracies.

    python -m benchmarks.kills OUT [--kills 5] [--stages training sweep] [--minutes 30] [--seed 0]

OUT is a folder: the same command goes on where it stopped. OUT/kills.jsonl has a line for each kill and each stage that
was completed; a table comes at the end.
"""

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch

from hakd.boards.journal import read
from hakd.records.checkpoint import read_checkpoint
from hakd.study.branches import candidate_lists
from tests.workflow.devices import MODELS
from tests.workflow.study import ENVIRONMENT, ROOT, Study, jobs

STUCK_S = 120.0  # a job has kept something by then
LEFT_S = 20.0  # jobs of a killed Snakemake have 10 s to end by themselves, boards 8 s
AT_START = 0.3  # of the kills come while the job starts, the others when it has kept something
STORE = "results/measurements"
VICTIMS = ("snakemake", "job")
MODEL = {"transport": "virtual", "rounds": 40, "min_step": 0.1, "cost_model": MODELS["comb"]}  # without noise
HEADER = ("stage", "killed", "times", "missed", "runs", "jobs finished twice", "training repeated",
          "bursts doubled", "left", "differs")  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """What is disturbed.

    Args:
        script: of the jobs that are killed, or during which Snakemake is.
        target: what the command makes.
        latest_s: a kill comes at most this long after the job was started, or after it has got somewhere.
        before: what is there already.
        state: what the job keeps of unfinished work: a file of a training, or the folder of the store.
    """

    script: str
    target: str
    latest_s: float
    before: tuple[str, ...] = ()
    state: str | None = None


def stages(config: dict[str, Any]) -> dict[str, Stage]:
    """The stages in order; each starts from what the one before has made."""
    teacher, pruned = "results/tiny/teacher/0.safetensors", "results/tiny/fisher/0.8.safetensors"
    timed, scored = (f"results/devices/model/{name}" for name in ("benchmark.json", "predictions.parquet"))
    return {
        "training": Stage("teacher", teacher, 5.0, ("results/data/train.npz",), f"{teacher}.resume"),
        "pruning": Stage("prune", pruned, 5.0, (teacher,), pruned.replace("safetensors", "state.resume")),
        "sweep": Stage("sweep", "results/tiny/latency/local.parquet", 5.0, (pruned,), STORE),
        "benchmark": Stage("benchmark", timed, 5.0, tuple(candidate_lists(config, "model")), STORE),
        "summary": Stage("device_summary", "results/summary.csv", 6.0, (timed, scored)),
    }


def study_in(folder: Path) -> Study:
    """The smallest study with a device that computes its latencies, and jobs that last long enough to be killed."""
    folder.mkdir(parents=True, exist_ok=True)
    study = Study(folder)
    study.config["run"]["devices"] = ["model"]
    study.config["devices"] = {"model": MODEL, "local": {"rounds": 10}}
    study.config["teacher"]["epochs"] = 60
    study.config["prune"] |= {"steps": 40, "evaluate_every": 1}  # a state is kept whenever it validates
    return study


class Soak:
    """What was done so far, on file."""

    def __init__(self, out: Path, kills: int, seed: int, minutes: float) -> None:
        self.out, self.kills, self.deadline = out, kills, time.monotonic() + 60 * minutes
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "kills.jsonl"
        text = self.path.read_text() if self.path.exists() else ""
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
        self.random = random.Random(seed + len(self.lines))
        self.reference, self.study = study_in(out / "reference"), study_in(out / "killed")
        self.stages = stages(self.study.config)

    def note(self, line: str, stage: str, **about: Any) -> None:
        """Append a line, and print it."""
        self.lines.append({"line": line, "stage": stage, **about})
        with open(self.path, "a") as stream:
            stream.write(json.dumps(self.lines[-1]) + "\n")
        print(self.lines[-1], file=sys.stderr, flush=True)

    def of(self, line: str, stage: str, **about: Any) -> list[dict[str, Any]]:
        """Lines of a kind and a stage."""
        wanted = {"line": line, "stage": stage, **about}
        return [one for one in self.lines if wanted.items() <= one.items()]

    def wanted(self, stage: str) -> list[str]:
        """Whom to kill next in a stage: snakemake and the job in turn."""
        left = {victim: self.kills - len(self.of("kill", stage, killed=victim)) for victim in VICTIMS}
        return sorted((victim for victim in VICTIMS if left[victim] > 0), key=lambda victim: -left[victim])

    def run(self, names: list[str]) -> None:
        """The undisturbed study, then all stages, as far as the time goes."""
        if not self.of("reference", "all"):
            began = time.monotonic()
            self.reference.run("results/summary.csv")
            self.note("reference", "all", seconds=round(time.monotonic() - began))
        for name in names:
            while self.begun(name) or (self.wanted(name) and time.monotonic() < self.deadline):
                self.episode(name)

    def begun(self, name: str) -> bool:
        """Whether something was killed in an episode that is not finished."""
        number = len(self.of("episode", name))
        return any(self.of(line, name, episode=number) for line in ("kill", "missed"))

    def episode(self, name: str) -> None:
        """From the same start to the finished target, with as many of the kills as the jobs last for."""
        stage, number = self.stages[name], len(self.of("episode", name))
        start = self.out / f"before-{name}"
        if not start.exists():  # renamed when complete
            self.study.run(*stage.before)
            self.copy(self.study.directory, start)
        if not self.begun(name):
            shutil.rmtree(self.study.directory)
            self.copy(start, self.study.directory)
        self.study = study_in(self.out / "killed")
        finished = False
        while self.wanted(name) and not finished and time.monotonic() < self.deadline:
            finished = self.strike(name, stage, number, self.wanted(name)[0])
        if not finished:
            self.finish(name, number)
        self.note("episode", name, number=number, **self.outcome(name, number))

    def copy(self, source: Path, target: Path) -> None:
        """Copy a folder with its times of change, whole or not at all."""
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial, symlinks=True, copy_function=shutil.copy2)
        partial.rename(target)

    # --- one command

    def output(self, name: str, number: int) -> Path:
        """A file for what the next command of an episode prints."""
        folder = self.out / "outputs"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}-{number}-{len([*folder.glob(f'{name}-{number}-*.log')]):02d}.log"

    def strike(self, name: str, stage: Stage, number: int, victim: str) -> bool:
        """Start the command, kill at a random moment, wait for the end; True when it was done before."""
        with open(self.output(name, number), "wb") as log:
            process = psutil.Popen(
                self.study.command(stage.target), cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log
            )
        state = self.study.directory / (stage.state or "none")
        before, first = size_or_time(state), None
        job = started(process, stage.script)
        begun, delay_s = time.monotonic(), self.random.uniform(0.0, stage.latest_s)
        waiting = stage.state is not None and self.random.random() > AT_START
        while job is not None and alive(job) and time.monotonic() < begun + delay_s + waiting * STUCK_S:
            if first is None and size_or_time(state) not in (before, 0):
                first = progress(state)
                if waiting:
                    begun, waiting = time.monotonic(), False
            time.sleep(0.02)
        family = [process, *offspring(process)]
        if job is None or not alive(job) or not alive(process):
            self.note("missed", name, episode=number, status=process.wait())
            return process.returncode == 0
        (process if victim == "snakemake" else job).kill()
        left = settled(process, family)
        kept = progress(state)
        self.note("kill", name, killed=victim, episode=number, first=first, kept=kept, left=left,
                  status=process.returncode)  # fmt: skip
        return False

    def finish(self, name: str, number: int) -> None:
        """The same command once more, to the end."""
        done = self.study.snakemake(self.stages[name].target)
        self.output(name, number).write_text(done.stdout)
        if done.returncode:
            raise SystemExit(f"{name}: the same command does not complete: {done.stdout[-3000:]}")

    # --- afterwards

    def outcome(self, name: str, number: int) -> dict[str, Any]:
        """What an episode has done twice, lost, or made otherwise than the undisturbed study."""
        logs = sorted((self.out / "outputs").glob(f"{name}-{number}-*.log"))
        ended = Counter(
            (job.rule, *sorted(job.wildcards.items()))
            for path in logs
            for job in jobs(path.read_text(errors="replace"))
            if job.end is not None and not job.failed and job.rule != "all"
        )
        twice = [" ".join(map(str, job)) for job, times in ended.items() if times > 1]
        kills = self.of("kill", name, episode=number)
        plan = self.study.planned(self.stages[name].target)
        return {
            "commands": len(logs),
            "twice": twice,
            "repeated": repeated(kills) if self.stages[name].state != STORE else 0,
            "doubled": doubled(self.study.directory / STORE),
            "left": sum(kill["left"] for kill in kills),
            "planned": dict(plan),
            "differs": differences(self.reference.directory, self.study.directory),
        }

    def table(self) -> str:
        """A row for each stage and victim, as Markdown."""
        rows = [HEADER, ("---", "---", *["---:"] * 8)]
        for name in self.stages:
            episodes = self.of("episode", name)
            for victim in VICTIMS:
                times = len(self.of("kill", name, killed=victim))
                sums = [sum(one["commands"] for one in episodes)]
                sums += [sum(len(one["twice"]) for one in episodes)]
                sums += [sum(one[key] for one in episodes) for key in ("repeated", "doubled", "left")]
                sums += [sum(len(one["differs"]) for one in episodes)]
                shared = [str(len(self.of("missed", name))), *map(str, sums)]
                rows.append((name, victim, str(times), *(shared if victim == VICTIMS[0] else ["″"] * 7)))
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def alive(process: psutil.Process) -> bool:
    """Whether a process runs, and has not just ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def offspring(process: psutil.Process) -> list[psutil.Process]:
    """What a process has started, at any depth."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def started(process: psutil.Popen, script: str) -> psutil.Process | None:
    """The job's own process once it is there; None when the command ends without one."""
    while process.poll() is None:
        for child in offspring(process):
            try:
                words = child.cmdline()
                if "python" in child.name() and words[-1].endswith(f".{script}.py"):
                    return child
            except (psutil.Error, IndexError):  # it has just ended
                continue
        time.sleep(0.02)
    return None


def settled(process: psutil.Popen, family: list[psutil.Process]) -> int:
    """Wait until the command and all that it had started have ended; how many of these did not."""
    process.wait()
    _, left = psutil.wait_procs(family, LEFT_S)
    left = [one for one in left if alive(one)]
    for one in left:
        one.kill()
    return len(left)


def size_or_time(state: Path) -> int:
    """What changes when a job has kept something: the time of its file, or the size of all journals; 0 of nothing."""
    try:
        if state.is_dir():
            return sum(path.stat().st_size for path in state.glob("*/*.jsonl"))
        return state.stat().st_mtime_ns
    except OSError:
        return 0


def progress(state: Path) -> int | None:
    """Epochs of a kept training, channels of a kept pruning, bursts of a store; None of nothing."""
    if state.is_dir():
        return sum(text.count(b'"type":"burst"') for text in map(Path.read_bytes, state.glob("*/*.jsonl")))
    try:
        return len(torch.load(state, weights_only=True, map_location="cpu")["rows"])
    except (OSError, RuntimeError):
        return None


def repeated(kills: list[dict[str, Any]]) -> int:
    """How often a job that was started again kept a first state which was not beyond the last one."""
    known = [(one["kept"], other["first"]) for one, other in pairwise(kills)]
    return sum(kept is not None and first is not None and first <= kept for kept, first in known)


def doubled(store: Path) -> int:
    """Bursts of the same point, purpose, slot and round beyond the first, reference points apart."""
    places = Counter(
        (path.parent.name, record["purpose"], record["key"], record["slot"], record["round"])
        for path in sorted(store.glob("*/*.jsonl"))
        for record in read(path)
        if record["type"] == "burst" and not record["reference"]
    )
    return sum(times - 1 for times in places.values())


def differences(one: Path, other: Path) -> list[str]:
    """Files that both folders have and that do not hold the same weights, removals or results."""
    found = []
    for path in sorted(other.glob("results/tiny/**/*.safetensors")):
        name = path.relative_to(other)
        weights, same = (read_checkpoint(folder / name).weights for folder in (one, other))
        if weights.keys() != same.keys() or any((weights[key] != same[key]).any() for key in weights):
            found.append(str(name))
    summary = ["candidate", "arch", "val_accuracy", "accuracy", "latency_ms"]
    for path in [*sorted(other.glob("results/tiny/fisher/*.csv")), *other.glob("results/summary.csv")]:
        name = path.relative_to(other)
        left, right = (pd.read_csv(folder / name, comment="#") for folder in (one, other))
        columns = (
            summary if path.name == "summary.csv" else [*left.columns.drop("val_accuracy", errors="ignore")]
        )
        if not left[columns].equals(right[columns]):
            found.append(str(name))
    return found


def main() -> int:
    """Exit status 1 when anything was repeated, doubled, left behind or different."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the studies and what is counted")
    parser.add_argument(
        "--kills", type=int, default=5, help="of each kind in each stage (default: %(default)s)"
    )
    parser.add_argument("--stages", nargs="+", help="only these (default: all)")
    parser.add_argument(
        "--minutes", type=float, default=30, help="start no kill later (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    arguments = parser.parse_args()
    soak = Soak(arguments.out.resolve(), arguments.kills, arguments.seed, arguments.minutes)
    soak.run(arguments.stages or [*soak.stages])
    print(soak.table())
    episodes = [line for line in soak.lines if line["line"] == "episode"]
    bad = ("twice", "repeated", "doubled", "left", "planned", "differs")
    return int(any(episode[key] for episode in episodes for key in bad))


if __name__ == "__main__":
    sys.exit(main())
