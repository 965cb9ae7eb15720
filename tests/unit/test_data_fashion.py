"""Fashion-MNIST, on small files of its format written here; their sizes and checksums stand in for the real ones."""

import gzip
import hashlib
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hakd.data import fashion, load_splits, prepare
from hakd.data.idx import header
from hakd.data.stored import SPLITS, read
from hakd.records.errors import HakdError
from tests.unit.served import served
from tests.unit.train_parts import part_of_train

NAMES = list(fashion.FILES)
PACKED = [f"{name}.gz" for name in NAMES]
TRAIN, TEST = 200, 50


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, np.ndarray]:
    """What small files hold, by name; nothing is installed and the folder is empty."""
    generator = np.random.default_rng(0)
    arrays = {}
    for name in NAMES:
        count = TRAIN if name.startswith("train") else TEST
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[name] = images if "images" in name else (np.arange(count) % 10).astype(np.uint8)
    known = {name: (one.shape, hashlib.md5(unpacked(one)).hexdigest()) for name, one in arrays.items()}
    monkeypatch.setattr(fashion, "FILES", known)
    monkeypatch.setattr(fashion, "PACKAGED", tmp_path / "not installed")
    monkeypatch.chdir(tmp_path)
    return arrays


def unpacked(array: np.ndarray) -> bytes:
    """A file of the format."""
    return header(array.shape) + array.tobytes()


def laid(folder: Path, content: dict[str, np.ndarray], packed: bool = True) -> Path:
    """The four files."""
    folder.mkdir(parents=True)
    for name, array in content.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(unpacked(array), 1))
        else:
            (folder / name).write_bytes(unpacked(array))
    return folder


@pytest.fixture
def root(content: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """A folder with the four files, as published."""
    return laid(tmp_path / "root", content)


def refused(root: Path, part: str, **settings: object) -> HakdError:
    """The error of preparing `root`; nothing may have been written."""
    with pytest.raises(HakdError, match=part) as caught:
        prepare({"name": "fashion-mnist", "root": str(root), "download": False, **settings}, "out")
    assert not Path("out").exists()
    assert caught.value.key == "data.root"
    assert "\n" not in str(caught.value)
    for way in ("dataset-fashion-mnist", "github.com/zalandoresearch/fashion-mnist", *PACKED):
        assert way in str(caught.value.remedy)
    return caught.value


def alike(one: str, other: str) -> bool:
    """Whether two preparations wrote the same bytes."""
    return all(Path(one, f"{s}.npz").read_bytes() == Path(other, f"{s}.npz").read_bytes() for s in SPLITS)


def test_it_reads_its_files(root: Path, content: dict[str, np.ndarray]) -> None:
    prepare({"name": "fashion-mnist", "root": str(root)}, "out")
    parts = {split: read(f"out/{split}.npz") for split in SPLITS}
    counts = {split: len(part.labels) for split, part in parts.items()}
    assert counts == {"train": 180, "validation": 20, "test": TEST}
    pixels, labels = (np.concatenate([content[name] for name in NAMES[i::2]]) for i in (0, 1))
    assert sorted(np.concatenate([part.ids for part in parts.values()])) == list(range(TRAIN + TEST))
    for part in parts.values():
        np.testing.assert_array_equal(part.images[:, 0], pixels[part.ids])
        np.testing.assert_array_equal(part.labels, labels[part.ids])
        assert (part.classes[0], part.classes[9], len(part.classes)) == ("T-shirt/top", "Ankle boot", 10)
        np.testing.assert_allclose(part.mean, parts["train"].images.mean())
    assert parts["test"].ids.min() == TRAIN
    assert np.bincount(parts["validation"].labels).tolist() == [2] * 10


def test_a_part_of_it(root: Path, tmp_path: Path) -> None:
    part_of_train({"name": "fashion-mnist", "root": str(root)}, 40, tmp_path)


def test_it_is_shifted_over_black_and_flipped(root: Path) -> None:
    prepare({"name": "fashion-mnist", "root": str(root)}, "out")
    train = load_splits("out/train.npz", "out/validation.npz", 32).train
    assert (train.channels, train.num_classes, round(train.augmentation.shift * 32)) == (1, 10, 4)
    assert train.augmentation.flip
    assert not train.augmentation.reflected


@pytest.mark.parametrize("folder", ["", "FashionMNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_it_is_found_unpacked_and_where_torchvision_keeps_it(
    folder: str, packed: bool, root: Path, content: dict[str, np.ndarray]
) -> None:
    laid(Path("other", folder), content, packed)
    for name, out in ((str(root), "first"), ("other", "second")):
        prepare({"name": "fashion-mnist", "root": name, "download": False}, out)
    assert alike("first", "second")


def test_debians_package_is_found_by_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"name": "fashion-mnist", "download": False}
    with pytest.raises(HakdError, match="no such file") as caught:
        prepare(config, "out")
    assert caught.value.where == Path("data/fashion-mnist") / PACKED[0]
    monkeypatch.setattr(fashion, "PACKAGED", root)
    prepare(config, "out")
    shutil.rmtree("out")
    refused(Path("elsewhere"), "no such file")  # a root that is given is meant


@pytest.mark.skipif(
    not fashion.PACKAGED.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)
def test_the_real_files_are_those_that_are_published(tmp_path: Path) -> None:
    (_, images), (train, test) = fashion._read_all(tmp_path, [tmp_path, tmp_path, fashion.PACKAGED])
    assert images.shape == (10000, 1, 28, 28)
    assert [np.bincount(labels).tolist() for labels in (train, test)] == [[6000] * 10, [1000] * 10]


@pytest.mark.parametrize("name", PACKED)
def test_a_missing_file_is_named(name: str, root: Path) -> None:
    (root / name).unlink()
    assert refused(root, "no such file").where == root / name


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("empty", "is empty|ended before|truncated"),
        ("half", "truncated"),
        ("header", "truncated"),
        ("text", "not a gzip file|not an idx file"),
        ("other", "other content: unpacked its md5 is"),
        ("longer", "too long|not a gzip file"),
    ],
)
def test_a_damaged_file_is_named(
    fault: str, said: str, name: str, packed: bool, content: dict[str, np.ndarray]
) -> None:
    root = laid(Path("root"), content, packed)
    path = root / (f"{name}.gz" if packed else name)
    whole = path.read_bytes()
    other = content[name].copy()
    other[3] = (other[3] + 1) % 10
    path.write_bytes(
        {
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "header": whole[:7],
            "text": b"<html>not found</html>" * 20,
            "other": gzip.compress(unpacked(other)) if packed else unpacked(other),
            "longer": whole + b"more",
        }[fault]
    )
    assert refused(root, said).where == path


