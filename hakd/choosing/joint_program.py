"""The joint choice as a mixed integer program, with a line in the variance where the budget has its root.

Its variables lie between 0 and 1: a binary one for each (group, width), then one for each (device, tile, widths of the
tile's groups). Equations tie the latter to the former: each group has one width, and a tile's variables that share a
width of a group add up to that width's own. On chains that is the dynamic program over pairs, on residual and dense
networks the same with larger tuples.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp

from hakd.choosing.tile_costs import NOTHING, Cost, Values, Worth, alternatives, value_of

GAP = 1e-4  # of values, relative: nearer to the best than this counts as the best
_TIE = 1e-6  # weight of latency against value: of equal choices the faster one
_INFEASIBLE, _OTHER = 2, 4  # scipy's status

Interval = tuple[float, float]  # of the variance of a network's latency, ms squared
Line = tuple[
    float, float
]  # (slope in 1 / ms, intercept in ms) of what stands for z times the root of the variance


def chord(interval: Interval, z: float) -> Line:
    """The line through the root at both ends of an interval: below it in between."""
    low, high = interval[0] ** 0.5, interval[1] ** 0.5
    return (z / (low + high), z * low * high / (low + high)) if low + high else (0.0, 0.0)


def tangent(deviation_ms: float, z: float) -> Line:
    """The line that touches the root at a standard deviation: above it everywhere else."""
    return (z / (2 * deviation_ms), z * deviation_ms / 2) if deviation_ms > 0 else (0.0, 0.0)


def variance_range(cost: Cost) -> Interval:
    """Between what the variance of all tiles lies, whatever the widths."""
    by_tile = [[sigma_ms**2 for sigma_ms in tile.sigma_ms.values()] for tile in cost.tiles]
    return sum(map(min, by_tile)), sum(map(max, by_tile))


@dataclass(frozen=True)
class Solved:
    """What became of a program: the best widths found, and the value that no widths which it allows exceed.

    Without an end in time there may be no widths (None), and the bound may be far above what they reach.
    Where the program allows none the bound is minus infinity.
    """

    widths: dict[str, int] | None
    bound: float


class Program:
    """The program but for its lines: `solve` may be called with one set of them after the other."""

    def __init__(self, values: Values, costs: Sequence[Cost], worth: Worth = NOTHING) -> None:
        self.values, self.costs, self.worth = values, costs, worth
        # The solver's tolerances are absolute: values, budgets and variances are brought to the size of 1.
        every = itertools.chain(*alternatives(values, worth))
        self.scale = max(map(abs, every), default=0) or 1.0
        self.column = {
            pair: i for i, pair in enumerate((g, w) for g, widths in values.items() for w in widths)
        }
        number = itertools.count(len(self.column))
        # Of each device its tiles, each with the columns of those of its keys that may be chosen.
        self.tiles = [
            [
                (tile, {key: next(number) for key in tile.latency_ms if self._is_offered(tile.groups, key)})
                for tile in cost.tiles
            ]
            for cost in costs
        ]
        self.size = next(number)
        self.mean, self.variance = np.zeros((2, len(costs), self.size))
        for device, tiles in enumerate(self.tiles):
            for tile, columns in tiles:
                for key, column in columns.items():
                    self.mean[device, column] = tile.latency_ms[key]
                    self.variance[device, column] = tile.sigma_ms[key] ** 2
        self.value = np.zeros(self.size)
        self.value[: len(self.column)] = [v for by_width in values.values() for v in by_width.values()]
        for tile, columns in self.tiles[0] if worth else ():
            for key, column in columns.items():
                self.value[column] = worth[tile.name][key]
        self.equations = self._tie_columns()

    def _is_offered(self, groups: Sequence[str], key: Sequence[int]) -> bool:
        return all(pair in self.column for pair in zip(groups, key, strict=True))

    def _tie_columns(self) -> LinearConstraint:
        """The equations, a row {column: entry} each: first those of the groups, then those of each tile."""
        rows = [{self.column[g, w]: 1.0 for w in widths} for g, widths in self.values.items()]
        right = [1.0] * len(rows)
        for tile, columns in itertools.chain(*self.tiles):
            if not tile.groups:  # its only column is always 1
                rows.append(dict.fromkeys(columns.values(), 1.0))
                right.append(1.0)
            for axis, group in enumerate(tile.groups):
                for width in self.values[group]:
                    alike = (column for key, column in columns.items() if key[axis] == width)
                    rows.append({**dict.fromkeys(alike, 1.0), self.column[group, width]: -1.0})
                    right.append(0.0)
        entries = [entry for row in rows for entry in row.values()]
        at = np.repeat(np.arange(len(rows)), [len(row) for row in rows]), [c for row in rows for c in row]
        matrix = sparse.csr_array((entries, at), shape=(len(rows), self.size))
        return LinearConstraint(matrix, right, right)

    def solve(self, lines: Sequence[Line], intervals: Sequence[Interval], time_limit_s: float) -> Solved:
        """Best widths for which mean + line keeps each device's budget, with its variance in its interval."""
        binary = len(self.column)
        objective = -self.value / self.scale
        constraints = [self.equations]
        for cost, mean, variance, (slope, intercept), (low, high) in zip(
            self.costs, self.mean, self.variance, lines, intervals, strict=True
        ):
            objective += _TIE * mean / cost.budget_ms
            room = (cost.budget_ms - cost.overhead_ms - intercept) / cost.budget_ms
            constraints.append(LinearConstraint((mean + slope * variance) / cost.budget_ms, -np.inf, room))
            if high > 0:  # without errors there is nothing to bound
                constraints.append(LinearConstraint(variance / high, low / high - 1e-9, 1 + 1e-9))
        integrality = np.zeros(self.size)
        integrality[:binary] = 1
        done = milp(
            objective,
            integrality=integrality,
            bounds=Bounds(0, 1),
            constraints=constraints,
            options={"time_limit": time_limit_s, "mip_rel_gap": GAP / 2},
        )
        return self._read(done)

    def _read(self, done: OptimizeResult) -> Solved:
        """The widths, and the bound on the value from that on the objective, in which latency counts a little."""
        # Nothing is unbounded here, so that "infeasible or unbounded" (4) means infeasible too.
        if done.status == _INFEASIBLE or (done.status == _OTHER and "nfeasible" in done.message):
            return Solved(None, -math.inf)
        bound = done.mip_dual_bound
        reach = math.inf if bound is None or not np.isfinite(bound) else -bound
        if done.x is None:
            most = sum(_TIE * max(0.0, 1 - cost.overhead_ms / cost.budget_ms) for cost in self.costs)
            return Solved(None, self.scale * (reach + most))
        widths = {group: width for (group, width), column in self.column.items() if done.x[column] > 0.5}
        value = value_of(self.values, self.costs[0].tiles, widths, self.worth)
        tie = done.fun + value / self.scale
        return Solved(widths, max(value, self.scale * (reach + tie)))
