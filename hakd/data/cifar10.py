"""CIFAR-10 through torchvision: the downloaded and checksummed archive, or a folder that has it already."""

import contextlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hakd.data.splitting import channel_statistics, set_apart
from hakd.data.stored import Augmentation, Stored
from hakd.records.errors import HakdError
from hakd.records.files import digest

logger = logging.getLogger(__name__)

_POLICY = Augmentation(shift=1 / 8, reflected=True, flip=True)  # reflect-pad-4 crop of 32 pixels, and flip


def cifar10(settings: Mapping[str, Any], where: object) -> list[Stored]:
    """`cifar10`: 50,000 images for training, `validation` of them for validation, and the 10,000 test images.

    Raises:
        HakdError: files missing (and not downloaded), truncated or corrupt, or a download that failed.
    """
    root = Path(settings["root"])
    images, labels, classes = _read_all(root, settings["download"])
    train, test = images
    kept, held = set_apart(labels[0], settings["validation"], "validation", settings["seed"], where)
    mean, std = channel_statistics(train[kept])
    first_test_id = len(train)
    parts = (
        ("train", train[kept], labels[0][kept], kept),
        ("validation", train[held], labels[0][held], held),
        ("test", test, labels[1], first_test_id + np.arange(len(test))),
    )
    source = {key: settings[key] for key in ("name", "seed", "validation")}
    return [
        Stored(
            name=settings["name"],
            split=split,
            images=pixels,
            labels=targets,
            ids=ids,
            classes=classes,
            mean=mean,
            std=std,
            augmentation=_POLICY,
            drawn_images=0,
            dataset=digest({**source, "images": len(train), "mean": mean}),
        )
        for split, pixels, targets, ids in parts
    ]


def _read_all(root: Path, download: bool) -> tuple[list[np.ndarray], list[np.ndarray], tuple[str, ...]]:
    """Images (N, 3, 32, 32) and labels of train and test, and the class names; every file's md5 is checked first."""
    from torchvision.datasets import CIFAR10  # seconds of imports that other data sets do not need

    if _faults(CIFAR10, root) and download:
        _download(CIFAR10, root)
    faults = _faults(CIFAR10, root)
    if faults:
        path, problem = faults[0]
        raise HakdError(problem, where=path, key="data.root", remedy=_remedy(CIFAR10, root, download))
    images, labels = [], []
    try:
        for train in (True, False):
            found = CIFAR10(str(root), train=train, download=False)
            images.append(np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))
            labels.append(np.asarray(found.targets, np.int64))
    except (
        Exception
    ) as error:  # the files match their checksums, so this is not the set that torchvision knows
        raise HakdError(
            f"is not in the format of CIFAR-10 ({error})",
            where=root / CIFAR10.base_folder,
            key="data.root",
            remedy=_remedy(CIFAR10, root, download),
        ) from None
    return images, labels, tuple(found.classes)


def _faults(dataset: Any, root: Path) -> list[tuple[Path, str]]:
    """Files of the set that are missing or damaged, with what is wrong."""
    from torchvision.datasets.utils import check_integrity

    faults = []
    names = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
    for name, md5 in names:
        path = root / dataset.base_folder / name
        if not path.is_file():
            faults.append((path, "no such file"))
        elif not check_integrity(str(path), md5):
            faults.append((path, f"is truncated or corrupt: its md5 is not {md5}"))
    return faults


def _download(dataset: Any, root: Path) -> None:
    """Fetch and unpack the archive into `root`; torchvision checks its md5 before it unpacks."""
    logger.info("downloading CIFAR-10 (170 MB) to %s", root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            dataset(str(root), train=True, download=True)
    except Exception as error:  # urllib, sockets, tarfile and torchvision each raise their own
        raise HakdError(
            f"CIFAR-10 cannot be downloaded ({error})",
            where=root,
            key="data.root",
            remedy=_remedy(dataset, root, False),
        ) from None


def _remedy(dataset: Any, root: Path, download: bool) -> str:
    names = [name for name, _ in (*dataset.train_list, *dataset.test_list)]
    again = (
        "Delete it and run again, or put"
        if download
        else "Set data.download: true where there is a network, or put"
    )
    return (
        f"{again} {dataset.filename} (md5 {dataset.tgz_md5}), unpacked, into {root}, so that "
        f"{root / dataset.base_folder} holds {names[0]} to {names[-2]}, {names[-1]} and {dataset.meta['filename']}"
    )
