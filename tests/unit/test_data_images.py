"""Data sets that come as files: CIFAR-10 and folders of images, on files of their formats written here."""

import hashlib
import pickle
import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hakd.data import load, load_splits, prepare
from hakd.data.stored import SPLITS, read
from hakd.records.errors import HakdError
from tests.unit.image_trees import make_tree, refused
from tests.unit.served import served
from tests.unit.train_parts import part_of_train

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
EACH = 40  # images in a written batch; the real ones have 10,000


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with CIFAR-10's files, small, and torchvision told their checksums: the rest is its real code."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "root" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    contents: dict[str, dict] = {"batches.meta": {"label_names": CLASSES, "num_vis": 3072}}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        pixels = generator.integers(0, 256, (EACH, 3072), dtype=np.uint8)
        contents[name] = {"data": pixels, "labels": [i % 10 for i in range(EACH)], "batch_label": name}
    md5 = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        md5[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(
        CIFAR10, "train_list", [[f"data_batch_{i}", md5[f"data_batch_{i}"]] for i in range(1, 6)]
    )
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    return folder.parent


def written(root: Path, name: str) -> dict:
    """What one of the fixture's files holds."""
    return pickle.loads((root / "cifar-10-batches-py" / name).read_bytes())


def test_cifar10_reads_its_files(cifar: Path, tmp_path: Path) -> None:
    prepare({"name": "cifar10", "root": str(cifar), "download": False}, tmp_path / "out")
    parts = {split: read(tmp_path / "out" / f"{split}.npz") for split in SPLITS}
    assert {split: len(part.labels) for split, part in parts.items()} == {
        "train": 180,
        "validation": 20,
        "test": EACH,
    }
    batches = [written(cifar, f"data_batch_{i}") for i in range(1, 6)] + [written(cifar, "test_batch")]
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch["labels"] for batch in batches])
    assert sorted(np.concatenate([part.ids for part in parts.values()])) == list(range(6 * EACH))
    for part in parts.values():
        assert part.images.dtype == np.uint8
        np.testing.assert_array_equal(part.images, pixels[part.ids])
        np.testing.assert_array_equal(part.labels, labels[part.ids])
        assert part.classes == tuple(CLASSES)
        np.testing.assert_allclose(part.mean, parts["train"].images.mean((0, 2, 3)))
    assert parts["test"].ids.min() == 5 * EACH
    assert np.bincount(parts["validation"].labels).tolist() == [2] * 10


def test_a_part_of_cifar10(cifar: Path, tmp_path: Path) -> None:
    part_of_train({"name": "cifar10", "root": str(cifar), "download": False}, 50, tmp_path)


def test_cifar10_loads_as_three_channels_with_crops_and_flips(cifar: Path, tmp_path: Path) -> None:
    prepare({"name": "cifar10", "root": str(cifar), "download": False, "validation": 0.2}, tmp_path / "out")
    data = load_splits(tmp_path / "out" / "train.npz", tmp_path / "out" / "validation.npz", 32)
    assert (len(data.train), len(data.validation), data.train.channels) == (160, 40, 3)
    assert round(data.train.augmentation.shift * 32) == 4
    assert data.train.augmentation.reflected
    assert data.train.augmentation.flip
    images, _ = next(data.train.batches(160, 0, 0, augment=False, shuffle=False))
    np.testing.assert_allclose(images.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(images.std((0, 2, 3)), 1, atol=1e-3)
    np.testing.assert_allclose(
        data.validation.images * data.train.std + data.train.mean, data.validation._pixels, atol=1e-3
    )


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "corrupt"])
def test_a_damaged_cifar10_is_one_error_that_names_the_file(
    name: str, fault: str, cifar: Path, tmp_path: Path
) -> None:
    path = cifar / "cifar-10-batches-py" / name
    content = path.read_bytes()
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-10] if fault == "truncated" else bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(
        HakdError, match="no such file" if fault == "missing" else "truncated or corrupt"
    ) as caught:
        prepare({"name": "cifar10", "root": str(cifar), "download": False}, tmp_path / "out")
    assert caught.value.where == path
    assert str(cifar) in str(caught.value.remedy)
    assert "data_batch_1" in str(caught.value.remedy)
    assert not (tmp_path / "out").exists()


