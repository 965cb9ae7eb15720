"""The built-in sets: scikit-learn's real scans of handwritten digits, plain and cluttered.

1,797 scans of 8 x 8 pixels with 17 grey levels (Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI
1998; its test part, as scikit-learn ships it). Nothing is downloaded.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hakd.data.originals import Originals, stored_splits
from hakd.data.seeding import stream_seed
from hakd.data.splitting import channel_statistics, set_apart
from hakd.data.stored import Augmentation, Stored

_TEST = 0.2
_CLASSES = tuple("0123456789")
_PLAIN = Augmentation(
    shift=1 / 16
)  # half a pixel of a scan; no flips: digits are not their own mirror images


def _scans() -> tuple[np.ndarray, np.ndarray]:
    """All scans, uint8 (1797, 1, 8, 8) from 0 to 255, and their labels."""
    from sklearn.datasets import load_digits  # a second of imports that other data sets do not need

    found = load_digits()
    return np.round(found.images * (255 / 16)).astype(np.uint8)[:, None], found.target.astype(np.int64)


def plain(settings: Mapping[str, Any], where: object) -> list[Stored]:
    """`digits`: the scans as they are; 20 % for testing, `validation` of the rest for validation."""
    images, labels = _scans()
    rest, test = set_apart(labels, _TEST, "test", settings["seed"], where)
    kept, held = set_apart(labels[rest], settings["validation"], "validation", settings["seed"], where)
    originals = Originals(
        splits={"train": rest[kept], "validation": rest[held], "test": test},
        labels=labels,
        read=images.__getitem__,
        classes=_CLASSES,
        augmentation=_PLAIN,
        source=settings,
        from_files=False,
        place=settings["name"],
    )
    return stored_splits(originals, settings, where)


def cluttered(settings: Mapping[str, Any], where: object) -> list[Stored]:
    """`cluttered-digits`: validation and test drawn once, the train split kept as scans to draw from.

    The splits of the scans are those of `digits`; an image and all its fragments come from scans of one split.
    """
    return [_drawn(stored, settings) for stored in _with_statistics(plain(settings, where), settings)]


def _with_statistics(splits: list[Stored], settings: Mapping[str, Any]) -> list[Stored]:
    """The same splits with mean and standard deviation of the drawn training images."""
    mean, std = channel_statistics(
        draw_fixed(splits[0].images, settings["epoch_images"], settings["seed"], "train")
    )
    return [replace(stored, mean=mean, std=std, augmentation=Augmentation()) for stored in splits]


def _drawn(stored: Stored, settings: Mapping[str, Any]) -> Stored:
    if stored.split == "train":
        return replace(stored, drawn_images=settings["epoch_images"])
    count = settings[f"{stored.split}_images"]
    shown = np.arange(count) % len(stored.labels)
    images = draw_fixed(stored.images, count, settings["seed"], stored.split)
    return replace(stored, images=images, labels=stored.labels[shown], ids=stored.ids[shown])


def draw_fixed(scans: np.ndarray, count: int, seed: int, split: str) -> np.ndarray:
    """`count` cluttered images, uint8 (count, 1, 32, 32), of the scans in turn; same seed and split, same images."""
    import torch

    from hakd.data.clutter import draw

    generator = torch.Generator().manual_seed(stream_seed(f"fixed {split}", seed))
    return draw(torch.from_numpy(scans), torch.arange(count) % len(scans), generator).numpy()
