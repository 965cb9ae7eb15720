"""One-sided bounds on ratios of latencies that hold together: for certificates (`hakd.choosing.certificate`).

The process is the unit. Both latencies of a pair are timed in the same processes, so that a process's effect on both
cancels; the differences of their logarithms, one per process, are compared by Student's t. With m pairs each bound has
the confidence 1 - (1 - confidence) / m (Bonferroni), so that all hold together at `confidence` however the pairs
depend on each other: by a shared key, shared processes, a shared clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from hakd.staircase.estimate import CONFIDENCE
from hakd.staircase.factors import BurstLike, process_times


@dataclass(frozen=True)
class Upper:
    """A ratio (or, without a second key, a latency in ms), its upper bound, and the number of processes.

    None: fewer than two processes timed both, so that there is no bound.
    """

    middle: float | None
    upper: float | None
    processes: int


def upper_bounds(gaps: np.ndarray, confidence: float = CONFIDENCE) -> list[Upper]:
    """Upper ends of the means of each row, which hold together at `confidence`; exponentials of both are returned.

    Args:
        gaps: pairs x processes, differences of log latencies, NaN where a process lacks one. All pairs that were to be
            compared: those without data count too, since that was not known in advance.
        confidence: of all bounds together.
    """
    bounds = []
    for row in gaps:
        values = row[np.isfinite(row)]
        if values.size < 2:
            bounds.append(Upper(None, None, int(values.size)))
            continue
        quantile = -stdtrit(values.size - 1, (1 - confidence) / len(gaps))
        mean, error = values.mean(), values.std(ddof=1) / values.size**0.5
        bounds.append(Upper(float(np.exp(mean)), float(np.exp(mean + quantile * error)), int(values.size)))
    return bounds


def upper_ratios(
    bursts: Mapping[str, Sequence[BurstLike]],
    pairs: Sequence[tuple[str, str | None]],
    confidence: float = CONFIDENCE,
) -> list[Upper]:
    """Upper bounds on each pair's first latency over its second; on the first alone, in ms, where the second is None.

    No process is excluded: one that is slow as a whole slows both sides of a pair, and an uneven effect widens the
    bound.

    Args:
        bursts: by key, interleaved.
        pairs: (key, other key or None).
        confidence: of all bounds together, one-sided.

    Raises:
        HakdError: a burst without a positive time.
    """
    times = process_times(bursts)
    rows = dict(zip(times.keys, times.log_ms, strict=True))
    absent = np.full(len(times.processes), np.nan)
    gaps = [rows.get(a, absent) - (0.0 if b is None else rows.get(b, absent)) for a, b in pairs]
    return upper_bounds(np.array(gaps).reshape(len(pairs), len(times.processes)), confidence)
