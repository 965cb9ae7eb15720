"""Widths chosen on tables of all tiles for latency budgets: `joint` and its baselines, each verified on fresh data."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from hakd.boards import Board
from hakd.choosing.joint import NoneFits
from hakd.records.arch import Architecture
from hakd.records.budgets import choice_key
from hakd.search.budget import Budget
from hakd.search.chooser import Chooser, time_tables
from hakd.search.contestants import race_contestants
from hakd.search.problem import ChoiceProblem
from hakd.study.races import RACE
from hakd.sweeping.timing import Measuring

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableMethods:
    """The methods that choose on tables, and for which budgets.

    Args:
        methods: of `hakd.search.chooser.SOLVERS`, and `race`; they time their own tables of tiles.
        budgets: entries of `choosing.budgets`, no two of one label; if empty, the latency of the pruned network.
        baselines: architectures chosen without a device, by method, for budgets `like` one of them.
        contestants: most of a race; there is a race within each budget.
        groups: which widths the scaled profiles of a race may narrow (`prune.groups`).
    """

    methods: Sequence[str] = ()
    budgets: Sequence[Mapping[str, Any]] = ()
    baselines: Mapping[str, Architecture] = field(default_factory=dict)
    contestants: int = 8
    groups: str = "all"


@dataclass(frozen=True)
class ByTables:
    """The choices of the methods.

    Attributes:
        methods: by `hakd.records.budgets.choice_key`: architecture, `method`, `budget` (its label), `choices` (a record
            per group), `repair` (every try, predicted and fresh), `search_s` (seconds of the tables, of choosing and
            verifying).
        races: by label of the budget, the result of `hakd.search.contestants.race_contestants`, if `race` is among the
            methods, with the key that the winner's choice will have (`choice`).
        unkept: reasons by `choice_key`, where no widths in the tables meet a budget in ms or a speed-up.
    """

    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    races: dict[str, dict[str, Any]] = field(default_factory=dict)
    unkept: dict[str, str] = field(default_factory=dict)


def choose_by_tables(
    board: Board,
    measuring: Measuring,
    asked: TableMethods,
    problem: ChoiceProblem,
    budgets: Sequence[Budget],
) -> ByTables:
    """Measure the tables once, then choose and verify by each method for each budget; find contestants of races.

    Args:
        board: an open one.
        measuring: how its device is measured.
        asked: the methods.
        problem: the pruned network with its curves.
        budgets: the requested ones.

    Raises:
        HakdError: no widths in the tables keep any of the budgets, or the device could not time the tables.
    """
    timed = time_tables(board, measuring, problem, budgets)
    choosers = [Chooser(board, measuring, problem, budget, timed) for budget in budgets]
    found, first = ByTables(), None
    for method, chooser in product(asked.methods, choosers):
        key = choice_key(method, chooser.budget.label, len(budgets) > 1)
        try:
            if method == RACE:
                race = race_contestants(chooser, asked.contestants, asked.groups)
                found.races[race["budget"]] = race | {"choice": key}
            else:
                found.methods[key] = chooser.entry(method)
        except NoneFits as error:
            first, found.unkept[key] = first or error, error.problem
            log.warning("%s at %g: %s. %s", key, problem.level, error.problem, error.remedy)
    if first and not (found.methods or found.races):
        raise first
    return found