def test_a_flipped_byte_of_a_packed_file_is_found(root: Path) -> None:
    path = root / PACKED[0]
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    assert refused(root, "damaged|other content").where == path


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (0, 1, "holds labels where images belong"),
        (3, 2, "holds images where labels belong"),
        (0, 2, "holds 50 x 28 x 28 values, not 200 x 28 x 28"),
        (1, 3, "holds 50 values, not 200"),
    ],
)
def test_swapped_files_are_named(one: int, other: int, said: str, root: Path) -> None:
    shutil.copy(root / PACKED[other], root / PACKED[one])
    assert refused(root, said).where == root / PACKED[one]


@pytest.fixture
def site(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The files behind a real server on this machine, and no longer in the root."""
    from torchvision.datasets import FashionMNIST

    root.rename(tmp_path / "site")
    md5 = [(name, hashlib.md5((tmp_path / "site" / name).read_bytes()).hexdigest()) for name in PACKED]
    monkeypatch.setattr(FashionMNIST, "resources", md5)
    with served(tmp_path / "site") as address:
        monkeypatch.setattr(FashionMNIST, "mirrors", [address])
        yield tmp_path / "site"


def test_it_is_downloaded_and_kept(site: Path) -> None:
    prepare({"name": "fashion-mnist"}, "out")
    kept = Path("data/fashion-mnist/FashionMNIST/raw")
    assert sorted(path.name for path in kept.iterdir()) == sorted(PACKED)
    (kept / PACKED[2]).write_bytes(b"interrupted")
    prepare({"name": "fashion-mnist"}, "again")
    shutil.rmtree(site)
    prepare({"name": "fashion-mnist"}, "kept")
    assert alike("out", "again")
    assert alike("out", "kept")


def test_a_damaged_download_is_one_error(site: Path) -> None:
    (site / PACKED[1]).write_bytes(b"other")
    error = refused(Path("new"), r"no such file, and .* cannot be downloaded \(.*corrupted", download=True)
    assert error.where == Path("new") / PACKED[0]


def test_a_download_that_is_another_data_set_is_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shape, _), *_ = fashion.FILES.values()
    monkeypatch.setattr(fashion, "FILES", {**fashion.FILES, NAMES[0]: (shape, "0" * 32)})
    error = refused(Path("new"), "other content", download=True)
    assert str(error.remedy).startswith("Delete it and run again, or put")


def test_without_a_network_the_damaged_file_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import FashionMNIST

    before = (root / PACKED[0]).read_bytes()[:-9]
    (root / PACKED[0]).write_bytes(before)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{unused.getsockname()[1]}/"])
        error = refused(root, r"truncated .* cannot be downloaded .*refused", download=True)
    assert error.where == root / PACKED[0]
    assert re.match("Set data.download: true where there is a network, or put", str(error.remedy))
    assert (root / PACKED[0]).read_bytes() == before
