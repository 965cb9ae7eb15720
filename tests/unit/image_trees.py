"""Folders of images, written by the tests that read them."""

from pathlib import Path

import pytest
from PIL import Image

from hakd.data import prepare
from hakd.records.errors import HakdError

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}


def make_tree(root: Path, count: int, first: int = 0) -> Path:
    """`count` images for each of three colours, of odd sizes and formats, some a folder deeper."""
    for name, colour in COLOURS.items():
        for i in range(first, first + count):
            folder = root / name / ("deeper" if i % 3 == 0 else "")
            folder.mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (20 + i, 33 - i % 5), colour)
            image.save(folder / f"{i:03}.{('png', 'jpg', 'bmp')[i % 3]}")
    return root


def refused(root: Path, out: Path, part: str) -> HakdError:
    """The error of preparing `root`; nothing may have been written."""
    with pytest.raises(HakdError, match=part) as caught:
        prepare({"name": "imagefolder", "root": str(root), "size": 8}, out)
    assert not out.exists()
    assert caught.value.remedy
    return caught.value
