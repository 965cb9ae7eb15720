"""From curves to a verified choice: snap every group, time the network against its unsnapped twin, repair."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.boards import Board, Device, open_board
from hakd.choosing.repair import Move, moves_from, repair
from hakd.choosing.snap import READINGS, Choice, snap_all
from hakd.networks.families import full_widths
from hakd.pruning.trajectory import regained_saliency
from hakd.records.arch import Architecture
from hakd.search.budget import Budget, budget_from
from hakd.search.by_tables import ChoiceProblem, choose_by_tables
from hakd.search.certifying import certify_network
from hakd.search.fresh import pair_timer
from hakd.staircase.curve_rows import curves_from_table
from hakd.sweeping.same_board import refuse_change
from hakd.sweeping.timing import device_from

log = logging.getLogger(__name__)


def snap_network(
    name: str,
    settings: Mapping[str, Any],
    store: str | Path,
    level: float,
    pruned: Architecture,
    table: pd.DataFrame,
    trajectory: pd.DataFrame,
    sweep_s: float,
    measured_on: Mapping[str, Mapping[str, str]],
    by_tables: Sequence[str] = (),
    budget: Mapping[str, Any] | None = None,
    rivals: Mapping[str, Architecture] | None = None,
    opened: Callable[[Device, Path], AbstractContextManager[Board]] = open_board,
) -> dict[str, dict[str, Any]]:
    """Widths by both readings of HAKD for one device and level, and by the methods that choose them together.

    Args:
        name: the device.
        settings: its entry in the configuration.
        store: the measurement store.
        level: label of the level.
        pruned: the Fisher-pruned architecture, the twin.
        table: latency table of the network on the device.
        trajectory: of the pruning, for the saliency of the channels that come back.
        sweep_s: seconds that the sweep of the table took.
        measured_on: board and engine of the table, by its path, as `hakd.sweeping.same_board.seen` finds them.
        by_tables: methods of `hakd.search.by_tables` to add; they time tables of tiles of their own.
        budget: for these, as `choosing.budget` has it; None: the latency of the pruned network.
        rivals: architectures chosen without a device, by method, for a budget that is like one of theirs.
        opened: opens the device; another than the default is for boards that are computed in this process.

    Returns:
        {method: architecture, `choices` (a record per group, with its reason), `repair` (every timing and what
        followed from it), `certificates` (records of `hakd.choosing.certificate`, from bursts of their own), `search_s`
        (seconds of sweeping, choosing and verifying; less where the store already held bursts)}.

    Raises:
        HakdError: the device does not answer, or is not the one with the engine that the table was measured on.
    """
    device, measuring = device_from(name, settings)
    curves, full = curves_from_table(table, level), full_widths(pruned.spec)
    made: dict[str, dict[str, Any]] = {}
    with opened(device, Path(store)) as board:
        refuse_change(board, measured_on)
        for reading in READINGS:
            start = board.clock_s()
            choices = snap_all(curves, pruned.widths, full, reading)
            saliency = {
                group: regained_saliency(trajectory, full, group, choice.width_from, choice.width_to)
                for group, choice in choices.items()
            }
            moves = moves_from(choices.values(), saliency)
            repaired = repair(pruned.widths, moves, pair_timer(board, measuring, pruned, level))
            log.info("%s at %g: %s", reading, level, repaired.reason)
            chosen = pruned.at(repaired.widths)
            made[reading] = {
                **chosen.to_dict(),
                "choices": _records(choices, repaired.undone, chosen, name, reading, saliency),
                "repair": repaired.to_dict() | {"reference": pruned.arch, "share": 1.0},
                "search_s": sweep_s + board.clock_s() - start,
            }
        budgets = dict.fromkeys(made, Budget("the latency of fisher", pruned))
        if by_tables:
            known = {**(rivals or {}), "fisher": pruned}
            known |= {reading: pruned.at(made[reading]["widths"]) for reading in READINGS}
            asked = budget_from(budget or {"like": "fisher"}, known)
            question = ChoiceProblem(level, pruned, curves, trajectory)
            found = choose_by_tables(board, measuring, by_tables, question, asked)
            for entry in found.values():
                entry["search_s"] += sweep_s
            made |= found
            budgets |= dict.fromkeys(found, asked)
        for method, entry in made.items():
            chosen = pruned.at(entry["widths"])
            shown = certify_network(board, measuring, pruned, chosen, entry["choices"], budgets[method])
            entry["certificates"] = [one.to_dict() for one in shown]
    return made


def _records(
    choices: Mapping[str, Choice],
    undone: tuple[Move, ...],
    chosen: Architecture,
    device: str,
    reading: str,
    saliency: Mapping[str, float],
) -> list[dict[str, Any]]:
    """A record per group: the choice from its curve, and what became of it in verification."""
    undone_groups = {move.group for move in undone}
    records = []
    for group, choice in choices.items():
        record = choice.to_dict() | {
            "network": chosen.spec.name,
            "device": device,
            "method": reading,
            "proposed_width": choice.width_to,
            "saliency": saliency[group],
            "undone": group in undone_groups,
        }
        if group in undone_groups:
            record |= {"width_to": choice.width_from, "free_channels": 0}
            record["reason"] = f"undone in verification (proposed {choice.width_to}: {choice.reason})"
        records.append(record)
    return records
