"""Which widths to time when the whole curve is wanted (mode `map`), and what the timed ones say about the rest.

Coarse first: width 1, the multiples of 16 and the full width. Then one point at a time in each gap whose ends
differ: beside a multiple first, where engines step, then at multiples inside, then in the middle, so that a jump off
every modulus is still found. What is left of the budget looks into gaps whose ends agree. A prior orders the search,
evidence decides: nothing is claimed about a width that was not timed, and a step that was not narrowed down to two
adjacent widths is reported with the gap it lies in (`changes`). What stays hidden: a rise and a fall of the same height
inside one gap.
"""

import itertools
import math
from dataclasses import dataclass

from hakd.staircase.combs import BELOW_TOOTH, COARSE, check_points, teeth
from hakd.staircase.curve import Curve
from hakd.staircase.plan import untimed

POINTS = 25  # a group of up to 160 channels; more for wider ones (`budget`)
WIDE_GAP = 8  # a gap of more channels whose ends agree is looked into
KEPT = 3  # points kept back when looking into quiet gaps, for what is found there


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
    # Whether it is a comb decides what the rest of the budget is for.
    if before_teeth := untimed((tooth - 1 for tooth in check_points(full)), curve):
        return sorted(before_teeth[:room])
    # What the modulus of a comb is read off, then every change that is not narrowed down yet, the largest first.
    at_teeth = teeth(curve) or teeth(curve, slow=True)
    beside_teeth = [tooth - back for tooth in at_teeth for back in (*BELOW_TOOTH, -1) if tooth - back <= full]
    open_changes = [change for change in changes(curve) if not change.exact]
    open_changes.sort(key=lambda change: -abs(math.log(change.ratio)))
    wanted = untimed([*beside_teeth, *map(_probe, open_changes)], curve)
    if not wanted:
        wanted = [_middle(*gap) for gap in _quiet_gaps(curve)[: max(room - KEPT, 0)]]
    return sorted(wanted[:room])


def changes(curve: Curve) -> list[Change]:
    """Every pair of consecutive timed widths of which it can be stated that they differ, from narrow to wide."""
    return [
        Change(curve.widths[i], curve.widths[i + 1], curve.latency_ms[i + 1] / curve.latency_ms[i])
        for i in range(len(curve.widths) - 1)
        if curve.faster(i, i + 1) or curve.faster(i + 1, i)
    ]


def _probe(change: Change) -> int:
    """The width that shows most of an open change, were it a step of the usual kind.

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
    gaps = [(a, b) for a, b in itertools.pairwise(curve.widths) if a not in loud and b - a > WIDE_GAP]
    return sorted(gaps, key=lambda gap: gap[0] - gap[1])
