"""Latency over the width of one group: whether to trust it, whether it has steps, and what it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hakd.records.errors import HakdError
from hakd.staircase.estimate import Estimate, Sweep

TOLERANCE_FLOOR = 0.01
RESIDUAL_LIMIT = 0.03
MIN_STEP = 0.06
OWN_RESIDUAL_KEYS = 5  # with fewer widths a percentile of the curve's own is mostly luck
_ROUNDING = 1e-9  # so that equal decimals compare equal


def tolerance(residual_p95: float) -> float:
    """How much slower still counts as equal: max(1 %, 2 x residual p95), as a fraction."""
    return max(TOLERANCE_FLOOR, 2 * residual_p95)


def trust(residual_p95: float | None, min_step: float = MIN_STEP) -> tuple[bool, str]:
    """Whether a curve is good enough to choose widths by, and in words why (not).

    Untrusted: timed in one process only, residual p95 above 3 %, or a tolerance above half the smallest step
    that matters (`min_step`, a fraction).
    """
    if residual_p95 is None:
        return False, "untrusted: no two processes timed it, its noise is unknown"
    if residual_p95 > RESIDUAL_LIMIT + _ROUNDING:
        return False, f"untrusted: residual p95 {residual_p95:.1%} is above {RESIDUAL_LIMIT:.0%}"
    eps = tolerance(residual_p95)
    if eps > min_step / 2 + _ROUNDING:
        return False, (
            f"untrusted: the tolerance {eps:.1%} (twice the residual p95) is above half the smallest "
            f"step that matters, {min_step:.1%}"
        )
    return True, f"residual p95 {residual_p95:.1%}, tolerance {eps:.1%}"


@dataclass(frozen=True)
class Curve:
    """Width (channels, ascending) -> latency in milliseconds, at fixed widths of the neighbours.

    `low` and `high` hold None where only one process timed a width. `residual_p95` is a fraction.
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
    trusted: bool
    reason: str

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
                remedy="Sweep the network again",
            )

    @property
    def eps(self) -> float:
        """The curve's tolerance as a fraction; infinite when its noise is unknown."""
        return np.inf if self.residual_p95 is None else tolerance(self.residual_p95)

    def index(self, width: int) -> int:
        """Place of a measured width.

        Raises:
            HakdError: the width was not measured.
        """
        try:
            return self.widths.index(width)
        except ValueError:
            raise HakdError(
                f"width {width} was not timed", key=self.group, remedy="Sweep the network again"
            ) from None

    def at(self, width: int) -> float:
        """Latency in milliseconds at a measured width."""
        return self.latency_ms[self.index(width)]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Widths and latencies as arrays."""
        return np.array(self.widths), np.array(self.latency_ms)


def make_curve(
    group: str,
    level: float | None,
    neighbour_widths: Mapping[str, int],
    points: Mapping[int, Estimate],
    residual_p95: float | None,
    min_step: float = MIN_STEP,
) -> Curve:
    """A curve from estimates by width; decides on trust (`trust`) and says why.

    Widths whose processes nothing ties to the others' (no shared reference) make it untrusted.
    """
    widths = tuple(sorted(points))
    ordered = [points[width] for width in widths]
    trusted, reason = trust(residual_p95, min_step)
    if len({point.component for point in ordered}) > 1:
        trusted = False
        reason = "untrusted: its widths were timed in processes that share no point, their scales are unknown"
    busy = sum("preempted" in point.note for point in ordered)
    if busy:
        reason += f"; at {busy} of {len(widths)} widths nearly all bursts were preempted"
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
        trusted,
        reason,
    )


def curve_from(
    sweep: Sweep,
    group: str,
    level: float | None,
    neighbour_widths: Mapping[str, int],
    keys: Mapping[int, str],
    min_step: float = MIN_STEP,
) -> Curve:
    """The curve of one group out of a sweep; `keys` maps width -> key, widths that failed are left out.

    Its residual p95 is that of its own widths; with fewer than five of them at least that of the whole sweep.
    """
    points = {width: sweep.estimates[key] for width, key in keys.items() if key in sweep.estimates}
    if not points:
        raise HakdError(
            "none of its widths was timed", key=group, remedy="See the failures that the device reported"
        )
    residual = sweep.residual_of(keys.values())
    repeated = all(point.processes > 1 for point in points.values())
    if len(points) < OWN_RESIDUAL_KEYS and repeated and sweep.residual_p95 is not None:
        residual = max(residual or 0.0, sweep.residual_p95)  # a single width has none of its own
    return make_curve(group, level, neighbour_widths, points, residual, min_step)


def line_shape(widths: Sequence[int], latency_ms: Sequence[float], eps: float) -> str:
    """`flat`, `line` or `steps`: what the points look like within the noise.

    A line (least squares on relative error) fits when no point is off by more than eps / 2: the noise of a
    point is about an eighth of eps, and a staircase of relative step s that is sampled twice a tread is off
    by s / 4, so that every step a trusted curve must resolve (s >= 2 eps) is seen. `flat`: the line rises by
    at most eps / 2 from end to end (or falls): a single tread, not a slope.
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
    """Whether anything but a slope lies at and above `width`.

    On a slope the tolerance would be spent as a latency budget: there the width has to stay. A flat part
    counts as a tread.
    """
    return shape_from(curve, width) != "line"
