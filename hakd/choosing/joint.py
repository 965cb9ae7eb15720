"""Widths of a whole network chosen together, over tables of its tiles, under a latency budget on every device.

    maximise  sum over groups of value(group, width)  (+ sum over tiles of worth(tile, its groups' widths))
    subject to  for every device:  P(latency <= budget) >= probability

A tile's latency depends on all the widths that shape it (input, hidden, output), so groups interact. Errors of the
tiles count as independent and normal, so the constraint is sum(mean) + z sqrt(sum(variance)) <= budget. The root is
concave: chords lie below it, tangents above. Programs (`hakd.choosing.joint_program`) with a chord bound what can be
reached, and intervals of the variance are split where the chord was too low for its solution, until the best widths
found are known to be the best; what is returned always fulfils the true constraint. When the time limit comes first,
the bounds of the solver say how far the best possible may be from the best found.
"""

import heapq
import itertools
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri

from hakd.choosing.joint_program import GAP, Interval, Line, Program, chord, tangent, variance_range
from hakd.choosing.tile_costs import (
    NOTHING,
    PROBABILITY,
    Cost,
    Values,
    Worth,
    alternatives,
    latency_of,
    value_of,
)
from hakd.records.errors import HakdError

log = logging.getLogger(__name__)
TIME_LIMIT_S = 60.0
_PROGRAMS = 40  # at most; without noise one does, usually four to ten
_FIRST_SHARE = (
    0.8  # of the time, for the first program: what it finds may not meet the budget, then another one is due
)
_LEAST_UNIT = (
    0.01  # of the largest value of a width: gaps are relative to no less, for the solver sees no finer
)
_ROUNDING = 1e-6  # of the solver: a budget counts as kept up to this share


@dataclass(frozen=True)
class Joint:
    """Chosen widths. `latency_ms` is predicted, `upper_ms` its bound at the asked probability, both by device.

    `gap`: by how much the best possible value may exceed this one, as a share of it; above `GAP` the search ended
    early. None: the widths are not the answer of such a search.
    """

    widths: Mapping[str, int]
    value: float
    latency_ms: Mapping[str, float]
    upper_ms: Mapping[str, float]
    gap: float | None = None

    @property
    def note(self) -> str:
        """A note where these are not known to be the best widths; else empty."""
        early = self.gap is not None and self.gap > GAP
        return f"best known, at most {self.gap:.2%} from the best possible" if early else ""


class NoneFits(HakdError):
    """No widths of the tables meet every budget."""


class OutOfTime(HakdError):
    """No widths were found that meet every budget, and it was not shown either that there are none."""


def evaluate(
    values: Values,
    costs: Sequence[Cost],
    widths: Mapping[str, int],
    probability: float,
    worth: Worth = NOTHING,
) -> Joint:
    """These widths with their value and what they cost by the tables."""
    bounds = {cost.name: latency_of(cost, widths, probability) for cost in costs}
    return Joint(
        dict(widths),
        value_of(values, costs[0].tiles, widths, worth),
        {name: mean_ms for name, (mean_ms, _) in bounds.items()},
        {name: upper_ms for name, (_, upper_ms) in bounds.items()},
    )


def choose(
    values: Values,
    costs: Sequence[Cost],
    probability: float = PROBABILITY,
    time_limit_s: float = TIME_LIMIT_S,
    worth: Worth = NOTHING,
) -> Joint:
    """The widths of highest value that meet the budget of every device.

    Args:
        values: {group: {width: value}}, e.g. minus the saliency that dropping down to this width costs.
        costs: of one device, or of a fleet that shares the network.
        probability: with which each device's budget is to be kept, under the errors of its table; 0.5 or more.
        time_limit_s: for the whole search; when it ends, the best widths found are returned, with their gap.
        worth: of tiles (the first device's, all or none), beside the values of widths: what does not add up over
            groups, such as multiply-accumulates.

    Raises:
        NoneFits: no widths keep all budgets.
        OutOfTime: none were found in time.
        HakdError: a tile of a group without values, two devices of one name, or a probability outside 0.5 to 1.
    """
    _check(values, costs, probability)
    search = _Search(values, costs, probability, time.monotonic() + time_limit_s, worth)
    best = search.run()
    if best is not None:
        if best.note:
            expected = time_limit_s < TIME_LIMIT_S  # a caller that gives less time expects that
            level = logging.INFO if expected else logging.WARNING
            log.log(level, "joint choice ended after %g s: %s", time_limit_s, best.note)
        return best
    budgets = ", ".join(f"{cost.budget_ms:g} ms on {cost.name}" for cost in costs)
    if search.unfinished:
        raise OutOfTime(
            f"no widths that meet the budget ({budgets}) were found in {time_limit_s:g} s; there may be some",
            key="budget",
            remedy="Run again when this machine has less to do, or raise the budget",
        )
    raise NoneFits(
        f"none of the timed widths meet the budget ({budgets}) with probability {probability:g}",
        key="budget",
        remedy="Raise the budget, or lower `choosing.reach` or `run.levels` so that narrower widths are timed",
    )


