"""Widths of one network for several devices: tables on each, one choice under all budgets, verified on every device."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.boards import Board
from hakd.choosing.fleet import shared_candidates
from hakd.choosing.fresh import Fresh
from hakd.choosing.joint import Joint, NoneFits, OutOfTime
from hakd.choosing.within_budgets import or_reference, within_budgets
from hakd.records.arch import Architecture
from hakd.search.fleet_boards import Boards, Member
from hakd.search.fleet_record import FleetProblem, described
from hakd.search.fresh import fresh_timer
from hakd.search.problem import ChoiceProblem
from hakd.search.tile_tables import Tables, fitted_networks, measure_tables, time_networks
from hakd.study.measuring import Measuring

log = logging.getLogger(__name__)


def choose_for_fleet(
    members: Mapping[str, Member],
    store: Path,
    level: float,
    pruned: Architecture,
    trajectory: pd.DataFrame,
) -> dict[str, Any]:
    """Measure each member's tables, choose one network for all, calibrate and verify it on every member.

    Returns:
        As `hakd.search.fleet_record.described` makes it, with `search_s` (seconds of measuring, choosing, verifying).

    Raises:
        HakdError: a board does not answer or is not the one that its table was measured on; no widths keep all
            budgets.
    """
    problems = {name: ChoiceProblem(level, pruned, one.curves, trajectory) for name, one in members.items()}
    candidates = shared_candidates([problems[name].candidates(one.budget) for name, one in members.items()])
    values = next(iter(problems.values())).values(candidates)
    reference = _common_reference(members)
    with Boards(members, store) as boards:
        start = boards.clock_s()
        tables = _measure(boards, members, pruned, candidates)
        budgets_ms = {name: one.budget.ms(tables[name].measured_ms) for name, one in members.items()}
        problem = FleetProblem(tables, values, budgets_ms, dict.fromkeys(members, 0.0))
        problem = _calibrate(problem, boards, members, pruned)
        time_fresh = _timer(boards, members, pruned, budgets_ms)
        verified = within_budgets(problem.solve, time_fresh, budgets_ms, reference)
        verified = or_reference(verified, reference, values)
        search_s = boards.clock_s() - start
    log.info("%s at %g: %s", ", ".join(members), level, verified.reason)
    budgets = {name: one.budget for name, one in members.items()}
    made = described(verified, problem, budgets, pruned, float(trajectory["score"].sum()))
    return made | {"search_s": search_s}


def _measure(
    boards: Boards,
    members: Mapping[str, Member],
    pruned: Architecture,
    candidates: Mapping[str, Sequence[int]],
) -> dict[str, Tables]:
    """Tables of every member at the candidates of all; points that a member's own choice timed are in the store."""
    found = {}
    for name, member in members.items():
        networks = fitted_networks(pruned, member.budget.reference)
        found[name] = measure_tables(boards.of(name), pruned, candidates, networks, member.measuring)
    return found


def _calibrate(
    problem: FleetProblem, boards: Boards, members: Mapping[str, Member], pruned: Architecture
) -> FleetProblem:
    """The problem with predictions shifted to be right at the first choice, on each device."""
    try:
        first = problem.solve(problem.budgets_ms)
    except (NoneFits, OutOfTime):
        return problem
    shifts = {
        name: _calibrated(boards.of(name), member.measuring, pruned, first, problem.tables[name])
        for name, member in members.items()
    }
    return replace(problem, shifts_ms=shifts)


def _calibrated(
    board: Board, measuring: Measuring, pruned: Architecture, first: Joint, tables: Tables
) -> float:
    """The error (ms) of the first choice's prediction, on the scale of the pruned network's latency.

    One overhead for all networks is right on average; among fast widths, where choices lie, the sum of tiles can be off
    by more (docs/measured/cluttered.md). The shift also removes what the choice gained by picking favourable errors.
    """
    chosen = pruned.at(first.widths)
    found = time_networks(board, {one.arch: one for one in (chosen, pruned)}, measuring, "calibrate")
    if chosen.arch not in found or pruned.arch not in found or pruned.arch not in tables.measured_ms:
        return 0.0
    predicted = first.latency_ms[board.device.name]
    return found[chosen.arch] / found[pruned.arch] * tables.measured_ms[pruned.arch] - predicted


def _timer(
    boards: Boards, members: Mapping[str, Member], pruned: Architecture, budgets_ms: Mapping[str, float]
) -> Callable[[dict[str, int]], Mapping[str, Fresh | None]]:
    """Times widths on all devices, one after the other, with the budget's reference on each."""
    calls = 0

    def time_fresh(widths: dict[str, int]) -> dict[str, Fresh | None]:
        nonlocal calls
        fresh = {}
        for name, member in members.items():
            board, budget = boards.of(name), member.budget
            timer = fresh_timer(board, member.measuring, pruned, budget, budgets_ms[name], calls=calls)
            fresh[name] = timer(widths)
        calls += 1
        return fresh

    return time_fresh


def _common_reference(members: Mapping[str, Member]) -> Mapping[str, int] | None:
    """The widths whose latency is the budget of every member: they keep them all by definition."""
    budgets = [member.budget for member in members.values()]
    reference = budgets[0].reference
    if reference is None or not all(one.same and one.reference == reference for one in budgets):
        return None
    return reference.widths
