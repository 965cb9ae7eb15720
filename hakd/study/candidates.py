"""Which candidates a study makes, and where their files lie. Read by the rules at planning time: no heavy imports."""

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hakd.records.budgets import choice_key
from hakd.records.files import read_json
from hakd.study.budgets import labels
from hakd.study.doors import is_pretrained, teacher_seed
from hakd.study.fleets import fleets_of
from hakd.study.levels import copied_level, level_text
from hakd.study.precisions import FLOAT_FORM
from hakd.study.races import RACE
from hakd.study.recipes import OF_PRUNING, TRAINED_AS, recipe_losses
from hakd.study.searches import Search, searches

BY_TABLES = ("joint", "knapsack", "latency_greedy", RACE)
SNAPPED = ("hakd", "hakd_free", *BY_TABLES)
PRUNINGS = ("l1", "random_order")  # prune by their own criterion, which has the same name
COPYCAT = "copycat"
UNSEARCHED = ("uniform", "uniform_aligned")  # their widths are the same whatever was pruned
COMPRESSIONS = (
    "deep_compression",
    "deep_compression_paper",
    "weight_pruning",
    "ternary",
)  # of the teacher's weights
FULL_WIDTHS = ("teacher", *COMPRESSIONS)  # methods that choose no widths
COMPRESSED = ".hakdc"  # how compressed files end
FLEET = "fleet"  # its target is a fleet; selected by `run.fleets`, trained as `joint` is


@dataclass(frozen=True)
class Candidate:
    """One row of the summary before anything is measured: how it came to be, and its files.

    Args:
        arch: None is the teacher's, known once its file is read.
        search_seed: of the search that its widths or start weights come from; None: of none.
        budget: label of the latency budget that its widths were chosen for; None: for none.
        choice: what its widths are called in the file of its choice, and in its name.
        mark: see `hakd.study.searches.Search`.
    """

    network: str
    method: str
    recipe: str
    loss: str
    level: float
    target_device: str | None
    seed: int
    arch: str | None
    checkpoint_path: str
    search_seed: int | None = None
    budget: str | None = None
    choice: str = ""
    mark: str = ""

    @property
    def name(self) -> str:
        """Unique among all candidates of a study."""
        target, choice = self.target_device or "any", self.choice or self.method
        parts = (self.network, level_text(self.level), choice, target, self.recipe, self.loss)
        return "/".join((*parts, f"{self.seed}{self.mark}"))

    @property
    def compressed(self) -> bool:
        """Whether it is a compressed file, whose size counts."""
        return self.checkpoint_path.endswith(COMPRESSED)

    @property
    def onnx_path(self) -> str:
        """The exported network, beside the checkpoint."""
        return os.path.splitext(self.checkpoint_path)[0] + ".onnx"

    def path_in(self, form: str) -> str:
        """The file that is timed and scored where devices take `form` (`hakd.study.precisions`)."""
        return os.path.splitext(self.checkpoint_path)[0] + (form or ".onnx")

    def files_in(self, form: str) -> tuple[str, ...]:
        """Everything the candidate needs to be scored and timed in a form."""
        return (*self.files, *([self.path_in(form)] if form else []))

    @property
    def files(self) -> tuple[str, str]:
        """Everything the candidate needs to be scored and timed as it was trained."""
        return (self.checkpoint_path, self.onnx_path)


def teacher_path(config: Mapping[str, Any], network: str, seed: int) -> str:
    """Checkpoint of the teacher of a seed."""
    return f"results/{network}/teacher/{teacher_seed(config, network, seed)}.safetensors"


def uncompressed_path(config: Mapping[str, Any], path: str) -> str:
    """Checkpoint of the network that a compressed file is made from: the student of its folder, or the teacher.

    Args:
        path: `results/NETWORK/METHOD/DENSITY-SEED.hakdc`, or as a student's with the name of a compressed recipe.
    """
    folder, _, name = path.removesuffix(COMPRESSED).rpartition("/")
    if folder.split("/")[2] in COMPRESSIONS:
        return teacher_path(config, folder.split("/")[1], int(name.rpartition("-")[2]))
    recipe, _, rest = name.partition("-")
    return f"{folder}/{TRAINED_AS[recipe]}-{rest}.safetensors"


