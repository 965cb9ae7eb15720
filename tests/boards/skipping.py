"""Skipping what this machine lacks a part for."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.boards.rigs import Unavailable


@contextlib.contextmanager
def system_part() -> Iterator[None]:
    """Skip what this machine has no part for and say what installs it; where HAKD_REQUIRE_SYSTEM is set, fail."""
    try:
        yield
    except Unavailable as lack:
        text = f"{lack}. On Debian, as root: make system-deps"
        if os.environ.get("HAKD_REQUIRE_SYSTEM") == "1":
            pytest.fail(text)
        pytest.skip(text)
