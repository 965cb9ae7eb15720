"""How well measurements repeat: the difference of two measurements like the published one, the scatter of a process."""

import numpy as np
from scipy.special import chdtri


def residual_p95(adjusted: np.ndarray) -> float | None:
    """95th percentile over keys of |log ratio| of two measurements such as this one, the common factor removed.

    With two processes of a key, one against the other (the timing protocol); three give all their pairs. With four and
    more, the median of every other one against the median of the rest, divided by the root of 2: the published estimate
    is from all of them, and scatters by that factor less than one from half of them. Pairs of processes that share a
    single key are left out (chunks tied by a reference do not show their noise). None when nothing can be compared: one
    process, or one key.

    Args:
        adjusted: keys x processes, log time with the common factor removed, NaN where not measured.
    """
    present = np.isfinite(adjusted)
    together = present.T.astype(int) @ present.astype(int)
    gaps = []
    for values, there in zip(adjusted, present, strict=True):
        members = np.flatnonzero(there)
        members = members[[(together[p, members] >= 2).sum() > 1 for p in members]]
        own = values[members]
        if len(own) >= 4:
            gaps.append(abs(np.median(own[::2]) - np.median(own[1::2])) / 2**0.5)
            continue
        pairs = [(p, q) for p in range(len(own)) for q in range(p) if together[members[p], members[q]] >= 2]
        gaps.extend(abs(own[p] - own[q]) for p, q in pairs)
    return float(np.percentile(gaps, 95)) if gaps else None


def process_sigma(adjusted: np.ndarray) -> float | None:
    """Standard deviation of one process's log time of a key, the common factor removed; None for single processes.

    Pooled over keys by the median of their variances, so that a few disturbed keys do not count much.

    Args:
        adjusted: as for `residual_p95`.
    """
    count = np.isfinite(adjusted).sum(axis=1)
    some = adjusted[count > 1]
    if not len(some):
        return None
    variance = np.nanvar(some, axis=1, ddof=1)
    freedom = float(np.median(count[count > 1])) - 1
    return float((np.median(variance) * freedom / chdtri(freedom, 0.5)) ** 0.5)
