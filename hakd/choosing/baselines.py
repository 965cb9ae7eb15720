"""Widths chosen without a device, the baselines of snapping: rounded up, scaled profiles, random.

Budgets are exact: levels are read as the decimals they are written as, multipliers are fractions. `count` gives what a
level limits (MACs or parameters) and must not fall when a width grows.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TypeVar

import numpy as np

from hakd.records.errors import HakdError, run_again

Widths = Mapping[str, int]
Count = Callable[[dict[str, int]], int]
T = TypeVar("T")


def round_to(widths: Widths, full: Widths, multiple: int = 16) -> dict[str, int]:
    """Round every width up to a multiple (8, 16, 32), at most to the full width.

    Raises:
        HakdError: a width outside 1..full, or a multiple below 1.
    """
    _check_multiple(multiple)
    for group, width in widths.items():
        if not 1 <= width <= full.get(group, 0):
            raise HakdError(
                f"width {width} is not in 1..{full.get(group, 0)}",
                key=group,
                remedy=run_again("prune"),
            )
    return {group: min(-(-width // multiple) * multiple, full[group]) for group, width in widths.items()}


def uniform(full: Widths, level: float, count: Count) -> dict[str, int]:
    """The largest multiplier m with a count <= level x full: every width is max(1, floor(m x full)).

    Raises:
        HakdError: a level outside (0, 1], or one that not even widths of 1 meet.
    """
    return scaled_profile(full, full, level, count)


def scaled_profile(
    full: Widths, profile: Mapping[str, int | Fraction], level: float, count: Count
) -> dict[str, int]:
    """The largest multiplier m with a count <= level x full: widths are floor(m x profile), at least 1, at most full.

    Exact: widths change only where m = k / profile for some group, and a bisection runs over those finitely many m.

    Raises:
        HakdError: as for `uniform`.
    """
    budget = _budget(full, level, count)
    breakpoints = sorted({Fraction(k) / profile[group] for group in full for k in range(1, full[group] + 1)})

    def at(m: Fraction) -> dict[str, int]:
        return {group: min(size, max(1, int(m * profile[group]))) for group, size in full.items()}

    found = _largest(breakpoints, at, budget, count)
    if found is None:
        raise HakdError(
            f"widths of 1 give {count(at(breakpoints[0]))}, the level allows {float(budget):.0f}",
            key=f"level {level}",
            remedy="Raise the level",
        )
    return found


def uniform_aligned(full: Widths, level: float, count: Count, multiple: int = 8) -> dict[str, int]:
    """The largest multiplier m <= 1 with a count <= level x full, widths rounded to the nearest multiple (halves up).

    At level 1 that is the full network, whatever its widths. A width is at least one multiple, or the full width
    when that is smaller, and at most the full width. Where even those smallest widths exceed the budget they are
    returned all the same: compare their count with the level.

    Raises:
        HakdError: a level outside (0, 1], or a multiple below 1.
    """
    scalings, budget = aligned_scalings(full, multiple), _budget(full, level, count)
    return _largest(scalings, dict, budget, count) or scalings[0]


def aligned_scalings(full: Widths, multiple: int = 8) -> list[dict[str, int]]:
    """The full network times every multiplier m <= 1, rounded as `uniform_aligned` does: narrow to wide, each once.

    The last one is the full network itself.

    Raises:
        HakdError: a multiple below 1.
    """
    _check_multiple(multiple)
    halves = {
        Fraction((2 * j - 1) * multiple, 2 * size)
        for size in set(full.values())
        for j in range(1, size // multiple + 2)
    }
    smallest = {group: min(multiple, size) for group, size in full.items()}
    found = [
        {group: _nearest(m * size, size, multiple) for group, size in full.items()}
        for m in sorted(halves)
        if m <= 1
    ]
    return _each_once([smallest, *found, dict(full)])


def rounded_scalings(widths: Widths, full: Widths, multiple: int = 16) -> list[dict[str, int]]:
    """The widths times every multiplier, rounded as `round_to` does: narrow to wide, each once; among them `round_to`.

    Raises:
        HakdError: as for `round_to`.
    """
    round_to(widths, full, multiple)
    ends = {
        Fraction(j * multiple, width)
        for group, width in widths.items()
        for j in range(1, -(-full[group] // multiple) + 1)
    }
    return _each_once(
        {
            group: min(max(math.ceil(m * width / multiple), 1) * multiple, full[group])
            for group, width in widths.items()
        }
        for m in sorted(ends)
    )


def _each_once(scalings: Iterable[dict[str, int]]) -> list[dict[str, int]]:
    """Neighbours that are alike are one."""
    return [next(alike) for _, alike in itertools.groupby(scalings)]


def random_widths(full: Widths, level: float, count: Count, seed: int) -> dict[str, int]:
    """Random proportions at a budget: the profile is u x full, scaled. u is uniform in (0.2, 1), drawn per group.

    Depends on the groups' order and the seed only.

    Raises:
        HakdError: as for `uniform`.
    """
    draws = np.random.default_rng(seed).integers(2001, 10000, size=len(full))
    profile = {
        group: Fraction(int(draw), 10000) * full[group] for group, draw in zip(full, draws, strict=True)
    }
    return scaled_profile(full, profile, level, count)


def _largest(
    breakpoints: Sequence[T], at: Callable[[T], dict[str, int]], budget: Fraction, count: Count
) -> dict[str, int] | None:
    """Widths at the largest breakpoint within the budget; None when there is none."""
    low, high = -1, len(breakpoints) - 1  # low fits (or is nothing), everything above high does not
    while low < high:
        middle = (low + high + 1) // 2
        if count(at(breakpoints[middle])) <= budget:
            low = middle
        else:
            high = middle - 1
    return at(breakpoints[low]) if low >= 0 else None


def _nearest(exact: Fraction, size: int, multiple: int) -> int:
    rounded = int(exact / multiple + Fraction(1, 2)) * multiple
    return min(max(rounded, multiple), size)


def _budget(full: Widths, level: float, count: Count) -> Fraction:
    if not 0 < level <= 1:
        raise HakdError(
            f"{level} is not in (0, 1]", key="level", remedy="Give a fraction of the full network"
        )
    if not full or min(full.values()) < 1:
        raise HakdError("a network needs groups of at least one channel", key="widths")
    return Fraction(str(level)) * count(dict(full))


def _check_multiple(multiple: int) -> None:
    if multiple < 1:
        raise HakdError(f"{multiple} is not a multiple to round to", key="multiple", remedy="Use 8, 16 or 32")
