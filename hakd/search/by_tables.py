"""Widths chosen on tables of all tiles for a latency budget: `joint` and its baselines, each verified on fresh data."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hakd.boards import Board
from hakd.choosing.joint import Joint, choose
from hakd.choosing.table_baselines import knapsack, latency_greedy
from hakd.choosing.tile_costs import PROBABILITY, Cost, Values
from hakd.choosing.within_budgets import Verified, or_reference, within_budgets
from hakd.records.arch import Architecture
from hakd.search.budget import Budget
from hakd.search.choice_records import table_records
from hakd.search.fresh import fresh_timer
from hakd.search.problem import ChoiceProblem
from hakd.search.screening import best_of, measure_on, screen
from hakd.search.tile_tables import Tables, fitted_networks, measure_tables
from hakd.sweeping.timing import Measuring

log = logging.getLogger(__name__)

Solver = Callable[[Values, Cost, Mapping[str, int], float], Joint]


def _joint(values: Values, cost: Cost, twin: Mapping[str, int], probability: float) -> Joint:
    return choose(values, [cost], probability)


SOLVERS: Mapping[str, Solver] = {"joint": _joint, "knapsack": knapsack, "latency_greedy": latency_greedy}


@dataclass(frozen=True)
class TableMethods:
    """The methods that choose on tables, and for which budget.

    Args:
        methods: of `SOLVERS`; they time tables of tiles of their own.
        budget: as `choosing.budget` has it; None: the latency of the pruned network.
        baselines: architectures chosen without a device, by method, for a budget that is like one of theirs.
    """

    methods: Sequence[str] = ()
    budget: Mapping[str, Any] | None = None
    baselines: Mapping[str, Architecture] = field(default_factory=dict)


def choose_by_tables(
    board: Board, measuring: Measuring, methods: Sequence[str], problem: ChoiceProblem, budget: Budget
) -> dict[str, dict[str, Any]]:
    """Measure the tables once, then choose and verify by each method.

    Returns:
        {method: architecture, `choices` (a record per group), `repair` (every try, predicted and fresh), `search_s`
        (seconds of the tables, of choosing and verifying)}.

    Raises:
        HakdError: nothing in the tables keeps a budget in ms or a speed-up, or the device could not time them.
    """
    start = board.clock_s()
    chooser = _Chooser(board, measuring, problem, budget)
    tables_s = board.clock_s() - start
    made = {}
    for method in methods:
        start = board.clock_s()
        content = chooser.choose(method)
        made[method] = content | {"search_s": tables_s + board.clock_s() - start}
    return made


class _Chooser:
    """Tables of a network's tiles on an open board, and choices on them for one budget."""

    def __init__(self, board: Board, measuring: Measuring, problem: ChoiceProblem, budget: Budget) -> None:
        self._board, self._measuring, self._problem, self._budget = board, measuring, problem, budget
        candidates = problem.candidates(budget)
        self._networks = fitted_networks(problem.pruned, budget.reference)
        self._tables: Tables = measure_tables(board, problem.pruned, candidates, self._networks, measuring)
        self._values = problem.values(candidates)
        self._budget_ms = budget.ms(self._tables.measured_ms)

    def choose(self, method: str) -> dict[str, Any]:
        """What a method chooses, verified, as its file holds it."""
        problem, budget, tables, name = self._problem, self._budget, self._tables, self._board.device.name
        verified = self._verify(method)
        log.info("%s at %g for %s: %s", method, problem.level, budget.words, verified.reason)
        chosen = problem.pruned.at(verified.widths)
        return {
            **chosen.to_dict(),
            "choices": table_records(method, problem, chosen, budget, name, self._values),
            "repair": verified.to_dict(name, self._budget_ms)
            | {
                "budget": budget.words,
                "budget_ms": self._budget_ms,
                "reference": budget.reference.arch if budget.reference else None,
                "share": budget.share,
                "probability": PROBABILITY,
                "overhead_ms": tables.overhead_ms,
                "residual_p95": tables.residual_p95,
                "points": sum(len(tile.latency_ms) for tile in tables.tiles),
            },
        }

    def _verify(self, method: str) -> Verified:
        """What the method chooses around the budget is timed whole, the best of it verified."""
        board, measuring, budget, budget_ms = self._board, self._measuring, self._budget, self._budget_ms
        pruned, name, tables = self._problem.pruned, self._board.device.name, self._tables

        def solve(cost: Cost) -> Joint:
            return SOLVERS[method](self._values, cost, pruned.widths, PROBABILITY)

        measure = measure_on(board, measuring, pruned, budget.reference, budget_ms / budget.share)
        measured = [
            (network.widths, tables.measured_ms[arch])
            for arch, network in self._networks.items()
            if arch in tables.measured_ms
        ]
        cost = Cost(name, tables.tiles, budget_ms, tables.overhead_ms)
        timed, cost = screen(solve, measure, cost, self._values, measured)

        def solve_again(asked_ms: Mapping[str, float]) -> Joint:
            return best_of(timed, asked_ms[name]) or solve(replace(cost, budget_ms=asked_ms[name]))

        time_fresh = fresh_timer(board, measuring, pruned, budget, budget_ms)
        reference = budget.reference.widths if budget.reference is not None and budget.same else None
        verified = within_budgets(
            solve_again, lambda widths: {name: time_fresh(widths)}, {name: budget_ms}, reference
        )
        return or_reference(verified, reference, self._values)
