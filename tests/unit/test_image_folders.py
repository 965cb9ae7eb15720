"""Image folders as people have them: service folders, links and copies, odd files and odd pixels."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hakd.data import prepare
from hakd.data.folders import Tally
from hakd.data.image_files import read_images
from hakd.data.imagefolder import _list, count_train_images
from hakd.data.settings import complete
from hakd.data.stored import SPLITS, Stored, read
from tests.unit.image_trees import make_tree, refused

SERVICE = (
    ".ipynb_checkpoints",
    ".AppleDouble",
    "@eaDir",
    "__MACOSX",
    "#recycle",
    "$RECYCLE.BIN",
    "lost+found",
)


def prepared(root: Path, out: Path, **changes: object) -> list[Stored]:
    """Train, validation and test of a folder of 8 x 8 images."""
    prepare({"name": "imagefolder", "root": str(root), "size": 8, **changes}, out)
    return [read(out / f"{split}.npz") for split in SPLITS]


def each(parts: list[Stored]) -> list[list[int]]:
    """Images a class, by split."""
    return [np.bincount(part.labels).tolist() for part in parts]


def test_other_files_are_left_out_with_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="hakd")
    root = make_tree(tmp_path / "tree", 5)
    (root / "red" / "notes.txt").write_text("x")
    (root / "red" / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))  # Pillow only recognises it
    (root / "red" / "Thumbs.db").write_text("x")
    (root / "red" / ".hidden.png").write_text("x")
    (root / "README.md").write_text("x")
    (root / ".cache").mkdir()
    os.mkfifo(root / "red" / "pipe.png")
    assert each(prepared(root, tmp_path / "out")) == [[3] * 3, [1] * 3, [1] * 3]
    assert "files that are not images (3, such as " in caplog.text
    assert "hidden and service entries (3, such as " in caplog.text
    assert f"files outside a class folder (1, such as {root / 'README.md'})" in caplog.text
    used = "images used: train 9 (3 to 3 a class), validation 3 (1 to 1 a class), test 3 (1 to 1 a class)"
    assert f"{root}: 3 classes; {used}" in caplog.text


@pytest.mark.parametrize("name", SERVICE)
def test_hidden_and_service_folders_are_neither_images_nor_classes(name: str, tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", 3)
    for place in (root, root / "green", root / "blue" / "deeper"):
        shutil.copytree(make_tree(tmp_path / "looked at", 2) / "red", place / name)
    classes, files = _list(root)
    assert classes == ("blue", "green", "red")
    assert len(files) == 9


def test_a_class_of_other_files_alone_names_one(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", 3)
    (root / "yellow").mkdir()
    (root / "yellow" / "IMG_1.HEIC").write_text("x")
    assert (
        refused(root, tmp_path / "out", "no images, only others such as IMG_1.HEIC").where == root / "yellow"
    )


def test_links_are_followed_and_loops_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_tree(tmp_path / "tree", 3)
    elsewhere = make_tree(tmp_path / "elsewhere", 4, first=10)
    (root / "fox").symlink_to(make_tree(tmp_path / "more", 5, first=20) / "red")  # a class that is a link
    (root / "red" / "session2").symlink_to(elsewhere / "red")  # a linked sub-folder, under two names
    (root / "red" / "session3").symlink_to(elsewhere / "red")
    (root / "blue" / "all").symlink_to(root)  # loops: to a folder above, and between two
    (root / "green" / "deeper" / "one").symlink_to(elsewhere / "green")
    (elsewhere / "green" / "two").symlink_to(root / "green" / "deeper")
    (root / "red" / "x.bmp").symlink_to(tmp_path / "more" / "red" / "020.bmp")
    classes, files = _list(root)
    assert classes == ("blue", "fox", "green", "red")
    assert np.bincount([label for _, label in files]).tolist() == [3, 5, 3 + 4, 3 + 4 + 1]
    assert "links to folders that were already read (3, such as " in caplog.text


@pytest.mark.parametrize("place", ["fox", "red/session2", "red/x.png"])
@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_dead_link_is_named(place: str, target: str, tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", 3)
    (root / place).symlink_to(root / place if target == "itself" else "nowhere")
    assert refused(root, tmp_path / "out", "a link whose target is missing").where == root / place


def test_copies_and_links_are_in_one_split_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of 30 images that are there under two names, some would land in two splits."""
    root = make_tree(tmp_path / "tree", 10)
    for path in [path for path in root.rglob("*.*") if path.is_file()]:
        if path.stem < "005":
            shutil.copy(path, path.with_stem(f"copy-of-{path.stem}"))
        else:
            path.with_stem(f"link-to-{path.stem}").symlink_to(path)
    parts = prepared(root, tmp_path / "out", test=0.3, validation=0.3)
    assert each(parts) == [[4] * 3, [3] * 3, [3] * 3]
    assert len(set(np.concatenate([part.ids for part in parts]).tolist())) == 30
    assert "copies of other images (30, such as " in caplog.text
    assert f"{root / 'blue' / 'copy-of-001.jpg'}, the same as {root / 'blue' / '001.jpg'}" in caplog.text


