"""Widths chosen on tables of all tiles for latency budgets: `joint` and its baselines, each verified on fresh data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hakd.boards import Board
from hakd.records.arch import Architecture
from hakd.records.budgets import choice_key
from hakd.search.budget import Budget
from hakd.search.chooser import Chooser, time_tables
from hakd.search.contestants import race_contestants
from hakd.search.problem import ChoiceProblem
from hakd.study.races import RACE
from hakd.sweeping.timing import Measuring


@dataclass(frozen=True)
class TableMethods:
    """The methods that choose on tables, and for which budgets.

    Args:
        methods: of `hakd.search.chooser.SOLVERS`, and `race`; they time tables of tiles of their own.
        budgets: as `choosing.budgets` has them, no two of one label; none: the latency of the pruned network.
        baselines: architectures chosen without a device, by method, for budgets that are like one of theirs.
        contestants: of a race at most; there is one within each budget.
        groups: which widths the profiles may narrow that are scaled for a race (`prune.groups`).
    """

    methods: Sequence[str] = ()
    budgets: Sequence[Mapping[str, Any]] = ()
    baselines: Mapping[str, Architecture] = field(default_factory=dict)
    contestants: int = 8
    groups: str = "all"


def choose_by_tables(
    board: Board,
    measuring: Measuring,
    asked: TableMethods,
    problem: ChoiceProblem,
    budgets: Sequence[Budget],
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Measure the tables once, then choose and verify by each method for each budget; find contestants of races.

    Args:
        board: an open one.
        measuring: how its device is measured.
        asked: the methods.
        problem: what is to be chosen.
        budgets: those that are asked for.

    Returns:
        {key (`hakd.records.budgets.choice_key`): architecture, `method`, `budget` (its label), `choices` (a record per
        group), `repair` (every try, predicted and fresh), `search_s` (seconds of the tables, of choosing and
        verifying)}, and {label of the budget: what `hakd.search.contestants.race_contestants` makes}, where `race` is
        asked for.

    Raises:
        HakdError: nothing in the tables keeps a budget in ms or a speed-up, or the device could not time them.
    """
    timed = time_tables(board, measuring, problem, budgets)
    choosers = [Chooser(board, measuring, problem, budget, timed) for budget in budgets]
    made = {
        choice_key(method, chooser.budget.label, len(choosers) > 1): chooser.entry(method)
        for method in asked.methods
        if method != RACE
        for chooser in choosers
    }
    racing = choosers if RACE in asked.methods else []
    races = [race_contestants(chooser, asked.contestants, asked.groups) for chooser in racing]
    return made, {race["budget"]: race for race in races}