def _check(values: Values, costs: Sequence[Cost], probability: float) -> None:
    if not 0.5 <= probability < 1:
        raise HakdError(
            f"{probability:g} is not in [0.5, 1)", key="probability", remedy="Use for example 0.95"
        )
    names = [cost.name for cost in costs]
    if not names or len(set(names)) < len(names):
        raise HakdError("one cost for each device is needed", key="devices", remedy="Name each device once")
    for cost in costs:
        if not (np.isfinite(cost.budget_ms) and cost.budget_ms > 0):
            raise HakdError(
                f"a budget of {cost.budget_ms} ms", key=cost.name, remedy="Give a positive latency in ms"
            )
        for tile in cost.tiles:
            for group in tile.groups:
                if group not in values:
                    words = f"no values are known for {group}"
                    raise HakdError(words, key=tile.name, remedy="Give each group its values")


@dataclass(frozen=True, order=True)
class _Part:
    """Networks whose variance on each device lies in its interval. The most promising comes first, then the older."""

    minus_bound: float  # minus the value that no network of it exceeds
    number: int  # in the order of making
    intervals: tuple[Interval, ...] = field(compare=False)


class _Search:
    """Branch and bound: parts that may hold something better than the best so far, and how to split one."""

    def __init__(
        self, values: Values, costs: Sequence[Cost], probability: float, deadline: float, worth: Worth
    ) -> None:
        self.values, self.costs, self.probability, self.worth = values, costs, probability, worth
        self.deadline = deadline
        self.z = float(ndtri(probability))
        self.program = Program(values, costs, worth)
        self.everything = tuple(variance_range(cost) if self.z > 0 else (0.0, 0.0) for cost in costs)
        self.best: Joint | None = None
        self.left = -math.inf  # what no network exceeds in parts that were searched, but not to their end
        self.number = itertools.count()
        ceiling = sum(map(max, alternatives(values, worth)))
        self.parts = [_Part(-ceiling, next(self.number), self.everything)]  # a heap

    def run(self) -> Joint | None:
        """The best widths that meet every budget, with the gap that is left; None where none were found."""
        for number in range(_PROGRAMS):
            if not self.parts or self._is_best_proven() or (number and time.monotonic() >= self.deadline):
                break
            self._search_part(heapq.heappop(self.parts), first=number == 0)
        if self.best is None:
            return None
        reach = max([self.best.value, self.left, *(-part.minus_bound for part in self.parts)])
        return replace(self.best, gap=(reach - self.best.value) / self._unit(self.best))

    @property
    def unfinished(self) -> bool:
        """Whether widths that meet every budget may have been missed."""
        return bool(self.parts) or self.left > -math.inf

    def _unit(self, best: Joint) -> float:
        """What gaps are relative to."""
        return max(abs(best.value), _LEAST_UNIT * self.program.scale)

    def _is_best_proven(self) -> bool:
        """Whether no part is left that may hold a clearly better value."""
        best = self.best
        return best is not None and -self.parts[0].minus_bound <= best.value + GAP * self._unit(best)

    def _search_part(self, part: _Part, first: bool) -> None:
        """Solve a part with chords, which are too low: its bound holds for every network of the part."""
        lines = [chord(interval, self.z) for interval in part.intervals]
        share = _FIRST_SHARE if first and any(high > 0 for _, high in part.intervals) else 1.0
        choice, bound = self._solve(lines, part.intervals, share)
        bound = min(bound, -part.minus_bound)
        if choice is None:
            self.left = max(self.left, bound)  # minus infinity where the part is known to be empty
            if first and bound > -math.inf:
                self._try_tangents([high**0.5 for _, high in self.everything])
            return
        over = [choice.upper_ms[cost.name] / cost.budget_ms - 1 for cost in self.costs]
        if max(over) <= _ROUNDING:  # it keeps the true budgets too
            self.left = max(self.left, bound)
            self._keep(choice)
            return
        deviations_ms = [
            (choice.upper_ms[cost.name] - choice.latency_ms[cost.name]) / self.z for cost in self.costs
        ]
        if first:
            self._try_tangents(deviations_ms)
        worst = int(np.argmax(over))
        self._split(part, worst, deviations_ms[worst] ** 2, bound)

    def _keep(self, choice: Joint) -> None:
        if self.best is None or choice.value > self.best.value:
            self.best = choice

    def _try_tangents(self, deviations_ms: Sequence[float]) -> None:
        """Tangents are too high: what they allow meets the budgets, and gives something to measure parts by, soon."""
        choice, _ = self._solve([tangent(ms, self.z) for ms in deviations_ms], self.everything)
        if choice is not None and all(
            choice.upper_ms[cost.name] <= cost.budget_ms * (1 + _ROUNDING) for cost in self.costs
        ):
            self._keep(choice)

    def _split(self, part: _Part, device: int, variance: float, bound: float) -> None:
        """Cut a device's interval where the chord was too low; both new chords are exact there.

        At an end of the interval the chord was exact already: what exceeds the budget is rounding.
        """
        low, high = part.intervals[device]
        if not low < variance < high:
            self.left = max(self.left, bound)
            return
        for half in ((low, variance), (variance, high)):
            intervals = (*part.intervals[:device], half, *part.intervals[device + 1 :])
            heapq.heappush(self.parts, _Part(-bound, next(self.number), intervals))

    def _solve(
        self, lines: Sequence[Line], intervals: Sequence[Interval], share: float = 1.0
    ) -> tuple[Joint | None, float]:
        """The best widths found in a share of the time that is left, and the value that none exceed."""
        left_s = max(0.0, self.deadline - time.monotonic())
        solved = self.program.solve(lines, intervals, share * left_s)
        if solved.widths is None:
            return None, solved.bound
        return evaluate(self.values, self.costs, solved.widths, self.probability, self.worth), solved.bound
