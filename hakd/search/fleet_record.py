"""The record of a network chosen for a fleet: budget, prediction, fresh figures and cost by device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hakd.choosing.fleet import Sharing, choose_for_all, sharing_costs
from hakd.choosing.joint import Joint
from hakd.choosing.tile_costs import PROBABILITY, Cost, Values, latency_of
from hakd.choosing.within_budgets import DeviceTry, Verified
from hakd.networks.families import full_widths
from hakd.records.arch import Architecture
from hakd.search.budget import Budget
from hakd.search.tile_tables import Tables
from hakd.staircase.ratio import SAME, plain


@dataclass(frozen=True)
class FleetProblem:
    """The tables and budgets of all members, and the errors of the predictions.

    `shifts_ms`: how much longer the first choice took than predicted, on each device.
    """

    tables: Mapping[str, Tables]
    values: Values
    budgets_ms: Mapping[str, float]
    shifts_ms: Mapping[str, float]

    def costs(self, asked_ms: Mapping[str, float]) -> list[Cost]:
        """The costs on each device, for budgets in ms."""
        return [
            Cost(name, one.tiles, asked_ms[name], one.overhead_ms + self.shifts_ms[name])
            for name, one in self.tables.items()
        ]

    def solve(self, asked_ms: Mapping[str, float]) -> Joint:
        """The best widths for these budgets."""
        return choose_for_all(self.values, self.costs(asked_ms))

    def knows(self, widths: Mapping[str, int]) -> bool:
        """Whether the tables hold all these widths."""
        return all(width in self.values[group] for group, width in widths.items())


def described(
    verified: Verified,
    problem: FleetProblem,
    budgets: Mapping[str, Budget],
    pruned: Architecture,
    recorded: float,
) -> dict[str, Any]:
    """As JSON holds it.

    Args:
        verified: the choice, and every try.
        problem: the tables that it was made on.
        budgets: by device.
        pruned: the Fisher-pruned network.
        recorded: the sum of all saliencies that the pruning recorded; shares are of this.
    """
    chosen = pruned.at(verified.widths)
    last = verified.taken.devices if verified.taken else {}
    nominal = problem.budgets_ms
    costs = problem.costs({name: last[name].asked_ms if last else nominal[name] for name in nominal})
    sharing = _sharing(chosen, problem, costs, budgets)
    lost = next((one.lost / recorded for one in sharing.values()), None)
    devices = {}
    for cost in costs:
        name, timed = cost.name, last.get(cost.name)
        devices[name] = {
            "budget": budgets[name].words,
            "budget_ms": nominal[name],
            **_figures(chosen, cost, nominal[name], timed),
            "overhead_ms": problem.tables[name].overhead_ms,
            "shift_ms": problem.shifts_ms[name],
            "residual_p95": problem.tables[name].residual_p95,
            "points": sum(len(tile.latency_ms) for tile in cost.tiles),
            "sharing": _shared(sharing[name], recorded, pruned) if sharing else None,
        }
    return {
        **chosen.to_dict(),
        "reason": verified.reason,
        "probability": PROBABILITY,
        "lost_share": lost,
        "devices": devices,
        "groups": _groups(chosen, pruned, problem.values),
        "steps": plain(verified.steps),
    }


def _sharing(
    chosen: Architecture, problem: FleetProblem, costs: list[Cost], budgets: Mapping[str, Budget]
) -> dict[str, Sharing]:
    """The cost of sharing by device; empty where the tables do not cover the network (a narrower reference)."""
    if not problem.knows(chosen.widths):
        return {}
    keeps = {
        name: budget.reference.widths
        for name, budget in budgets.items()
        if budget.reference is not None and budget.same and problem.knows(budget.reference.widths)
    }
    return sharing_costs(problem.values, costs, chosen.widths, keeps)


def _figures(chosen: Architecture, cost: Cost, budget_ms: float, timed: DeviceTry | None) -> dict[str, Any]:
    """Predicted and fresh figures. The network that gave the budget was not timed: its ratio is 1 by definition."""
    predicted, upper = latency_of(cost, chosen.widths, PROBABILITY)
    found = {"asked_ms": cost.budget_ms, "predicted_ms": finite(predicted), "upper_ms": finite(upper)}
    if timed is None:
        return found | {"fresh_ms": None, **SAME.to_dict(), "verified": True, "shrinkage": None}
    return found | {
        "fresh_ms": timed.fresh_ms,
        **timed.ratio.to_dict(),
        "verified": timed.ratio.kept,
        "shrinkage": timed.shrinkage(budget_ms),
    }


def _shared(sharing: Sharing, recorded: float, pruned: Architecture) -> dict[str, Any]:
    own = pruned.at(sharing.own_widths)
    return {
        "lost_share": sharing.lost / recorded,
        "own_lost_share": sharing.own_lost / recorded,
        "cost_share": (sharing.lost - sharing.own_lost) / recorded,
        "own_arch": own.arch,
        "own_widths": dict(own.widths),
        "own_predicted_ms": finite(sharing.own_ms),
        "own_elsewhere": {name: finite(ratio) for name, ratio in sharing.elsewhere.items()},
    }


def _groups(chosen: Architecture, pruned: Architecture, values: Values) -> list[dict[str, Any]]:
    """A record per group: pruned and chosen width, and the saliency regained (lost: below 0; null: unknown)."""
    full, records = full_widths(pruned.spec), []
    for group, before in pruned.widths.items():
        after, worth = chosen.widths[group], values[group]
        known = before in worth and after in worth
        records.append(
            {
                "group": group,
                "width_from": before,
                "width_to": after,
                "full_width": full[group],
                "saliency": worth[after] - worth[before] if known else None,
            }
        )
    return records


def finite(value: float) -> float | None:
    """The value as JSON can hold it."""
    return float(value) if abs(value) < float("inf") else None
