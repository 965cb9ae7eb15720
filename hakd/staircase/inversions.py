"""Inverted steps: widths that are slower than a wider one, as measured."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hakd.staircase.curve import Curve


@dataclass(frozen=True)
class Inversion:
    """`narrow` takes longer than `wide` by more than the curve's tolerance; `ratio` is narrow / wide, above 1.

    Of all wider widths that are faster, `wide` is the fastest (the narrowest of equals) and `faster` counts them.
    """

    group: str
    level: float | None
    narrow: int
    wide: int
    ratio: float
    faster: int
    trusted: bool = (
        True  # in older files False where it was undecided; inversions listed now are always decided
    )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def inversions(curve: Curve) -> list[Inversion]:
    """One for each timed width that is slower than a wider one, from narrow to wide; none for a curve of unknown noise.

    The difference must exceed both the curve's `eps` and twice the 95 % interval of that ratio, so that all statements
    on a network hold together (`curve.TOGETHER`).
    """
    widths, latency = curve.arrays()
    inverted = []
    for i in range(len(widths) - 1):
        faster = np.array([curve.faster(j, i) for j in range(i + 1, len(widths))])
        if faster.any():
            best = i + 1 + int(np.argmin(np.where(faster, latency[i + 1 :], np.inf)))
            ends, ratio = (int(widths[i]), int(widths[best])), float(latency[i] / latency[best])
            inverted.append(Inversion(curve.group, curve.level, *ends, ratio, int(faster.sum())))
    return inverted


def in_words(inverted: Sequence[Inversion], shown: int = 3) -> str:
    """The largest of one curve in a line, from narrow to wide; empty for none."""
    if not inverted:
        return ""
    largest = sorted(inverted, key=lambda step: -step.ratio)[:shown]
    largest.sort(key=lambda step: step.narrow)
    words = [f"{step.narrow} is {step.ratio - 1:.0%} slower than {step.wide}" for step in largest]
    more = f" and {len(inverted) - shown} more" if len(inverted) > shown else ""
    return f"narrower but slower: {', '.join(words)}{more}"
