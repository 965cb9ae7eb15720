"""From bursts to one number per key and process, and the factor that a whole process has in common.

The process is the unit: bursts inside one share its memory layout, its place on the machine and the
machine's state, so they are pseudo-replicates (the timing protocol, steps 5 to 7).

A disturbance makes a call slower, and most disturbances are shorter than a burst. So the fastest call of a burst
represents the burst, and a low quantile of these the process. docs/choosing.md compares this with medians, and with
rules that exclude slow phases and processes (`benchmarks/recordings.py`, `single_calls.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hakd.records.errors import HakdError
from hakd.staircase.repeats import process_sigma

INTERRUPTED_SHARE = 0.5  # a process with fewer rounds of a key than this share of the fullest is excluded
LOWEST, LOW = 0.0, 0.1  # quantiles over rounds of the bursts' fastest calls
STEADIER = 1.2  # the low quantile is taken where the minimum scatters this many times as much
CALM_QUANTILE = 0.25  # over processes: up to three quarters of them may be disturbed from end to end
MANY = 20  # fewest keys whose scatter shows which of the two is steadier


class BurstLike(Protocol):
    """The fields of a burst that are used: its process, nanoseconds of its fastest and its median call."""

    @property
    def process(self) -> str: ...

    @property
    def min_ns(self) -> float: ...

    @property
    def median_ns(self) -> float: ...


@dataclass(frozen=True)
class ProcessTimes:
    """Per key and process a low quantile over rounds of the bursts' fastest calls (`quantile`: which).

    Arrays are keys x processes or keys. `log_ms` is NaN where not measured or interrupted; `bursts` counts the used
    ones, `dropped` those of interrupted processes; `median_ms` is the median of burst medians, the time of a call with
    all disturbances.
    """

    keys: tuple[str, ...]
    processes: tuple[str, ...]
    log_ms: np.ndarray
    min_ms: np.ndarray
    median_ms: np.ndarray
    bursts: np.ndarray
    dropped: np.ndarray
    quantile: float


def process_times(bursts: Mapping[str, Sequence[BurstLike]]) -> ProcessTimes:
    """Time of every key in every process.

    The quantile over rounds is the minimum, which is right as long as one burst in ten rounds has one undisturbed call.
    Where it scatters much more between processes than the 10 % quantile (a clock that rises for moments makes single
    calls too fast), and enough keys show this, that quantile is taken for all of them.

    A process that was interrupted (fewer than half as many bursts of a key as the fullest process) does not count for
    that key. Keys without bursts are left out.

    Raises:
        HakdError: a burst without a positive finite time.
    """
    keys = tuple(key for key, timed in bursts.items() if len(timed))
    processes = tuple(dict.fromkeys(burst.process for key in keys for burst in bursts[key]))
    shape = len(keys), len(processes)
    cell, calls_ms = _read_calls(bursts, keys, processes)
    used = ~_find_interrupted(cell, shape)
    log_ms, level = _take_quantile(cell[used], calls_ms[used, 0], shape)
    # The other figures of a key pool all of its processes.
    key_of = cell // max(shape[1], 1)
    return ProcessTimes(
        keys,
        processes,
        log_ms,
        grouped_quantile(key_of[used], calls_ms[used, 0], shape[0], LOWEST),
        grouped_quantile(key_of[used], calls_ms[used, 1], shape[0], 0.5),
        bursts=np.bincount(key_of[used], minlength=shape[0]),
        dropped=np.bincount(key_of[~used], minlength=shape[0]),
        quantile=level,
    )


def _read_calls(
    bursts: Mapping[str, Sequence[BurstLike]], keys: Sequence[str], processes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """For each burst its cell's number (key x processes + process), and its fastest and median call (n x 2, ms)."""
    number = {name: p for p, name in enumerate(processes)}
    rows = [(k, burst) for k, key in enumerate(keys) for burst in bursts[key]]
    cell = np.array([k * len(processes) + number[burst.process] for k, burst in rows], dtype=np.int64)
    times = np.array([(burst.min_ns, burst.median_ns) for _, burst in rows], dtype=float).reshape(-1, 2) / 1e6
    bad = ~(np.isfinite(times) & (times > 0)).all(axis=1)
    if bad.any():
        raise HakdError(
            "a burst without a positive time",
            key=keys[rows[int(np.argmax(bad))][0]],
            remedy="Raise the device's epoch in the configuration to measure again",
        )
    return cell, times