def test_an_image_of_train_that_is_in_test_too_is_used_in_test_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "tree"
    make_tree(root / "train", 10)
    make_tree(root / "test", 4, first=30)
    shutil.copy(root / "test" / "red" / "031.jpg", root / "train" / "red" / "mine.jpg")
    (root / "train" / "red" / "linked").symlink_to(root / "test" / "red" / "deeper")
    assert each(prepared(root, tmp_path / "out")) == [[9] * 3, [1] * 3, [4] * 3]
    assert "images of train that are in test too (3, such as " in caplog.text


def test_an_image_that_belongs_to_no_one_split_or_class_is_refused(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", 4)
    shutil.copy(root / "blue" / "001.jpg", root / "red" / "x.jpg")
    error = refused(root, tmp_path / "out", r"the same image as .*001\.jpg, which is in another class")
    assert error.where == root / "red" / "x.jpg"
    linked = tmp_path / "linked"
    make_tree(linked / "train", 4)
    make_tree(linked / "test", 4, first=10)
    shutil.rmtree(linked / "test" / "red")
    (linked / "test" / "red").symlink_to(linked / "train" / "red")
    refused(linked, tmp_path / "out", "all images of class `red` in train are in another split too")


@pytest.mark.parametrize(("train", "test"), [("Train", "Test"), ("training", "testing"), ("TRAIN", "test")])
def test_splits_are_not_classes_however_they_are_spelled(train: str, test: str, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    make_tree(root / train, 5)
    make_tree(root / test, 2, first=30)
    make_tree(root / "valid", 3, first=50)
    assert each(prepared(root, tmp_path / "out")) == [[5] * 3, [3] * 3, [2] * 3]
    make_tree(root / "Val", 2, first=70)
    refused(root, tmp_path / "again", "`Val` and `valid` both name the validation split")
    shutil.rmtree(root / train)
    shutil.rmtree(root / "Val")
    refused(root, tmp_path / "again", "but no folder `train`")


def test_a_class_may_have_the_name_of_a_split_and_too_few_images_are_named(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", 3)
    shutil.move(root / "red", root / "test")
    assert count_train_images(complete({"name": "imagefolder", "root": str(root)})) == 3
    (root / "test" / "001.jpg").unlink()
    refused(root, tmp_path / "out", "class `test` has 1 image left to split")


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(6, 10**6), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 40),
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_damaged_exif_does_not_stop(
    suffix: str, changes: list[tuple[int, int]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = Image.new("RGB", (12, 12), (9, 120, 30))
    exif = image.getexif()
    exif.update({0x0112: 6, 0x0110: "a camera", 0x011A: 72.0})
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    content = bytearray(exif.tobytes())
    for place, value in changes:
        content[6 + place % (len(content) - 6)] = value
    path = tmp_path_factory.mktemp("exif") / f"x.{suffix}"
    image.save(path, exif=bytes(content[: len(content) - cut]), quality=95)
    (pixels,) = read_images([path], 12, Tally())
    assert abs(pixels.mean((1, 2)) - (9, 120, 30)).max() < 6


def test_an_image_is_turned_though_another_tag_is_damaged(tmp_path: Path) -> None:
    image = Image.new("RGB", (12, 12))
    image.paste((255, 255, 255), (0, 0, 12, 6))  # white above
    exif = image.getexif()
    exif.update({0x0112: 3, 0x011A: 72.0})
    content = exif.tobytes()
    assert content[6:8] == b"MM"
    broken = content.replace(b"\x01\x1a\x00\x05", b"\x01\x00\x00\x05")  # a width that is a fraction
    assert broken != content
    image.save(tmp_path / "x.png", exif=broken)
    (pixels,) = read_images([tmp_path / "x.png"], 12, Tally())
    assert (pixels[:, :6].max(), pixels[:, 6:].min()) == (0, 255)


def test_damaged_exif_and_further_frames_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_tree(tmp_path / "tree", 3)
    Image.new("RGB", (9, 9), (250, 0, 0)).save(root / "red" / "x.png", exif=b"Exif\0\0nothing of the kind")
    frames = [Image.new("RGB", (9, 9), (200 + i, 0, 0)) for i in range(3)]
    for suffix in ("gif", "tif", "png"):
        frames[0].save(root / "red" / f"frames.{suffix}", save_all=True, append_images=frames[1:])
    prepared(root, tmp_path / "out")
    assert f"damaged EXIF, not turned (1, such as {root / 'red' / 'x.png'})" in caplog.text
    assert "files of several frames or pages, the first is used (3, such as " in caplog.text


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "RGBA", "I;16", "YCbCr"])
def test_every_kind_of_pixels_is_read_as_rgb(mode: str, tmp_path: Path) -> None:
    grey = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))
    if mode == "1":
        grey[:] = np.where(grey < 128, 0, 255)
    path = tmp_path / "X.TIF"
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    elif mode == "P":  # with a transparent colour
        path = tmp_path / "X.GIF"
        Image.fromarray(grey).convert("P").save(path, transparency=3)
    else:
        Image.fromarray(grey).convert("RGB").convert(mode).save(path)
    (pixels,) = read_images([path], 16, Tally())
    assert abs(pixels.astype(int) - grey).max() <= 3
