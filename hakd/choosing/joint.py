"""Widths of a whole network chosen together, over tables of its tiles, under a latency budget on every device.

    maximise  sum over groups of value(group, width)
    subject to  for every device:  P(latency <= budget) >= probability

A tile's latency depends on all the widths that shape it (input, hidden, output), so groups interact. The choice is
a mixed integer program with one binary variable for each (group, width) and one variable for each (tile, widths of
its groups), tied to the former by its marginals; on chains that is the dynamic program over pairs, on residual and
dense networks the same with larger tuples. Errors of the tiles count as independent and normal, so the constraint is
sum(mean) + z sqrt(sum(variance)) <= budget. The root is concave: chords lie below it, tangents above. Programs with a
chord bound what can be reached, and intervals of the variance are split where the chord was too low for its solution,
until the best widths found are known to be the best; what is returned always fulfils the true constraint.
"""

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.special import ndtri

from hakd.records.errors import HakdError

PROBABILITY = 0.95
_NODES = 40  # programs at most; without noise one does, usually five to ten
_GAP = 1e-4
_ROUNDING = 1e-6  # of the solver: a budget counts as kept up to this share
_TIE = 1e-6  # weight of latency against value: of equal choices the faster one

Key = tuple[int, ...]
Interval = tuple[float, float]
Values = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class TileTable:
    """Latencies of one tile in ms by the widths of its `groups`, in their order, with the standard errors of each.

    Widths that are not in the table are not allowed. A tile without groups has the one key ().
    """

    name: str
    groups: tuple[str, ...]
    latency_ms: Mapping[Key, float]
    sigma_ms: Mapping[Key, float]

    def __post_init__(self) -> None:
        fine = all(
            np.isfinite(ms) and ms > 0 and len(key) == len(self.groups) for key, ms in self.latency_ms.items()
        )
        if not self.latency_ms or not fine or self.sigma_ms.keys() != self.latency_ms.keys():
            raise HakdError(
                "a tile's table needs a positive latency and its error for each combination of widths",
                key=self.name,
                remedy="Sweep the network again",
            )


@dataclass(frozen=True)
class Cost:
    """What a network costs on a device: tables of all its tiles, overhead of the whole (may be negative), budget."""

    name: str
    tiles: Sequence[TileTable]
    budget_ms: float
    overhead_ms: float = 0.0


@dataclass(frozen=True)
class Joint:
    """Chosen widths. `latency_ms` is predicted, `upper_ms` its bound at the asked probability, both by device."""

    widths: Mapping[str, int]
    value: float
    latency_ms: Mapping[str, float]
    upper_ms: Mapping[str, float]
    gap: float  # between this value and the best possible one, as the solver knows it


class NoneFits(HakdError):
    """No widths of the tables keep every budget."""


def latency_of(
    cost: Cost, widths: Mapping[str, int], probability: float = PROBABILITY
) -> tuple[float, float]:
    """(predicted latency in ms, its upper bound at `probability`) of some widths; infinite where a table lacks them."""
    mean, variance = cost.overhead_ms, 0.0
    for tile in cost.tiles:
        key = tuple(widths[group] for group in tile.groups)
        if key not in tile.latency_ms:
            return np.inf, np.inf
        mean += tile.latency_ms[key]
        variance += tile.sigma_ms[key] ** 2
    return mean, mean + float(ndtri(probability)) * variance**0.5


def judged(
    values: Values, costs: Sequence[Cost], widths: Mapping[str, int], probability: float, gap: float = 0.0
) -> Joint:
    """These widths with their value and what they cost by the tables."""
    bounds = {cost.name: latency_of(cost, widths, probability) for cost in costs}
    return Joint(
        dict(widths),
        sum(values[group][width] for group, width in widths.items()),
        {name: found[0] for name, found in bounds.items()},
        {name: found[1] for name, found in bounds.items()},
        gap,
    )


