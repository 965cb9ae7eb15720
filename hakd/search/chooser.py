"""Tables of a network's tiles on an open board, and the choice of each method on them for one budget."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hakd.boards import Board
from hakd.choosing.fleet import shared_candidates
from hakd.choosing.joint import Joint, NoneFits, choose
from hakd.choosing.table_baselines import knapsack, latency_greedy
from hakd.choosing.tile_costs import PROBABILITY, Cost, Values
from hakd.choosing.within_budgets import Verified, or_reference, within_budgets
from hakd.records.arch import Architecture
from hakd.search.budget import Budget
from hakd.search.choice_records import table_records
from hakd.search.fresh import fresh_timer
from hakd.search.problem import ChoiceProblem
from hakd.search.screening import Measure, best_of, measure_on, screen
from hakd.search.tile_tables import Tables, fitted_networks, measure_tables
from hakd.sweeping.timing import Measuring

log = logging.getLogger(__name__)

Solver = Callable[[Values, Cost, Mapping[str, int], float], Joint]


def _joint(values: Values, cost: Cost, twin: Mapping[str, int], probability: float) -> Joint:
    return choose(values, [cost], probability)


SOLVERS: Mapping[str, Solver] = {"joint": _joint, "knapsack": knapsack, "latency_greedy": latency_greedy}


@dataclass(frozen=True)
class Timed:
    """The tables at the candidate widths of all budgets, with the value of each width.

    Attributes:
        tables: of the tiles, and the overhead of whole networks.
        networks: the whole networks timed for that, by arch.
        values: of all widths in the tables.
        seconds: of measuring.
    """

    tables: Tables
    networks: Mapping[str, Architecture]
    values: Values
    seconds: float


def time_tables(
    board: Board, measuring: Measuring, problem: ChoiceProblem, budgets: Sequence[Budget]
) -> Timed:
    """Measure the tables once for all budgets.

    Raises:
        HakdError: the device could not time them.
    """
    start = board.clock_s()
    candidates = shared_candidates([problem.candidates(budget) for budget in budgets])
    networks = fitted_networks(problem.pruned, *(budget.reference for budget in budgets))
    tables = measure_tables(board, problem.pruned, candidates, networks, measuring)
    return Timed(tables, networks, problem.values(candidates), board.clock_s() - start)


@dataclass(frozen=True)
class Chosen:
    """The verified choice of a method; all its answers, as whole networks were timed; the seconds that this took."""

    verified: Verified
    answers: Sequence[Joint]
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether the budget is shown to be kept; the network that gave it keeps it by definition."""
        taken = self.verified.taken
        return taken is None or taken.worst <= 1


class Chooser:
    """Choices on tables for one budget; each method chooses once.

    Attributes:
        cost: by the tables, before they learn from networks timed whole, with the budget in ms.
    """

    def __init__(
        self, board: Board, measuring: Measuring, problem: ChoiceProblem, budget: Budget, timed: Timed
    ) -> None:
        self.board, self.measuring = board, measuring
        self.problem, self.budget, self.timed = problem, budget, timed
        tables = timed.tables
        budget_ms = budget.ms(tables.measured_ms)
        self.cost = Cost(board.device.name, tables.tiles, budget_ms, tables.overhead_ms)
        self._chosen: dict[str, Chosen] = {}
        self._none: dict[str, NoneFits] = {}

    def entry(self, method: str) -> dict[str, Any]:
        """The verified choice of a method, as its file holds it."""
        found, problem, budget, tables = self.chosen(method), self.problem, self.budget, self.timed.tables
        network, name = problem.pruned.at(found.verified.widths), self.cost.name
        return {
            **network.to_dict(),
            "method": method,
            "budget": budget.label,
            "choices": table_records(method, problem, network, budget, name, self.timed.values),
            "repair": found.verified.to_dict(name, self.cost.budget_ms)
            | {
                "budget": budget.words,
                "budget_ms": self.cost.budget_ms,
                "reference": budget.reference.arch if budget.reference else None,
                "share": budget.share,
                "probability": PROBABILITY,
                "overhead_ms": tables.overhead_ms,
                "residual_p95": tables.residual_p95,
                "points": sum(len(tile.latency_ms) for tile in tables.tiles),
            },
            "search_s": self.timed.seconds + found.seconds,
        }

    def chosen(self, method: str) -> Chosen:
        """Time the method's choices around the budget as whole networks, and verify the best of them.

        Raises:
            HakdError: no widths in the tables meet a budget in ms or a speed-up, or none could be timed against it.
        """
        # `race` needs the choice of `joint`: where that found none, nothing is timed again.
        if method in self._none:
            raise self._none[method]
        if method not in self._chosen:
            start = self.board.clock_s()
            try:
                verified, answers = self._choose(method)
            except NoneFits as error:
                self._none[method] = error
                raise
            self._chosen[method] = Chosen(verified, answers, self.board.clock_s() - start)
            log.info("%s at %g for %s: %s", method, self.problem.level, self.budget.words, verified.reason)
        return self._chosen[method]

    def measure(self, purpose: str, processes: int) -> Measure:
        """Times whole networks with the budget's own, in this number of separate processes."""
        measuring = replace(self.measuring, benchmark_processes=processes)
        reference_ms = self.cost.budget_ms / self.budget.share
        return measure_on(
            self.board, measuring, self.problem.pruned, self.budget.reference, reference_ms, purpose
        )

    def _choose(self, method: str) -> tuple[Verified, Sequence[Joint]]:
        budget, pruned, timed, name = self.budget, self.problem.pruned, self.timed, self.cost.name

        def solve(cost: Cost) -> Joint:
            return SOLVERS[method](timed.values, cost, pruned.widths, PROBABILITY)

        measured_ms = timed.tables.measured_ms
        known = [
            (network.widths, measured_ms[arch])
            for arch, network in timed.networks.items()
            if arch in measured_ms
        ]
        measure = self.measure("screen", self.measuring.benchmark_processes)
        answers, cost = screen(solve, measure, self.cost, timed.values, known)

        def solve_again(asked_ms: Mapping[str, float]) -> Joint:
            return best_of(answers, asked_ms[name]) or solve(replace(cost, budget_ms=asked_ms[name]))

        time_fresh = fresh_timer(self.board, self.measuring, pruned, budget, cost.budget_ms)
        reference = budget.reference.widths if budget.reference is not None and budget.same else None
        verified = within_budgets(
            solve_again, lambda widths: {name: time_fresh(widths)}, {name: cost.budget_ms}, reference
        )
        return or_reference(verified, reference, timed.values), answers
