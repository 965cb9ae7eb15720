"""Widths chosen on tables of all tiles for a latency budget: `joint` and its rivals, each verified on fresh data."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hakd.boards import Board
from hakd.choosing.baselines import round_to
from hakd.choosing.joint import Joint, choose
from hakd.choosing.snap import Choice
from hakd.choosing.table_baselines import knapsack, latency_greedy
from hakd.choosing.tile_costs import PROBABILITY, Cost, Values
from hakd.choosing.width_candidates import SHARES, width_candidates
from hakd.choosing.within_budget import Kept, within_budget
from hakd.networks.families import full_widths
from hakd.pruning.trajectory import regained_saliency
from hakd.records.arch import Architecture
from hakd.search.budget import Budget
from hakd.search.fresh import fresh_timer
from hakd.search.screening import best_of, measure_on, screen
from hakd.search.tile_tables import Tables, fitted_networks, measure_tables
from hakd.staircase.curve import Curve
from hakd.sweeping.timing import Measuring

log = logging.getLogger(__name__)

# Of the pruned width: a budget of another network's time may need much narrower ones.
TIGHT_SHARES = (0.7, 0.4)

Solver = Callable[[Values, Cost, Mapping[str, int], float], Joint]


def _joint(values: Values, cost: Cost, twin: Mapping[str, int], probability: float) -> Joint:
    return choose(values, [cost], probability)


SOLVERS: Mapping[str, Solver] = {"joint": _joint, "knapsack": knapsack, "latency_greedy": latency_greedy}


@dataclass(frozen=True)
class ChoiceProblem:
    """What is to be chosen: the pruned network with its curves, and what its channels are worth."""

    level: float
    pruned: Architecture
    curves: Mapping[str, Curve]
    trajectory: pd.DataFrame

    @property
    def full(self) -> dict[str, int]:
        """Widths before pruning."""
        return full_widths(self.pruned.spec)

    @property
    def rounded(self) -> dict[str, int]:
        """The pruned widths rounded up to 16."""
        return round_to(self.pruned.widths, self.full)

    def candidates(self, budget: Budget) -> dict[str, list[int]]:
        """Widths worth timing by group; narrower than pruned where the trajectory goes on to lower levels.

        The rounded network's widths are among them and, where the budget is a network's latency, that one's.
        """
        removed, full = self.trajectory["group"].value_counts(), self.full
        lowest = {group: full[group] - int(removed.get(group, 0)) for group in full}
        shares = SHARES if budget.same else TIGHT_SHARES
        found = {
            group: width_candidates(self.curves[group], width, full[group], lowest[group], shares=shares)
            for group, width in self.pruned.widths.items()
        }
        reference = budget.reference.widths if budget.reference is not None and budget.same else {}
        for widths in (self.rounded, reference):
            for group, width in widths.items():
                if width >= lowest[group]:
                    found[group] = sorted({*found[group], width})
        return found

    def values(self, candidates: Mapping[str, Sequence[int]]) -> dict[str, dict[int, float]]:
        """{group: {width: minus the recorded saliency of the channels that it drops}}."""
        return {
            group: {
                width: -regained_saliency(self.trajectory, self.full, group, width, self.full[group])
                for width in widths
            }
            for group, widths in candidates.items()
        }


def choose_by_tables(
    board: Board,
    measuring: Measuring,
    methods: Sequence[str],
    question: ChoiceProblem,
    budget: Budget,
) -> dict[str, dict[str, Any]]:
    """Measure the tables once, then choose and verify by each method.

    Returns:
        {method: architecture, `choices` (a record per group), `repair` (every try, predicted and fresh), `search_s`
        (seconds of the tables, of choosing and verifying)}.

    Raises:
        HakdError: nothing in the tables keeps a budget in ms or a speed-up, or the device could not time them.
    """
    start = board.clock_s()
    pruned = question.pruned
    candidates = question.candidates(budget)
    tables = measure_tables(board, pruned, candidates, fitted_networks(pruned, budget.reference), measuring)
    values = question.values(candidates)
    tables_s = board.clock_s() - start
    made = {}
    for method in methods:
        start = board.clock_s()
        kept = _one(board, measuring, method, question, budget, tables, values)
        log.info("%s at %g for %s: %s", method, question.level, budget.words, kept.reason)
        chosen = pruned.at(kept.widths)
        made[method] = {
            **chosen.to_dict(),
            "choices": _records(method, question, chosen, budget, board.device.name, values),
            "repair": kept.to_dict()
            | {
                "budget": budget.words,
                "budget_ms": budget.ms(tables.measured_ms),
                "reference": budget.reference.arch if budget.reference else None,
                "share": budget.share,
                "probability": PROBABILITY,
                "overhead_ms": tables.overhead_ms,
                "residual_p95": tables.residual_p95,
                "points": sum(len(tile.latency_ms) for tile in tables.tiles),
            },
            "search_s": tables_s + board.clock_s() - start,
        }
    return made


def _one(
    board: Board,
    measuring: Measuring,
    method: str,
    question: ChoiceProblem,
    budget: Budget,
    tables: Tables,
    values: Values,
) -> Kept:
    """One method: what it chooses around the budget is timed whole, the best of it verified."""
    pruned, name = question.pruned, board.device.name
    budget_ms = budget.ms(tables.measured_ms)

    def solve(cost: Cost) -> Joint:
        return SOLVERS[method](values, cost, pruned.widths, PROBABILITY)

    timer = measure_on(board, measuring, pruned, budget.reference, budget_ms / budget.share)
    measured = tables.measured_ms
    fitted = fitted_networks(pruned, budget.reference)
    known = [(one.widths, measured[arch]) for arch, one in fitted.items() if arch in measured]
    timed, now = screen(solve, timer, Cost(name, tables.tiles, budget_ms, tables.overhead_ms), values, known)
    fallback = budget.reference.widths if budget.reference is not None and budget.same else None
    kept = within_budget(
        lambda asked_ms: best_of(timed, asked_ms) or solve(replace(now, budget_ms=asked_ms)),
        fresh_timer(board, measuring, pruned, budget, budget_ms),
        budget_ms,
        fallback,
    )
    return _or_reference(kept, budget, values)


def _or_reference(kept: Kept, budget: Budget, values: Values) -> Kept:
    """The network that the budget was taken from, where it loses less: it keeps the budget by definition."""
    if budget.reference is None or not budget.same:
        return kept
    widths = budget.reference.widths
    if any(width not in values[group] for group, width in widths.items()):
        return kept
    own, other = (sum(values[g][w] for g, w in some.items()) for some in (kept.widths, widths))
    if other <= own and kept.ratio_high <= 1:
        return kept
    reason = f"{kept.reason}; {budget.words.removeprefix('the latency of ')} itself loses less"
    return replace(kept, widths=dict(widths), ratio=1.0, ratio_low=1.0, ratio_high=1.0, reason=reason)


def _records(
    method: str,
    question: ChoiceProblem,
    chosen: Architecture,
    budget: Budget,
    device: str,
    values: Values,
) -> list[dict[str, Any]]:
    """A record per group, as the readings of HAKD have them: its curve shows what a width costs, not why it is."""
    records = []
    for group, before in question.pruned.widths.items():
        curve, after = question.curves[group], chosen.widths[group]
        i, timed = curve.index(before), after in curve.widths
        j = curve.index(after) if timed else i
        to_ms = curve.latency_ms[j] if timed else float(np.interp(after, curve.widths, curve.latency_ms))
        word = "stays" if after == before else "wider" if after > before else "narrower"
        choice = Choice(
            group=group,
            method=method,
            level=question.level,
            width_from=before,
            width_to=after,
            full_width=question.full[group],
            latency_from_ms=curve.latency_ms[i],
            latency_from_low_ms=curve.low[i],
            latency_from_high_ms=curve.high[i],
            latency_to_ms=to_ms,
            latency_to_low_ms=curve.low[j] if timed else None,
            latency_to_high_ms=curve.high[j] if timed else None,
            residual_p95=curve.residual_p95,
            tolerance=curve.tolerance,
            free_channels=after - before,
            neighbour_widths=dict(curve.neighbour_widths),
            trusted=curve.decided(before, question.full[group]),
            reason=f"{word}: chosen with all other widths on tables of the tiles, for {budget.words}",
        )
        records.append(
            choice.to_dict()
            | {
                "network": chosen.spec.name,
                "device": device,
                "method": method,
                "proposed_width": after,
                "saliency": values[group].get(after, 0.0) - values[group].get(before, 0.0),
                "undone": False,
            }
        )
    return records
