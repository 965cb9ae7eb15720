"""The latency of a network from the times of its tiles, with one overhead coefficient per device and engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hakd.records.errors import HakdError

Times = Sequence[float] | np.ndarray
Counts = Sequence[int] | np.ndarray
SMALL_MS = 0.2  # predictions below this are not expected to be accurate


@dataclass(frozen=True)
class Overhead:
    """One coefficient, fitted to `networks` networks.

    kind `factor`: measured = value x sum of tiles. kind `per_tile`: measured = sum - value x (tiles - 1),
    value in ms: the time of every tile alone includes a call of the engine, that of the network only one call.
    """

    kind: str
    value: float
    networks: int


def fit_overhead(sums_ms: Times, measured_ms: Times, tiles: Counts | None = None) -> Overhead:
    """Fit the coefficient by least absolute relative error (robust: one outlier does not move it).

    Args:
        sums_ms: sum of the tiles' latencies, per network.
        measured_ms: the networks' end-to-end latencies.
        tiles: number of tiles of each network; given, the overhead is per tile (ms), otherwise a factor.

    Raises:
        HakdError: no networks, lengths that differ, or times that are not positive.
    """
    sums, measured = _times(sums_ms, measured_ms)
    if tiles is None:
        # |c s / m - 1| summed: a weighted median of m / s.
        return Overhead("factor", _weighted_median(measured / sums, sums / measured), len(sums))
    joints = _joints(tiles, len(sums))
    several = joints > 0
    if not several.any():
        return Overhead("per_tile", 0.0, len(sums))
    sums, measured, joints = sums[several], measured[several], joints[several]
    value = _weighted_median((sums - measured) / joints, joints / measured)
    return Overhead("per_tile", value, len(several))


def predict(sum_ms: float | Times, overhead: Overhead, tiles: int | Counts | None = None) -> np.ndarray:
    """Predicted latency in ms, one per sum of tile latencies.

    A per-tile overhead needs `tiles`; the prediction is never below the time of the network's mean tile.
    """
    sums = np.asarray(sum_ms, dtype=float)
    if overhead.kind == "factor":
        return overhead.value * sums
    if tiles is None:
        raise HakdError("a per-tile overhead needs the number of tiles", key="tiles")
    joints = _joints(tiles, sums.size).reshape(sums.shape)
    return np.maximum(sums - overhead.value * joints, sums / (joints + 1))


def predict_left_out(sums_ms: Times, measured_ms: Times, tiles: Counts | None = None) -> np.ndarray:
    """Predictions (ms), each with the overhead of all others; a lone network is predicted by its plain sum.

    Raises:
        HakdError: as for `fit_overhead`.
    """
    sums, measured = _times(sums_ms, measured_ms)
    if len(sums) == 1:
        return sums.copy()
    counts = None if tiles is None else np.asarray(tiles)
    predicted = np.empty_like(sums)
    for i in range(len(sums)):
        others = np.arange(len(sums)) != i
        kept = None if counts is None else counts[others]
        fitted = fit_overhead(sums[others], measured[others], kept)
        predicted[i] = predict(sums[i], fitted, None if counts is None else int(counts[i]))
    return predicted


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The middle of the values that minimise the weighted sum of absolute differences."""
    order = np.argsort(values)
    values, share = values[order], np.cumsum(weights[order]) / weights.sum()
    low = int(np.searchsorted(share, 0.5 - 1e-12))
    high = int(np.searchsorted(share, 0.5 + 1e-12))
    return float((values[low] + values[min(high, len(values) - 1)]) / 2)


def _joints(tiles: int | Counts, size: int) -> np.ndarray:
    counts = np.asarray(tiles, dtype=float).reshape(-1)
    if counts.size != size or (counts < 1).any():
        raise HakdError("needs a number of tiles, at least 1, for every network", key="tiles")
    return counts - 1


def _times(sums_ms: Times, measured_ms: Times) -> tuple[np.ndarray, np.ndarray]:
    sums, measured = np.asarray(sums_ms, dtype=float), np.asarray(measured_ms, dtype=float)
    if sums.shape != measured.shape or sums.ndim != 1 or not sums.size:
        raise HakdError("needs as many sums as measured latencies, at least one", key="latency_ms")
    both = np.concatenate([sums, measured])
    if not (np.isfinite(both) & (both > 0)).all():
        raise HakdError(
            "a latency that is not positive",
            key="latency_ms",
            remedy="Raise the device's epoch in the configuration to measure again",
        )
    return sums, measured
