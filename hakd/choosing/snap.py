"""Widths reset to the widest that is not slower on the device (HAKD, arXiv 1810.10460, step 4), two readings.

`hakd` moves right from the pruned width while measured widths stay within the tolerance; `hakd_free` takes
the widest measured width within it, whatever lies between. Both anchor the tolerance at the pruned width,
once: chains of nearly equal neighbours drift up slopes.

Contiguous, on sampled widths: a gap between two measured widths of the run counts as fast as they are, unless the
latency *falls* by more than the tolerance into or out of the gap. A fall is what a comb looks like from between its
teeth (onnxruntime over input channels: 63 slow, 64 fast, 65 slow). There the run continues only over measured widths:
`hakd.staircase.plan.extend` requests the first and the last of such a gap. `docs/choosing.md` has examples.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hakd.records.errors import SWEEP_AGAIN, HakdError, make_again, run_again
from hakd.staircase.combs import gap_beside_fall, hidden_multiples
from hakd.staircase.curve import FREE, OPEN, SLOWER, Curve, line_shape

READINGS = ("hakd", "hakd_free")


@dataclass(frozen=True)
class Choice:
    """One group's width before and after, and why. Latencies by its curve; no interval with one process."""

    group: str
    method: str
    level: float | None
    width_from: int
    width_to: int
    full_width: int
    latency_from_ms: float
    latency_from_low_ms: float | None
    latency_from_high_ms: float | None
    latency_to_ms: float
    latency_to_low_ms: float | None
    latency_to_high_ms: float | None
    residual_p95: float | None
    tolerance: float | None
    free_channels: int
    neighbour_widths: Mapping[str, int] = field(hash=False)
    trusted: bool
    reason: str

    @property
    def cost_ms(self) -> float:
        """What the move costs by its curve; negative when the wider one is faster."""
        return self.latency_to_ms - self.latency_from_ms

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `choice_from` reads it back."""
        return {**asdict(self), "neighbour_widths": dict(self.neighbour_widths)}


def choice_from(content: Mapping[str, Any], where: object = None) -> Choice:
    """Rebuild a choice from `Choice.to_dict`.

    Raises:
        HakdError: missing or surplus keys.
    """
    try:
        return Choice(**content)
    except TypeError as error:
        raise HakdError(f"no choice of a width ({error})", where=where, remedy=make_again(where)) from None


def snap(curve: Curve, width: int, full: int, reading: str = "hakd") -> Choice:
    """Choose one group's width from its curve.

    The width stays where nothing is known of the noise, where it already is the full width, and on a slope, where
    the tolerance would become a latency budget. A width is taken where the interval of its ratio to the pruned one
    shows that it is free (`Curve.verdict`); one that is undecided (`open`) is not, and ends a run.

    Args:
        curve: measured at the neighbours' widths; must hold `width`.
        width: the pruned width, channels.
        full: the width before pruning, never exceeded.
        reading: `hakd` or `hakd_free`.

    Raises:
        HakdError: unknown reading, a width outside 1..full or not on the curve.
    """
    if reading not in READINGS:
        raise HakdError(
            f"unknown reading {reading!r}", key=curve.group, remedy=f"Known: {', '.join(READINGS)}"
        )
    if not 1 <= width <= full:
        raise HakdError(
            f"width {width} is not in 1..{full}",
            key=curve.group,
            remedy=run_again("prune"),
        )
    start = curve.index(width)
    stop = next((i for i, w in enumerate(curve.widths) if w > full), len(curve.widths))
    if curve.tolerance is None or not curve.linked:
        return _choice(curve, start, start, full, reading, f"stays: {curve.reason}")
    if width == full:
        return _choice(curve, start, start, full, reading, "stays: nothing was pruned")
    if stop - start < 2:
        return _choice(curve, start, start, full, reading, "stays: nothing wider was timed")
    if line_shape(curve.widths[start:stop], curve.latency_ms[start:stop], curve.eps) == "line":
        reason = "stays: no step from here on, a rising line fits within the noise"
        return _choice(curve, start, start, full, reading, reason)
    end, why = (_run_end if reading == "hakd" else _widest)(curve, start, stop)
    return _choice(curve, start, end, full, reading, why)


def snap_all(
    curves: Mapping[str, Curve], widths: Mapping[str, int], full: Mapping[str, int], reading: str = "hakd"
) -> dict[str, Choice]:
    """`snap` for every group of `widths`, each on its own curve at its pruned neighbours.

    Raises:
        HakdError: a group without a curve or full width, or as for `snap`.
    """
    for group in widths:
        if group not in curves or group not in full:
            what = "latency curve" if group not in curves else "full width"
            raise HakdError(f"has no {what}", key=group, remedy=SWEEP_AGAIN)
    return {group: snap(curves[group], width, full[group], reading) for group, width in widths.items()}


def _run_end(curve: Curve, start: int, stop: int) -> tuple[int, str]:
    """Right end of the contiguous run, as an index, and what ended it."""
    for i in range(start + 1, stop):
        last = i - 1
        verdict = curve.verdict(i, start)
        if verdict == SLOWER:
            return last, f"right end of its run: {_versus(curve, start, i)} at {curve.widths[i]}"
        if verdict == OPEN:
            return last, f"end of the known run: {_undecided(curve, start, i)}"
        beside = f"beside {curve.widths[last]}, next widths not timed"
        if gap_beside_fall(curve, start, i):
            return last, f"end of the known run: the latency falls {beside}"
        if hidden_multiples(curve, start, i):
            return last, f"end of the known run: multiples of 4 are slow here, and one lies {beside}"
    return stop - 1, "its run reaches the widest width timed"


def _widest(curve: Curve, start: int, stop: int) -> tuple[int, str]:
    """Widest measured width that is free, as an index."""
    verdicts = [curve.verdict(i, start) for i in range(start, stop)]
    end = start + max(i for i, verdict in enumerate(verdicts) if verdict == FREE)
    slower = verdicts[: end - start].count(SLOWER)
    past = f", past {slower} slower one(s)" if slower else ""
    unknown = [i for i in range(end + 1, stop) if verdicts[i - start] == OPEN]
    but = f"; undecided: {_undecided(curve, start, unknown[-1])}" if unknown else ""
    return end, f"widest timed width that is not slower{past}{but}"


def _undecided(curve: Curve, start: int, i: int) -> str:
    """An undecided width with its interval and the time that would decide it."""
    ratio = curve.compared(i, start)
    half = math.log(ratio.high / ratio.value)
    times = (half / math.log1p(curve.tolerance or 1.0)) ** 2
    more = f", {times:.1f} times the processes would decide it" if 1 < times < math.inf else ""
    return f"{curve.widths[i]} is {ratio}{more}"


def _versus(curve: Curve, start: int, i: int) -> str:
    return f"{curve.latency_ms[i] / curve.latency_ms[start] - 1:+.1%}"


def _choice(curve: Curve, start: int, end: int, full: int, reading: str, why: str) -> Choice:
    if end > start:
        why = f"moves, {_versus(curve, start, end)}: {why}"
    elif not why.startswith("stays"):
        why = f"stays: {why}"
    return Choice(
        group=curve.group,
        method=reading,
        level=curve.level,
        width_from=curve.widths[start],
        width_to=curve.widths[end],
        full_width=full,
        latency_from_ms=curve.latency_ms[start],
        latency_from_low_ms=curve.low[start],
        latency_from_high_ms=curve.high[start],
        latency_to_ms=curve.latency_ms[end],
        latency_to_low_ms=curve.low[end],
        latency_to_high_ms=curve.high[end],
        residual_p95=curve.residual_p95,
        tolerance=curve.tolerance,
        free_channels=curve.widths[end] - curve.widths[start],
        neighbour_widths=dict(curve.neighbour_widths),
        trusted=curve.decided(curve.widths[start], full),
        reason=why,
    )