def choose(
    values: Values,
    costs: Sequence[Cost],
    probability: float = PROBABILITY,
    time_limit_s: float = 60.0,
) -> Joint:
    """The widths of highest value that keep the budget of every device.

    Args:
        values: {group: {width: value}}, e.g. minus the saliency that dropping down to this width costs.
        costs: of one device, or of a fleet that shares the network.
        probability: with which each device's budget is to be kept, under the errors of its table; 0.5 or more.
        time_limit_s: for each of at most forty programs, usually one to ten; the best widths found are returned.

    Raises:
        NoneFits: no widths keep all budgets.
        HakdError: a tile of a group without values, two devices of one name, or a probability that is none.
    """
    _check(values, costs, probability)
    program = _Program(values, costs)
    z = float(ndtri(probability))
    best: Joint | None = None
    count = itertools.count()
    root = tuple(program.variance_range(d) if z > 0 else (0.0, 0.0) for d in range(len(costs)))
    # Most promising first: (minus the bound of its value, order of making, intervals of the variance by device).
    nodes: list[tuple[float, int, tuple[Interval, ...]]] = [(-math.inf, next(count), root)]
    for solved in range(_NODES):
        if not nodes or (best is not None and -nodes[0][0] <= best.value + _GAP * abs(best.value)):
            break
        intervals = heapq.heappop(nodes)[2]
        found = program.solve([_chord(one, z) for one in intervals], intervals, time_limit_s)
        if found is None:
            continue
        made = judged(values, costs, found, probability)
        over = [made.upper_ms[cost.name] / cost.budget_ms - 1 for cost in costs]
        if max(over) <= _ROUNDING:
            best = made if best is None or made.value > best.value else best
            continue
        spread = [(made.upper_ms[cost.name] - made.latency_ms[cost.name]) / z for cost in costs]
        if solved == 0:  # something to measure others by, soon
            inner = program.solve(
                [(z / (2 * s0), z * s0 / 2) if s0 > 0 else (0, 0) for s0 in spread], root, time_limit_s
            )
            if inner is not None:
                best = judged(values, costs, inner, probability)
                if any(best.upper_ms[cost.name] > cost.budget_ms * (1 + _ROUNDING) for cost in costs):
                    best = None
        worst = int(np.argmax(over))
        low, high = intervals[worst]
        middle = spread[worst] ** 2
        if low < middle < high:
            for part in ((low, middle), (middle, high)):
                split = (*intervals[:worst], part, *intervals[worst + 1 :])
                heapq.heappush(nodes, (-made.value, next(count), split))
    if best is None:
        raise _none_fits(costs, probability)
    reach = max([best.value, *(-node[0] for node in nodes)])
    return replace(best, gap=(reach - best.value) / max(abs(best.value), 1e-300))


def _chord(interval: Interval, z: float) -> tuple[float, float]:
    """(slope, intercept) in the variance of the chord below z x its root, over the interval."""
    low, high = interval[0] ** 0.5, interval[1] ** 0.5
    if low + high == 0:
        return 0.0, 0.0
    return z / (low + high), z * low * high / (low + high)


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
            unknown = [group for group in tile.groups if group not in values]
            if unknown:
                raise HakdError(
                    f"no values are known for {unknown[0]}",
                    key=tile.name,
                    remedy="Give each group its values",
                )


def _none_fits(costs: Sequence[Cost], probability: float) -> NoneFits:
    named = ", ".join(f"{cost.budget_ms:g} ms on {cost.name}" for cost in costs)
    return NoneFits(
        f"no widths of those timed keep the budget ({named}) with probability {probability:g}",
        key="budget",
        remedy="Raise the budget, or prune further so that narrower widths are timed",
    )


