"""What a complete curve is made of: plateaus, steps, cliffs, humps, combs.

The truth that plans are judged by (`benchmarks.planner`): it reads every width, so a comb is a modulus whose multiples
are faster than nearly all widths below them. `hakd.staircase.combs` has to decide on the few teeth that were timed.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from hakd.staircase.curve import Curve

MODULI = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Plateau:
    """Consecutive measured widths within the tolerance of the first one; latency in milliseconds."""

    left: int
    right: int
    latency_ms: float


@dataclass(frozen=True)
class Step:
    """Change between two consecutive plateaus: latency after / before; above 1 a step up, below 1 a cliff."""

    before: int
    after: int
    ratio: float


@dataclass(frozen=True)
class Features:
    """Plateaus from left to right, what lies between them, humps and the comb's modulus."""

    plateaus: tuple[Plateau, ...]
    steps: tuple[Step, ...]
    cliffs: tuple[Step, ...]
    humps: tuple[tuple[int, int], ...]  # runs of widths for which some wider one is faster
    comb: int | None  # non-multiples of it are slower than their next multiple


def features(curve: Curve) -> Features:
    """Describe a curve within its tolerance; a curve of unknown noise is one plateau."""
    widths, latency = curve.arrays()
    starts = _plateau_starts(latency, curve.eps)
    ends = [*starts[1:], len(widths)]
    plateaus = tuple(
        Plateau(int(widths[a]), int(widths[b - 1]), float(np.median(latency[a:b])))
        for a, b in zip(starts, ends, strict=True)
    )
    changes = [Step(a.right, b.left, b.latency_ms / a.latency_ms) for a, b in itertools.pairwise(plateaus)]
    return Features(
        plateaus,
        tuple(change for change in changes if change.ratio >= 1),
        tuple(change for change in changes if change.ratio < 1),
        _humps(widths, latency, curve.eps),
        _comb(widths, latency, curve.eps),
    )


def _plateau_starts(latency: np.ndarray, eps: float) -> list[int]:
    """Greedy from the left; anchored at the first width of a plateau, so that slopes do not drift into one."""
    starts = [0]
    bound = np.log1p(eps)
    logs = np.log(latency)
    for i in range(1, len(logs)):
        if abs(logs[i] - logs[starts[-1]]) > bound:
            starts.append(i)
    return starts


def _humps(widths: np.ndarray, latency: np.ndarray, eps: float) -> tuple[tuple[int, int], ...]:
    """Runs of measured widths w with a wider w' where L(w') (1 + eps) < L(w)."""
    fastest_after = np.append(np.minimum.accumulate(latency[::-1])[::-1][1:], np.inf)
    over = fastest_after * (1 + eps) < latency
    edges = np.flatnonzero(np.diff(np.concatenate([[False], over, [False]]).astype(int)))
    return tuple((int(widths[a]), int(widths[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _comb(widths: np.ndarray, latency: np.ndarray, eps: float) -> int | None:
    """The smallest modulus whose multiples are faster than (nearly) every width just below them."""
    place = {int(width): i for i, width in enumerate(widths)}
    for modulus in MODULI:
        pairs = [(i, place.get(-(-int(w) // modulus) * modulus)) for i, w in enumerate(widths) if w % modulus]
        falls = [latency[j] * (1 + eps) < latency[i] for i, j in pairs if j is not None]
        if len(falls) >= 3 and np.mean(falls) >= 0.9:
            return modulus
    return None
