"""By how much each layer became slower or faster since its latency table was made, against the network as a whole.

Absolute latencies of two sessions are not comparable: clock and load differ. So the change of a layer is that of its
check points over that of the median point, and intervals hold what both sessions leave open.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from hakd.boards import Burst
from hakd.staircase.estimate import CONFIDENCE, Estimates, estimate, half_widths
from hakd.staircase.ratio import Ratio

SLOWER, FASTER, UNCHANGED, UNDECIDED = "slower", "faster", "unchanged", "undecided"
Place = tuple[float | None, str]  # level and group of a curve


@dataclass(frozen=True)
class LayerChange:
    """Of a curve: latency now over that of the table, each over that of the median check point.

    Args:
        ratio: with its interval; all intervals of a network together hold with 95 %. None: it could not be timed, or
            the table does not say how well it is known.
        lowest, highest: the same of single check points, without interval; None where `ratio` is.
        eps: the tolerance of the curve.
        points: how many check points it has.
    """

    curve: Place
    ratio: Ratio | None
    eps: float
    points: int
    lowest: float | None = None
    highest: float | None = None

    @property
    def state(self) -> str:
        """Slower or faster: the whole interval is beyond the tolerance. Unchanged: all of it is within."""
        if self.ratio is None:
            return UNDECIDED
        if self.ratio.low > 1 + self.eps:
            return SLOWER
        if self.ratio.high < 1 / (1 + self.eps):
            return FASTER
        inside = 1 / (1 + self.eps) <= self.ratio.low and self.ratio.high <= 1 + self.eps
        return UNCHANGED if inside else UNDECIDED


def layer_changes(
    frame: pd.DataFrame,
    bursts: Mapping[str, Sequence[Burst]],
    curves: Mapping[Place, tuple[Sequence[str], float]],
) -> tuple[float | None, list[LayerChange]]:
    """The changes of curves, the slowest first, and the scale: the median of latency now / latency in the table.

    Args:
        frame: the latency table.
        bursts: by key (`shape` of the table), interleaved, of all check points that could be timed.
        curves: keys of the check points and tolerance, by curve.
    """
    table = frame.drop_duplicates("shape").set_index("shape")
    timed = {key: found for key, found in bursts.items() if found and key in table.index}
    if not timed:
        return None, [LayerChange(curve, None, eps, len(keys)) for curve, (keys, eps) in curves.items()]
    now = estimate(timed)
    then = np.log(table.loc[list(now.by_key), "latency_ms"].to_numpy(dtype=float))
    shifts = np.log([one.latency_ms for one in now.by_key.values()]) - then
    scale = float(np.median(shifts))
    halves = _halves_then(table, list(now.by_key))
    rows = {key: i for i, key in enumerate(now.by_key)}
    known = {
        curve: [rows[key] for key in dict.fromkeys(keys) if key in rows]
        for curve, (keys, _) in curves.items()
    }
    half_now = _halves_now(now, known, 1 - (1 - CONFIDENCE) / len(curves))
    # The table's intervals are of one figure each; these are wider, for all curves to hold together.
    more = ndtri(1 - (1 - CONFIDENCE) / len(curves) / 2) / ndtri((1 + CONFIDENCE) / 2)
    found = []
    for curve, (keys, eps) in curves.items():
        own, count = known[curve], len(dict.fromkeys(keys))
        change = LayerChange(curve, None, eps, count)
        if own:
            half = math.hypot(half_now[curve], more * math.sqrt(float(np.sum(halves[own] ** 2))) / len(own))
            relative = shifts[own] - scale
            if math.isfinite(half):
                ratio = Ratio(*(math.exp(relative.mean() + side * half) for side in (0, -1, 1)))
                ends = (float(np.exp(end)) for end in (relative.min(), relative.max()))
                change = LayerChange(curve, ratio, eps, count, *ends)
        found.append(change)
    found.sort(key=lambda one: -one.ratio.value if one.ratio else math.inf)
    return math.exp(scale), found


def _halves_then(table: pd.DataFrame, keys: Sequence[str]) -> np.ndarray:
    """Half of each key's 95 % interval in the table (log); NaN where it has none."""
    low, high = (
        table.loc[keys, name].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        for name in ("latency_low_ms", "latency_high_ms")
    )
    return np.log(high / low) / 2


def _halves_now(now: Estimates, rows: Mapping[Place, Sequence[int]], confidence: float) -> dict[Place, float]:
    """Half the interval of each curve's mean shift (log), by the scatter of that mean between processes."""
    timed = [curve for curve, own in rows.items() if own]
    there = np.isfinite(now.adjusted)
    logs = np.where(there, now.adjusted, 0.0)
    logs = np.where(there, logs - (logs.sum(1) / np.maximum(there.sum(1), 1))[:, None], 0.0)
    means = []
    for own in (list(rows[curve]) for curve in timed):
        count = there[own].sum(axis=0)
        means.append(np.where(count > 0, logs[own].sum(axis=0) / np.maximum(count, 1), np.nan))
    return dict(zip(timed, half_widths(np.array(means), confidence), strict=True))
