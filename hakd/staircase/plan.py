"""What to time for one choice of a width: usually six or seven widths, one or two at a time, given those so far.

Both readings of a choice (`hakd.choosing.snap`) are followed together: where the run from the pruned width ends, and
which is the widest width that is not slower. First the pruned width t, t + 1, the next multiples of 8, 12 and 60 (most
moduli divide one of them) and the full width. Then the gap in which the run ends is narrowed down, and the widest width
is searched by expected gain (`hakd.staircase.gain`), as in Bayesian optimisation (Jones, Schonlau and Welch, 1998).
docs/planner.md shows how often the decision is the same as with all widths.
"""

import itertools
import math
from collections.abc import Iterable, Mapping

from hakd.records.errors import HakdError, run_again
from hakd.staircase.combs import gap_beside_fall, hidden_multiples, is_slower, latency_by_width, second_tooth
from hakd.staircase.curve import OWN_RESIDUAL_KEYS, TOLERANCE_FLOOR, Curve, shape_from
from hakd.staircase.gain import chances

FIRST = (8, 12, 60)  # the next multiples of these are timed first
POINTS = 14  # most points of a decision
SLOPE_POINTS = 7  # fewer on a line may be a staircase
RISING_POINTS = 8  # fewer that never fall may be a comb between its teeth
SMALLEST_GAIN = 0.15  # smallest number of expected channels that justifies a point
LONG_SHOT = 0.03  # a smaller chance does not justify a point
NEAR_FLOOR = 0.0115  # a tolerance that more looks would hardly bring closer to its floor of 1 %


def _check(width: int, full: int) -> None:
    if not 1 <= width <= full:
        raise HakdError(f"a width of {width} channels of {full}", key="width", remedy=run_again("prune"))


