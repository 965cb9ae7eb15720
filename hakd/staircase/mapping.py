"""Which widths to time when the whole curve is wanted (mode `map`), and what the timed ones say about the rest.

Coarse first: width 1, the multiples of 16 and the full width. Then one point at a time in each gap whose ends
differ: beside a multiple first, where engines step, then at multiples inside, then in the middle, so that a jump off
every modulus is still found. What is left of the budget looks into gaps whose ends agree. A prior orders the search,
evidence decides: nothing is claimed about a width that was not timed, and a step that was not narrowed down to two
adjacent widths is reported with the gap it lies in (`changes`). What stays hidden: a rise and a fall of the same height
inside one gap.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from hakd.staircase.curve import Curve

COARSE = 16
POINTS = 25  # a group of up to 160 channels; more for wider ones (`budget`)
WIDE_GAP = 8  # a gap of more channels whose ends agree is looked into
KEPT = 3  # points kept back when looking into quiet gaps, for what is found there
BELOW_TOOTH = (1, 2, 4, 8)


@dataclass(frozen=True)
class Change:
    """Latency surely differs between two consecutive timed widths (`Curve.faster`); `ratio` is after / before.

    Exact where the two are adjacent; otherwise the change lies somewhere between them, in one step or in several.
    """

    before: int
    after: int
    ratio: float

    @property
    def exact(self) -> bool:
        """Whether it was narrowed down to two adjacent widths."""
        return self.after - self.before == 1


def budget(full: int) -> int:
    """Widths that a map of a group may time: 25 up to 160 channels, then an eighth of the channels and 5."""
    return max(POINTS, full // 8 + 5)


def map_start(full: int) -> list[int]:
    """Widths to time first, ascending: all of a small group."""
    if full <= budget(full):
        return list(range(1, full + 1))
    return sorted({1, *range(COARSE, full + 1, COARSE), full})


def map_more(curve: Curve, full: int) -> list[int]:
    """Widths to time next, ascending; empty when nothing is left to narrow down, or the budget is spent.

    A curve of unknown noise is not refined.
    """
    room = budget(full) - len(curve.widths)
    if curve.residual_p95 is None or room <= 0:
        return []
    first = [tooth - 1 for tooth in _tell_tale(full) if tooth - 1 not in curve.widths]
    if first:  # whether it is a comb decides what the rest of the budget is for
        return sorted(first[:room])
    wanted = [tooth - back for tooth in _teeth(curve) or _slow_teeth(curve) for back in (*BELOW_TOOTH, -1)]
    wanted = [width for width in wanted if width <= full]
    wanted += [_probe(change) for change in _by_size(changes(curve)) if not change.exact]
    wanted = [width for width in dict.fromkeys(wanted) if width not in curve.widths]
    if not wanted:
        gaps = _quiet_gaps(curve)
        wanted = [_middle(left, right) for left, right in gaps[: max(room - KEPT, 0)]]
    return sorted(wanted[:room])


def changes(curve: Curve) -> list[Change]:
    """Every pair of consecutive timed widths of which it can be stated that they differ, from narrow to wide."""
    return [
        Change(curve.widths[i], curve.widths[i + 1], curve.latency_ms[i + 1] / curve.latency_ms[i])
        for i in range(len(curve.widths) - 1)
        if curve.faster(i, i + 1) or curve.faster(i + 1, i)
    ]


def _by_size(found: list[Change]) -> list[Change]:
    return sorted(found, key=lambda change: -abs(math.log(change.ratio)))


def _probe(change: Change) -> int:
    """The width that tells most about an open change, were it a step of the usual kind.

    A rise comes right after a multiple; a fall right before one (a tooth), or right after one (the end of a hump).
    """
    left, right = change.before, change.after
    after_multiple, before_multiple = left % 8 == 0, right % 8 == 0
    if change.ratio < 1 and before_multiple:
        return right - 1
    if after_multiple:
        return left + 1
    inside = range(left + 1, right)
    best = max(math.gcd(width, COARSE) for width in inside)
    if best < 4:
        return _middle(left, right)
    middle = (left + right) / 2
    return min((w for w in inside if math.gcd(w, COARSE) == best), key=lambda w: abs(w - middle))


def _middle(left: int, right: int) -> int:
    """An odd width near the middle of a gap, if it holds one: multiples would be blind to a comb."""
    middle = (left + right) // 2
    return middle if middle % 2 or middle + 1 >= right else middle + 1


def _quiet_gaps(curve: Curve) -> list[tuple[int, int]]:
    """Wide gaps whose ends agree, the widest first."""
    loud = {change.before for change in changes(curve)}
    gaps = [(a, b) for a, b in zip(curve.widths, curve.widths[1:], strict=False) if a not in loud]
    return sorted((gap for gap in gaps if gap[1] - gap[0] > WIDE_GAP), key=lambda gap: gap[0] - gap[1])


def comb(curve: Curve) -> int | None:
    """The modulus of a comb (2, 4, 8 or 16: its multiples are faster than the widths beside them), None for no comb.

    Told on two teeth t: the smallest m for which t - m is as fast as a tooth, nearer to t than to t - 1.
    """
    return _modulus(curve, _teeth(curve), lambda ms, between: ms <= between)


def comb_upside_down(curve: Curve) -> int | None:
    """The modulus of a comb whose multiples are *slower* than the widths beside them, told alike; None for no such."""
    known = dict(zip(curve.widths, curve.latency_ms, strict=True))
    teeth = _slow_teeth(curve)
    if not all(known.get(t + 1, math.inf) * (1 + curve.eps) < known[t] for t in teeth):
        return None  # it goes on at that height: a staircase
    modulus = _modulus(curve, teeth, lambda ms, between: ms >= between)
    return (
        None if modulus == COARSE else modulus
    )  # of 16 it would be told on multiples of 16 alone: a rise will do


def _modulus(curve: Curve, teeth: list[int], alike: Callable[[float, float], bool]) -> int | None:
    known = dict(zip(curve.widths, curve.latency_ms, strict=True))
    found = set()
    for tooth in teeth:
        if not {tooth - back for back in BELOW_TOOTH} <= known.keys():
            return None
        between = math.sqrt(known[tooth] * known[tooth - 1])
        found.add(next((back for back in BELOW_TOOTH if alike(known[tooth - back], between)), COARSE))
    return found.pop() if len(found) == 1 else None


def _tell_tale(full: int) -> list[int]:
    """Two multiples of 16, at about a half and three quarters: where every comb has a tooth, and slopes are slight."""
    if full < 2 * COARSE:
        return []
    half = max(COARSE, full // 2 // COARSE * COARSE)
    return [half, max(half + COARSE, 3 * full // 4 // COARSE * COARSE)]


def _teeth(curve: Curve) -> list[int]:
    """The tell-tale multiples, if each is faster than the width before: a hump ends once, only a comb falls twice."""
    return _alike_teeth(curve, lambda tooth, before, limit: before > limit * tooth)


def _slow_teeth(curve: Curve) -> list[int]:
    """The tell-tale multiples, if each is slower than the width before."""
    return _alike_teeth(curve, lambda tooth, before, limit: tooth > limit * before)


def _alike_teeth(curve: Curve, differs: Callable[[float, float, float], bool]) -> list[int]:
    known = dict(zip(curve.widths, curve.latency_ms, strict=True))
    teeth, limit = _tell_tale(curve.widths[-1]), 1 + curve.eps
    there = all({t, t - 1} <= known.keys() for t in teeth)
    return teeth if there and all(differs(known[t], known[t - 1], limit) for t in teeth) else []
