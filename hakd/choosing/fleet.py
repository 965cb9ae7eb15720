"""One network for several devices: candidate widths, the choice that meets every budget, what sharing costs each."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hakd.choosing.joint import Joint, NoneFits, OutOfTime, choose
from hakd.choosing.tile_costs import PROBABILITY, Cost, Values, latency_of


@dataclass(frozen=True)
class Sharing:
    """What a device gives up for the fleet, by the same tables at the same budget.

    Attributes:
        own_widths: what would be chosen for this device alone.
        lost: saliency that the fleet's widths lose.
        own_lost: what those lose; at most `lost`.
        own_ms: their predicted latency here.
        elsewhere: their predicted latency over the budget, by other device: how far one device's own choice is from
            being a choice for all. Infinite where a table lacks it.
    """

    own_widths: Mapping[str, int]
    lost: float
    own_lost: float
    own_ms: float
    elsewhere: Mapping[str, float]


def shared_candidates(own: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Every width that is worth timing on one of the devices, by group, ascending."""
    return {group: sorted(set().union(*(some[group] for some in own))) for group in own[0]}


def choose_for_all(values: Values, costs: Sequence[Cost], probability: float = PROBABILITY) -> Joint:
    """The widths of highest value that meet the budget of every device.

    Raises:
        NoneFits: none do; names the devices for which none do even alone.
    """
    try:
        return choose(values, costs, probability)
    except NoneFits as error:
        alone = [cost.name for cost in costs if _is_impossible(values, cost, probability)]
        words = f"no widths keep it on {', '.join(alone)} alone" if alone else "each can be kept alone"
        raise NoneFits(f"{error.problem}; {words}", key=error.key, remedy=error.remedy) from None


def _is_impossible(values: Values, cost: Cost, probability: float) -> bool:
    try:
        choose(values, [cost], probability)
    except NoneFits:
        return True
    except OutOfTime:
        pass  # nothing is known
    return False


def sharing_costs(
    values: Values,
    costs: Sequence[Cost],
    widths: Mapping[str, int],
    allowed: Mapping[str, Mapping[str, int]] | None = None,
    probability: float = PROBABILITY,
) -> dict[str, Sharing]:
    """What the fleet's widths cost each device against its own choice.

    Args:
        values: {group: {width: value}}, minus the saliency lost.
        costs: of each device, with the budget that the fleet's choice was made for.
        widths: of the fleet; they keep every one of these budgets.
        allowed: widths that a device could take as well, since they meet its budget by definition (their own latency).
        probability: as the fleet's choice had it.
    """
    lost = -_value(values, widths)
    found = {}
    for cost in costs:
        cases = [dict(some) for name, some in (allowed or {}).items() if name == cost.name]
        with suppress(NoneFits, OutOfTime):
            cases.insert(0, dict(choose(values, [cost], probability).widths))
        # The fleet's own: the solver stops within a small gap of the best, and what all can take each could.
        own = max([*cases, dict(widths)], key=lambda some: _value(values, some))
        elsewhere = {
            other.name: latency_of(other, own, probability)[0] / other.budget_ms
            for other in costs
            if other.name != cost.name
        }
        own_ms = latency_of(cost, own, probability)[0]
        found[cost.name] = Sharing(own, lost, -_value(values, own), own_ms, elsewhere)
    return found


def _value(values: Values, widths: Mapping[str, int]) -> float:
    return sum(values[group][width] for group, width in widths.items())