def _find_interrupted(cell: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """For each burst, whether its process was interrupted: it may have bursts of its start only."""
    count = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    fullest = count.max(axis=1, initial=0)
    return (count < INTERRUPTED_SHARE * fullest[:, None]).ravel()[cell]


def _take_quantile(
    cell: np.ndarray, fastest_ms: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, float]:
    """Log times (keys x processes) by the quantile over rounds that suits the session, and which that is."""
    lowest, low = (
        np.log(grouped_quantile(cell, fastest_ms, shape[0] * shape[1], level)).reshape(shape)
        for level in (LOWEST, LOW)
    )
    if shape[0] < MANY:
        return lowest, LOWEST
    # The scatter between processes, without their common factors, is the disturbance that the quantile lets through.
    scatter, steady = (process_sigma(logs - common_factors(logs)[0]) or 0.0 for logs in (lowest, low))
    return (low, LOW) if scatter > STEADIER * steady else (lowest, LOWEST)


def grouped_quantile(group: np.ndarray, values: np.ndarray, size: int, level: float) -> np.ndarray:
    """Quantile (linear interpolation) of `values` by group number 0..size-1; NaN for groups without values."""
    # Sorted by group, then by value, each group is a run of known start in which ranks are offsets.
    values = values[np.lexsort((values, group))]
    count = np.bincount(group, minlength=size)
    full = count > 0
    start, last = (np.cumsum(count) - count)[full], count[full] - 1
    rank = level * last
    low = np.floor(rank).astype(np.int64)
    high = np.minimum(low + 1, last)
    share = rank - low
    quantiles = np.full(size, np.nan)
    quantiles[full] = values[start + low] * (1 - share) + values[start + high] * share
    return quantiles


def common_factors(log_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The factor (log) that all keys of a process share, and the number of the process's component.

    Model: log time = key + process + noise, fitted by least absolute deviations: with two processes this is
    the median log ratio over the keys they share. Keys timed in different chunks (other sets of processes)
    are put on one scale by the keys that the chunks share. One reference key is enough; its noise is
    then the noise of the link. Processes without such a link are in different components: their scales
    cannot be compared. The lower quartile of the factors is 0 in each component: a disturbance slows a process.

    Args:
        log_ms: keys x processes, NaN where not measured.
    """
    component = _number_components(np.isfinite(log_ms))
    factors = np.zeros(log_ms.shape[1])
    for number in np.unique(component):
        members = np.flatnonzero(component == number)
        if len(members) > 1:
            part = log_ms[:, members]
            part = part[np.isfinite(part).any(axis=1)]
            effects = _least_absolute(part)
            factors[members] = effects - np.quantile(effects, CALM_QUANTILE)
    return factors, component


def _number_components(present: np.ndarray) -> np.ndarray:
    """The number of each process's component: processes are linked by the keys that both of them timed."""
    n_keys, size = present.shape[0], sum(present.shape)
    key, process = np.nonzero(present)
    links = coo_array((np.ones(len(key)), (key, n_keys + process)), shape=(size, size))
    return connected_components(links, directed=False)[1][n_keys:]


def _least_absolute(log_ms: np.ndarray, rounds: int = 200, floor: float = 1e-6) -> np.ndarray:
    """Process effects of the two-way model by iteratively reweighted least squares.

    Alternating medians (median polish) do not work here: they never move two chunks that one key ties together.
    """
    if log_ms.shape[1] == 2:  # exactly: the median log ratio over shared keys
        return np.array([0.0, np.nanmedian(log_ms[:, 1] - log_ms[:, 0])])
    present = np.isfinite(log_ms)
    y = np.where(present, log_ms, 0.0)
    y = np.where(present, y - (y.sum(1) / present.sum(1))[:, None], 0.0)  # numerics: differences are small
    weight = present.astype(float)
    effects = np.zeros(log_ms.shape[1])
    for _ in range(rounds):
        # Least squares at these weights: the normal equations with the keys' levels eliminated.
        per_key = weight.sum(axis=1)
        weighted = weight * y
        matrix = np.diag(weight.sum(axis=0)) - weight.T @ (weight / per_key[:, None])
        right = weighted.sum(axis=0) - weight.T @ (weighted.sum(axis=1) / per_key)
        before, effects = effects, np.linalg.lstsq(matrix, right, rcond=None)[0]
        # Weighted by one over the deviation, a square counts as that deviation.
        level = (weight * (y - effects)).sum(axis=1) / per_key
        weight = present / np.maximum(np.abs(y - effects - level[:, None]), floor)
        if np.abs(effects - before).max() < 1e-6:
            break
    return effects
