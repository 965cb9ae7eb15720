"""Combs: multiples that are faster, or slower, than the widths next to them, as far as few timed widths show them.

A comb shows at single teeth: a multiple that differs from a width next to it by more than `eps`. A plan for one choice
uses the multiples of 4 that were timed with the next wider width (`is_inverted`); a map times two check points, which
also give the modulus (`comb`). `benchmarks/features.py` describes complete curves, which needs no teeth;
`hakd.staircase.gain` gives every modulus a chance.
"""

import math
from collections.abc import Mapping

from hakd.staircase.curve import Curve

COARSE = 16  # every comb has a tooth at its multiples
BELOW_TOOTH = (1, 2, 4, 8)
PACKED = 4  # its multiples are slow on some engines, which pack that many inputs together


def latency_by_width(curve: Curve, start: int = 0, stop: int | None = None) -> dict[int, float]:
    """Width -> ms of a curve, or of its indices from `start` to before `stop`."""
    return dict(zip(curve.widths[start:stop], curve.latency_ms[start:stop], strict=True))


def is_slower(ms: float, other_ms: float, eps: float) -> bool:
    """Whether the first of two latencies is longer by more than the fraction `eps`."""
    return ms > (1 + eps) * other_ms


# --- multiples of 4, as they come


def _packed_teeth(known: Mapping[int, float], eps: float) -> tuple[list[int], list[int]]:
    """Multiples of 4 that are slower than the next wider width, and those that are not."""
    both = [w for w in known if w % PACKED == 0 and w + 1 in known]
    slow = [w for w in both if is_slower(known[w], known[w + 1], eps)]
    return slow, [w for w in both if w not in slow]


def is_inverted(curve: Curve, start: int) -> bool:
    """Whether multiples of 4 are the slow widths from index `start` on: a comb upside down.

    At least two timed teeth show it, and more than contradict it: a single one may be the end of a hump.
    """
    slow, others = _packed_teeth(latency_by_width(curve, start), curve.eps)
    return len(slow) > max(1, len(others))


def second_tooth(known: Mapping[int, float], eps: float, full: int) -> list[int]:
    """The width after another multiple of 4, where the only one timed with its next width is slower than that."""
    slow, others = _packed_teeth(known, eps)
    if len(slow) != 1 or others:
        return []
    return [w + 1 for w in sorted(known) if w % PACKED == 0 and w not in slow and w < full][:1]


def hidden_multiples(curve: Curve, start: int, i: int) -> list[int]:
    """Multiples of 4 in the gap before index i of a curve on which these are slow (`is_inverted`) from `start` on.

    On such a curve the ends of a gap do not show them. Empty for any other curve.
    """
    left, right = curve.widths[i - 1], curve.widths[i]
    return list(range((left // PACKED + 1) * PACKED, right, PACKED)) if is_inverted(curve, start) else []


def gap_beside_fall(curve: Curve, start: int, i: int) -> bool:
    """Whether unmeasured widths lie between indices i - 1 and i, and the latency falls into or out of that gap.

    A fall is a width faster by more than `eps` than the measured one before it, at or after index `start`: between its
    teeth, a comb looks like this. Where multiples of 4 are the slow ones, they cause the falls, and `hidden_multiples`
    gives the gaps in doubt.
    """
    if curve.widths[i] - curve.widths[i - 1] == 1 or is_inverted(curve, start):
        return False
    falls_here = is_slower(curve.latency_ms[i - 1], curve.latency_ms[i], curve.eps)
    return falls_here or (
        i - 1 > start and is_slower(curve.latency_ms[i - 2], curve.latency_ms[i - 1], curve.eps)
    )


# --- check points of a map


def check_points(full: int) -> list[int]:
    """Two multiples of 16, at about a half and three quarters: every comb has a tooth there, and slopes are small."""
    if full < 2 * COARSE:
        return []
    half = max(COARSE, full // 2 // COARSE * COARSE)
    return [half, max(half + COARSE, 3 * full // 4 // COARSE * COARSE)]


def teeth(curve: Curve, slow: bool = False) -> list[int]:
    """The check points, if each is faster (`slow`: slower) than the width before; none otherwise.

    Both must be: a hump ends once, only a comb falls twice.
    """
    known, points = latency_by_width(curve), check_points(curve.widths[-1])
    if not all({t, t - 1} <= known.keys() for t in points):
        return []
    pairs = [(known[t], known[t - 1]) if slow else (known[t - 1], known[t]) for t in points]
    return points if all(is_slower(*pair, curve.eps) for pair in pairs) else []


def comb(curve: Curve) -> int | None:
    """The modulus of a comb (2, 4, 8 or 16: its multiples are faster than the widths next to them); None without one.

    Decided on two teeth t: the smallest m for which t - m is as fast as a tooth, closer to t than to t - 1.
    """
    return _modulus(curve, slow=False)


def comb_upside_down(curve: Curve) -> int | None:
    """The modulus of a comb whose multiples are *slower* than the widths next to them; None without one."""
    known = latency_by_width(curve)
    if not all(is_slower(known[t], known.get(t + 1, math.inf), curve.eps) for t in teeth(curve, slow=True)):
        return None  # it continues at that height: a staircase
    modulus = _modulus(curve, slow=True)
    # For 16, only multiples of 16 would show it: a rise explains that.
    return None if modulus == COARSE else modulus


def _modulus(curve: Curve, slow: bool) -> int | None:
    """The modulus that both teeth show; None where they differ, or the widths below them were not timed."""
    known, moduli = latency_by_width(curve), set()
    for tooth in teeth(curve, slow):
        if not {tooth - back for back in BELOW_TOOTH} <= known.keys():
            return None
        between = math.sqrt(known[tooth] * known[tooth - 1])
        below = {back: known[tooth - back] for back in BELOW_TOOTH}
        alike = (back for back, ms in below.items() if (ms >= between if slow else ms <= between))
        moduli.add(next(alike, COARSE))
    return moduli.pop() if len(moduli) == 1 else None
