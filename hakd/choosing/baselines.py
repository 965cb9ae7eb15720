"""Widths chosen without a device, the rivals of snapping: rounded up, uniform multipliers, random.

Budgets are exact: levels are read as the decimals they are written as, multipliers are fractions. `macs_of`
must not fall when a width grows.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from hakd.records.errors import HakdError, run_again

Widths = Mapping[str, int]
MacsOf = Callable[[dict[str, int]], int]


def round_to(widths: Widths, full: Widths, multiple: int = 16) -> dict[str, int]:
    """Round every width up to a multiple (8, 16, 32), at most to the full width.

    Raises:
        HakdError: a width outside 1..full, or a multiple below 1.
    """
    _check_multiple(multiple)
    for group, width in widths.items():
        if not 1 <= width <= full.get(group, 0):
            raise HakdError(
                f"a width of {width} channels of {full.get(group, 0)}",
                key=group,
                remedy=run_again("prune"),
            )
    return {group: min(-(-width // multiple) * multiple, full[group]) for group, width in widths.items()}


def uniform(full: Widths, level: float, macs_of: MacsOf) -> dict[str, int]:
    """The largest multiplier m with MACs <= level x full: every width is max(1, floor(m x full)).

    Exact: widths change only where m = k / full width for some group, and a bisection runs over those
    finitely many m.

    Raises:
        HakdError: a level outside (0, 1], or one that not even widths of 1 meet.
    """
    budget = _budget(full, level, macs_of)
    breakpoints = sorted({Fraction(k, size) for size in set(full.values()) for k in range(1, size + 1)})

    def at(m: Fraction) -> dict[str, int]:
        return {group: max(1, m.numerator * size // m.denominator) for group, size in full.items()}

    found = _largest(breakpoints, at, budget, macs_of)
    if found is None:
        raise HakdError(
            f"widths of 1 have {macs_of(at(breakpoints[0]))} MACs, {float(budget):.0f} are allowed",
            key=f"level {level}",
            remedy="Raise the level",
        )
    return found


def uniform_aligned(full: Widths, level: float, macs_of: MacsOf, multiple: int = 8) -> dict[str, int]:
    """The largest multiplier m <= 1 with MACs <= level x full, widths rounded to the nearest multiple (halves up).

    At level 1 that is the full network, whatever its widths. A width is at least one multiple, or the full width
    when that is smaller, and at most the full width. Where even those smallest widths exceed the budget they are
    returned all the same: compare their MACs with the level.

    Raises:
        HakdError: a level outside (0, 1], or a multiple below 1.
    """
    _check_multiple(multiple)
    budget = _budget(full, level, macs_of)
    halves = {
        Fraction((2 * j - 1) * multiple, 2 * size)
        for size in set(full.values())
        for j in range(1, size // multiple + 2)
    }
    if macs_of(dict(full)) <= budget:
        return dict(full)

    def at(m: Fraction) -> dict[str, int]:
        return {group: _nearest(m * size, size, multiple) for group, size in full.items()}

    smallest = {group: min(multiple, size) for group, size in full.items()}
    return _largest(sorted(m for m in halves if m <= 1), at, budget, macs_of) or smallest


def random_widths(full: Widths, level: float, macs_of: MacsOf, seed: int) -> dict[str, int]:
    """Random proportions at a budget: width = floor(m x u x full) with the largest m that fits.

    u is uniform in (0.2, 1), drawn per group.

    Widths are between 1 and full, MACs <= level x full. Depends on the groups' order and the seed only.

    Raises:
        HakdError: as for `uniform`.
    """
    budget = _budget(full, level, macs_of)
    draws = np.random.default_rng(seed).integers(2001, 10000, size=len(full))
    share = {group: Fraction(int(draw), 10000) for group, draw in zip(full, draws, strict=True)}
    steps = {Fraction(k, size) / share[group] for group, size in full.items() for k in range(1, size + 1)}

    def at(m: Fraction) -> dict[str, int]:
        return {group: min(size, max(1, int(m * share[group] * size))) for group, size in full.items()}

    found = _largest(sorted(steps), at, budget, macs_of)
    if found is None:
        raise HakdError(
            f"random widths from seed {seed} do not fit", key=f"level {level}", remedy="Raise the level"
        )
    return found


def _largest(
    breakpoints: list[Fraction], at: Callable[[Fraction], dict[str, int]], budget: Fraction, macs_of: MacsOf
) -> dict[str, int] | None:
    """Widths at the largest breakpoint within the budget; None when there is none."""
    low, high = -1, len(breakpoints) - 1  # low fits (or is nothing), everything above high does not
    while low < high:
        middle = (low + high + 1) // 2
        if macs_of(at(breakpoints[middle])) <= budget:
            low = middle
        else:
            high = middle - 1
    return at(breakpoints[low]) if low >= 0 else None


def _nearest(exact: Fraction, size: int, multiple: int) -> int:
    rounded = int(exact / multiple + Fraction(1, 2)) * multiple
    return min(max(rounded, multiple), size)


def _budget(full: Widths, level: float, macs_of: MacsOf) -> Fraction:
    if not 0 < level <= 1:
        raise HakdError(
            f"{level} is not in (0, 1]", key="level", remedy="Give a share of the full network's MACs"
        )
    if not full or min(full.values()) < 1:
        raise HakdError("a network needs groups of at least one channel", key="widths")
    return Fraction(str(level)) * macs_of(dict(full))


def _check_multiple(multiple: int) -> None:
    if multiple < 1:
        raise HakdError(f"{multiple} is no multiple to round to", key="multiple", remedy="Use 8, 16 or 32")
