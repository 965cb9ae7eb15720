"""Seeded stratified splits, and the normalisation constants of the train split."""

import numpy as np

from hakd.data.seeding import numpy_generator
from hakd.records.errors import HakdError

_CHUNK = 4096  # images counted at once: `bincount` makes 8 bytes of every one


def set_apart(
    labels: np.ndarray, share: float, stream: str, seed: int, where: object
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (kept, set apart), each in ascending order: `share` of every class, at least one image, is set apart.

    Args:
        labels: int (N,).
        share: between 0 and 1.
        stream: names the purpose; different purposes draw independently.
        seed: of the data set.
        where: what to name in an error.

    Raises:
        HakdError: a class has fewer than two images, so that one part would lack it.
    """
    generator = numpy_generator(stream, seed)
    apart = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise HakdError(
                f"class number {label} has {len(members)} image left to split",
                where=where,
                remedy="Give every class at least three images, one for each split",
            )
        count = min(max(1, round(share * len(members))), len(members) - 1)
        apart.append(generator.permutation(members)[:count])
    chosen = np.sort(np.concatenate(apart)) if apart else np.zeros(0, np.int64)
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 images (N, C, H, W), exact: counted by grey level."""
    channels = images.shape[1]
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), _CHUNK):
        for channel in range(channels):
            part = images[start : start + _CHUNK, channel].ravel()
            counts[channel] += np.bincount(part, minlength=256)
    levels = np.arange(256)
    total = np.maximum(counts.sum(1), 1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(1) / total
    return tuple(mean.tolist()), tuple(np.sqrt(variance).tolist())
