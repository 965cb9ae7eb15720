"""One split of a data set as a file: uint8 images, labels, original ids and everything needed to use them alone.

Each npz holds the arrays `images` (N, C, H, W) uint8, `labels` (N,) int64, `ids` (N,) int64 and `meta` (JSON as bytes).
"""

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hakd.records.errors import HakdError, make_again
from hakd.records.files import atomic
from hakd.records.provenance import provenance

KIND, FORMAT = "hakd data", 1
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a training image without changing its label.

    `shift` is the largest move up, down, left or right as a fraction of the image's size; what comes in from outside is
    `reflected` or zero (the background of a scan). `flip` mirrors left and right, every other image on average.
    """

    shift: float = 0.0
    reflected: bool = False
    flip: bool = False


@dataclass(frozen=True)
class Stored:
    """A split as its file holds it.

    Attributes:
        name: of the data set, such as `digits`.
        split: `train`, `validation` or `test`.
        images: uint8 (N, C, H, W), 0 to 255. For a train split with `drawn_images` these are originals to draw from.
        labels: int64 (N,), each below the number of classes.
        ids: int64 (N,): which original each image is (of), unique to one split of a data set.
        classes: the names of the classes.
        mean: per channel, of the train split, in units of 0 to 255.
        std: likewise.
        augmentation: what training may do to the images.
        drawn_images: for a split that is drawn again in each epoch, how many images that is; else 0.
        dataset: a hash of the settings and of the originals; equal in the three files of one preparation.
    """

    name: str
    split: str
    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    ids: np.ndarray = field(repr=False)
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    drawn_images: int
    dataset: str


_ARRAYS = ("images", "labels", "ids")


def write_all(splits: Sequence[Stored], directory: str | os.PathLike) -> None:
    """Write `{split}.npz` for each split; all of them appear, or none.

    Raises:
        HakdError: the directory cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(atomic(Path(directory) / f"{stored.split}.npz")) for stored in splits]
        for stored, path in zip(splits, paths, strict=True):
            _write(stored, path)


def _write(stored: Stored, path: Path) -> None:
    fields = {key: value for key, value in vars(stored).items() if key not in _ARRAYS}
    fields["augmentation"] = asdict(stored.augmentation)
    meta = {"kind": KIND, "format": FORMAT, **fields, "provenance": provenance()}
    text = json.dumps(meta, allow_nan=False).encode()
    with open(path, "wb") as stream:
        np.savez(
            stream,
            meta=np.frombuffer(text, np.uint8),
            images=np.ascontiguousarray(stored.images),
            labels=stored.labels.astype(np.int64),
            ids=stored.ids.astype(np.int64),
        )


def read(path: str | os.PathLike) -> Stored:
    """Read one split; needs none of the other files.

    Raises:
        HakdError: the file is missing, truncated, inconsistent, of another format version or not a split of a data set.
    """
    arrays = _read_arrays(path)
    meta = _read_meta(path, arrays)
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise HakdError("array is missing", where=path, key=missing[0], remedy=make_again(path))
    try:
        stored = Stored(
            name=str(meta["name"]),
            split=str(meta["split"]),
            images=arrays["images"],
            labels=arrays["labels"],
            ids=arrays["ids"],
            classes=tuple(meta["classes"]),
            mean=tuple(map(float, meta["mean"])),
            std=tuple(map(float, meta["std"])),
            augmentation=Augmentation(**meta["augmentation"]),
            drawn_images=int(meta["drawn_images"]),
            dataset=str(meta["dataset"]),
        )
    except KeyError as error:
        raise HakdError(
            "is missing in the metadata", where=path, key=error.args[0], remedy=make_again(path)
        ) from None
    except (TypeError, ValueError) as error:
        raise HakdError(
            f"damaged metadata ({error})", where=path, key="meta", remedy=make_again(path)
        ) from None
    check(stored, path)
    return stored


def _read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as stream:
            if stream.read(2) != b"PK":  # np.load would take other files for pickles or single arrays
                raise HakdError("not an npz file", where=path, remedy=make_again(path))
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise HakdError("no such file", where=path, remedy=make_again(path)) from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise HakdError(f"is truncated or damaged ({error})", where=path, remedy=make_again(path)) from None


def _read_meta(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    try:
        meta = json.loads(arrays["meta"].tobytes())
    except (KeyError, ValueError):
        meta = None
    if not isinstance(meta, dict) or meta.get("kind") != KIND:
        raise HakdError("not a split of a data set", where=path, key="meta", remedy=make_again(path))
    if meta.get("format") != FORMAT:
        raise HakdError(
            f"format {meta.get('format')}, this program reads {FORMAT}",
            where=path,
            key="format",
            remedy=make_again(path),
        )
    return meta


def check(stored: Stored, where: object) -> None:
    """Refuse a split that could not be trained on or scored, whether just made or just read.

    Raises:
        HakdError: no images, fewer than two classes, or arrays that do not belong together.
    """

    def refuse(problem: str, key: str) -> HakdError:
        return HakdError(problem, where=where, key=key, remedy="Check the data set and prepare it again")

    images, labels, classes = stored.images, stored.labels, len(stored.classes)
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape[1:]:
        raise refuse(
            f"is {images.dtype} {images.shape}, not uint8 (images, channels, height, width)", "images"
        )
    if len(images) == 0:
        raise refuse("no images", "images")
    for key, values in (("labels", labels), ("ids", stored.ids)):
        if values.shape != (len(images),) or values.dtype != np.int64:
            raise refuse(f"is {values.dtype} {values.shape}, not int64 ({len(images)},)", key)
    if classes < 2:
        raise refuse(f"{classes} class, at least 2 are needed", "classes")
    if labels.min() < 0 or labels.max() >= classes:
        raise refuse(f"labels {labels.min()} to {labels.max()} do not fit {classes} classes", "labels")
    if stored.split not in SPLITS:
        raise refuse(f"{stored.split!r} is not one of {', '.join(SPLITS)}", "split")
    for key, numbers in (("mean", stored.mean), ("std", stored.std)):
        if len(numbers) != images.shape[1] or not np.isfinite(numbers).all():
            raise refuse(f"needs {images.shape[1]} finite numbers, one per channel", key)
    if min(stored.std) <= 0:
        raise refuse("a channel of the training images is the same everywhere", "std")
