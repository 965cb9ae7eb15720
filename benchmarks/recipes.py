"""How students are best trained at the budget of a study: the rate, the schedule, then the loss; on validation only.

    snakemake --directory FOLDER --configfile CONFIG --cores 2 \\
        results/NETWORK/fisher/LEVEL.safetensors ...          teachers and prunings, LEVEL the study's lowest
    python -m benchmarks.recipes rates FOLDER --config CONFIG --networks NETWORK ...
    python -m benchmarks.recipes schedules FOLDER ...
    python -m benchmarks.recipes losses FOLDER ...
    python -m benchmarks.recipes table FOLDER ...
    python -m benchmarks.recipes losses FOLDER ... --given inherited:0.05:linear:0.1

Each step starts from the best of the one before; with `--given` the losses start from a rate, schedule and warm-up that
are known, from these weights alone. Networks pruned to LEVEL are trained with the images and settings of
CONFIG, from inherited weights and from random ones, with three training seeds. One teacher and one pruning a network:
differences between recipes are paired, what another pruning would have changed is not in the figures. Every training is
a checkpoint in FOLDER/recipes: what is there is not done again.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch loads, so before that

import argparse
import dataclasses
import itertools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from hakd.analysis.summary import to_markdown
from hakd.networks.stored import read_network
from hakd.pruning.start import start_weights
from hakd.records.checkpoint import read_checkpoint
from hakd.study.files import read_configuration
from hakd.study.levels import level_text
from hakd.study.memory import keep_freed_memory
from hakd.study.recipes import LOSSES
from hakd.study.schema import checked_study
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, taught, train_candidate

STARTS = ("inherited", "random")
RATES = (0.02, 0.05, 0.1, 0.2)
SCHEDULES = tuple(itertools.product(("cosine", "linear"), (0.0, 0.1)))
PAPER = ("step", 0.0)  # schedule and warm-up of the papers (method of HAKD), from random weights
PAPER_LOSSES = ("logits", "at")
KEYS = {
    "rates": ["start", "lr"],
    "schedules": ["schedule", "warmup"],
    "losses": ["start", "schedule", "loss"],
}
STEPS = tuple(KEYS)


@dataclass(frozen=True)
class Way:
    """How a network is trained: the step that asks, the weights that it starts from, and the recipe."""

    step: str
    network: str
    start: str
    lr: float
    schedule: str
    warmup: float
    loss: str
    seed: int

    @property
    def file(self) -> str:
        """Its checkpoint; the same way asked for in two steps is trained once."""
        parts = (self.start, f"{self.lr:g}", self.schedule, f"{self.warmup:g}", self.loss, str(self.seed))
        return f"{self.network}/{'-'.join(parts)}.safetensors"


@dataclass(frozen=True)
class Study:
    """A study whose recipe is looked for: where its teachers are, its checked configuration, networks, seeds."""

    folder: Path
    settings: dict[str, Any]
    networks: Sequence[str]
    seeds: Sequence[int]
    rate_seeds: int
    given: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def path(self, way: Way) -> Path:
        """The checkpoint of a way."""
        return self.folder / "recipes" / way.file

    def ways(self, step: str, **fixed: dict[str, Any]) -> list[Way]:
        """The trainings of a step."""
        students = self.settings["students"]
        found = []
        seeds = self.seeds[: self.rate_seeds] if step == "rates" else self.seeds
        for seed, network, start in itertools.product(seeds, self.networks, self.given or STARTS):
            lr = students["tuned_lr"] if start == "inherited" else students["recipe"]["lr"]
            base = Way(step, network, start, lr, "cosine", 0.0, "ce", seed)
            base = dataclasses.replace(base, **fixed.get(start, {}))
            if step == "rates":
                found += [dataclasses.replace(base, lr=rate) for rate in RATES]
            elif step == "schedules":
                found += [dataclasses.replace(base, schedule=s, warmup=w) for s, w in SCHEDULES]
            else:
                found += [dataclasses.replace(base, loss=loss) for loss in LOSSES]
                if start == "random":
                    schedule, warmup = PAPER
                    papers = dataclasses.replace(base, schedule=schedule, warmup=warmup)
                    found += [dataclasses.replace(papers, loss=loss) for loss in PAPER_LOSSES]
        return found

    def train(self, way: Way) -> None:
        """Train one network, unless it is there."""
        path = self.path(way)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        results, students = self.folder / "results", self.settings["students"]
        level = level_text(min(self.settings["run"]["levels"]))
        path_to_teacher = (
            results / way.network / "teacher" / f"{min(self.settings['run']['seeds'])}.safetensors"
        )
        pruned = results / way.network / "fisher" / f"{level}.safetensors"
        teacher, widths = read_network(path_to_teacher), read_checkpoint(pruned).architecture.widths
        prepared = PreparedData(results / "data" / "train.npz", results / "data" / "validation.npz", "cpu")
        data = prepared.load(teacher.architecture.spec.input_size)
        start = None
        if way.start == "inherited":
            start, _ = start_weights(teacher, pruned, pruned.with_suffix(".csv"), widths)
        recipe = students["recipe"] | {"lr": way.lr, "schedule": way.schedule, "warmup": way.warmup}
        job = TrainingJob(
            path=path,
            epochs=students["epochs"],
            recipe=Recipe.from_config(recipe),
            seed=way.seed,
            loss_name=way.loss,
            start=start,
        )
        loss = {key: students[key] for key in LOSSES[way.loss]}
        job = taught(job, path_to_teacher, teacher, loss, data.train.device)
        train_candidate(teacher.architecture.at(widths), data, job)

    def scores(self, ways: Sequence[Way]) -> pd.DataFrame:
        """Validation accuracy of those that are trained."""
        found = [way for way in dict.fromkeys(ways) if self.path(way).exists()]
        accuracy = [read_checkpoint(self.path(way)).facts["val_accuracy"] for way in found]
        return pd.DataFrame([dataclasses.asdict(way) for way in found]).assign(accuracy=accuracy)

    def plan(self) -> dict[str, list[Way]]:
        """The trainings of each step, as far as the best of the steps before is known."""
        if self.given:
            return {"losses": self.ways("losses", **self.given)}
        rates = self.ways("rates")
        found = {"rates": rates}
        fixed: dict[str, dict[str, Any]] = {}
        if all(self.path(way).exists() for way in rates):
            for start, part in self.scores(rates).groupby("start"):
                fixed[str(start)] = {"lr": best(part, ["lr"])[0]}
            found["schedules"] = self.ways("schedules", **fixed)
            if all(self.path(way).exists() for way in found["schedules"]):
                schedule, warmup = best(self.scores(found["schedules"]), ["schedule", "warmup"])
                fixed = {
                    start: one | {"schedule": schedule, "warmup": warmup} for start, one in fixed.items()
                }
                found["losses"] = self.ways("losses", **fixed)
        return found


def best(scores: pd.DataFrame, keys: list[str]) -> tuple[Any, ...]:
    """The settings of most accuracy, the mean over networks, starts and seeds."""
    mean = scores.groupby(keys)["accuracy"].mean()
    found = mean.idxmax()
    return found if isinstance(found, tuple) else (found,)


def given(text: str) -> tuple[str, dict[str, Any]]:
    """A start with what is known of its recipe, from `START:LR:SCHEDULE:WARMUP`."""
    start, lr, schedule, warmup = text.split(":")
    return start, {"lr": float(lr), "schedule": schedule, "warmup": float(warmup)}


def _train(study: Study, way: Way) -> None:
    """In a process of its own."""
    import torch

    torch.set_num_threads(1)
    keep_freed_memory()
    os.environ["TQDM_DISABLE"] = "1"
    study.train(way)


def run(study: Study, ways: Sequence[Way], jobs: int) -> None:
    """Train what is missing, several side by side."""
    missing = [way for way in {way.file: way for way in ways}.values() if not study.path(way).exists()]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_train, study, way) for way in missing]
        for done in tqdm(as_completed(waiting), total=len(waiting), unit="training"):
            done.result()


def table(study: Study) -> str:
    """Each step's settings: accuracy in percent by network and start (mean over seeds), the mean, and the standard
    error of the difference from the best, paired by network, start and seed.
    """
    lines = []
    for step, ways in study.plan().items():
        scores = study.scores(ways)
        if scores.empty:
            continue
        keys = KEYS[step]
        scores["accuracy"] *= 100
        columns = [c for c in ("network", "start") if c not in keys]
        wide = scores.pivot(index=keys, columns=[*columns, "seed"], values="accuracy")
        shown = scores.groupby([*keys, *columns])["accuracy"].mean().unstack(columns)
        shown.columns = ["/".join(map(str, np.atleast_1d(c))) for c in shown.columns]
        shown["mean"] = wide.mean(axis=1)
        for _, part in shown.groupby("start") if "start" in keys else [("", shown)]:
            apart = wide.loc[part.index] - wide.loc[part["mean"].idxmax()]
            shown.loc[part.index, "less than the best"] = 0.0 - apart.mean(axis=1)
            shown.loc[part.index, "standard error"] = apart.std(axis=1) / np.sqrt(apart.count(axis=1))
        formats = dict.fromkeys(shown.columns, ".2f") | {key: "g" for key in ("lr", "warmup") if key in keys}
        lines += [f"**{step}**, {len(scores)} trainings", "", to_markdown(shown.reset_index(), formats), ""]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=(*STEPS, "all", "table", "rows"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", action="append", default=[], help="as --configfile of snakemake")
    parser.add_argument("--networks", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rate-seeds", type=int, default=3, help="how many of the seeds the rates use")
    parser.add_argument("--given", type=given, nargs="+", default=[], metavar="START:LR:SCHEDULE:WARMUP")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    settings = checked_study(read_configuration(arguments.config))
    study = Study(
        arguments.folder,
        settings,
        arguments.networks,
        arguments.seeds,
        arguments.rate_seeds,
        dict(arguments.given),
    )
    if arguments.step == "table":
        print(table(study))
    elif arguments.step == "rows":
        frames = [study.scores(ways) for ways in study.plan().values()]
        print(pd.concat(frames).to_csv(index=False, lineterminator="\n"), end="")
    else:
        for step in STEPS if arguments.step == "all" else (arguments.step,):
            ways = study.plan().get(step)
            if ways is None:
                parser.exit(1, f"{step}: the step before is not done\n")
            run(study, ways, arguments.jobs)


if __name__ == "__main__":
    main()