def test_an_empty_root_is_one_error_that_says_what_to_put_where(tmp_path: Path) -> None:
    """With torchvision as it comes: the real names and the real checksum."""
    with pytest.raises(HakdError, match="c58f30108f718f92721af3b95e74349a") as caught:
        prepare({"name": "cifar10", "root": str(tmp_path / "root"), "download": False}, tmp_path / "out")
    assert "cifar-10-python.tar.gz" in str(caught.value.remedy)
    assert not list(tmp_path.iterdir())


def test_checksummed_files_of_another_format_are_one_error(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    path = cifar / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps({"pictures": []}))
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", hashlib.md5(path.read_bytes()).hexdigest()]])
    with pytest.raises(HakdError, match="not in the format of CIFAR-10"):
        prepare({"name": "cifar10", "root": str(cifar), "download": False}, tmp_path / "out")


@pytest.fixture
def archive_url(cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The fixture's files as an archive behind a real server on this machine, and no longer in the root."""
    from torchvision.datasets import CIFAR10

    site = tmp_path / "site"
    site.mkdir()
    archive = site / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(cifar / "cifar-10-batches-py", "cifar-10-batches-py")
    shutil.rmtree(cifar)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    with served(site) as address:
        monkeypatch.setattr(CIFAR10, "url", address + CIFAR10.filename)
        yield CIFAR10.url


def test_cifar10_is_downloaded_checked_and_unpacked(archive_url: str, cifar: Path, tmp_path: Path) -> None:
    prepare({"name": "cifar10", "root": str(cifar)}, tmp_path / "out")
    assert len(load(tmp_path / "out" / "test.npz", 32)) == EACH


def test_a_damaged_download_is_one_error(
    archive_url: str, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "tgz_md5", "0" * 32)
    with pytest.raises(HakdError, match="cannot be downloaded"):
        prepare({"name": "cifar10", "root": str(cifar)}, tmp_path / "out")
    assert not (cifar / "cifar-10-batches-py").exists()
    assert not (tmp_path / "out").exists()


def test_without_a_network_the_error_says_where_the_files_go(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    (cifar / "cifar-10-batches-py" / "data_batch_2").unlink()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{unused.getsockname()[1]}/{CIFAR10.filename}")
        with pytest.raises(HakdError, match=r"no such file, and .* cannot be downloaded .*refused") as caught:
            prepare({"name": "cifar10", "root": str(cifar)}, tmp_path / "out")
    assert caught.value.where == cifar / "cifar-10-batches-py" / "data_batch_2"
    assert str(cifar / "cifar-10-batches-py") in str(caught.value.remedy)


# --- folders of images -----------------------------------------------------------------------------------------------


def test_one_tree_is_split_80_10_10_by_class(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", 50)
    prepare({"name": "imagefolder", "root": str(root), "size": 16}, tmp_path / "out")
    parts = {split: read(tmp_path / "out" / f"{split}.npz") for split in SPLITS}
    counts = {split: np.bincount(part.labels).tolist() for split, part in parts.items()}
    assert counts == {"train": [40] * 3, "validation": [5] * 3, "test": [5] * 3}
    assert sorted(np.concatenate([part.ids for part in parts.values()])) == list(range(150))
    for part in parts.values():
        assert part.classes == ("blue", "green", "red")
        assert part.images.shape[1:] == (3, 16, 16)
        brightest = part.images.mean((2, 3)).argmax(1)
        np.testing.assert_array_equal(brightest, 2 - part.labels)  # blue is channel 2 and class 0
    prepare({"name": "imagefolder", "root": str(root), "size": 16}, tmp_path / "again")
    for split in SPLITS:
        assert (tmp_path / "again" / f"{split}.npz").read_bytes() == (
            tmp_path / "out" / f"{split}.npz"
        ).read_bytes()


@pytest.mark.parametrize("validation", ["validation", "val", ""])
def test_a_split_tree_is_taken_as_it_is(validation: str, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    make_tree(root / "train", 10)
    make_tree(root / "test", 4, first=30)
    if validation:
        make_tree(root / validation, 3, first=50)
    prepare({"name": "imagefolder", "root": str(root), "size": 8, "flip": False}, tmp_path / "out")
    parts = {split: read(tmp_path / "out" / f"{split}.npz") for split in SPLITS}
    sizes = [len(parts[split].labels) for split in SPLITS]
    assert sizes == ([30, 9, 12] if validation else [27, 3, 12])
    assert len(set(np.concatenate([part.ids for part in parts.values()]).tolist())) == sum(sizes)
    assert not parts["train"].augmentation.flip


def test_images_are_turned_fitted_and_made_rgb(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    make_tree(root, 3)
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255  # what a centre crop keeps
    Image.fromarray(wide).save(root / "red" / "wide.png")
    Image.new("L", (30, 30), 128).save(root / "red" / "grey.png")
    Image.fromarray(np.full((30, 30), 128 * 257, np.uint16)).save(root / "red" / "sixteen.png")
    turned = Image.new("RGB", (40, 40))
    turned.paste((255, 255, 255), (0, 0, 40, 20))  # white above
    exif = turned.getexif()
    exif[0x0112] = 3  # taken upside down
    turned.save(root / "red" / "turned.jpg", exif=exif, quality=95)
    prepare({"name": "imagefolder", "root": str(root), "size": 20}, tmp_path / "out")
    parts = [read(tmp_path / "out" / f"{split}.npz") for split in SPLITS]
    names = sorted(path for path in root.rglob("*") if path.is_file())
    images = {names[i].name: image for part in parts for i, image in zip(part.ids, part.images, strict=True)}
    assert images["wide.png"].min() == 255
    assert np.unique(images["grey.png"]).tolist() == np.unique(images["sixteen.png"]).tolist() == [128]
    assert images["turned.jpg"][:, :8].max() < 30
    assert images["turned.jpg"][:, 12:].min() > 225


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
@pytest.mark.parametrize("fault", ["truncated", "text", "empty"])
def test_an_unreadable_image_is_named(suffix: str, fault: str, tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", 4)
    path = root / "red" / f"broken.{suffix}"
    Image.effect_noise((40, 40), 50).convert("RGB").save(path)
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "text": b"hello", "empty": b""}[fault])
    assert refused(root, tmp_path / "out", "image cannot be read").where == path


def test_impossible_trees_are_one_error(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(tmp_path / "nowhere", out, "no such folder")
    make_tree(tmp_path / "no_test" / "train", 3)
    refused(tmp_path / "no_test", out, "no folder `test`")
    (tmp_path / "no_classes").mkdir()
    refused(tmp_path / "no_classes", out, "0 class folders")
    one = make_tree(tmp_path / "one", 3)
    shutil.rmtree(one / "red")
    shutil.rmtree(one / "green")
    refused(one, out, "1 class folders")
    few = make_tree(tmp_path / "few", 2)
    refused(few, out, "left to split")
    (make_tree(tmp_path / "empty", 3) / "yellow").mkdir()
    assert refused(tmp_path / "empty", out, "no images").where == tmp_path / "empty" / "yellow"
    make_tree(tmp_path / "differ" / "train", 3)
    make_tree(tmp_path / "differ" / "test", 3)
    shutil.rmtree(tmp_path / "differ" / "test" / "green")
    refused(tmp_path / "differ", out, "class folder `green`")


def test_images_of_one_colour_are_refused(tmp_path: Path) -> None:
    for name in ("a", "bb"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for i in range(4):  # sizes differ: files that are equal would be copies
            Image.new("L", (9 + i, 9 + len(name)), 7).save(tmp_path / "tree" / name / f"{i}.png")
    refused(tmp_path / "tree", tmp_path / "out", "same everywhere")


def test_a_prepared_folder_trains(tmp_path: Path) -> None:
    """Three colours are told apart by a linear layer on the mean colour, through the batches of the loop."""
    prepare(
        {"name": "imagefolder", "root": str(make_tree(tmp_path / "tree", 10)), "size": 12}, tmp_path / "out"
    )
    data = load_splits(tmp_path / "out" / "train.npz", tmp_path / "out" / "validation.npz", 16)
    layer = torch.nn.Linear(3, data.train.num_classes)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.5)
    for epoch in range(10):
        for images, labels in data.train.batches(8, 0, epoch):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(layer(images.mean((2, 3))), labels).backward()
            optimiser.step()
    assert (layer(data.validation.images.mean((2, 3))).argmax(1) == data.validation.labels).all()
