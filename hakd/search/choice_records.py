"""The record of each group's width: before, after, what its curve shows of both, and the reason."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hakd.choosing.repair import Move
from hakd.choosing.snap import Choice
from hakd.choosing.tile_costs import Values
from hakd.records.arch import Architecture
from hakd.search.budget import Budget
from hakd.search.problem import ChoiceProblem

TOGETHER = "chosen with all other widths on tables of the tiles"


def snapped_records(
    choices: Mapping[str, Choice],
    undone: Sequence[Move],
    chosen: Architecture,
    device: str,
    saliency: Mapping[str, float],
) -> list[dict[str, Any]]:
    """A record per group: the choice from its curve, and its result in verification."""
    undone_groups = {move.group for move in undone}
    records = []
    for group, choice in choices.items():
        record = _record(choice, chosen, device, saliency[group])
        if group in undone_groups:
            record |= {"width_to": choice.width_from, "free_channels": 0, "undone": True}
            record["reason"] = f"undone in verification (proposed {choice.width_to}: {choice.reason})"
        records.append(record)
    return records


def table_records(
    method: str,
    problem: ChoiceProblem,
    chosen: Architecture,
    budget: Budget,
    device: str,
    values: Values,
    how: str = TOGETHER,
) -> list[dict[str, Any]]:
    """A record per group, of widths chosen together: a curve shows the cost of a width, not why it was chosen.

    `how`: how they were chosen, in words.
    """
    records = []
    for group, before in problem.pruned.widths.items():
        after = chosen.widths[group]
        word = "stays" if after == before else "wider" if after > before else "narrower"
        reason = f"{word}: {how}, for {budget.words}"
        choice = _choice_on_curve(method, problem, group, after, reason)
        worth = values[group]
        records.append(
            _record(choice, chosen, device, worth.get(after, 0.0) - worth.get(before, 0.0), budget.label)
        )
    return records


def _choice_on_curve(method: str, problem: ChoiceProblem, group: str, after: int, reason: str) -> Choice:
    """A group's move with its curve's figures; those of a width that was not timed are interpolated."""
    curve, before, full = problem.curves[group], problem.pruned.widths[group], problem.full[group]
    i, timed = curve.index(before), after in curve.widths
    j = curve.index(after) if timed else i
    to_ms = curve.latency_ms[j] if timed else float(np.interp(after, curve.widths, curve.latency_ms))
    return Choice(
        group=group,
        method=method,
        level=problem.level,
        width_from=before,
        width_to=after,
        full_width=full,
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
        trusted=curve.decided(before, full),
        reason=reason,
    )


def _record(
    choice: Choice, chosen: Architecture, device: str, saliency: float, budget: str | None = None
) -> dict[str, Any]:
    return choice.to_dict() | {
        "network": chosen.spec.name,
        "device": device,
        "method": choice.method,
        "budget": budget,
        "proposed_width": choice.width_to,
        "saliency": saliency,
        "undone": False,
    }
