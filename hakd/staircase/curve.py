"""Latency over the width of one group: how well it is known, which verdicts that allows, and whether it has steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hakd.records.errors import SWEEP_AGAIN, HakdError
from hakd.records.text import counted
from hakd.staircase.estimate import Estimate, Estimates
from hakd.staircase.ratio import Ratio

TOLERANCE_FLOOR = 0.01
MIN_STEP = 0.06
FREE, SLOWER, OPEN = "free", "slower", "open"
UNLINKED = "processes that share no point"
TOGETHER = 2.0  # times a 95 % interval: about 500 statements hold together (Bonferroni, normal errors)
OWN_RESIDUAL_KEYS = 5  # with fewer widths the curve's own percentile is mostly chance
_ROUNDING = 1e-9  # so that equal decimals compare equal


def tolerance(residual_p95: float | None, min_step: float = MIN_STEP) -> float | None:
    """How much slower counts as equal: max(1 %, 2 x residual p95), at most half of the smallest step that matters.

    A fraction; None where the noise is not known.
    """
    return None if residual_p95 is None else min(max(TOLERANCE_FLOOR, 2 * residual_p95), min_step / 2)


@dataclass(frozen=True)
class Curve:
    """Width (channels, ascending) -> latency in milliseconds, at fixed widths of the neighbours.

    `low` and `high` are the ends of each latency's own 95 % interval; None where it has none. `residual_p95` and
    `tolerance` are fractions, None where the noise is not known. `linked`: all widths were timed on one scale, by
    processes that share points.
    """

    group: str
    level: float | None
    neighbour_widths: Mapping[str, int] = field(hash=False)
    widths: tuple[int, ...]
    latency_ms: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    min_ms: tuple[float, ...]
    residual_p95: float | None
    tolerance: float | None
    linked: bool = True

    def __post_init__(self) -> None:
        sizes = {len(part) for part in (self.latency_ms, self.low, self.high, self.min_ms)}
        ascending = all(a < b for a, b in zip(self.widths, self.widths[1:], strict=False))
        positive = all(value > 0 and np.isfinite(value) for value in self.latency_ms)
        if (
            not self.widths
            or sizes != {len(self.widths)}
            or not ascending
            or not positive
            or self.widths[0] < 1
        ):
            raise HakdError(
                "a curve needs ascending widths with a positive latency each",
                key=self.group,
                remedy=SWEEP_AGAIN,
            )

    @property
    def eps(self) -> float:
        """The difference from which two widths are distinguished with certainty, as a fraction: 1 % or more.

        Twice the residual p95 where that is larger: about five standard errors of a ratio, so that the verdicts on all
        pairs of a network hold together. Infinite when the noise is unknown.
        """
        return np.inf if self.residual_p95 is None else max(TOLERANCE_FLOOR, 2 * self.residual_p95)

    @property
    def trusted(self) -> bool:
        """Whether its noise lets every step that matters be detected: the tolerance is `eps` or more."""
        return self.tolerance is not None and self.linked and self.eps <= self.tolerance + _ROUNDING

    @property
    def precise(self) -> tuple[bool, ...]:
        """For each width: whether a ratio of two such widths is known to within the tolerance, with 95 % confidence."""
        if self.tolerance is None or not self.linked:
            return (False,) * len(self.widths)
        return tuple(2**0.5 * half <= np.log1p(self.tolerance) + _ROUNDING for half in self._halves())

    @property
    def reason(self) -> str:
        """How well it is known, and what is needed to know the rest."""
        if not self.linked:
            return f"its widths were timed in {UNLINKED}"
        if self.tolerance is None or self.residual_p95 is None:
            return "no two processes timed it, its noise is unknown"
        known = f"residual p95 {self.residual_p95:.1%}, tolerance {self.tolerance:.1%}"
        vague = self.precise.count(False)
        if not vague:
            return known
        worst = 2**0.5 * max(self._halves())
        times = (worst / np.log1p(self.tolerance)) ** 2
        return (
            f"{known}; {vague} of {counted(len(self.widths), 'width')} known to +-{np.expm1(worst):.1%} only, "
            f"{times:.1f} times the processes would be enough"
        )

    def index(self, width: int) -> int:
        """Place of a measured width.

        Raises:
            HakdError: the width was not measured.
        """
        try:
            return self.widths.index(width)
        except ValueError:
            raise HakdError(f"width {width} was not timed", key=self.group, remedy=SWEEP_AGAIN) from None

    def at(self, width: int) -> float:
        """Latency in milliseconds at a measured width."""
        return self.latency_ms[self.index(width)]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Widths and latencies as arrays."""
        return np.array(self.widths), np.array(self.latency_ms)

    def compared(self, i: int, j: int, sure: float = 1.0) -> Ratio:
        """The latency at index i over that at index j; `sure`: the factor of the 95 % interval."""
        ratio = self.latency_ms[i] / self.latency_ms[j]
        halves = self._halves()
        half = sure * np.hypot(halves[i], halves[j]) if i != j and self.linked else 0.0 if i == j else np.inf
        return Ratio(ratio, ratio * float(np.exp(-half)), ratio * float(np.exp(half)))

    def verdict(self, i: int, start: int, sure: float = 1.0) -> str:
        """`free`, `slower` or `open`: the verdict on the width of index i against that of index `start`.

        Free: within the tolerance, and less than two tolerances slower with 95 % confidence; so a step that matters
        (`min_step`, at least two tolerances) is called free in at most 2.5 % of cases. Slower: beyond the tolerance,
        and slower at all with that confidence. With `sure` = `TOGETHER` the verdict is a statement that holds together
        with all others of a network, as certificates do.
        """
        if self.tolerance is None:
            return OPEN
        if i == start:
            return FREE
        found, limit = self.compared(i, start, sure), 1 + self.tolerance + _ROUNDING
        if found.value <= limit:
            return FREE if found.high <= limit**2 else OPEN
        return SLOWER if found.low > 1 else OPEN

    def faster(self, i: int, j: int) -> bool:
        """Whether it can be stated that the width of index i is faster than that of index j, by more than `eps`.

        The statement holds together with all others of a network (`TOGETHER`).
        """
        found = self.compared(i, j, TOGETHER)
        return found.value * (1 + self.eps) < 1 and found.high < 1

    def decided(self, width: int, full: int | None = None) -> bool:
        """Whether every wider width (up to `full`) is decided: free or slower against `width`."""
        start, last = self.index(width), full or self.widths[-1]
        wider = (i for i in range(start + 1, len(self.widths)) if self.widths[i] <= last)
        return self.tolerance is not None and all(self.verdict(i, start) != OPEN for i in wider)

    def _halves(self) -> list[float]:
        """Half the interval of each log latency; without one, the residual p95 for a single width."""
        other = np.inf if self.residual_p95 is None else self.residual_p95 / 2**0.5
        return [
            float(np.log(high / low) / 2) if low is not None and high is not None else other
            for low, high in zip(self.low, self.high, strict=True)
        ]


