"""From bursts to one number per key and process, and the factor that a whole process has in common.

The process is the unit: bursts inside one share its memory layout, its place on the machine and the
machine's state, so they are pseudo-replicates (the timing protocol, steps 5 to 7).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hakd.records.errors import HakdError
from hakd.staircase.interference import RESTLESS, mostly_slow, slow_phases, slow_processes, unrest

KEPT_SHARE = 0.25  # below this share of clean bursts the preempted ones are kept: a few survivors are worse
INTERRUPTED_SHARE = 0.5  # a process with fewer rounds of a key than this share of the fullest is set aside
CALM_PROCESSES = 2
ROUND_BURSTS = 8  # from so many bursts on a round tells how far the whole process had drifted
UNEVEN = 0.03  # p95 of |log ratio| from which keys do not tell how two parts of a sweep compare (`scales`)


class BurstLike(Protocol):
    """What is read of a burst: its place in time, nanoseconds per call, involuntary context switches."""

    @property
    def process(self) -> str: ...

    @property
    def round(self) -> int: ...

    @property
    def position(self) -> int: ...

    @property
    def min_ns(self) -> float: ...

    @property
    def median_ns(self) -> float: ...

    @property
    def switches(self) -> int: ...


@dataclass(frozen=True)
class ProcessMedians:
    """Per key and process the lower quartile over rounds of burst medians; arrays are keys x processes or keys."""

    keys: tuple[str, ...]
    processes: tuple[str, ...]
    log_ms: np.ndarray  # keys x processes, NaN where not measured or set aside
    min_ms: np.ndarray  # keys
    bursts: np.ndarray  # keys: used
    dropped: np.ndarray  # keys: left out, being preempted, in a slow phase or of an interrupted process
    preempted_kept: np.ndarray  # keys: processes whose preempted bursts had to be kept
    set_aside: np.ndarray  # keys: interrupted or restless processes not counted
    timed: np.ndarray  # keys x processes: as log_ms, disturbed processes included; it tells their factor
    doubt: np.ndarray  # processes: 0 undisturbed, 1 restless or slow for most of the time, 2 slow as a whole


def process_medians(bursts: Mapping[str, Sequence[BurstLike]], calm: int = CALM_PROCESSES) -> ProcessMedians:
    """Time of every key in every process: the lower quartile over rounds of burst medians.

    What all points of a round share is removed first (`_wander`): a clock that drifts within a process.

    Preempted bursts (`switches` > 0) and those of slow phases (`interference.slow_phases`) are dropped, unless
    fewer than a quarter of a process's bursts of that key would be left: then all of them stay. A process that was
    interrupted (fewer than half as many bursts of a key as the fullest process) does not count for that key. Nor
    does, where `calm` better ones timed the key, a disturbed process (`_doubtful`): restless (`interference.unrest`),
    slow for most of its time (`interference.mostly_slow`) or as a whole (`interference.slow_processes`), or with
    hardly a clean burst of the key. Keys without bursts are left out.

    Raises:
        HakdError: a burst without a positive finite time.
    """
    keys = tuple(key for key, found in bursts.items() if len(found))
    rows = [(k, burst) for k, key in enumerate(keys) for burst in bursts[key]]
    names = tuple(dict.fromkeys(burst.process for _, burst in rows))
    number = {name: p for p, name in enumerate(names)}
    shape = (len(keys), len(names))
    cell = np.array([k * shape[1] + number[burst.process] for k, burst in rows], dtype=np.int64)
    median_ns = np.array([burst.median_ns for _, burst in rows], dtype=float)
    min_ns = np.array([burst.min_ns for _, burst in rows], dtype=float)
    clean = np.array([burst.switches == 0 for _, burst in rows], dtype=bool)
    number_of = np.array([number[burst.process] for _, burst in rows], dtype=np.int64)
    order = np.array([(burst.round, burst.position) for _, burst in rows], dtype=np.int64).reshape(-1, 2)
    bad = ~(np.isfinite(median_ns) & (median_ns > 0) & np.isfinite(min_ns) & (min_ns > 0))
    if bad.any():
        raise HakdError(
            "a burst without a positive time",
            key=keys[rows[int(np.argmax(bad))][0]],
            remedy="Raise the device's epoch in the configuration to measure again",
        )
    size = shape[0] * shape[1]
    key_of = cell // max(shape[1], 1)
    in_time = order[:, 0] * (1 + order[:, 1].max(initial=0)) + order[:, 1]
    # Preempted bursts are no evidence of a slow phase: their own slowness says nothing about their neighbours.
    judged = clean.copy()
    slow = np.zeros(len(rows), dtype=bool)
    slow[judged] = slow_phases(number_of[judged], key_of[judged], in_time[judged], np.log(median_ns[judged]))
    clean &= ~slow
    total = np.bincount(cell, minlength=size)
    cleans = np.bincount(cell[clean], minlength=size)
    fallback = (total > 0) & (cleans < KEPT_SHARE * total)
    fullest = total.reshape(shape).max(axis=1, initial=0)
    short = (total > 0) & (total.reshape(shape) < INTERRUPTED_SHARE * fullest[:, None]).ravel()
    used = (clean | fallback[cell]) & ~short[cell]
    restless = unrest(number_of, cell, np.log(median_ns), used) > RESTLESS
    time_ms = median_ns / 1e6 * np.exp(-_wander(number_of, order[:, 0], cell, np.log(median_ns), used))
    first = np.log(_lower_quartile(cell[used], time_ms[used], size)).reshape(shape)
    factors, component = common_factors(first)
    doubt = np.maximum(restless | mostly_slow(number_of, slow), 2 * slow_processes(factors, component))
    doubtful = _doubtful(used, cell, fallback, doubt, shape, calm)
    short |= doubtful
    used &= ~doubtful[cell]
    log_ms = np.log(_lower_quartile(cell[used], time_ms[used], size)).reshape(shape)
    min_ms = np.full(shape[0], np.inf)
    np.minimum.at(min_ms, key_of[used], min_ns[used] / 1e6)
    return ProcessMedians(
        keys,
        names,
        log_ms,
        min_ms,
        bursts=np.bincount(key_of[used], minlength=shape[0]),
        dropped=np.bincount(key_of[~used], minlength=shape[0]),
        preempted_kept=(fallback & ~short).reshape(shape).sum(axis=1),
        set_aside=short.reshape(shape).sum(axis=1),
        timed=first,
        doubt=doubt,
    )


def _wander(
    process: np.ndarray, round_: np.ndarray, cell: np.ndarray, log_ns: np.ndarray, used: np.ndarray
) -> np.ndarray:
    """How far each burst's process had drifted in its round (log): the median of its bursts over their usual times.

    What all points of a round share says nothing about widths, as what all points of a process share. Rounds with fewer
    than `ROUND_BURSTS` bursts are left as they are: their median would be noise.
    """
    found = np.zeros(len(log_ns))
    members = np.flatnonzero(used)
    if not members.size:
        return found
    usual = _grouped_median(cell[members], log_ns[members])
    excess = log_ns[members] - usual[cell[members]]
    place = process * (1 + round_.max()) + round_
    level = _grouped_median(place[members], excess)
    count = np.bincount(place[members], minlength=place.max() + 1)
    level = np.append(level, np.zeros(len(count) - len(level)))
    level[(count < ROUND_BURSTS) | ~np.isfinite(level)] = 0.0
    return level[place]


def _grouped_median(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Median of `values` by group number; NaN for groups without values."""
    order = np.lexsort((values, group))
    values = values[order]
    count = np.bincount(group)
    start = np.cumsum(count) - count
    found = np.full(len(count), np.nan)
    full = count > 0
    low, high = start[full] + (count[full] - 1) // 2, start[full] + count[full] // 2
    found[full] = (values[low] + values[high]) / 2
    return found


