"""Point estimates and intervals of latencies from timed bursts (the timing protocol, steps 5 to 7)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtrit

from hakd.records.errors import HakdError
from hakd.staircase.factors import CALM_QUANTILE, BurstLike, ProcessTimes, common_factors, process_times
from hakd.staircase.ratio import Ratio
from hakd.staircase.repeats import process_sigma, residual_p95

CONFIDENCE = 0.95
PRIOR_FREEDOM = 4  # weight of all keys in one key's scatter, in degrees of freedom added to its own
QUARTILE_ERROR = 1.25  # standard error of a lower quartile of n processes, in those of their mean


@dataclass(frozen=True)
class Estimate:
    """Latency of one key in milliseconds; the interval is absent with one process.

    `median_ms` is the median of all bursts' medians: the time of a call with all disturbances.
    """

    key: str
    latency_ms: float
    latency_low_ms: float | None
    latency_high_ms: float | None
    min_ms: float
    median_ms: float
    bursts: int
    dropped: int
    processes: int
    component: int = 0


@dataclass(frozen=True)
class Estimates:
    """Estimates of keys that were timed together, and how well their processes agree.

    `adjusted` (keys x processes, log ms) always has the common factor of each process removed.
    """

    by_key: Mapping[str, Estimate]
    residual_p95: float | None
    factors: Mapping[str, float]
    missing: tuple[str, ...] = ()
    adjusted: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False, compare=False)

    def residual_of(self, keys: Iterable[str]) -> float | None:
        """Residual p95 of some keys, for example those of one curve; None when it is unknown."""
        place = {key: i for i, key in enumerate(self.by_key)}
        rows = [place[key] for key in dict.fromkeys(keys) if key in place]
        return residual_p95(self.adjusted[rows])


def estimate(
    bursts: Mapping[str, Sequence[BurstLike]], *, absolute: bool = False, confidence: float = CONFIDENCE
) -> Estimates:
    """Estimate the latency of every key.

    A key's value in a process is its fastest call, or a low quantile of them (`factors.process_times`); its latency is
    the lower quartile over processes, since whole processes may be disturbed too.

    Args:
        bursts: bursts by key, of one device, engine and protocol, interleaved; chunks share a reference key.
        absolute: keep the factor between processes (end-to-end figures): the interval is Student's t over the key's
            own processes. Otherwise the factor is removed, which is right for comparing keys and too optimistic for an
            absolute figure; the interval then comes from the scatter of all keys (`log_errors`).
        confidence: of the interval.

    Returns:
        An `Estimates`; keys without a burst are named in its `missing`.

    Raises:
        HakdError: no bursts, or a burst without a time.
    """
    times = process_times(bursts)
    if not times.keys:
        raise HakdError("nothing was timed", remedy="See the failures that the device reported")
    factors, component = common_factors(times.log_ms)
    adjusted = times.log_ms - factors
    logs = times.log_ms if absolute else adjusted
    point = np.nanquantile(logs, CALM_QUANTILE, axis=1)
    if absolute:
        low, high = student(logs, confidence)
        low, high = np.fmin(low, point), np.fmax(high, point)  # the point is below the mean
    else:
        half = half_widths(adjusted, confidence)
        low, high = point - half, point + half
    return Estimates(
        {one.key: one for one in _estimates(times, point, low, high, component)},
        residual_p95(adjusted),
        {name: float(np.exp(factor)) for name, factor in zip(times.processes, factors, strict=True)},
        tuple(key for key in bursts if not len(bursts[key])),
        adjusted,
    )


def _estimates(
    times: ProcessTimes, point: np.ndarray, low: np.ndarray, high: np.ndarray, component: np.ndarray
) -> list[Estimate]:
    present = np.isfinite(times.log_ms)
    count, first = present.sum(axis=1), present.argmax(axis=1)
    return [
        Estimate(
            key,
            float(np.exp(point[k])),
            float(np.exp(low[k])) if count[k] > 1 else None,
            float(np.exp(high[k])) if count[k] > 1 else None,
            float(times.min_ms[k]),
            float(times.median_ms[k]),
            int(times.bursts[k]),
            int(times.dropped[k]),
            int(count[k]),
            int(component[first[k]]),
        )
        for k, key in enumerate(times.keys)
    ]


def log_errors(adjusted: np.ndarray) -> np.ndarray:
    """Standard error of each key's log latency; NaN where one process timed it.

    Two processes of a key show little of its scatter, all keys of a session together show it well: the key's own
    variance is averaged with that of all keys, which counts as `PRIOR_FREEDOM` degrees of freedom (a moderated
    variance: Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004, section 3).

    Args:
        adjusted: keys x processes, log time with the common factor removed, NaN where not measured.
    """
    count = np.isfinite(adjusted).sum(axis=1)
    mean = np.nansum(adjusted, axis=1) / np.maximum(count, 1)
    squares = np.nansum((adjusted - mean[:, None]) ** 2, axis=1)
    pooled = (process_sigma(adjusted) or 0.0) ** 2
    variance = (PRIOR_FREEDOM * pooled + squares) / (PRIOR_FREEDOM + np.maximum(count, 1) - 1)
    return np.where(count > 1, QUARTILE_ERROR * np.sqrt(variance / np.maximum(count, 1)), np.nan)


def half_widths(adjusted: np.ndarray, confidence: float = CONFIDENCE) -> np.ndarray:
    """Half the interval of each key's log latency, by `log_errors`; NaN where one process timed it."""
    freedom = PRIOR_FREEDOM + np.maximum(np.isfinite(adjusted).sum(axis=1), 1) - 1
    return stdtrit(freedom, (1 + confidence) / 2) * log_errors(adjusted)


def student(logs: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the mean of each row (NaN: absent), NaN for rows with fewer than two values."""
    count = np.isfinite(logs).sum(axis=1)
    mean = np.nansum(logs, axis=1) / np.maximum(count, 1)
    squares = np.nansum((logs - mean[:, None]) ** 2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = stdtrit(count - 1, (1 + confidence) / 2) * np.sqrt(squares / (count - 1) / count)
    half = np.where(count > 1, half, np.nan)
    return mean - half, mean + half


def ratio(
    bursts: Mapping[str, Sequence[BurstLike]], key: str, other: str, confidence: float = CONFIDENCE
) -> Ratio | None:
    """Latency of `key` over that of `other`, with its interval over the processes that timed both.

    Both are interleaved in each process, so the process's own factor cancels and the interval is as narrow
    as the comparison allows. Five processes are recommended. None: fewer than two timed both.
    """
    times = process_times({name: bursts.get(name, ()) for name in (key, other)})
    gaps = times.log_ms[0] - times.log_ms[1] if len(times.keys) == 2 else np.array([])
    gaps = gaps[np.isfinite(gaps)]
    if gaps.size < 2:
        return None
    low, high = student(gaps[None, :], confidence)
    return Ratio(float(np.exp(gaps.mean())), float(np.exp(low[0])), float(np.exp(high[0])))
