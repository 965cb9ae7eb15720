"""A folder of images has changed where its images have, and not where only their times or their place have."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from hakd.data.changes import NOTE, content_settings, images_state, note_images, places
from hakd.records.errors import HakdError
from tests.unit.image_trees import make_tree


class Prepared:
    """A folder of images whose state was noted when the data were made."""

    def __init__(self, folder: Path) -> None:
        self.root, self.data = make_tree(folder / "photos", 4), folder / "data"
        self.before = self.state()
        note_images(self.settings(), self.before, self.data)
        assert self.state() == self.before

    def settings(self) -> dict:
        return {"name": "imagefolder", "root": str(self.root)}

    def state(self) -> str | None:
        return images_state(self.settings(), self.data)

    def has_changed(self) -> bool:
        return self.state() != self.before


@pytest.fixture
def prepared(tmp_path) -> Prepared:
    return Prepared(tmp_path)


def test_neither_other_times_nor_another_place_are_a_change(prepared):
    for path in prepared.root.rglob("*.*"):
        os.utime(path)
    assert not prepared.has_changed()
    copy = prepared.root.with_name("copied")
    shutil.copytree(prepared.root, copy, copy_function=shutil.copyfile)
    shutil.rmtree(prepared.root)
    assert not prepared.has_changed()  # it is away
    prepared.root = copy
    assert not prepared.has_changed()


def test_files_that_are_not_read_are_not_a_change(prepared):
    (prepared.root / "red" / "notes.txt").write_text("words")
    (prepared.root / ".cache").mkdir()
    shutil.copy(prepared.root / "red" / "001.jpg", prepared.root / ".cache" / "001.jpg")
    (prepared.root / "red" / "loop").symlink_to(prepared.root)
    assert not prepared.has_changed()


def test_an_image_more_less_elsewhere_or_edited_is_a_change(prepared):
    red, blue = prepared.root / "red", prepared.root / "blue"
    image = (red / "001.jpg").read_bytes()
    (red / "001.jpg").rename(blue / "009.jpg")
    assert prepared.has_changed()
    (blue / "009.jpg").rename(red / "001.jpg")
    assert not prepared.has_changed()
    (red / "001.jpg").unlink()
    assert prepared.has_changed()
    (red / "001.jpg").write_bytes(image)
    assert not prepared.has_changed()
    shutil.copy(red / "001.jpg", red / "009.jpg")
    assert prepared.has_changed()
    (red / "009.jpg").unlink()
    size = (red / "002.bmp").stat().st_size
    with Image.open(red / "002.bmp") as before:
        Image.new("RGB", before.size, (1, 2, 3)).save(red / "002.bmp")
    assert (red / "002.bmp").stat().st_size == size and prepared.has_changed()


def test_without_its_note_a_folder_is_compared_by_times_too(prepared):
    note = prepared.data / NOTE
    note.write_text(note.read_text()[:40])
    assert not prepared.has_changed()
    os.utime(prepared.root / "red" / "001.jpg")
    assert prepared.has_changed()


def test_an_image_that_cannot_be_read_is_left_to_the_job(prepared):
    (prepared.root / "red" / "010.jpg").symlink_to("nowhere.jpg")
    assert prepared.has_changed()
    note_images(prepared.settings(), "other", prepared.data)


def test_other_sets_have_no_images_of_the_user(tmp_path):
    assert images_state({"name": "cifar10", "root": str(tmp_path)}, tmp_path) is None
    note_images({"name": "cifar10"}, None, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_content_is_what_remains_without_places_and_with_defaults():
    given = {"name": "cifar10", "root": "here", "download": False}
    assert content_settings(given) == content_settings({"name": "cifar10", "seed": 0, "validation": 0.1})
    assert content_settings(given) != content_settings({"name": "cifar10", "seed": 1})
    assert places(given) == {"root": "here", "download": False} and places({"name": "digits"}) == {}
    with pytest.raises(HakdError, match="needs this setting"):
        content_settings({"name": "imagefolder"})
