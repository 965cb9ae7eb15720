"""Which candidates a study makes, and where their files lie. Read by the rules at planning time: no heavy imports."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hakd.records.files import read_json
from hakd.study.configuration import level_text
from hakd.study.levels import copied_level

BY_TABLES = ("joint", "knapsack", "latency_greedy")
SNAPPED = ("hakd", "hakd_free", *BY_TABLES)
PRUNINGS = ("l1", "random_order")  # prune by a criterion of their own, which has the same name
COPYCAT = "copycat"
FLEET = "fleet"  # its target is a fleet; selected by `run.fleets`, trained as `joint` is


@dataclass(frozen=True)
class Candidate:
    """One row of the summary before anything is measured: how it came to be, and its files."""

    network: str
    method: str
    recipe: str
    loss: str
    level: float
    target_device: str | None
    seed: int
    arch: str | None  # None: the teacher's, known once its file is read
    checkpoint_path: str

    @property
    def name(self) -> str:
        """Unique among all candidates of a study."""
        target = self.target_device or "any"
        parts = (
            self.network,
            level_text(self.level),
            self.method,
            target,
            self.recipe,
            self.loss,
            str(self.seed),
        )
        return "/".join(parts)

    @property
    def onnx_path(self) -> str:
        """The exported network, beside the checkpoint."""
        return os.path.splitext(self.checkpoint_path)[0] + ".onnx"

    @property
    def files(self) -> tuple[str, str]:
        """Everything the candidate needs to be scored and timed."""
        return (self.checkpoint_path, self.onnx_path)


def teacher_path(network: str, seed: int) -> str:
    """Checkpoint of a teacher."""
    return f"results/{network}/teacher/{seed}.safetensors"


def baselines(config: Mapping[str, Any], network: str) -> list[Candidate]:
    """Teachers and compressed networks: chosen for no device."""
    found = []
    methods = config["run"]["methods"]
    for seed in config["run"]["seeds"]:
        if "teacher" in methods:
            found.append(
                Candidate(
                    network, "teacher", "scratch", "ce", 1.0, None, seed, None, teacher_path(network, seed)
                )
            )
        if "deep_compression" in methods:
            found += [
                Candidate(
                    network, "deep_compression", "compressed", "ce", density, None, seed, None,
                    f"results/{network}/deep_compression/{level_text(density)}-{seed}.hakdc",
                )
                for density in config["deep_compression"]["densities"]
            ]  # fmt: skip
    return found


def by_tables(config: Mapping[str, Any]) -> list[str]:
    """The selected methods that time tables of their own, in one order whatever the configuration's."""
    return [method for method in BY_TABLES if method in config["run"]["methods"]]


def baseline_methods(config: Mapping[str, Any]) -> list[str]:
    """The selected methods whose widths need more than the Fisher-pruned network of their level: files of their own."""
    return [method for method in (*PRUNINGS, COPYCAT) if method in config["run"]["methods"]]


def criterion_of(method: str) -> str:
    """The criterion of the pruning whose weights the recipe `tuned` of a method inherits."""
    return method if method in PRUNINGS else "fisher"


def criteria(config: Mapping[str, Any]) -> list[str]:
    """The criteria by which a study prunes. All widths but the baselines' start from the Fisher-pruned ones."""
    return ["fisher", *(method for method in PRUNINGS if method in config["run"]["methods"])]


def pruned_baseline_path(config: Mapping[str, Any], network: str, level: str, method: str) -> str:
    """The pruned network whose widths such a method takes: its own at the level, or the Fisher-pruned one it copies."""
    if method == COPYCAT:
        level = copied_level(config["run"]["levels"])
    return f"results/{network}/{criterion_of(method)}/{level}.safetensors"


def choices(chosen_path: str | os.PathLike, widths_path: str | os.PathLike) -> dict[str, str]:
    """{method: arch} of a (network, level, device): device-free methods and those that used its latency table."""
    free = read_json(widths_path, "widths")["methods"]
    snapped = read_json(chosen_path, "snap")["methods"]
    return {method: entry["arch"] for method, entry in (free | snapped).items()}


def students(
    config: Mapping[str, Any], network: str, level: float | str, device: str, archs: Mapping[str, str]
) -> list[Candidate]:
    """The candidates of (network, level, device) for the chosen architectures."""
    found = []
    for method in (m for m in config["run"]["methods"] if m in archs):
        target = device if method in SNAPPED else None
        recipes = _recipes(config, method)
        found += _trained(config, network, float(level), method, target, archs[method], recipes)
    return found


def fleet_students(
    config: Mapping[str, Any], network: str, level: float | str, fleet: str, arch: str
) -> list[Candidate]:
    """The candidates of the network that was chosen for a fleet."""
    return _trained(config, network, float(level), FLEET, fleet, arch, _recipes(config, "joint"))


def _trained(
    config: Mapping[str, Any],
    network: str,
    level: float,
    method: str,
    target: str | None,
    arch: str,
    recipes: Iterable[tuple[str, str]],
) -> list[Candidate]:
    """A candidate for each recipe, loss and seed."""
    found = []
    for recipe, loss in recipes:
        for seed in config["run"]["seeds"]:
            tuned = f"tuned-{criterion_of(method)}-{level_text(level)}"
            name = tuned if recipe == "tuned" else f"{recipe}-{loss}"
            path = f"results/{network}/students/{arch}/{name}-{seed}.safetensors"
            found.append(Candidate(network, method, recipe, loss, level, target, seed, arch, path))
    return found


def baseline_students(
    config: Mapping[str, Any], network: str, level: float | str, method: str, widths_path: str | os.PathLike
) -> list[Candidate]:
    """The candidates of a method whose widths lie in a file of their own."""
    arch = read_json(widths_path, "widths")["methods"][method]["arch"]
    return _trained(config, network, float(level), method, None, arch, _recipes(config, method))


def student_paths(
    config: Mapping[str, Any], network: str, level: str, device: str, chosen_path: str, widths_path: str
) -> list[str]:
    """Files of those candidates, each once: methods that chose alike share a student."""
    return _files(students(config, network, level, device, choices(chosen_path, widths_path)))


def baseline_student_paths(
    config: Mapping[str, Any], network: str, level: str, method: str, widths_path: str
) -> list[str]:
    """Files of a baseline's candidates, each once."""
    return _files(baseline_students(config, network, level, method, widths_path))


def fleet_student_paths(
    config: Mapping[str, Any], network: str, level: str, fleet: str, chosen_path: str
) -> list[str]:
    """Files of a fleet's candidates, each once."""
    arch = read_json(chosen_path, FLEET)["arch"]
    return _files(fleet_students(config, network, level, fleet, arch))


def _files(found: Iterable[Candidate]) -> list[str]:
    return list(dict.fromkeys(path for candidate in found for path in candidate.files))


def _recipes(config: Mapping[str, Any], method: str) -> Iterable[tuple[str, str]]:
    for recipe in config["students"]["recipes"][method]:
        if recipe == "distilled":
            yield from ((recipe, loss) for loss in config["students"]["losses"])
        else:
            yield recipe, "ce"
