"""Fashion-MNIST: the files of Debian's package, those that torchvision downloads, or a folder that has them.

70,000 grey photographs of clothes (Xiao, Rasul and Vollgraf, arXiv:1708.07747).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hakd.data.downloads import read_or_download
from hakd.data.idx import read_idx
from hakd.data.originals import published
from hakd.data.stored import Augmentation, Stored

PACKAGED = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package dataset-fashion-mnist
ROOT = Path("data/fashion-mnist")
BELOW = Path("FashionMNIST/raw")  # where torchvision keeps the files in its root

# Shape, and the md5 of the file unpacked: packed again, as Debian does, the same content has another one.
FILES: dict[str, tuple[tuple[int, ...], str]] = {
    "train-images-idx3-ubyte": ((60000, 28, 28), "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "train-labels-idx1-ubyte": ((60000,), "9018921c3c673c538a1fc5bad174d6f9"),
    "t10k-images-idx3-ubyte": ((10000, 28, 28), "8181f5470baa50b63fa0f6fddb340f0a"),
    "t10k-labels-idx1-ubyte": ((10000,), "15d484375f8d13e6eb1aabb0c3f46965"),
}
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_POLICY = Augmentation(shift=1 / 8, flip=True)  # the background is black


def fashion_mnist(settings: Mapping[str, Any], where: object) -> list[Stored]:
    """`fashion-mnist`: 60,000 images for training, `validation` of them for validation, and the 10,000 test images.

    Raises:
        HakdError: files missing (and not downloaded), damaged or of another data set, or a download that failed.
    """
    root = Path(settings.get("root", ROOT))
    places = [root / BELOW, root] if "root" in settings else [root / BELOW, root, PACKAGED]
    images, labels = read_or_download(
        lambda: _read_all(root, places),
        lambda: _fetch(root),
        root,
        "Fashion-MNIST (31 MB)",
        settings["download"],
    )
    place = _found(next(iter(FILES)), places).parent
    return published(images, labels, CLASSES, _POLICY, settings, where, place)


def _read_all(root: Path, places: list[Path]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images (N, 1, 28, 28) and labels of train and test."""
    remedy = (
        f"put {', '.join(f'{name}.gz' for name in FILES)} into {root}: they are in Debian's package "
        "dataset-fashion-mnist (used where it is installed and data.root is not given) and at "
        "https://github.com/zalandoresearch/fashion-mnist"
    )
    arrays = [read_idx(_found(name, places), *known, remedy) for name, known in FILES.items()]
    return [pixels[:, None] for pixels in arrays[::2]], [labels.astype(np.int64) for labels in arrays[1::2]]


def _found(name: str, places: list[Path]) -> Path:
    """The file in the first place that has it, packed or not; where none has, the path that is missing."""
    paths = [place / f"{name}{suffix}" for place in places for suffix in (".gz", "")]
    return next((path for path in paths if path.is_file()), places[1] / f"{name}.gz")


def _fetch(root: Path) -> None:
    """Download torchvision's files to where torchvision has them, so that no file of the user is replaced."""
    from torchvision.datasets import FashionMNIST
    from torchvision.datasets.utils import download_url

    for name, md5 in FashionMNIST.resources:
        download_url(FashionMNIST.mirrors[0] + name, root / BELOW, name, md5)
