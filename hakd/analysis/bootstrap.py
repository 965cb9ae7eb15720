"""Accuracies that other seeds and test images might have given: replicates for what has no closed form."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

_CHUNK = 2**22  # counts that are drawn together, some 32 MB


@dataclass(frozen=True)
class Repeats:
    """One configuration's trainings.

    Attributes:
        units: what of each repeats the experiment (`hakd.analysis.series.units`); those of equal name are paired with
            other configurations'.
        right: images right by unit (rows) and original (columns), means over a unit's trainings.
    """

    units: Sequence[Hashable]
    right: np.ndarray


def replicates(
    configurations: Sequence[Repeats], sizes: np.ndarray, count: int = 4000, seed: int = 0
) -> np.ndarray:
    """Accuracies by replicate (rows) and configuration (columns), by a bootstrap crossed over seeds and images.

    In one replicate all configurations have the same images and the same seeds. Originals are resampled whole. Three
    seeds have only ten different resamples, so what a seed is off by is multiplied by a normal number instead, with the
    variance that resampling has, without its loss of 1 / n; all numbers of a replicate are then scaled, so that a mean
    over n seeds varies as Student's t with n - 1 degrees of freedom. A single seed varies by its images alone.

    Args:
        configurations: all with the same originals.
        sizes: number of images of each original.
        count: of replicates.
        seed: the same seed, the same replicates.
    """
    rng = np.random.default_rng(seed)
    total = sizes.sum()
    mean = np.array([one.right.mean(axis=0) for one in configurations])
    found = _resampled_images(mean, sizes, count, rng)
    names = list(dict.fromkeys(unit for one in configurations for unit in one.units))
    normal = dict(zip(names, rng.standard_normal((len(names), count)), strict=True))
    scale: dict[int, np.ndarray] = {}
    for column, one in enumerate(configurations):
        units = len(one.units)
        if units > 1:
            if units not in scale:
                scale[units] = np.sqrt((units - 1) / rng.chisquare(units - 1, count))
            off = one.right.sum(axis=1) / total - mean[column].sum() / total
            moved = off @ np.array([normal[unit] for unit in one.units])
            found[:, column] += moved * scale[units] / np.sqrt(units * (units - 1))
    return found


def _resampled_images(
    mean: np.ndarray, sizes: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Accuracies (replicates, configurations) of the same trainings on resampled originals."""
    originals = len(sizes)
    accuracy = mean.sum(axis=1) / sizes.sum()
    if originals < 2:
        return np.tile(accuracy, (count, 1))
    columns = np.vstack([mean, sizes]).T
    rows = max(1, _CHUNK // originals)
    parts = []
    for start in range(0, count, rows):
        some = min(rows, count - start)
        drawn = rng.integers(originals, size=(some, originals)) + originals * np.arange(some)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * originals).reshape(some, originals)
        sums = times.astype(float) @ columns
        parts.append(sums[:, :-1] / sums[:, -1:])
    return accuracy + (np.concatenate(parts) - accuracy) * np.sqrt(originals / (originals - 1))
