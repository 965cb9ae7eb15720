"""Real models, a real agent in a real subprocess, a lock and a store of the test's own."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hakd.boards import Device
from tests.boards.rigs import Lab, Sshd
from tests.boards.rigs.processes import MARK, marked
from tests.boards.skipping import system_part


@pytest.fixture
def local(tmp_path: Path) -> Callable[..., Device]:
    """A device `local` with a lock of the test's own."""
    settings = {"lock_path": str(tmp_path / "lock")}
    return lambda **changes: Device.from_config("local", {**settings, **changes})


@pytest.fixture
def sshd(tmp_path: Path, nothing_left: None) -> Iterator[Sshd]:
    """A board on the loopback address, with an sshd of the test's own."""
    with system_part(), Sshd(tmp_path / "board") as board:
        yield board


@pytest.fixture
def gate(tmp_path: Path, nothing_left: None) -> Iterator[Sshd]:
    """A second board on the loopback address, or the one to jump through."""
    with system_part(), Sshd(tmp_path / "gate") as board:
        yield board


@pytest.fixture
def lab(tmp_path: Path, nothing_left: None) -> Iterator[Lab]:
    """A network of the test's own, for boards in namespaces."""
    with system_part(), Lab(tmp_path / "lab") as lab:
        yield lab


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch):
    """No test leaves a process behind."""
    mark = secrets.token_hex(8)
    monkeypatch.setenv(MARK, mark)
    yield
    _, alive = psutil.wait_procs(marked(mark), timeout=5)
    assert not alive
