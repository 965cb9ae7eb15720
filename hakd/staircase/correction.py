"""Whether predictions are biased, and by which factor: from networks of known latency, never the predicted one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from hakd.records.errors import HakdError
from hakd.staircase.predict import SMALL_MS, Times, fit_overhead

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Correction:
    """How predictions compare with measurements, and their correction factor.

    `ratio` is the median of predicted / measured over `networks` networks. `low` and `high` are the ends of an interval
    that holds the true median with at least 95 % (order statistics, no assumption about the scatter); None below six
    networks, where there is no such interval. `biased`: 1 is outside it. `factor` is 1 unless biased.
    """

    networks: int
    ratio: float
    low: float | None
    high: float | None
    biased: bool
    factor: float


@dataclass(frozen=True)
class Quality:
    """Ratios predicted / measured of some networks: their spread, and the shares (0 to 1) that are close."""

    networks: int
    lowest: float
    median: float
    highest: float
    within_5: float
    within_10: float


def correct(predicted_ms: Times, measured_ms: Times) -> Correction:
    """The correction from these networks: none where their median ratio may be 1.

    Raises:
        HakdError: no networks, lengths that differ, or times that are not positive.
    """
    fitted = fit_overhead(predicted_ms, measured_ms)  # also checks both
    ratios = np.sort(np.asarray(predicted_ms, dtype=float) / np.asarray(measured_ms, dtype=float))
    below = _rank(len(ratios))
    ratio = float(np.median(ratios))
    if below < 1:
        return Correction(len(ratios), ratio, None, None, False, 1.0)
    low, high = float(ratios[below - 1]), float(ratios[-below])
    biased = low > 1 or high < 1
    return Correction(len(ratios), ratio, low, high, biased, fitted.value if biased else 1.0)


def correct_left_out(
    predicted_ms: Times, measured_ms: Times, groups: Sequence[str] | None = None
) -> np.ndarray:
    """Every prediction (ms) corrected by all *other* networks, or by the networks of all other `groups`.

    A network without others keeps its prediction.

    Raises:
        HakdError: as for `correct`, or not one group per network.
    """
    predicted = np.asarray(predicted_ms, dtype=float)
    measured = np.asarray(measured_ms, dtype=float)
    correct(predicted, measured)  # refuses anything but lists of times
    labels = np.arange(len(predicted)) if groups is None else np.asarray(groups)
    if len(labels) != len(predicted):
        raise HakdError("one group is needed for every network", key="groups")
    corrected = predicted.copy()
    for label in np.unique(labels):
        own = labels == label
        if not own.all():
            corrected[own] *= correct(predicted[~own], measured[~own]).factor
    return corrected


def quality(predicted_ms: Times, measured_ms: Times, least_ms: float = 0.0) -> Quality | None:
    """How close predictions are, over networks that take at least `least_ms`; None when there is none."""
    measured = np.asarray(measured_ms, dtype=float)
    ratios = (np.asarray(predicted_ms, dtype=float) / measured)[measured >= least_ms]
    if not ratios.size:
        return None
    spread = float(ratios.min()), float(np.median(ratios)), float(ratios.max())
    shares = (float(np.mean(np.abs(ratios - 1) <= share)) for share in (0.05, 0.10))
    return Quality(int(ratios.size), *spread, *shares)


def qualities(predicted_ms: Times, measured_ms: Times) -> dict[str, Quality | None]:
    """`quality` of all networks, and of the large ones (0.2 ms or more), which should be predicted well."""
    return {
        name: quality(predicted_ms, measured_ms, least) for name, least in (("all", 0.0), ("large", SMALL_MS))
    }


def _rank(networks: int) -> int:
    """The largest k for which the k-th smallest and the k-th largest enclose the median in 95 % of cases; 0: none."""
    below = bdtr(
        np.arange(networks + 1), networks, 0.5
    )  # P(at most k below the median); before k it is < 2.5 %
    return int(np.searchsorted(below, (1 - CONFIDENCE) / 2))