class _Program:
    """The constraints that no tangent changes."""

    def __init__(self, values: Values, costs: Sequence[Cost]) -> None:
        self.values, self.costs = values, costs
        self.place: dict[tuple[str, int], int] = {}
        for group, widths in values.items():
            for width in widths:
                self.place[group, width] = len(self.place)
        self.binary = len(self.place)
        rows: list[int] = []
        columns: list[int] = []
        entries: list[float] = []
        self.right: list[float] = []

        def equation(terms: list[tuple[int, float]], right: float) -> None:
            for column, entry in terms:
                rows.append(len(self.right))
                columns.append(column)
                entries.append(entry)
            self.right.append(right)

        for group, widths in values.items():
            equation([(self.place[group, width], 1.0) for width in widths], 1.0)
        size = self.binary
        means: list[dict[int, float]] = []
        variances: list[dict[int, float]] = []
        for cost in costs:
            mean: dict[int, float] = {}
            variance: dict[int, float] = {}
            for tile in cost.tiles:
                keys = [
                    key
                    for key in tile.latency_ms
                    if all(
                        (group, width) in self.place for group, width in zip(tile.groups, key, strict=True)
                    )
                ]
                at = {key: size + i for i, key in enumerate(keys)}
                size += len(keys)
                for key, column in at.items():
                    mean[column] = tile.latency_ms[key]
                    variance[column] = tile.sigma_ms[key] ** 2
                if not tile.groups:
                    equation([(column, 1.0) for column in at.values()], 1.0)
                for axis, group in enumerate(tile.groups):
                    for width in values[group]:
                        terms = [(column, 1.0) for key, column in at.items() if key[axis] == width]
                        equation([*terms, (self.place[group, width], -1.0)], 0.0)
            means.append(mean)
            variances.append(variance)
        self.size = size
        self.mean, self.variance = self._rows(means), self._rows(variances)
        self.equations = sparse.csr_array((entries, (rows, columns)), shape=(len(self.right), size))

    def _rows(self, entries: list[dict[int, float]]) -> list[np.ndarray]:
        rows = np.zeros((len(entries), self.size))
        for row, by_column in zip(rows, entries, strict=True):
            row[list(by_column)] = list(by_column.values())
        return list(rows)

    def variance_range(self, device: int) -> Interval:
        """Between what the variance of all tiles (ms squared) lies, whatever the widths."""
        by_tile = [[s**2 for s in tile.sigma_ms.values()] for tile in self.costs[device].tiles]
        return sum(map(min, by_tile)), sum(map(max, by_tile))

    def solve(
        self,
        lines: Sequence[tuple[float, float]],
        intervals: Sequence[Interval],
        time_limit_s: float,
    ) -> dict[str, int] | None:
        """Best widths for which mean + slope x variance + intercept keeps each budget, variances in the intervals."""
        objective = np.zeros(self.size)
        for (group, width), column in self.place.items():
            objective[column] = -self.values[group][width]
        # The solver's tolerances are absolute: values, budgets and variances are brought to the size of 1.
        objective /= max(np.abs(objective).max(), 1e-300)
        constraints = [LinearConstraint(self.equations, self.right, self.right)]
        for cost, mean, variance, (slope, intercept), (low, high) in zip(
            self.costs, self.mean, self.variance, lines, intervals, strict=True
        ):
            objective += _TIE * mean / cost.budget_ms
            room = (cost.budget_ms - cost.overhead_ms - intercept) / cost.budget_ms
            constraints.append(LinearConstraint((mean + slope * variance) / cost.budget_ms, -np.inf, room))
            if high > 0:
                constraints.append(LinearConstraint(variance / high, low / high - 1e-9, 1 + 1e-9))
        integrality = np.zeros(self.size)
        integrality[: self.binary] = 1
        done = milp(
            objective,
            integrality=integrality,
            bounds=Bounds(0, 1),
            constraints=constraints,
            options={"time_limit": time_limit_s, "mip_rel_gap": _GAP},
        )
        if done.x is None:
            return None
        return {group: width for (group, width), column in self.place.items() if done.x[column] > 0.5}