def baselines(config: Mapping[str, Any], network: str) -> list[Candidate]:
    """Teachers and compressed networks: chosen for no device."""
    found = []
    methods = config["run"]["methods"]
    recipe = "pretrained" if is_pretrained(config, network) else "scratch"
    for seed in config["run"]["seeds"]:
        if "teacher" in methods and seed == teacher_seed(config, network, seed):
            path = teacher_path(config, network, seed)
            found.append(Candidate(network, "teacher", recipe, "ce", 1.0, None, seed, None, path))
        for method in (one for one in COMPRESSIONS if one in methods):
            found += [
                Candidate(
                    network, method, "compressed", "ce", density, None, seed, None,
                    f"results/{network}/{method}/{level_text(density)}-{seed}{COMPRESSED}",
                )
                for density in densities_of(config, method)
            ]  # fmt: skip
    return found


def densities_of(config: Mapping[str, Any], method: str) -> list[float]:
    """Fractions of the weights that a method of `COMPRESSIONS` leaves; training alone decides what `ternary` leaves."""
    if method == "ternary":
        return [1.0]
    densities: list[float] = config[densities_key(method)]["densities"]
    return densities


def densities_key(method: str) -> str:
    """The section of the configuration that holds the densities of a method."""
    return "weight_pruning" if method == "weight_pruning" else "deep_compression"


def by_tables(config: Mapping[str, Any]) -> list[str]:
    """The selected methods that time their own tables, in one order whatever the configuration's."""
    return [method for method in BY_TABLES if method in config["run"]["methods"]]


def baseline_methods(config: Mapping[str, Any]) -> list[str]:
    """The selected methods whose widths need more than the Fisher-pruned network of their level: separate files."""
    return [method for method in (*PRUNINGS, COPYCAT) if method in config["run"]["methods"]]


def criterion_of(method: str) -> str:
    """The criterion of the pruning that the recipes `OF_PRUNING` of a method depend on."""
    return method if method in PRUNINGS else "fisher"


def criteria(config: Mapping[str, Any]) -> list[str]:
    """The criteria by which a study prunes. All widths but the baselines' start from the Fisher-pruned ones."""
    return ["fisher", *(method for method in PRUNINGS if method in config["run"]["methods"])]


def pruned_baseline_path(config: Mapping[str, Any], folder: str, level: str, method: str) -> str:
    """The pruned network whose widths such a method takes: its own at the level, or the Fisher-pruned one it copies.

    Args:
        folder: of the prunings of a network and a search.
    """
    if method == COPYCAT:
        level = copied_level(config["run"]["levels"])
    return f"{folder}{criterion_of(method)}/{level}.safetensors"


def choices(
    chosen_path: str | os.PathLike,
    widths_path: str | os.PathLike,
    race_paths: Iterable[str | os.PathLike] = (),
) -> dict[str, str]:
    """{choice: arch} of a (network, level, device): device-free methods and those that used its latency table.

    Args:
        race_paths: of the last rung of `race`, where it is run.
    """
    made = read_json(widths_path, "widths")["methods"] | read_json(chosen_path, "snap")["methods"]
    for path in race_paths:
        made |= read_json(path, RACE)["methods"]
    return {choice: entry["arch"] for choice, entry in made.items()}


@dataclass(frozen=True)
class Origin:
    """What a network, a level and a search have in common."""

    network: str
    level: float
    search: Search


def students(
    config: Mapping[str, Any], origin: Origin, device: str, archs: Mapping[str, str]
) -> list[Candidate]:
    """The candidates of (network, level, search, device) for the chosen architectures."""
    found = []
    for method in config["run"]["methods"]:
        for choice, budget in _choices_of(config, method):
            if choice in archs:
                chosen = _Chosen(method, archs[choice], device if method in SNAPPED else None, budget, choice)
                found += _trained(config, origin, chosen, method)
    return found


def _choices_of(config: Mapping[str, Any], method: str) -> list[tuple[str, str | None]]:
    """(name, label of its budget) of each choice of widths by a method at a level."""
    budgets: list[str | None] = [*labels(config)] if method in BY_TABLES else [None]
    return [(choice_key(method, budget, len(budgets) > 1), budget) for budget in budgets]


