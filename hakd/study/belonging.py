"""Which files of results/ belong to a configuration: what its rules make and read, by the functions the rules use.

Files are named by their stems, without suffix: a checkpoint, its exported network and its metrics are one.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hakd.records.errors import HakdError
from hakd.records.files import read_json
from hakd.study.branches import candidate_lists
from hakd.study.candidates import (
    FLEET,
    Candidate,
    Origin,
    baseline_methods,
    baseline_students,
    baselines,
    by_tables,
    choices,
    criteria,
    fleet_students,
    students,
    teacher_path,
    uncompressed_path,
)
from hakd.study.configuration import DEVICE_FILES, reach_level
from hakd.study.doors import imported_path
from hakd.study.fleets import selected
from hakd.study.levels import TEACHER, level_text, pruned_from
from hakd.study.precisions import forms
from hakd.study.races import RACE, lap_path, rung_path, runners
from hakd.study.searches import searches

Config = Mapping[str, Any]
RACE_FILE = "race.csv"
MADE_OF_DEVICES = (
    *DEVICE_FILES,
    "audit.csv",
    "benchmark.json",
    "predictions.parquet",
    "summary.parquet",
    RACE_FILE,
)


@dataclass
class Belonging:
    """What of results/ belongs to a configuration.

    Attributes:
        stems: paths without suffix.
        choices: paths of files that name architectures.
        open: networks some of whose widths are not chosen yet (or cannot be read): any student may be theirs.
    """

    stems: set[str] = field(default_factory=set)
    choices: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)

    def add(self, *paths: str) -> None:
        """Files that belong to it."""
        self.stems.update(os.path.splitext(path)[0] for path in paths)

    def text(self) -> str:
        """All that is written in the files that name architectures."""
        return "\n".join(Path(path).read_text() for path in sorted(self.choices) if Path(path).exists())


def belonging(config: Config) -> Belonging:
    """What belongs to a checked configuration, in the working directory.

    Where the files that name the chosen architectures are there, their students are known too.
    """
    run, found = config["run"], Belonging()
    without = () if RACE in by_tables(config) else (RACE_FILE,)
    for device in run["devices"]:
        found.add(*candidate_lists(config, device))
        found.add(*(f"results/devices/{device}/{file}" for file in MADE_OF_DEVICES if file not in without))
    for network in run["networks"]:
        found.add(imported_path(network))
        seeds = {*run["seeds"], *(search.seed for search in searches(config))}
        found.add(*(teacher_path(config, network, seed) for seed in seeds))
        _candidates(config, found, baselines(config, network))
        for search in searches(config):
            folder = f"results/{network}/{search.folder}"
            _prunings(config, found, network, folder)
            found.add(*(f"{folder}latency/{device}.parquet" for device in run["devices"]))
            for level in map(float, run["levels"]):
                _chosen(config, found, Origin(network, level, search), folder)
    found.add(*found.choices)
    return found


def _candidates(config: Config, found: Belonging, candidates: list[Candidate]) -> None:
    """Candidates, and the networks that compressed ones are made from."""
    for one in candidates:
        found.add(*one.files, *map(one.path_in, forms(config)))
        if one.compressed:
            found.add(uncompressed_path(config, one.checkpoint_path))


def _prunings(config: Config, found: Belonging, network: str, folder: str) -> None:
    """Pruned networks of a search, and what they were pruned from."""
    levels = [level_text(level) for level in config["run"]["levels"]]
    deepest = [reach_level(config, network)] if by_tables(config) or selected(config) else []
    for criterion in criteria(config):
        pending = [*levels, *(deepest if criterion == "fisher" else [])]
        while pending:
            level = pending.pop()
            stem = f"{folder}{criterion}/{level}"
            if level != TEACHER and stem not in found.stems:
                found.stems.add(stem)
                pending.append(pruned_from(f"{folder}{criterion}", level, levels))


def _chosen(config: Config, found: Belonging, origin: Origin, folder: str) -> None:
    """Choices of widths at a level of a search, and their candidates."""
    level = level_text(origin.level)
    widths = f"{folder}widths/{level}.json"
    for device in config["run"]["devices"]:
        snap = f"{folder}snap/{level}/{device}.json"
        found.choices |= {widths, snap}
        races = _races(config, found, origin, folder, device) if RACE in by_tables(config) else []
        with _noting(found, origin.network):
            archs = choices(snap, widths, races)
            _candidates(config, found, students(config, origin, device, archs))
    for method in baseline_methods(config):
        own = f"{folder}widths/{method}/{level}.json"
        found.choices.add(own)
        with _noting(found, origin.network):
            _candidates(config, found, baseline_students(config, origin, method, own))
    for fleet in selected(config):
        path = f"{folder}fleet/{level}/{fleet}.json"
        found.choices.add(path)
        with _noting(found, origin.network):
            arch = read_json(path, FLEET)["arch"]
            _candidates(config, found, fleet_students(config, origin, fleet, arch))


def _races(config: Config, found: Belonging, origin: Origin, folder: str, device: str) -> list[str]:
    """The rungs of a race with their short trainings; returns the path of the last rung."""
    level, path = level_text(origin.level), f"{folder}snap/{level_text(origin.level)}/{device}.json"
    for rung in range(1, config["race"]["rungs"] + 1):
        with _noting(found, origin.network):
            found.add(*(lap_path(folder, level, arch, rung) for arch in runners(path, rung)))
        path = rung_path(folder, level, device, rung)
        found.choices.add(path)
    return [path]


@contextlib.contextmanager
def _noting(found: Belonging, network: str) -> Iterator[None]:
    """Note a network whose choices are not there or cannot be read."""
    try:
        yield
    except (HakdError, KeyError):
        found.open.add(network)
