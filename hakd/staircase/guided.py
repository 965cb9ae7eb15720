"""What to time next where other devices' curves predict what a curve may look like.

A forecast (from `hakd.transfer`) only orders the points, and lets a plan stop early where timed points confirm it: both
sides of every end that it predicts are timed, and choices use timed points only. Where the forecast errs by more than
its own uncertainty, the plan without one takes over (`hakd.staircase.plan`, `hakd.staircase.mapping`). For the cost of
that, and the savings of a good forecast, see docs/transfer.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hakd.staircase.curve import OWN_RESIDUAL_KEYS, TOLERANCE_FLOOR, Curve, line_shape, shape_from
from hakd.staircase.mapping import map_more, map_start
from hakd.staircase.plan import POINTS, beside_multiples, extend, open_run, targets, untimed

STEP = math.log(1.03)  # a step that counts, as in docs/planner.md
AROUND = 4  # channels to each side that give the slope
CLEARLY = 0.01  # log ratio beyond a limit
SURPRISE = 3.0  # standard deviations by which a point may be off
VAGUE = 0.1  # standard deviation of a log ratio above which a forecast is not used
FEW = 8  # timed widths after which a doubtful forecast is given up
LINE_POINTS = 5  # on a predicted slope; `plan.SLOPE_POINTS` on others
OPEN = 0.03  # share of a map's widths that may stay open
NARROWEST = 3  # one or two channels show little: engines run a depthwise layer of one channel as a dense one
MAP_FIRST = 4
MAP_BATCH = 3
MAP_POINTS = 12  # of a group of up to 160 channels; more for wider ones


@dataclass(frozen=True)
class LikelyStep:
    """A step that a forecast expects from one width to the next; `ratio` is after / before."""

    before: int
    after: int
    ratio: float
    probability: float


@dataclass(frozen=True)
class Forecast:
    """Log latency at the widths 1, 2, ..., as a Gaussian; its level has no meaning before a width was timed.

    Attributes:
        mean: (widths,).
        covariance: (widths, widths).
        timed: the curve's widths that it is conditioned on.
        errors: by how much each of these differs from what the others predict, log ratio.
        spreads: the standard deviation of each of these differences.
    """

    mean: np.ndarray
    covariance: np.ndarray
    timed: tuple[int, ...]
    errors: tuple[float, ...]
    spreads: tuple[float, ...]

    def agrees(self) -> bool:
        """Whether every timed width is where the others predict it: within its spread, or closer than a step."""
        return all(
            abs(error) <= max(STEP, SURPRISE * spread)
            for error, spread in zip(self.errors, self.spreads, strict=True)
        )

    def relative(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the log latency over that of a width."""
        i = width - 1
        variance = np.diag(self.covariance)
        spread = variance + variance[i] - 2 * self.covariance[i]
        return self.mean - self.mean[i], np.sqrt(np.maximum(spread, 0.0))

    def ends(self, curve: Curve | None, width: int, full: int, eps: float) -> tuple[int, int]:
        """Where the run from a width ends, and the widest width that is not slower; timed widths keep their latency.

        A width that was not timed ends the run only if it is clearly slower: beyond the limit by its standard deviation
        and by `CLEARLY`. The slope of a plateau is not predicted to the last percent, its end is.
        """
        mean, spread = self.relative(width)
        limit = np.full(len(mean), math.log1p(eps))
        slack = np.maximum(spread, CLEARLY)
        if curve is not None:
            timed = np.array(curve.widths) - 1
            mean[timed] = np.log(curve.latency_ms) - math.log(curve.at(width))
            slack[timed] = 0
        slow = np.flatnonzero((mean > limit + slack)[width - 1 : full])
        fast = np.flatnonzero((mean <= limit)[width - 1 : full])
        run = width + int(slow[0]) - 1 if slow.size else full
        return run, max(run, width + int(fast[-1]))

    def is_line(self, width: int, full: int, eps: float) -> bool:
        """Whether it predicts a slope without steps from a width on."""
        if full - width < 2:
            return False
        widths = range(width, full + 1)
        return line_shape(widths, np.exp(self.mean[width - 1 : full]), eps) == "line"

    def steps(self) -> list[LikelyStep]:
        """Steps of over 3 % that are more likely than not, the largest first.

        A step is a change of over 3 % from one width to the next, which also differs by that from the median around it.
        """
        change, chance = np.diff(self.mean), self._chances()
        likely = [
            LikelyStep(i + 1, i + 2, math.exp(change[i]), float(chance[i]))
            for i in np.flatnonzero(chance > 0.5).tolist()
        ]
        return sorted(likely, key=lambda step: -abs(math.log(step.ratio)))

    def _chances(self) -> np.ndarray:
        """Chances of a step from each width to the next."""
        change = np.diff(self.mean)
        variance = np.diag(self.covariance)
        spread = np.sqrt(np.maximum(variance[1:] + variance[:-1] - 2 * np.diag(self.covariance, 1), 1e-12))
        chances = []
        for i, value in enumerate(change):
            slope = float(np.median(change[max(0, i - AROUND) : i + AROUND + 1]))
            beyond = min(abs(value), abs(value - slope)) - STEP
            chances.append(0.5 * math.erfc(-beyond / spread[i] / math.sqrt(2)))
        return np.array(chances)

    def open_share(self) -> float:
        """Share of the widths for which it is uncertain whether a step follows: a chance of 5 to 95 %."""
        chance = self._chances()
        return float(np.mean((chance > 0.05) & (chance < 0.95))) if chance.size else 0.0

    def doubtful(self, width: int, full: int, eps: float, above: int) -> int | None:
        """The width above another that is likeliest to be as fast as `width` although the mean says it is not."""
        mean, spread = self.relative(width)
        margin = (mean - math.log1p(eps)) / np.maximum(spread, 1e-9)
        ahead = [w for w in range(above + 1, full + 1) if w not in self.timed and margin[w - 1] < 1]
        return min(ahead, key=lambda w: margin[w - 1], default=None)