def fleet_students(config: Mapping[str, Any], origin: Origin, fleet: str, arch: str) -> list[Candidate]:
    """The candidates of the network that was chosen for a fleet."""
    return _trained(config, origin, _Chosen(FLEET, arch, fleet), "joint")


def baseline_students(
    config: Mapping[str, Any], origin: Origin, method: str, widths_path: str | os.PathLike
) -> list[Candidate]:
    """The candidates of a method whose widths lie in a separate file."""
    arch = read_json(widths_path, "widths")["methods"][method]["arch"]
    return _trained(config, origin, _Chosen(method, arch), method)


@dataclass(frozen=True)
class _Chosen:
    """Widths that were chosen: how, for which device or fleet, within which budget."""

    method: str
    arch: str
    target: str | None = None
    budget: str | None = None
    choice: str = ""


def _trained(config: Mapping[str, Any], origin: Origin, chosen: _Chosen, recipes_of: str) -> list[Candidate]:
    """A candidate for each recipe, loss and seed."""
    search, level = origin.search, level_text(origin.level)
    folder, criterion = f"results/{origin.network}/students/{chosen.arch}", criterion_of(chosen.method)
    found = []
    for recipe, loss in recipe_losses(config["students"], recipes_of):
        pruned = TRAINED_AS.get(recipe, recipe) in OF_PRUNING
        searched = pruned or chosen.method not in UNSEARCHED
        if not searched and search.folder != _first(config):
            continue  # the same students for each search
        stem = f"{folder}/{search.folder}{recipe}-{criterion}-{level}" if pruned else f"{folder}/{recipe}"
        ending = COMPRESSED if recipe in TRAINED_AS else ".safetensors"
        for seed in search.training_seeds if searched else sorted(config["run"]["seeds"]):
            found.append(
                Candidate(
                    origin.network, chosen.method, recipe, loss, origin.level, chosen.target, seed, chosen.arch,
                    f"{stem}-{loss}-{seed}{ending}", search.seed if searched else None, chosen.budget,
                    chosen.choice, search.mark if searched else "",
                )
            )  # fmt: skip
    return found


def _first(config: Mapping[str, Any]) -> str:
    """The folder of the first search."""
    return searches(config)[0].folder


def expected_students(
    config: Mapping[str, Any], network: str, device: str, fleets: Iterable[str] = ()
) -> list[Candidate]:
    """The candidates of a network for a device and for fleets, before anything is chosen: as many as there are when no
    two choices are alike. What stands for an architecture's hash is its choice.
    """
    found = []
    methods = [method for method in config["run"]["methods"] if method in config["students"]["recipes"]]
    names = [name for method in methods for name, _ in _choices_of(config, method)]
    for level, search in itertools.product(config["run"]["levels"], searches(config)):
        origin = Origin(network, float(level), search)
        mark = f" {level_text(float(level))} {search.folder}"
        found += students(config, origin, device, {name: f"{name}{mark}" for name in names})
        for fleet in fleets:
            found += fleet_students(config, origin, fleet, f"{fleet}{mark}")
    return found


def expected_names(config: Mapping[str, Any], device: str) -> dict[str, list[str]]:
    """The names of the candidates that a device times, before anything is chosen.

    What comes with a name: for a choice that there may be no widths for (its budget can be too small), the file that
    says so and its key there; else nothing.
    """
    folders = {search.seed: search.folder for search in searches(config)}
    found: dict[str, list[str]] = {}
    for network in config["run"]["networks"]:
        fleets = fleets_of(config, device)
        for one in [*baselines(config, network), *expected_students(config, network, device, fleets)]:
            found[one.name] = []
            if one.method in BY_TABLES and one.search_seed is not None:
                folder = f"results/{network}/{folders[one.search_seed]}snap/{level_text(one.level)}"
                found[one.name] = [f"{folder}/{device}.json", one.choice]
    return dict(sorted(found.items()))


def student_files(found: Iterable[Candidate], form: str = FLOAT_FORM) -> list[str]:
    """Files of candidates, each once: methods with the same widths share a student."""
    return list(dict.fromkeys(path for candidate in found for path in candidate.files_in(form)))
