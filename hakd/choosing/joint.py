"""Widths of a whole network chosen together, over tables of its tiles, under a latency budget on every device.

    maximise  sum over groups of value(group, width)
    subject to  for every device:  P(latency <= budget) >= probability

A tile's latency depends on all the widths that shape it (input, hidden, output), so groups interact. Errors of the
tiles count as independent and normal, so the constraint is sum(mean) + z sqrt(sum(variance)) <= budget. The root is
concave: chords lie below it, tangents above. Programs (`hakd.choosing.joint_program`) with a chord bound what can be
reached, and intervals of the variance are split where the chord was too low for its solution, until the best widths
found are known to be the best; what is returned always fulfils the true constraint.
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
from hakd.choosing.tile_costs import PROBABILITY, Cost, Values, latency_of
from hakd.records.errors import HakdError

log = logging.getLogger(__name__)

_PROGRAMS = 40  # at most; without noise one does, usually five to ten
_ROUNDING = 1e-6  # of the solver: a budget counts as kept up to this share


@dataclass(frozen=True)
class Joint:
    """Chosen widths. `latency_ms` is predicted, `upper_ms` its bound at the asked probability, both by device."""

    widths: Mapping[str, int]
    value: float
    latency_ms: Mapping[str, float]
    upper_ms: Mapping[str, float]
    gap: float = 0.0  # between this value and the best possible one, as the solver knows it


class NoneFits(HakdError):
    """No widths of the tables keep every budget."""


def evaluate(values: Values, costs: Sequence[Cost], widths: Mapping[str, int], probability: float) -> Joint:
    """These widths with their value and what they cost by the tables."""
    bounds = {cost.name: latency_of(cost, widths, probability) for cost in costs}
    return Joint(
        dict(widths),
        sum(values[group][width] for group, width in widths.items()),
        {name: mean_ms for name, (mean_ms, _) in bounds.items()},
        {name: upper_ms for name, (_, upper_ms) in bounds.items()},
    )


def choose(
    values: Values, costs: Sequence[Cost], probability: float = PROBABILITY, time_limit_s: float = 60.0
) -> Joint:
    """The widths of highest value that keep the budget of every device.

    Args:
        values: {group: {width: value}}, e.g. minus the saliency that dropping down to this width costs.
        costs: of one device, or of a fleet that shares the network.
        probability: with which each device's budget is to be kept, under the errors of its table; 0.5 or more.
        time_limit_s: of the whole search. When it ends the best widths found are returned; `gap` says how much better
            the best possible ones may be, by the solver's bounds.

    Raises:
        NoneFits: no widths keep all budgets.
        HakdError: a tile of a group without values, two devices of one name, a probability outside 0.5 to 1, or a time
            in which no widths were found though some may exist.
    """
    _check(values, costs, probability)
    search = _Search(values, costs, probability, time_limit_s)
    best = search.run()
    budgets = ", ".join(f"{cost.budget_ms:g} ms on {cost.name}" for cost in costs)
    if best is None and search.is_unfinished:
        raise HakdError(
            f"in {time_limit_s:g} s no widths were found that keep the budget ({budgets}), though some may exist",
            key="budget",
            remedy="Raise the budget, or choose by `knapsack`",
        )
    if best is None:
        raise NoneFits(
            f"no widths of those timed keep the budget ({budgets}) with probability {probability:g}",
            key="budget",
            remedy="Raise the budget, or prune further so that narrower widths are timed",
        )
    if best.gap > 2 * GAP:
        log.info(
            "the best found in %g s; at most %.2g %% from the best possible", time_limit_s, 100 * best.gap
        )
    return best


def _check(values: Values, costs: Sequence[Cost], probability: float) -> None:
    if not 0.5 <= probability < 1:
        raise HakdError(
            f"{probability:g} is not from 0.5 to below 1", key="probability", remedy="Use 0.95, for instance"
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
    """Branch and bound: parts that may hold something better than the best so far, and how to take one apart."""

    def __init__(
        self, values: Values, costs: Sequence[Cost], probability: float, time_limit_s: float
    ) -> None:
        self.values, self.costs, self.probability = values, costs, probability
        self.end_s = time.monotonic() + time_limit_s
        self.z = float(ndtri(probability))
        self.program = Program(values, costs)
        self.everything = tuple(variance_range(cost) if self.z > 0 else (0.0, 0.0) for cost in costs)
        self.best: Joint | None = None
        self.number = itertools.count()
        self.parts = [_Part(-math.inf, next(self.number), self.everything)]  # a heap

    def run(self) -> Joint | None:
        """The best widths that keep every budget, with the gap that is left; None where none were found."""
        for number in range(_PROGRAMS):
            if not self.parts or self._is_best_proven() or time.monotonic() >= self.end_s:
                break
            self._search_part(heapq.heappop(self.parts), first=number == 0)
        if self.best is None:
            return None
        reach = max([self.best.value, *(-part.minus_bound for part in self.parts)])
        return replace(self.best, gap=(reach - self.best.value) / max(abs(self.best.value), 1e-300))

    @property
    def is_unfinished(self) -> bool:
        """Whether there are parts left that may hold something."""
        return bool(self.parts)

    def _is_best_proven(self) -> bool:
        """Whether no part is left that may hold a clearly better value."""
        best = self.best
        return best is not None and -self.parts[0].minus_bound <= best.value + GAP * abs(best.value)

    def _search_part(self, part: _Part, first: bool) -> None:
        """Solve a part with chords, which are too low: its choice is at least as good as any network of the part."""
        choice, bound = self._solve([chord(interval, self.z) for interval in part.intervals], part.intervals)
        bound = min(bound, -part.minus_bound)
        if choice is None:
            if bound > -math.inf:  # time ended before anything was found
                self._keep(part.intervals, bound)
            return
        over = [choice.upper_ms[cost.name] / cost.budget_ms - 1 for cost in self.costs]
        if max(over) <= _ROUNDING:  # it keeps the true budgets too, so nothing in the part is better
            self._offer(choice)
            if bound > choice.value + GAP * abs(
                choice.value
            ):  # time ended before this was known to be the best
                self._keep(part.intervals, bound)
            return
        deviations_ms = [
            (choice.upper_ms[cost.name] - choice.latency_ms[cost.name]) / self.z for cost in self.costs
        ]
        if first:
            self._try_tangents(deviations_ms)
        worst = int(np.argmax(over))
        self._split(part, worst, deviations_ms[worst] ** 2, bound)

    def _try_tangents(self, deviations_ms: Sequence[float]) -> None:
        """Tangents are too high: what they allow keeps the budgets, and gives something to measure parts by, soon."""
        choice, _ = self._solve([tangent(ms, self.z) for ms in deviations_ms], self.everything)
        if choice is not None and all(
            choice.upper_ms[cost.name] <= cost.budget_ms * (1 + _ROUNDING) for cost in self.costs
        ):
            self._offer(choice)

    def _offer(self, choice: Joint) -> None:
        """Take a choice that keeps the budgets, if it is better."""
        if self.best is None or choice.value > self.best.value:
            self.best = choice

    def _keep(self, intervals: tuple[Interval, ...], bound: float) -> None:
        """A part that may hold values up to `bound`."""
        heapq.heappush(self.parts, _Part(-bound, next(self.number), intervals))

    def _split(self, part: _Part, device: int, variance: float, bound: float) -> None:
        """Cut a device's interval where the chord was too low; both new chords are exact there.

        At an end of the interval the chord was exact already: what exceeds the budget is rounding.
        """
        low, high = part.intervals[device]
        if low < variance < high:
            for half in ((low, variance), (variance, high)):
                self._keep((*part.intervals[:device], half, *part.intervals[device + 1 :]), bound)

    def _solve(self, lines: Sequence[Line], intervals: Sequence[Interval]) -> tuple[Joint | None, float]:
        """The best widths of a program and a bound of their value; in half of the time that is left."""
        left_s = max(0.1, (self.end_s - time.monotonic()) / 2)
        solved = self.program.solve(lines, intervals, left_s)
        if solved.widths is None:
            return None, solved.bound
        return evaluate(self.values, self.costs, solved.widths, self.probability), solved.bound
