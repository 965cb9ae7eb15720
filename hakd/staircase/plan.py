"""What to time: few widths that decide as an exhaustive sweep would, and the multiples of 8 for the map.

For one decision the pruned width t, t + 1 and the next multiples of 4, 8, 16 and 32 do, extended while flat:
on staircases the same decision as from all widths in 98-100 % of cases (the timing protocol, "Sampling"). A
jump off every modulus is not found this way.
"""

from hakd.records.errors import HakdError
from hakd.staircase.curve import Curve

MODULI = (4, 8, 16, 32)
MAP_MULTIPLE = 8


def _check(width: int, full: int) -> None:
    if not 1 <= width <= full:
        raise HakdError(
            f"a width of {width} channels of {full}", key="width", remedy="Prune again: the widths do not fit"
        )


def map_widths(full: int) -> list[int]:
    """Multiples of 8 up to the full width, and the full width: for the plot and for cliffs far off."""
    return sorted({*range(MAP_MULTIPLE, full + 1, MAP_MULTIPLE), full})


def targets(width: int, full: int) -> list[int]:
    """Widths to time first, ascending, for a group pruned to `width` of `full` channels.

    Raises:
        HakdError: a width outside 1..full.
    """
    _check(width, full)
    nexts = {(width // modulus + 1) * modulus for modulus in MODULI}
    return sorted({width, *(w for w in {width + 1, *nexts} if w <= full), *map_widths(full)})


def extend(curve: Curve, width: int, full: int) -> list[int]:
    """Widths to time next, ascending; empty when the decision is made.

    For each modulus: the unmeasured multiples above `width` up to the first one that is slower than the tolerance,
    one step beyond what is known at a time. And where a gap of unmeasured widths lies beside a fall (a width faster
    than the one before by more than the tolerance), the first and the last width of the gap: a fall is what a comb
    looks like from between its teeth, and only those widths tell a comb from the far side of a hump
    (`hakd.choosing.snap`). A curve of unknown noise is not extended.

    Raises:
        HakdError: a width outside 1..full, or one that the curve lacks.
    """
    _check(width, full)
    start = curve.index(width)
    if curve.residual_p95 is None:
        return []
    limit = (1 + curve.eps) * curve.latency_ms[start]
    known = dict(zip(curve.widths, curve.latency_ms, strict=True))
    wanted = {w for modulus in MODULI for w in _while_flat(known, width, full, modulus, limit)}
    return sorted(wanted | _beside_falls(curve, start, limit, full))


def _while_flat(known: dict[int, float], width: int, full: int, modulus: int, limit: float) -> list[int]:
    """Unmeasured multiples above `width` up to the first slow one; past an unmeasured one only on known ground."""
    wanted = []
    multiple = (width // modulus + 1) * modulus
    while multiple <= full and known.get(multiple, limit) <= limit:
        if multiple not in known:
            wanted.append(multiple)
            if multiple + modulus not in known:
                break
        multiple += modulus
    return wanted


def _beside_falls(curve: Curve, start: int, limit_ms: float, full: int) -> set[int]:
    """Both ends of the first gap beside a fall on the contiguous run, if the run reaches one."""
    for i in range(start + 1, len(curve.widths)):
        if curve.latency_ms[i] > limit_ms or curve.widths[i] > full:
            break
        if gap_beside_fall(curve, start, i):
            return {curve.widths[i - 1] + 1, curve.widths[i] - 1}
    return set()


def gap_beside_fall(curve: Curve, start: int, i: int) -> bool:
    """Whether unmeasured widths lie between indices i - 1 and i, and the latency falls into or out of that gap.

    A fall is a width faster by more than the tolerance than the measured one before it, at or after index `start`.
    """
    if curve.widths[i] - curve.widths[i - 1] == 1:
        return False
    falls_here = curve.latency_ms[i] * (1 + curve.eps) < curve.latency_ms[i - 1]
    fell = i - 1 > start and curve.latency_ms[i - 1] * (1 + curve.eps) < curve.latency_ms[i - 2]
    return falls_here or fell