def targets(width: int, full: int) -> list[int]:
    """Widths to time first, ascending, for a group pruned to `width` of `full` channels.

    Raises:
        HakdError: a width outside 1..full.
    """
    _check(width, full)
    nexts = {width + 1, *((width // modulus + 1) * modulus for modulus in FIRST)}
    return sorted({width, full, *(w for w in nexts if w < full)})


def extend(curve: Curve, width: int, full: int) -> list[int]:
    """Widths to time next, ascending; empty when the decision is made, or `POINTS` widths are timed.

    For the run: the gap before the first slow width is narrowed down. Where a gap of unmeasured widths is next to a
    fall (a width faster than the one before by more than the tolerance), a width of the gap is timed next to it: a comb
    between its teeth looks like a fall, and so does the far side of a hump.

    For the widest one: the width of the largest expected gain, unless `RISING_POINTS` widths never fell; then the run
    ends at the widest. A slope, on which every width stays, gets `SLOPE_POINTS`: fewer could be a staircase, or a comb
    between its teeth. A curve of unknown noise gets no further points.

    Raises:
        HakdError: a width outside 1..full, or one that the curve lacks.
    """
    _check(width, full)
    start = curve.index(width)
    room = POINTS - sum(width <= w <= full for w in curve.widths)
    if curve.tolerance is None or room <= 0 or width == full or curve.widths[-1] == width:
        return []
    known = {w: ms for w, ms in latency_by_width(curve, start).items() if w <= full}
    # Whether a comb is inverted decides what a gap may hide, so a single sign of it is checked first.
    if second := second_tooth(known, curve.eps, full):
        return second
    limit_ms = (1 + curve.tolerance) * known[width]
    wanted: list[int] = []
    if shape_from(curve, width) != "line":
        wanted += _run(curve, start, limit_ms, full)
    elif len(known) >= SLOPE_POINTS:
        return []
    if len(known) < RISING_POINTS or _falls(curve, start):
        wanted += _widest(known, limit_ms, full, curve.eps)
    return sorted(untimed(wanted, curve)[:room])


def untimed(widths: Iterable[int], curve: Curve) -> list[int]:
    """The widths that a curve lacks, in their order, each once."""
    return [w for w in dict.fromkeys(widths) if w not in curve.widths]


def beside_multiples(width: int, full: int) -> list[int]:
    """Where a staircase that looks like a line so far would rise: after the next multiples, and half-way up."""
    nexts = [(width // modulus + 1) * modulus for modulus in (8, 16, 32)]
    return [w for w in dict.fromkeys([*(w + 1 for w in nexts), *nexts, (width + full) // 2]) if w <= full]


def open_run(curve: Curve, width: int, full: int) -> list[int]:
    """Widths that the run from `width` still needs, ascending: its part of `extend`."""
    limit = (1 + (curve.tolerance or 0.0)) * curve.at(width)
    return untimed(_run(curve, curve.index(width), limit, full), curve)


def is_settled(curve: Curve, width: int, full: int) -> bool:
    """Whether more looks would hardly change a decision: every width is decided, and none is near the limit.

    Two measurements of a width differ by at most half the tolerance, in 95 % of cases. So a width is clear of the limit
    (1 + tolerance) when it is slower than that by half a tolerance, or so fast that it would be within a tolerance of
    1 % too. It does not matter on which side of the limit a width is.
    """
    if curve.tolerance is None or not curve.decided(width, full):
        return False
    if curve.tolerance <= NEAR_FLOOR or width == full:
        return True
    base_ms, least = curve.at(width), min(TOLERANCE_FLOOR, curve.tolerance / 2)
    slower_by = [ms / base_ms - 1 for w, ms in latency_by_width(curve).items() if width < w <= full]
    return not any(least < share < 1.5 * curve.tolerance for share in slower_by)


def _run(curve: Curve, start: int, limit_ms: float, full: int) -> list[int]:
    """The width that shows more about the end of the contiguous run: in the first gap that may hold it; or none."""
    for i in range(start + 1, len(curve.widths)):
        left, right = curve.widths[i - 1], curve.widths[i]
        if right > full:
            break
        slow = curve.latency_ms[i] > limit_ms
        if hidden := hidden_multiples(curve, start, i):
            # The widest is the likeliest to be slow: where it is not, none is. Before a slow width, bisect.
            return [hidden[len(hidden) // 2] if slow else hidden[-1]]
        if slow:
            return [_between(curve, start, i, limit_ms)] if right - left > 1 else []
        if gap_beside_fall(curve, start, i):
            return [_beside_fall(curve, i)]
    return []


def _beside_fall(curve: Curve, i: int) -> int:
    """Which width of the gap before index i, next to a fall, shows a comb or the far side of a hump."""
    left, right = curve.widths[i - 1], curve.widths[i]
    if not is_slower(curve.latency_ms[i - 1], curve.latency_ms[i], curve.eps):
        return left + 1  # the fall is before the gap: does the curve stay that fast?
    # The fall is in the gap. At a tooth it is directly before the end; a next width that stays fast rules that out.
    after = curve.latency_ms[i + 1] if right + 1 in curve.widths else math.inf
    return right - 1 if is_slower(after, curve.latency_ms[i], curve.eps) else _after(left, right)


def _between(curve: Curve, start: int, i: int, limit_ms: float) -> int:
    """Where in the gap before the slow width of index i the run may end.

    On a comb between two of its teeth the widths rise evenly: then at the odd width where a line meets the limit.
    """
    left, right = curve.widths[i - 1], curve.widths[i]
    odd = [w for w in range(left + 1, right) if w % 2]
    if not _falls(curve, start) or not odd or right % 2 == 0:
        return _after(left, right)
    known = latency_by_width(curve, start, i + 1)
    before = max((w for w in known if w % 2 and w < right), default=left)
    crossing = _crossing(before, right, known, limit_ms)
    return min(odd, key=lambda w: abs(w - crossing))


def _crossing(left: int, right: int, known: dict[int, float], limit_ms: float) -> float:
    """Where a line through two timed widths meets the limit."""
    rise = known[right] - known[left]
    return left + (right - left) * (limit_ms - known[left]) / rise if rise > 0 else (left + right) / 2


def _after(left: int, right: int) -> int:
    """Where a rise in a gap is likeliest to show: directly after a multiple, else at one, else in the middle."""
    if left % 8 == 0:
        return left + 1
    for modulus in (32, 16, 8, 4, 2):
        inside = range((left // modulus + 1) * modulus, right, modulus)
        if inside:
            return inside[len(inside) // 2]
    return left + 1


def _falls(curve: Curve, start: int) -> bool:
    """Whether any timed width is faster than the one before."""
    return any(is_slower(a, b, curve.eps) for a, b in itertools.pairwise(curve.latency_ms[start:]))


def _widest(known: Mapping[int, float], limit_ms: float, full: int, eps: float) -> list[int]:
    """The width of the largest expected gain over the widest fast one timed; none where no gain justifies a point.

    Up to the number of points that show the noise of a curve, any gain does.
    """
    widest = max(w for w, ms in known.items() if ms <= limit_ms)
    chance = chances(known, limit_ms, min(known), full, eps)
    least_chance, least_gain = (LONG_SHOT, SMALLEST_GAIN) if len(known) >= OWN_RESIDUAL_KEYS else (0.0, 0.0)
    ahead = [w for w in range(widest + 1, full + 1) if w not in known and chance[w] >= least_chance]
    gain = {w: (w - widest) * chance[w] for w in ahead}
    best = max(gain, key=gain.__getitem__, default=None)
    return [best] if best is not None and gain[best] >= least_gain else []
