"""Data sets that several test modules read, prepared once."""

from pathlib import Path

import pytest

from hakd.data import prepare
from tests.unit.studies import CLUTTERED


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
    prepare(CLUTTERED, folder)
    return folder
