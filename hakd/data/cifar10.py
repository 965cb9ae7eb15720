"""CIFAR-10 through torchvision: the downloaded and checksummed archive, or a folder that has it already."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hakd.data.downloads import read_or_download
from hakd.data.originals import published
from hakd.data.stored import Augmentation, Stored
from hakd.records.errors import HakdError

_POLICY = Augmentation(shift=1 / 8, reflected=True, flip=True)  # reflect-pad-4 crop of 32 pixels, and flip


def cifar10(settings: Mapping[str, Any], where: object) -> list[Stored]:
    """`cifar10`: 50,000 images for training, `validation` of them for validation, and the 10,000 test images.

    Raises:
        HakdError: files missing (and not downloaded), truncated or corrupt, or a download that failed.
    """
    root = Path(settings["root"])
    images, labels, classes = read_or_download(
        lambda: _read_all(root),
        lambda: _dataset()(str(root), train=True, download=True),
        root,
        "CIFAR-10 (170 MB)",
        settings["download"],
    )
    return published(images, labels, classes, _POLICY, settings, where, root)


def _dataset() -> Any:
    from torchvision.datasets import CIFAR10  # seconds of imports that other data sets do not need

    return CIFAR10


def _read_all(root: Path) -> tuple[list[np.ndarray], list[np.ndarray], tuple[str, ...]]:
    """Images (N, 3, 32, 32) and labels of train and test, and the class names; every file's md5 is checked first."""
    dataset = _dataset()
    _check(dataset, root)
    images, labels = [], []
    try:
        for train in (True, False):
            found = dataset(str(root), train=train, download=False)
            images.append(np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))
            labels.append(np.asarray(found.targets, np.int64))
    except (
        Exception
    ) as error:  # the files match their checksums, so this is not the set that torchvision knows
        raise HakdError(
            f"is not in the format of CIFAR-10 ({error})",
            where=root / dataset.base_folder,
            key="data.root",
            remedy=_remedy(dataset, root),
        ) from None
    return images, labels, tuple(found.classes)


def _check(dataset: Any, root: Path) -> None:
    """Refuse a file of the set that is missing or damaged."""
    from torchvision.datasets.utils import check_integrity

    names = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
    for name, md5 in names:
        path = root / dataset.base_folder / name
        if not check_integrity(str(path), md5):
            problem = f"is truncated or corrupt: its md5 is not {md5}" if path.is_file() else "no such file"
            raise HakdError(problem, where=path, key="data.root", remedy=_remedy(dataset, root))


def _remedy(dataset: Any, root: Path) -> str:
    names = [name for name, _ in (*dataset.train_list, *dataset.test_list)]
    return (
        f"put {dataset.filename} (md5 {dataset.tgz_md5}), unpacked, into {root}, so that "
        f"{root / dataset.base_folder} holds {names[0]} to {names[-2]}, {names[-1]} and {dataset.meta['filename']}"
    )
