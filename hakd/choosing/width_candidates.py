"""Widths of a group that are worth a place in the tables of a joint choice: few, for tiles need all combinations.

A curve that was timed for one choice of a width (`hakd.staircase.plan`) says nothing about narrower widths and little
about much wider ones, so multiples that engines like are added there. They fill the tables, what was timed decides.
"""

import math
from collections.abc import Collection

import numpy as np

from hakd.staircase.curve import Curve

MOST = 7
SHARES = (0.6,)  # of the pruned width, down to a multiple: narrower candidates
RESOLUTION = 0.03  # an uncertain curve still distinguishes widths that differ by more


def width_candidates(
    curve: Curve,
    width: int,
    full: int,
    lowest: int = 1,
    most: int = MOST,
    shares: Collection[float] = SHARES,
) -> list[int]:
    """The pruned and the full width, ends of plateaus and teeth of the curve, multiples: ascending, at most `most`.

    A timed width is an end or a tooth when nothing wider is as fast within the tolerance. Where there are too many
    candidates, those go that lie closest in latency to a neighbour. Always kept: the pruned and the full width, the
    widest one that is as fast as the pruned one, and the multiples next to the pruned one. The curve cannot show that
    these are not useful: at neighbours of odd widths, which dominate its blocks, a step may hardly show.

    Args:
        curve: of the group, at the pruned network's widths; holds `width`.
        width: the pruned width.
        full: the width before pruning.
        lowest: narrower widths are left out, e.g. because no saliency is recorded for them.
        most: at least 6.
        shares: of the pruned width, at which narrower candidates are tried.
    """
    known = {w: ms for w, ms in zip(curve.widths, curve.latency_ms, strict=True) if w <= full}
    eps = min(curve.eps, RESOLUTION)
    as_fast = max(w for w, ms in known.items() if ms <= known[width] * (1 + eps))
    step = _step(width)
    below = (width - 1) // step * step
    above = min(width // step * step + step, full)
    multiples = {below, above, (as_fast + full) // 2 // step * step}
    multiples |= {int(share * width) // step * step for share in shares}
    found = sorted(w for w in {*_ends(known, eps), *multiples, width, full} if max(lowest, 1) <= w <= full)
    kept = {width, full, as_fast, below, above}
    while len(found) > most:
        inner = [i for i in range(1, len(found) - 1) if found[i] not in kept]
        del found[min(inner, key=lambda i: _gap(known, found, i), default=0)]
    return found


def _ends(known: dict[int, float], eps: float) -> list[int]:
    """Widths than which nothing wider is as fast."""
    found, fastest = [], math.inf
    for w in sorted(known, reverse=True):
        if known[w] * (1 + eps) < fastest:
            found.append(w)
            fastest = known[w]
    return found


def _step(width: int) -> int:
    """Of which multiples narrower and much wider widths are taken."""
    return next((step for step in (16, 8, 4, 2) if width > 2 * step), 1)


def _gap(known: dict[int, float], found: list[int], i: int) -> float:
    """How much (log) latency lies between the two neighbours of a candidate; below what was timed, in proportion."""
    timed = sorted(known)
    left, right = (
        known[timed[0]] * w / timed[0]
        if w < timed[0]
        else float(np.interp(w, timed, [known[t] for t in timed]))
        for w in (found[i - 1], found[i + 1])
    )
    return abs(math.log(right / left))
