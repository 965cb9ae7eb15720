"""Widths chosen on tables of all tiles for latency budgets: `joint` and its baselines, each verified on fresh data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hakd.boards import Board
from hakd.records.arch import Architecture
from hakd.records.budgets import choice_key
from hakd.search.budget import Budget
from hakd.search.chooser import Chooser, time_tables
from hakd.search.problem import ChoiceProblem
from hakd.sweeping.timing import Measuring


@dataclass(frozen=True)
class TableMethods:
    """The methods that choose on tables, and for which budgets.

    Args:
        methods: of `hakd.search.chooser.SOLVERS`; they time tables of tiles of their own.
        budgets: as `choosing.budgets` has them, no two of one label; none: the latency of the pruned network.
        baselines: architectures chosen without a device, by method, for budgets that are like one of theirs.
    """

    methods: Sequence[str] = ()
    budgets: Sequence[Mapping[str, Any]] = ()
    baselines: Mapping[str, Architecture] = field(default_factory=dict)


def choose_by_tables(
    board: Board,
    measuring: Measuring,
    methods: Sequence[str],
    problem: ChoiceProblem,
    budgets: Sequence[Budget],
) -> dict[str, dict[str, Any]]:
    """Measure the tables once, then choose and verify by each method for each budget.

    Returns:
        {key (`hakd.records.budgets.choice_key`): architecture, `method`, `budget` (its label), `choices` (a record per
        group), `repair` (every try, predicted and fresh), `search_s` (seconds of the tables, of choosing and
        verifying)}.

    Raises:
        HakdError: nothing in the tables keeps a budget in ms or a speed-up, or the device could not time them.
    """
    timed = time_tables(board, measuring, problem, budgets)
    choosers = [Chooser(board, measuring, problem, budget, timed) for budget in budgets]
    return {
        choice_key(method, chooser.budget.label, len(choosers) > 1): chooser.entry(method)
        for method in methods
        for chooser in choosers
    }
