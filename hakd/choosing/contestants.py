"""Which networks race within one latency budget: far enough from each other, and shown to meet the budget.

Saliency is a proxy of accuracy, and within a budget there are several good networks. Beside the best by saliency race
those with most multiply-accumulates and most parameters, profiles without a device scaled into the budget, and
runners-up: the best by saliency that lie apart from what was found before.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hakd.choosing.race import ALIGNED, JOINT, REFERENCE
from hakd.choosing.tile_costs import Values
from hakd.records.errors import HakdError
from hakd.records.text import counted

RUNNER_UP = "runner-up"
COUNTED = {"joint/macs": "macs", "joint/params": "params"}  # origins whose value is a count
ORIGINS = (JOINT, *COUNTED, *ALIGNED, RUNNER_UP)  # in the contestants' order

DISTINCT = 0.1  # distance from which on two networks are no near-copies
ALIKE = 0.5  # logarithm (base 2) of the ratio from which on two widths have nothing in common
PRICE = 0.5  # of what the best network loses: the price of a network that is like it in every group

Widths = Mapping[str, int]


@dataclass(frozen=True)
class Answer:
    """A network that may race. `worth` ranks those of one origin: the highest within the budget is the one to take.

    `latency_ms` and its upper end are measured; infinite: not yet. `kept`: whether the budget is shown to be kept.
    """

    origin: str
    widths: Widths
    worth: float
    latency_ms: float = math.inf
    upper_ms: float = math.inf
    kept: bool = False


def distance(one: Widths, other: Widths) -> float:
    """Mean over groups of the logarithm (base 2) of the ratio of widths: 1 where all differ by a factor of two."""
    return sum(abs(math.log2(width / other[group])) for group, width in one.items()) / len(one)


def apart(values: Values, best: Widths, others: Sequence[Widths]) -> dict[str, dict[int, float]]:
    """Values under which the best network is a good one that differs from others: widths near theirs lose value.

    Args:
        values: {group: {width: minus the saliency lost}}.
        best: the best network by these; what it loses is the unit of the price.
        others: networks to differ from.
    """
    loss = abs(sum(values[group][width] for group, width in best.items() if width in values[group]))
    price = PRICE * loss / len(values)
    return {
        group: {
            width: value - price * sum(_likeness(width, other[group]) for other in others)
            for width, value in by_width.items()
        }
        for group, by_width in values.items()
    }


def _likeness(width: int, other: int) -> float:
    """1 for the same width, 0 from `ALIKE` on."""
    return max(0.0, 1 - abs(math.log2(width / other)) / ALIKE)


def bracket(keeps: Mapping[int, bool], size: int) -> tuple[int, int]:
    """Where the widest of `size` networks in a row within the budget lies: at or behind the first, before the second.

    Args:
        keeps: what is known, by place. Wider is not always slower: the widest that meets the budget counts.
        size: places, narrow to wide.
    """
    low = max((place for place, kept in keeps.items() if kept), default=-1)
    return low, min((place for place, kept in keeps.items() if place > low and not kept), default=size)


def evenly(low: int, high: int, count: int) -> list[int]:
    """At most `count` places strictly between two, evenly spread."""
    inside = high - low - 1
    if inside <= count:
        return list(range(low + 1, high))
    return [low + round((number + 1) * (inside + 1) / (count + 1)) for number in range(count)]


def runners_up(pool: Sequence[Answer], taken: Sequence[Widths], most: int) -> list[Answer]:
    """The runners-up of most worth, each `DISTINCT` from what is taken and from those before it."""
    found: list[Answer] = []
    for answer in sorted(pool, key=lambda one: -one.worth):
        others = [*taken, *(one.widths for one in found)]
        if len(found) < most and all(distance(answer.widths, other) >= DISTINCT for other in others):
            found.append(answer)
    return found


def line_up(answers: Sequence[Answer], most: int) -> list[Answer]:
    """One network of each origin, that of most worth, and runners-up: at most `most`, in the order of `ORIGINS`.

    Networks of most MACs or parameters that are near-copies of those before them are left out; a profile without a
    device only where it is the very network of another.
    """
    found: list[Answer] = []
    for origin in ORIGINS[:-1]:
        own = [one for one in answers if one.origin == origin]
        if not own:
            continue
        best = max(own, key=lambda one: one.worth)
        near = min((distance(best.widths, one.widths) for one in found), default=math.inf)
        if near >= DISTINCT or (origin in ALIGNED and near > 0):
            found.append(best)
    found = found[:most]
    rest = [one for one in answers if one.origin == RUNNER_UP]
    return found + runners_up(rest, [one.widths for one in found], most - len(found))


def within(
    measured: Sequence[Answer],
    budget_ms: float,
    most: int,
    reference: Widths | None = None,
    verified: bool = False,
) -> tuple[list[Answer], str]:
    """The networks that are shown to meet the budget (`line_up`), and in words which they are.

    Where none are, the network that gave the budget, which keeps it by definition; without one, the closest.

    Args:
        measured: all in one session.
        budget_ms: on that session's scale.
        most: contestants.
        reference: the network whose latency the budget is; None: the budget is another one.
        verified: `joint`'s own was shown to meet the budget before, by several looks: that stays shown.

    Raises:
        HakdError: nothing could be timed.
    """
    shown = [
        replace(one, kept=True)
        for one in measured
        if one.upper_ms <= budget_ms or (verified and one.origin == JOINT)
    ]
    if shown:
        found = line_up(shown, most)
        return found, f"{counted(len(found), 'network')} within the budget"
    if reference is not None:
        own = Answer(REFERENCE, reference, 0.0, budget_ms, budget_ms, kept=True)
        return [own], "no other network is shown to meet the budget: the network that gave it is taken"
    if not measured:
        raise HakdError(
            "no contestant could be timed against the budget",
            key="choosing.budgets",
            remedy="See the failures that the device reported, or run again: what was measured is kept",
        )
    closest = line_up([replace(one, worth=-one.upper_ms) for one in measured], most)
    return closest, "no network is shown to meet the budget: the closest one is taken"
