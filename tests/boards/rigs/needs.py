"""What a rig needs from the machine, and what to say where it is not there."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

# Where Debian keeps what only root was meant to run; a user's PATH has neither.
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class Unavailable(Exception):
    """This machine lacks something that a rig needs; the text says what."""


def program(name: str) -> str:
    """Absolute path of a program.

    Raises:
        Unavailable: it is not installed.
    """
    found = shutil.which(name, path=PLACES)
    if found is None:
        raise Unavailable(f"no {name} on this machine")
    return found


def library(name: str) -> str:
    """Absolute path of a shared library below /usr/lib.

    Raises:
        Unavailable: it is not installed.
    """
    for path in sorted(Path("/usr/lib").glob(f"*/*/{name}")):
        return str(path)
    raise Unavailable(f"no {name} on this machine")


def succeed(argv: list[str], text: str | None = None) -> str:
    """Run a command of a rig; its output.

    Raises:
        Unavailable: it fails: mostly a right or a kernel part that is not there.
    """
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise Unavailable(f"{' '.join(argv)} fails: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def wait_until(
    condition: Callable[[], object], what: str, timeout_s: float = 20.0, step_s: float = 0.01
) -> float:
    """Seconds until the condition held.

    Raises:
        AssertionError: it did not in time.
    """
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(step_s)
    return time.monotonic() - start


def wait_for_bursts(store: Path, count: int) -> None:
    """Return once the journals of a store hold this number of bursts."""

    def bursts() -> int:
        return sum(path.read_bytes().count(b'"type":"burst"') for path in store.glob("*/*.jsonl"))

    wait_until(lambda: bursts() >= count, f"{count} bursts in {store}", timeout_s=30, step_s=0.02)
