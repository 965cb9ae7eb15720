"""Seeded stratified splits, and the normalisation constants of the train split."""

import numpy as np

from hakd.data.seeding import numpy_generator
from hakd.records.errors import HakdError

_CHUNK = 4096  # images counted together: `bincount` makes 8 bytes of every one


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


def part_of(labels: np.ndarray, size: int, seed: int, where: object) -> np.ndarray:
    """Indices, in ascending order, of `size` images: of every class at least one, else in proportion to the classes.

    Every class gets one image; the rest is divided in proportion to what the classes have left, by largest remainders.

    Args:
        labels: int (N,), of the train split.
        size: how many.
        seed: of the data set.
        where: what to name in an error.

    Raises:
        HakdError: fewer images than classes, more than there are.
    """
    values, counts = np.unique(labels, return_counts=True)
    key = "data.train_size"
    if size > len(labels):
        problem = f"{size} images, but the train split has {len(labels)}"
        remedy = f"Use {len(labels)} at most, or leave it out to train on all of them"
        raise HakdError(problem, where=where, key=key, remedy=remedy)
    if size < len(values):
        problem = f"{size} images for {len(values)} classes"
        raise HakdError(problem, where=where, key=key, remedy=f"Use at least {len(values)}, one a class")
    shares = (size - len(values)) * (counts - 1)
    quotas, rests = np.divmod(shares, max(1, len(labels) - len(values)))
    quotas += 1
    quotas[np.argsort(-rests, kind="stable")[: size - quotas.sum()]] += 1
    generator = numpy_generator("train_size", seed)
    drawn = [
        generator.permutation(np.flatnonzero(labels == value))[:quota]
        for value, quota in zip(values, quotas, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


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
