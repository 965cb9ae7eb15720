"""Which widths to time for the whole curve (mode `map`), and what the timed ones show about the rest.

Coarse first: width 1, the multiples of 16 and the full width. Then one point at a time in each gap whose ends differ:
next to a multiple first, where engines step, then at multiples inside, then in the middle, so that a jump off every
modulus is still found. The rest of the budget goes to gaps whose ends agree. A prior orders the search, measurements
decide: nothing is claimed about a width that was not timed, and a step that was not narrowed down to two adjacent
widths is reported with its gap (`changes`). A rise and a fall of the same height inside one gap stay hidden.
"""

import itertools
import math
from dataclasses import dataclass

from hakd.staircase.combs import BELOW_TOOTH, COARSE, check_points, teeth
from hakd.staircase.curve import Curve
from hakd.staircase.plan import untimed

POINTS = 25  # a group of up to 160 channels; more for wider ones (`budget`)
WIDE_GAP = 8  # a gap of more channels whose ends agree is searched
KEPT = 3  # points reserved while searching quiet gaps, for what is found there


@dataclass(frozen=True)
class Change:
    """Latency differs with certainty between two consecutive timed widths (`Curve.faster`); `ratio` is after / before.

    Exact where the two are adjacent; otherwise the change is somewhere between them, in one step or in several.
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
    # Whether it is a comb decides how the rest of the budget is used.
    if before_teeth := untimed((tooth - 1 for tooth in check_points(full)), curve):
        return sorted(before_teeth[:room])
    # The points that give a comb's modulus, then every change that is not narrowed down yet, the largest first.
    at_teeth = teeth(curve) or teeth(curve, slow=True)
    beside_teeth = [tooth - back for tooth in at_teeth for back in (*BELOW_TOOTH, -1) if tooth - back <= full]
    open_changes = [change for change in changes(curve) if not change.exact]
    open_changes.sort(key=lambda change: -abs(math.log(change.ratio)))
    wanted = untimed([*beside_teeth, *map(_probe, open_changes)], curve)
    if not wanted:
        wanted = [_middle(*gap) for gap in _quiet_gaps(curve)[: max(room - KEPT, 0)]]
    return sorted(wanted[:room])


def changes(curve: Curve) -> list[Change]:
    """Every pair of consecutive timed widths that differ with certainty, from narrow to wide."""
    return [
        Change(curve.widths[i], curve.widths[i + 1], curve.latency_ms[i + 1] / curve.latency_ms[i])
        for i in range(len(curve.widths) - 1)
        if curve.faster(i, i + 1) or curve.faster(i + 1, i)
    ]


def _probe(change: Change) -> int:
    """The width that shows most about an open change, if it is a step of the usual kind.

    A rise follows directly after a multiple; a fall is directly before one (a tooth), or after one (the end of a hump).
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
    """An odd width near the middle of a gap, if there is one: multiples would not show a comb."""
    middle = (left + right) // 2
    return middle if middle % 2 or middle + 1 >= right else middle + 1


def _quiet_gaps(curve: Curve) -> list[tuple[int, int]]:
    """Wide gaps whose ends agree, the widest first."""
    loud = {change.before for change in changes(curve)}
    gaps = [(a, b) for a, b in itertools.pairwise(curve.widths) if a not in loud and b - a > WIDE_GAP]
    return sorted(gaps, key=lambda gap: gap[0] - gap[1])
