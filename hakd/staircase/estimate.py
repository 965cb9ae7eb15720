"""Point estimates and intervals of latencies from timed bursts (the timing protocol, steps 5 to 7)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtrit

from hakd.records.errors import HakdError
from hakd.staircase.factors import BurstLike, ProcessMedians, process_medians, reference_factors, scales
from hakd.staircase.repeats import residual_p95

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """Latency of one key in milliseconds; the interval is over processes and absent with one process."""

    key: str
    latency_ms: float
    latency_low_ms: float | None
    latency_high_ms: float | None
    min_ms: float
    bursts: int
    dropped: int
    processes: int
    component: int = 0
    note: str = ""


@dataclass(frozen=True)
class Sweep:
    """Estimates of keys that were timed together, and how well their processes agree.

    `adjusted` (keys x processes, log ms) has the common factor of each process removed, whatever the
    estimates are.
    """

    estimates: Mapping[str, Estimate]
    residual_p95: float | None
    factors: Mapping[str, float]
    missing: tuple[str, ...] = ()
    adjusted: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False, compare=False)
    undisturbed: int = 0  # processes in which nothing was set aside as a whole

    def residual_of(self, keys: Iterable[str]) -> float | None:
        """Residual p95 of some keys, for instance those of one curve; None when it cannot be told."""
        place = {key: i for i, key in enumerate(self.estimates)}
        rows = [place[key] for key in dict.fromkeys(keys) if key in place]
        return residual_p95(self.adjusted[rows])


def estimate(
    bursts: Mapping[str, Sequence[BurstLike]],
    *,
    absolute: bool = False,
    reference: str | None = None,
    confidence: float = CONFIDENCE,
) -> Sweep:
    """Estimate the latency of every key.

    A key's value in a process is the lower quartile over rounds of its burst medians; its latency is the median over
    processes, its interval Student's t over processes, on logarithms.

    Args:
        bursts: bursts by key, of one device, engine and protocol, interleaved; chunks share a reference key.
        absolute: keep the factor between processes in (end-to-end figures). Otherwise it is removed, which
            is right for comparing keys and flatters an absolute figure.
        reference: take each process's factor from this key alone instead of from all shared keys.
        confidence: of the interval.

    Returns:
        A `Sweep`; keys without a burst are named in its `missing`.

    Raises:
        HakdError: no bursts at all, a burst without a time, or a reference that a process lacks.
    """
    medians = process_medians(bursts)
    if not medians.keys:
        raise HakdError("nothing was timed", remedy="See the failures that the device reported")
    factors, component = scales(medians)
    if reference is not None:
        factors = reference_factors(medians, reference)
    adjusted = medians.log_ms - factors
    made = _estimates(medians, medians.log_ms if absolute else adjusted, component, confidence)
    return Sweep(
        {one.key: one for one in made},
        residual_p95(adjusted),
        {name: float(np.exp(factor)) for name, factor in zip(medians.processes, factors, strict=True)},
        tuple(key for key in bursts if not len(bursts[key])),
        adjusted,
        int((medians.doubt == 0).sum()),
    )


def _estimates(
    medians: ProcessMedians, logs: np.ndarray, component: np.ndarray, confidence: float
) -> list[Estimate]:
    present = np.isfinite(logs)
    count = present.sum(axis=1)
    point = np.nanmedian(logs, axis=1)
    low, high = _student(logs, confidence)
    # A skewed handful of processes can put the median outside an interval around the mean.
    low, high = np.fmin(low, point), np.fmax(high, point)
    first = present.argmax(axis=1)
    return [
        Estimate(
            key,
            float(np.exp(point[k])),
            float(np.exp(low[k])) if count[k] > 1 else None,
            float(np.exp(high[k])) if count[k] > 1 else None,
            float(medians.min_ms[k]),
            int(medians.bursts[k]),
            int(medians.dropped[k]),
            int(count[k]),
            int(component[first[k]]),
            _note(int(medians.preempted_kept[k]), int(medians.set_aside[k])),
        )
        for k, key in enumerate(medians.keys)
    ]


def _student(logs: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the mean of each row (NaN: absent), NaN for rows with fewer than two values."""
    count = np.isfinite(logs).sum(axis=1)
    mean = np.nansum(logs, axis=1) / np.maximum(count, 1)
    squares = np.nansum((logs - mean[:, None]) ** 2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = stdtrit(count - 1, (1 + confidence) / 2) * np.sqrt(squares / (count - 1) / count)
    half = np.where(count > 1, half, np.nan)
    return mean - half, mean + half


def _note(preempted_kept: int, set_aside: int) -> str:
    parts = []
    if preempted_kept:
        parts.append(f"nearly all bursts preempted in {preempted_kept} process(es), kept")
    if set_aside:
        parts.append(f"{set_aside} interrupted or restless process(es) set aside")
    return "; ".join(parts)


def ratio(
    bursts: Mapping[str, Sequence[BurstLike]], key: str, other: str, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Latency of `key` over that of `other`, with its interval over the processes that timed both.

    Both are interleaved in each process, so the process's own factor cancels and the interval is as narrow
    as the comparison allows. At least two processes are needed, five are advised.

    Raises:
        HakdError: fewer than two processes timed both.
    """
    medians = process_medians({name: bursts.get(name, ()) for name in (key, other)})
    gaps = medians.log_ms[0] - medians.log_ms[1] if len(medians.keys) == 2 else np.array([])
    gaps = gaps[np.isfinite(gaps)]
    if gaps.size < 2:
        raise HakdError(
            f"{gaps.size} process(es) timed both networks, two are needed",
            key=f"{key} / {other}",
            remedy="Raise the number of processes, or see the failures that the device reported",
        )
    low, high = _student(gaps[None, :], confidence)
    return float(np.exp(gaps.mean())), float(np.exp(low[0])), float(np.exp(high[0]))
