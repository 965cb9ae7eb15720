"""From curves to a verified choice: snap every group, time the network against its unsnapped twin, repair it."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakd.boards import Board, Device, open_board
from hakd.choosing.repair import moves_from, repair
from hakd.choosing.snap import READINGS, snap_all
from hakd.pruning.trajectory import regained_saliency
from hakd.records.arch import Architecture
from hakd.search.budget import Budget, budget_from
from hakd.search.by_tables import ByTables, TableMethods, choose_by_tables
from hakd.search.certifying import certify_network
from hakd.search.choice_records import snapped_records
from hakd.search.fresh import fresh_timer
from hakd.search.problem import ChoiceProblem
from hakd.sweeping.same_board import refuse_change
from hakd.sweeping.timing import Measuring, device_from

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapped:
    """The choices for a device and level.

    Attributes:
        methods: by `hakd.records.budgets.choice_key`: architecture, `method`, `budget` (its label; None: the latency of
            the pruned network), `choices` (a record per group, with its reason), `repair` (every timing and its
            consequence), `certificates` (records of `hakd.choosing.certificate`, from separate bursts),
            `search_s` (seconds of sweeping, choosing and verifying; less where the store already held bursts).
        races: by label of the budget, the result of `hakd.search.contestants.race_contestants`; empty without `race`.
        unkept: reasons by `choice_key`, where no widths in the tables meet the budget.
    """

    methods: Mapping[str, dict[str, Any]]
    races: Mapping[str, dict[str, Any]]
    unkept: Mapping[str, str]


def snap_network(
    name: str,
    settings: Mapping[str, Any],
    store: str | Path,
    problem: ChoiceProblem,
    by_tables: TableMethods | None = None,
    sweep_s: float = 0.0,
    measured_on: Mapping[str, Mapping[str, str]] | None = None,
    opened: Callable[[Device, Path], AbstractContextManager[Board]] = open_board,
) -> Snapped:
    """Widths by both readings of HAKD for one device and level, and by the methods that choose them together.

    Args:
        name: the device.
        settings: its entry in the configuration.
        store: the measurement store.
        problem: the pruned network, which is the twin, with its curves on the device and the trajectory of its pruning.
        by_tables: methods to add that choose on tables.
        sweep_s: seconds that the sweep of the curves took.
        measured_on: board and engine of the curves' table, by its path, as `hakd.sweeping.same_board.seen` finds them.
        opened: opens the device; pass another function for boards that are computed in this process.

    Raises:
        HakdError: the device does not answer, or its board or engine is not that of the table.
    """
    device, measuring = device_from(name, settings)
    pruned, asked = problem.pruned, by_tables or TableMethods()
    twin = Budget("the latency of fisher", pruned)
    with opened(device, Path(store)) as board:
        refuse_change(board, measured_on or {})
        made = {reading: _snap(board, measuring, problem, reading, twin) for reading in READINGS}
        wanted = _budgets(asked, pruned, made) if asked.methods else []
        together = choose_by_tables(board, measuring, asked, problem, wanted) if wanted else ByTables()
        made |= together.methods
        budgets = {None: twin} | {budget.label: budget for budget in wanted}
        for entry in made.values():
            entry["search_s"] += sweep_s
            chosen, choices = pruned.at(entry["widths"]), entry["choices"]
            budget = budgets[entry["budget"]]
            certificates = certify_network(board, measuring, pruned, chosen, choices, budget)
            entry["certificates"] = [certificate.to_dict() for certificate in certificates]
    for race in together.races.values():
        race["search_s"] += sweep_s
    return Snapped(made, together.races, together.unkept)


def _budgets(
    asked: TableMethods, pruned: Architecture, made: Mapping[str, Mapping[str, Any]]
) -> list[Budget]:
    """The requested budgets, in the configuration's order; they may be `like` a choice of HAKD."""
    known = {**asked.baselines, "fisher": pruned}
    known |= {reading: pruned.at(entry["widths"]) for reading, entry in made.items()}
    return [budget_from(one, known) for one in asked.budgets or [{"like": "fisher"}]]


def _snap(
    board: Board, measuring: Measuring, problem: ChoiceProblem, reading: str, twin: Budget
) -> dict[str, Any]:
    """Snap every group by its curve, then undo moves until the network is shown to be no slower than its twin."""
    start = board.clock_s()
    pruned, full = problem.pruned, problem.full
    choices = snap_all(problem.curves, pruned.widths, full, reading)
    saliency = {
        group: regained_saliency(problem.trajectory, full, group, choice.width_from, choice.width_to)
        for group, choice in choices.items()
    }
    moves = moves_from(choices.values(), saliency)
    time_fresh = fresh_timer(board, measuring, pruned, twin, give_up=True)
    repaired = repair(pruned.widths, moves, time_fresh)
    log.info("%s at %g: %s", reading, problem.level, repaired.reason)
    chosen = pruned.at(repaired.widths)
    return {
        **chosen.to_dict(),
        "method": reading,
        "budget": None,
        "choices": snapped_records(choices, repaired.undone, chosen, board.device.name, saliency),
        "repair": repaired.to_dict() | {"reference": pruned.arch, "share": 1.0},
        "search_s": board.clock_s() - start,
    }
