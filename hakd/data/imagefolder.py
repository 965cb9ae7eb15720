"""Any folder tree of images: a folder per class, split already or not."""

import logging
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from hakd.data.splitting import channel_statistics, set_apart
from hakd.data.stored import Augmentation, Stored
from hakd.records.errors import HakdError
from hakd.records.files import digest

logger = logging.getLogger(__name__)

Listing = list[tuple[Path, int]]
"""Files with their class numbers, in order of their paths."""


def imagefolder(settings: Mapping[str, Any], where: object) -> list[Stored]:
    """`imagefolder`: `root/train` and `root/test` (and `root/val` or `root/validation`), or one tree split here.

    Raises:
        HakdError: a folder that is missing or empty, classes that differ between splits, an image that cannot be read.
    """
    root = Path(settings["root"])
    if not root.is_dir():
        raise HakdError("no such folder", where=root, key="data.root", remedy="Correct data.root")
    if (root / "train").is_dir():
        classes, listings = _split_tree(root, settings)
    else:
        classes, listings = _single_tree(root, settings)
    order = sorted(path for listing in listings.values() for path, _ in listing)
    number = {path: i for i, path in enumerate(order)}
    images = {
        split: _read_images([path for path, _ in listing], settings["size"])
        for split, listing in listings.items()
    }
    mean, std = channel_statistics(images["train"])
    source = {
        **settings,
        "root": None,
        "files": [str(path.relative_to(root)) for path in order],
        "mean": mean,
    }
    return [
        Stored(
            name=settings["name"],
            split=split,
            images=images[split],
            labels=np.array([label for _, label in listing], np.int64),
            ids=np.array([number[path] for path, _ in listing], np.int64),
            classes=classes,
            mean=mean,
            std=std,
            augmentation=Augmentation(shift=1 / 8, reflected=True, flip=settings["flip"]),
            drawn_images=0,
            dataset=digest(source),
        )
        for split, listing in listings.items()
    ]


def _single_tree(root: Path, settings: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Listing]]:
    """Split one tree by seed: `test` and `validation` are shares of all its images."""
    classes, files = _list(root)
    labels = np.array([label for _, label in files])
    rest, test = set_apart(labels, settings["test"], "test", settings["seed"], root)
    share = settings["validation"] / (1 - settings["test"])
    kept, held = set_apart(labels[rest], share, "validation", settings["seed"], root)
    parts = {"train": rest[kept], "validation": rest[held], "test": test}
    return classes, {split: [files[i] for i in indices] for split, indices in parts.items()}


def _split_tree(root: Path, settings: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Listing]]:
    """Take the splits as they are; without a validation folder, `validation` of the training images are held out."""
    if not (root / "test").is_dir():
        raise HakdError(
            "there is a folder `train` but no folder `test`",
            where=root,
            key="data.root",
            remedy="Add `test` with the same class folders, or give a folder that holds the class folders themselves",
        )
    folders = {"train": root / "train", "test": root / "test"}
    for name in ("val", "validation"):
        if (root / name).is_dir():
            folders["validation"] = root / name
    listed = {split: _list(folder) for split, folder in folders.items()}
    classes = listed["train"][0]
    for split, (names, _) in listed.items():
        if names != classes:
            odd = min(set(names) ^ set(classes))
            raise HakdError(
                f"class folder `{odd}` is in `train` or here, not in both",
                where=folders[split],
                remedy="Give every split the same class folders",
            )
    train = listed["train"][1]
    if "validation" in listed:
        return classes, {split: listed[split][1] for split in ("train", "validation", "test")}
    labels = np.array([label for _, label in train])
    kept, held = set_apart(labels, settings["validation"], "validation", settings["seed"], root)
    return classes, {
        "train": [train[i] for i in kept],
        "validation": [train[i] for i in held],
        "test": listed["test"][1],
    }


def _list(folder: Path) -> tuple[tuple[str, ...], Listing]:
    """Class names, sorted, and the images of a folder of class folders; hidden files and other formats are left out."""
    classes = tuple(
        sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    )
    if len(classes) < 2:
        raise HakdError(
            f"{len(classes)} class folders, at least 2 are needed",
            where=folder,
            key="data.root",
            remedy="Give a folder that holds one folder of images for each class",
        )
    suffixes = {suffix for suffix, form in Image.registered_extensions().items() if form in Image.OPEN}
    files: Listing = []
    other: list[Path] = []
    for label, name in enumerate(classes):
        found = sorted(
            Path(base, entry)
            for base, _, entries in os.walk(folder / name)
            for entry in entries
            if entry[0] != "."
        )
        images = [path for path in found if path.suffix.lower() in suffixes]
        other += [path for path in found if path.suffix.lower() not in suffixes]
        if not images:
            raise HakdError("no images", where=folder / name, remedy="Add images or remove the folder")
        files += [(path, label) for path in images]
    if other:
        logger.warning("%d files are no images and are left out, such as %s", len(other), other[0])
    return classes, files


def _read_images(paths: list[Path], size: int) -> np.ndarray:
    """uint8 (N, 3, size, size): turned as the camera noted, shorter side resized to `size`, centre cropped."""
    images = np.empty((len(paths), 3, size, size), np.uint8)
    for i, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                fitted = ImageOps.fit(
                    _rgb(ImageOps.exif_transpose(image)), (size, size), Image.Resampling.BILINEAR
                )
        except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
            raise HakdError(
                f"image cannot be read ({error})", where=path, remedy="Repair it or remove it from the folder"
            ) from None
        images[i] = np.asarray(fitted).transpose(2, 0, 1)
    return images


def _rgb(image: Image.Image) -> Image.Image:
    """Three channels of 8 bits; grey is repeated, 16-bit grey scaled (Pillow's own conversion would clip it)."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    return image.convert("RGB")
