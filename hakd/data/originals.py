"""From all images of a data set to the files of its splits: the same way for every set."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hakd.data.splitting import channel_statistics, part_of, set_apart
from hakd.data.stored import Augmentation, Stored
from hakd.records.files import digest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Originals:
    """A data set whose images are read when they are needed, by their numbers.

    Attributes:
        splits: int64 (n,) by split, in the order of the files: the numbers of its images.
        labels: int64 (N,), of all images.
        read: gives the images of some numbers, uint8 (n, C, H, W).
        classes: their names.
        augmentation: what training may do to the images.
        source: what the hash of the data set is made of, beside `train_size`.
        from_files: the hash covers the mean of the train split too, because the images can change.
        place: where the images are, for the log.
    """

    splits: Mapping[str, np.ndarray]
    labels: np.ndarray
    read: Callable[[np.ndarray], np.ndarray]
    classes: tuple[str, ...]
    augmentation: Augmentation
    source: Mapping[str, Any]
    from_files: bool
    place: object


def stored_splits(originals: Originals, settings: Mapping[str, Any], where: object) -> list[Stored]:
    """The splits; of the train split the part that `train_size` sets, with the constants of that part.

    Raises:
        HakdError: `train_size` is larger than the train split, or smaller than its number of classes.
    """
    splits, source = dict(originals.splits), dict(originals.source)
    if "train_size" in settings:
        source["train_size"] = settings["train_size"]
        labels = originals.labels[splits["train"]]
        kept = part_of(labels, settings["train_size"], settings["seed"], where)
        splits["train"] = splits["train"][kept]
    _report(originals, splits)
    images = {split: originals.read(ids) for split, ids in splits.items()}
    mean, std = channel_statistics(images["train"])
    if originals.from_files:
        source["mean"] = mean
    return [
        Stored(
            name=settings["name"],
            split=split,
            images=images[split],
            labels=originals.labels[ids],
            ids=ids,
            classes=originals.classes,
            mean=mean,
            std=std,
            augmentation=originals.augmentation,
            drawn_images=0,
            dataset=digest(source),
        )
        for split, ids in splits.items()
    ]


def published(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    classes: tuple[str, ...],
    augmentation: Augmentation,
    settings: Mapping[str, Any],
    where: object,
    place: object,
) -> list[Stored]:
    """The splits of a set that is published as training and test images: `validation` of the former are set apart.

    Args:
        images: uint8 (N, C, H, W), of training and of testing.
        labels: int64 (N,), likewise.
        classes, augmentation, place: as of `Originals`.
        settings: of the data set.
        where: the file that they come from.

    Raises:
        HakdError: as `stored_splits`.
    """
    count = len(labels[0])
    kept, held = set_apart(labels[0], settings["validation"], "validation", settings["seed"], where)
    originals = Originals(
        splits={"train": kept, "validation": held, "test": count + np.arange(len(labels[1]))},
        labels=np.concatenate(labels),
        read=np.concatenate(images).__getitem__,
        classes=classes,
        augmentation=augmentation,
        source={**{key: settings[key] for key in ("name", "seed", "validation")}, "images": count},
        from_files=True,
        place=place,
    )
    return stored_splits(originals, settings, where)


def _report(originals: Originals, splits: Mapping[str, np.ndarray]) -> None:
    """Log what is used: classes, and images by split with those of the smallest and the largest class."""
    parts, classes = [], len(originals.classes)
    for split, ids in splits.items():
        counts = np.bincount(originals.labels[ids], minlength=classes)
        parts.append(f"{split} {len(ids)} ({counts.min()} to {counts.max()} a class)")
    logger.info("%s: %d classes; images used: %s", originals.place, classes, ", ".join(parts))