def make_curve(
    group: str,
    level: float | None,
    neighbour_widths: Mapping[str, int],
    points: Mapping[int, Estimate],
    residual_p95: float | None,
    min_step: float = MIN_STEP,
) -> Curve:
    """A curve from estimates by width; `min_step` is the smallest step that matters, a fraction."""
    widths = tuple(sorted(points))
    ordered = [points[width] for width in widths]
    return Curve(
        group,
        level,
        dict(neighbour_widths),
        widths,
        tuple(point.latency_ms for point in ordered),
        tuple(point.latency_low_ms for point in ordered),
        tuple(point.latency_high_ms for point in ordered),
        tuple(point.min_ms for point in ordered),
        residual_p95,
        tolerance(residual_p95, min_step),
        len({point.component for point in ordered}) == 1,
    )


def curve_from(
    sweep: Estimates,
    group: str,
    level: float | None,
    neighbour_widths: Mapping[str, int],
    keys: Mapping[int, str],
    min_step: float = MIN_STEP,
) -> Curve:
    """The curve of one group from a sweep; `keys` maps width -> key, widths that failed are left out.

    Its residual p95 is that of its own widths; with fewer than five of them at least that of the whole sweep.
    """
    points = {width: sweep.by_key[key] for width, key in keys.items() if key in sweep.by_key}
    if not points:
        raise HakdError(
            "none of its widths was timed", key=group, remedy="See the failures that the device reported"
        )
    residual = sweep.residual_of(keys.values())
    repeated = all(point.processes > 1 for point in points.values())
    if len(points) < OWN_RESIDUAL_KEYS and repeated and sweep.residual_p95 is not None:
        residual = max(residual or 0.0, sweep.residual_p95)  # a single width has no residual p95
    return make_curve(group, level, neighbour_widths, points, residual, min_step)


def line_shape(widths: Sequence[int], latency_ms: Sequence[float], eps: float) -> str:
    """`flat`, `line` or `steps`: the shape of the points within the noise.

    A line (least squares on relative error) fits when no point is off by more than eps / 2: the noise of a
    point is about an eighth of eps, and a staircase of relative step s that is sampled twice a plateau is off
    by s / 4, so that every step that a trusted curve must resolve (s >= 2 eps) is detected. `flat`: the line rises by
    at most eps / 2 from end to end (or falls): a single plateau, not a slope.
    """
    w, y = np.asarray(widths, dtype=float), np.asarray(latency_ms, dtype=float)
    if len(w) < 2:
        return "flat"
    centred = w - w.mean()
    design = np.stack([np.ones_like(w), centred], axis=1) / y[:, None]
    coefficients, *_ = np.linalg.lstsq(design, np.ones_like(y), rcond=None)
    fitted = coefficients[0] + coefficients[1] * centred
    if np.abs(fitted / y - 1).max() > eps / 2 + _ROUNDING:
        return "steps"
    rise = fitted[-1] / fitted[0] - 1
    return "flat" if rise <= eps / 2 + _ROUNDING else "line"


def shape_from(curve: Curve, width: int | None = None) -> str:
    """`line_shape` of the part of a curve from `width` on (all of it by default)."""
    start = 0 if width is None else curve.index(width)
    return line_shape(curve.widths[start:], curve.latency_ms[start:], curve.eps)


def has_step(curve: Curve, width: int | None = None) -> bool:
    """Whether the curve at and above `width` is anything but a slope.

    On a slope the tolerance would be spent as a latency budget: there the width must stay. A flat part
    counts as a plateau.
    """
    return shape_from(curve, width) != "line"