def _doubtful(
    used: np.ndarray,
    cell: np.ndarray,
    fallback: np.ndarray,
    doubt: np.ndarray,
    shape: tuple[int, int],
    calm: int,
) -> np.ndarray:
    """Cells (key, process) to set aside: those more doubtful than the `calm` best processes of their key.

    In two steps, so that a process slow from end to end does not count beside two that were slow at times only.

    Args:
        doubt: of each process, as in `ProcessMedians`; a cell with hardly a clean burst left has at least 1.
    """
    timed = np.bincount(cell[used], minlength=shape[0] * shape[1]).reshape(shape) > 0
    level = np.maximum(fallback.reshape(shape), doubt[None, :])
    enough = [(timed & (level <= most)).sum(axis=1) >= calm for most in (0, 1)]
    allowed = np.where(enough[0], 0, np.where(enough[1], 1, 2))
    return (timed & (level > allowed[:, None])).ravel()


def _lower_quartile(group: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """First quartile (linear interpolation) of `values` by group number 0..size-1; NaN for groups without values.

    Not the median: what disturbs a burst makes it slower, so the quartile stays at the undisturbed time until three
    quarters of the bursts are disturbed, and it repeats as well as the median where nothing disturbs
    (`benchmarks/estimators.py`).
    """
    order = np.lexsort((values, group))
    values = values[order]
    count = np.bincount(group, minlength=size)
    start = np.cumsum(count) - count
    found = np.full(size, np.nan)
    full = count > 0
    place = 0.25 * (count[full] - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, count[full] - 1)
    share = place - low
    found[full] = values[start[full] + low] * (1 - share) + values[start[full] + high] * share
    return found


def common_factors(log_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The factor (log) that all keys of a process share, and the number of the process's component.

    Model: log time = key + process + noise, fitted by least absolute deviations: with two processes this is
    the median log ratio over the keys they share. Keys timed in different chunks (other sets of processes)
    come on one scale through whatever keys the chunks share, one reference key being enough; its noise is
    then the noise of the link. Processes that nothing connects lie in different components: their scales
    cannot be compared. Factors have median 0 in each component.

    Args:
        log_ms: keys x processes, NaN where not measured.
    """
    present = np.isfinite(log_ms)
    n_keys, n_processes = log_ms.shape
    key, process = np.nonzero(present)
    links = coo_array(
        (np.ones(len(key)), (key, n_keys + process)), shape=(n_keys + n_processes, n_keys + n_processes)
    )
    component = connected_components(links, directed=False)[1][n_keys:]
    factors = np.zeros(n_processes)
    for number in np.unique(component):
        members = np.flatnonzero(component == number)
        if len(members) > 1:
            part = log_ms[:, members]
            part = part[np.isfinite(part).any(axis=1)]
            found = _two_processes(part) if len(members) == 2 else _least_absolute(part)
            factors[members] = found - np.median(found)
    return factors, component


def scales(medians: ProcessMedians) -> tuple[np.ndarray, np.ndarray]:
    """Factor (log) and component of every process, disturbed ones included, as `common_factors` gives them.

    Where a process was set aside for the keys that others timed undisturbed, but not for those that only it timed,
    nothing that counts may be left to tie the two. They then come on one scale by the values that were set aside.
    If these agree on it (95 % of them within `UNEVEN`), the two parts are one component. Otherwise the slow state is
    uneven over the keys: the scale is a guess, and they stay two, so that no curve across them is trusted.

    Factors are 0 at the median of the processes least in doubt, given two of them, so that the level of a sweep does
    not depend on how much of it was disturbed.
    """
    factors, component = common_factors(medians.log_ms)
    parts, part = np.unique(component, return_inverse=True)
    rest = medians.timed - factors
    columns = np.stack([_row_medians(rest[:, part == n]) for n in range(len(parts))], axis=1)
    offsets, joint = common_factors(columns)
    factors = factors + offsets[part]
    counts = np.isfinite(medians.log_ms).sum(axis=0)
    sizes = np.bincount(part, weights=counts, minlength=len(parts))
    for number in np.unique(joint):
        members = np.flatnonzero(joint == number)
        main = members[np.argmax(sizes[members])]
        for other in members:
            gaps = columns[:, other] - offsets[other] - columns[:, main] + offsets[main]
            gaps = np.abs(gaps[np.isfinite(gaps)])
            if gaps.size and np.percentile(gaps, 95) <= UNEVEN:
                component[part == other] = parts[main]
        own = joint[part] == number
        best = [own & (counts > 0) & (medians.doubt <= most) for most in (0, 1)]
        level = next((few for few in best if few.sum() >= CALM_PROCESSES), own)
        factors[own] -= np.median(factors[level])
    return factors, component


def _row_medians(values: np.ndarray) -> np.ndarray:
    """Median of each row without its NaN; NaN for a row of nothing else."""
    found = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    found[some] = np.nanmedian(values[some], axis=1)
    return found


def _two_processes(log_ms: np.ndarray) -> np.ndarray:
    """Exact solution for two processes: the median log ratio over shared keys."""
    return np.array([0.0, np.nanmedian(log_ms[:, 1] - log_ms[:, 0])])


def _least_absolute(log_ms: np.ndarray, rounds: int = 200, floor: float = 1e-6) -> np.ndarray:
    """Process effects of the two-way model by iteratively reweighted least squares.

    Alternating medians (median polish) would not do: it never moves two chunks that one key ties together.
    """
    present = np.isfinite(log_ms)
    y = np.where(present, log_ms, 0.0)
    y = np.where(present, y - (y.sum(1) / present.sum(1))[:, None], 0.0)  # numerics: differences are small
    weight = present.astype(float)
    effects = np.zeros(log_ms.shape[1])
    for _ in range(rounds):
        per_key = weight.sum(axis=1)
        weighted = weight * y
        matrix = np.diag(weight.sum(axis=0)) - weight.T @ (weight / per_key[:, None])
        right = weighted.sum(axis=0) - weight.T @ (weighted.sum(axis=1) / per_key)
        before, effects = effects, np.linalg.lstsq(matrix, right, rcond=None)[0]
        level = (weight * (y - effects)).sum(axis=1) / per_key
        residual = np.abs(y - effects - level[:, None])
        weight = present / np.maximum(residual, floor)
        if np.abs(effects - before).max() < 1e-6:
            break
    return effects


def reference_factors(medians: ProcessMedians, reference: str) -> np.ndarray:
    """Factors (log) read off one reference key alone; median 0.

    Raises:
        HakdError: a process that did not time the reference.
    """
    found = medians.timed[medians.keys.index(reference)] if reference in medians.keys else np.array([np.nan])
    if not np.isfinite(found).all():
        raise HakdError(
            "the reference point was not timed in every process",
            key=reference,
            remedy="Leave the reference out of the call, or measure again",
        )
    return found - np.median(found)
