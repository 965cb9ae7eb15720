"""Searches: one for each seed of teacher, pruning and choosing. Read by the rules at planning time: no heavy imports.

The files of the search with the smallest training seed lie where they do in a study with one search; those of the
others in folders `search{seed}/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hakd.records.errors import HakdError

FIRST, PAIRED = "first", "paired"  # values of `run.search_seeds` beside a list
PATTERN = r"(search[0-9]+/)?"  # of `Search.folder`


@dataclass(frozen=True)
class Search:
    """One pass of teacher, pruning, sweep and choosing.

    Args:
        seed: of the teacher that is pruned, of pruning and of random widths.
        folder: of its files below that of their kind: empty, or with a slash at its end.
        training_seeds: that students of its widths are trained with.
        mark: what distinguishes its candidates from those of another search with the same training seed.
    """

    seed: int
    folder: str
    training_seeds: tuple[int, ...]
    mark: str = ""


def searches(config: Mapping[str, Any]) -> list[Search]:
    """The searches of a study, in ascending order of their seeds."""
    training, wanted = sorted(config["run"]["seeds"]), config["run"].get("search_seeds", FIRST)
    if wanted == PAIRED:
        return [Search(seed, _folder(seed, training[0]), (seed,)) for seed in training]
    seeds = training[:1] if wanted == FIRST else sorted(wanted)
    return [
        Search(seed, _folder(seed, training[0]), tuple(training), f"s{seed}" if seed != seeds[0] else "")
        for seed in seeds
    ]


def search_of(config: Mapping[str, Any], folder: str) -> Search:
    """The search whose files lie in a folder.

    Raises:
        HakdError: the study has no such search.
    """
    for search in searches(config):
        if search.folder == folder:
            return search
    raise HakdError(f"no search has its files in {folder!r}", key="run.search_seeds", remedy="Add its seed")


def _folder(seed: int, first: int) -> str:
    return "" if seed == first else f"search{seed}/"