def guided_targets(forecast: Forecast, width: int, full: int) -> list[int]:
    """Widths to time first for one choice, ascending: the width, both sides of where its run ends, the full width.

    And what the plan without a forecast starts with, up to the five widths by which a curve's own noise is judged: with
    fewer that of the whole sweep counts, and a curve may be left open that its own noise would decide.
    """
    if width == full:
        return [width]
    if forecast.is_line(width, full, TOLERANCE_FLOOR):
        widths = {width, full, *beside_multiples(width, full)[:1], (width + full) // 2}
    else:
        run, _ = forecast.ends(None, width, full, TOLERANCE_FLOOR)
        widths = {width, run, min(run + 1, full), full}
    more = [w for w in targets(width, full) if w not in widths]
    return sorted([*widths, *more[: max(0, OWN_RESIDUAL_KEYS - len(widths))]])


def guided_extend(forecast: Forecast, curve: Curve, width: int, full: int) -> list[int]:
    """Widths to time next for one choice, ascending; empty when timed points settle it as predicted."""
    count = sum(width <= w <= full for w in curve.widths)
    room = POINTS - count
    if curve.residual_p95 is None or room <= 0 or width == full:
        return []
    _, spread = forecast.relative(width)
    if not forecast.agrees() or np.percentile(spread[width - 1 : full], 90) > VAGUE:
        return _extend_alone(curve, width, full)
    # Where a slope is predicted and confirmed, few points are left to time; where it is not, the forecast is wrong.
    line, predicted_line = shape_from(curve, width) == "line", forecast.is_line(width, full, curve.eps)
    if line and predicted_line:
        return sorted(untimed(beside_multiples(width, full), curve)[: max(0, LINE_POINTS - count)])
    if predicted_line:
        return _extend_alone(curve, width, full)
    # Both sides of the predicted ends first: points between steps can look like a line themselves.
    run, widest = forecast.ends(curve, width, full, curve.eps)
    if ends := untimed((w for w in (run, run + 1, widest) if w <= full), curve):
        return sorted(ends[:room])
    if line:
        return _extend_alone(curve, width, full)
    # Then the points that the run still needs, then the width that the forecast is most likely wrong about.
    if needed := open_run(curve, width, full):
        return needed[:room]
    doubt = forecast.doubtful(width, full, curve.eps, widest)
    if doubt is None:
        return []
    return [doubt] if count < FEW else extend(curve, width, full)


def _extend_alone(curve: Curve, width: int, full: int) -> list[int]:
    """The plan without a forecast, from its first widths on."""
    return untimed(targets(width, full), curve) or extend(curve, width, full)


def map_points(full: int) -> int:
    """Widths of a map that a forecast steers: 12 up to 160 channels, then a sixteenth of the channels and 2."""
    return max(MAP_POINTS, full // 16 + 2)


def guided_map_start(forecast: Forecast, width: int, full: int) -> list[int]:
    """Widths to time first for a whole curve, ascending: those that the forecast is least certain of, one by one."""
    if full <= 2 * MAP_FIRST:
        return list(range(1, full + 1))
    return sorted({width, *_least_sure(forecast, [width], MAP_FIRST - 1, full)})


def guided_map_more(forecast: Forecast, curve: Curve, full: int, points: int | None = None) -> list[int]:
    """Widths to time next for a whole curve, ascending; empty when it is as predicted, with certainty.

    Both sides of the largest likely step that was not timed, and where the forecast is least certain. A forecast that
    errs, or is still uncertain after `map_points` widths, is replaced by the plan without one; with `points` it is used
    up to that number of widths in any case.
    """
    if curve.residual_p95 is None:
        return []
    room = (points or map_points(full)) - len(curve.widths)
    if points is None:
        agrees = forecast.agrees()
        if agrees and forecast.open_share() <= OPEN and len(curve.widths) >= FEW:
            return []
        if room <= 0 or not agrees:
            return untimed(map_start(full), curve) or map_more(curve, full)
    steps = forecast.steps()
    sides = untimed((w for step in steps for w in (step.before, step.after) if w <= full), curve)[:2]
    rest = _least_sure(forecast, [*curve.widths, *sides], MAP_BATCH - len(sides), full)
    return sorted([*sides, *rest][: max(room, 0)])


def _least_sure(forecast: Forecast, timed: Sequence[int], count: int, full: int) -> list[int]:
    """Widths of the largest variance, each given those before it."""
    rest = forecast.covariance[:full, :full].copy()
    noise = TOLERANCE_FLOOR**2 / 4

    def condition_on(width: int) -> None:
        i = width - 1
        rest[:] -= np.outer(rest[:, i], rest[i]) / (rest[i, i] + noise)

    for width in timed:
        condition_on(width)
    chosen: list[int] = []
    for _ in range(max(0, count)):
        variance = np.diag(rest).copy()
        variance[: NARROWEST - 1] = -1
        variance[[w - 1 for w in (*timed, *chosen)]] = -1
        chosen.append(int(np.argmax(variance)) + 1)
        condition_on(chosen[-1])
    return chosen
