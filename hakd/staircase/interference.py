"""Phases in which something else slowed the whole device: a neighbour on the same core, a throttled clock.

Every point is visited in every round, in random order, so a slow phase shows as a run of bursts that are all
slower than the same points' own usual times. Such a phase says nothing about widths, and the share of it that a point
happens to catch is pure noise: on a shared x86-64 machine phases of 0.05 s to seconds at 1.3 to 1.5 times the latency
were seen, where bursts outside them repeated within 0.2 %.
"""

import numpy as np

PHASE = 0.05  # log factor from which a phase counts as slow
RESTLESS = 0.015  # scatter from which a process is set aside where two calmer ones timed the same point
MOSTLY = 0.7  # share of bursts in slow phases from which the rest no longer tells a process's usual times
_NEIGHBOURS = 4  # bursts on each side that tell the device's speed at a moment
_USUAL = 0.2  # quantile of a point's bursts taken for its usual time: phases may take up most of a process


def slow_phases(process: np.ndarray, key: np.ndarray, order: np.ndarray, log_ms: np.ndarray) -> np.ndarray:
    """Which bursts lie in a slow phase of their process.

    A burst's own time does not decide: the median excess of its neighbours in time, over their points' usual times,
    does. So the rule cannot favour one width over another.

    Args:
        process, key: number of the process and of the point of each burst.
        order: place of the burst in time, within its process.
        log_ms: logarithm of its median time.
    """
    found = np.zeros(len(log_ms), dtype=bool)
    for number in np.unique(process):
        members = np.flatnonzero(process == number)
        members = members[np.argsort(order[members], kind="stable")]
        found[members] = _excess(key[members], log_ms[members]) > PHASE
    return found


def _excess(key: np.ndarray, log_ms: np.ndarray) -> np.ndarray:
    """Median excess of each burst's neighbours over their points' usual times, bursts given in order of time."""
    excess = np.empty(len(log_ms))
    for one in np.unique(key):
        own = key == one
        excess[own] = log_ms[own] - np.quantile(log_ms[own], _USUAL)
    if len(excess) < 2:
        return np.zeros(len(excess))
    padded = np.pad(excess, _NEIGHBOURS, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1).copy()
    windows[:, _NEIGHBOURS] = np.nan  # a burst does not judge itself
    return np.nanmedian(windows, axis=1)


def mostly_slow(process: np.ndarray, slow: np.ndarray) -> np.ndarray:
    """Which processes have more than 70 % of their bursts in slow phases.

    In 10 rounds of a process that is slow for so much of its time many points have one undisturbed burst or none:
    their quartiles are slow, the others' are not, and neither the process's factor nor its scatter shows it.

    Args:
        process: number of each burst's process, 0 and up.
        slow: whether it lies in a slow phase (`slow_phases`).
    """
    return np.bincount(process, weights=slow) > MOSTLY * np.bincount(process)


def unrest(process: np.ndarray, cell: np.ndarray, log_ms: np.ndarray, used: np.ndarray) -> np.ndarray:
    """How much the used bursts of each process scatter: median |log time - median of its point in this process|.

    0.001 to 0.005 on an undisturbed x86-64 machine. It looks inside one process only, never at how two of them agree,
    so setting restless processes aside does not select for agreement.

    Args:
        process: number of each burst's process, 0 and up.
        cell: number of each burst's (point, process).
        log_ms: logarithm of its median time.
        used: whether it counts.
    """
    found = np.zeros(process.max(initial=-1) + 1)
    deviation = np.full(len(log_ms), np.nan)
    order = np.argsort(cell[used], kind="stable")
    members = np.flatnonzero(used)[order]
    for part in np.split(members, np.flatnonzero(np.diff(cell[members])) + 1):
        if len(part) > 2:  # the median of fewer is one of them
            deviation[part] = np.abs(log_ms[part] - np.median(log_ms[part]))
    for number in range(len(found)):
        own = deviation[process == number]
        own = own[np.isfinite(own)]
        found[number] = np.median(own) if own.size else 0.0
    return found


def slow_processes(factors: np.ndarray, component: np.ndarray) -> np.ndarray:
    """Which processes ran in a slow state from end to end: their common factor is above the fastest one's by `PHASE`.

    The factor is what all points of a process share; how its points compare with each other plays no part. A gap of
    10 % between factors instead spares a clock that drifts, and was twice as bad on a disturbed machine
    (residual p95 7.3 % against 3.8 %).

    Args:
        factors: log factor of each process (`factors.common_factors`).
        component: processes with different numbers cannot be compared.
    """
    found = np.zeros(len(factors), dtype=bool)
    for number in np.unique(component):
        own = component == number
        found[own] = factors[own] > factors[own].min() + PHASE
    return found
