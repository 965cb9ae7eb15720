"""Data sets that several test modules read, prepared once."""

from pathlib import Path

import pytest

from hakd.data import prepare

SMALL = {"name": "cluttered-digits", "epoch_images": 300, "validation_images": 200, "test_images": 400}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`digits` as prepared by default."""
    folder = tmp_path_factory.mktemp("digits")
    prepare({"name": "digits"}, folder)
    return folder


@pytest.fixture(scope="session")
def cluttered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small `cluttered-digits`."""
    folder = tmp_path_factory.mktemp("cluttered")
    prepare(SMALL, folder)
    return folder
