"""ARM boards that are switched on: an image of `arm_image` with its own sshd, a home and a /tmp in memory."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from tests.boards.arm_image import (
    NAMESPACES,
    USER,
    VENV,
    Recipe,
    enter,
    image,
    prepare,
    python_of,
    quoted,
)
from tests.boards.rigs.namespaces import Holder
from tests.boards.rigs.needs import Unavailable, wait_until
from tests.boards.rigs.processes import MARK
from tests.boards.rigs.sshd import Sshd

FILES = "/run/board"  # where the board sees the folder of the test: keys and configuration of sshd


class ArmBoard(Sshd):
    """A board that is switched on: an image, read-only, with a home and a /tmp in memory, and the ARM sshd.

    Args:
        recipe: of its image.
        folder: for its keys, configuration and log.

    Raises:
        Unavailable: what this machine or the net lacks.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.root = recipe, image(recipe)
        self._door = image(recipe.door) if recipe.door else self.root
        super().__init__(folder)
        self.user = USER
        self._holder: Holder | None = None

    @property
    def python(self) -> str:
        """Version of its interpreter, as 3.11."""
        return python_of(self.root).removeprefix("python")

    def configure(self) -> Path:
        """Write the configuration as the board sees it; the path of it there."""
        lines = {
            "Port": self.port,
            "ListenAddress": self.address,
            "HostKey": f"{FILES}/host_key",
            "AuthorizedKeysFile": f"{FILES}/authorized_keys",
            "AllowUsers": self.user,
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "StrictModes": "no",
            "PidFile": "none",
            "SetEnv": f"QEMU_CPU={self.recipe.kind.cpu}",
        }
        if self._door != self.root:
            lines["ForceCommand"] = 'exec /usr/sbin/chroot /mnt /bin/bash -c "$SSH_ORIGINAL_COMMAND"'
        path = self.folder / "sshd_config"
        path.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        return Path(FILES) / path.name

    def start(self) -> "ArmBoard":
        """Switch it on and wait until its sshd listens."""
        kind, root, door = self.recipe.kind, quoted(self.root), quoted(self._door)
        lines = [prepare(kind, self.root, kind.machine)]
        lines += [f"mount -t tmpfs none {root}/{name}" for name in ("home", "tmp", "run")]
        lines += [
            f"mkdir {root}{FILES} {root}/run/sshd",
            f"mount --bind {quoted(self.folder)} {root}{FILES}",
        ]
        lines += [f"mount -o remount,bind,ro {root}"]
        if self._door != self.root:
            lines += [f"mount --rbind {root} {door}/mnt"]
            lines += [f"mount --rbind {root}/{name} {door}/{name}" for name in ("dev", "proc", "run")]
        sshd = f"{enter(self._door)} /usr/sbin/sshd -D -e -f {self.configure()} </dev/null >&2 &"
        before = self.log.count("Server listening")
        script = "\n".join(lines)
        with mock.patch.dict(os.environ):
            os.environ.pop(MARK, None)  # it may outlive the test that switches it on
            os.environ["QEMU_CPU"] = kind.cpu
            self._holder = Holder(NAMESPACES, script, self.folder / "sshd.log", sshd)
        self._holder.go()
        try:
            wait_until(lambda: self.log.count("Server listening") > before, "the board's sshd listens")
        except AssertionError:
            self.stop()
            raise Unavailable(f"the board's sshd does not start: {self.log.strip()[-600:]}") from None
        return self

    def stop(self) -> None:
        """Switch it off."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def path(self, name: str) -> Path:
        """A path on the board, as it is seen from here."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{self.root}/{name.lstrip('/')}")

    def written(self) -> set[str]:
        """All files in the places where something can be written."""
        return {
            str(path.relative_to(self.path("/")))
            for name in ("home", "tmp")
            for path in self.path(name).rglob("*")
        }

    def interpreters(self) -> list[psutil.Process]:
        """Python processes on the board: agents and workers."""
        assert self._holder is not None
        found = []
        for process in psutil.Process(self._holder.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "/bin/python" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def device(self, **changes: Any) -> dict[str, Any]:
        return super().device(**{"python": f"/{VENV}/bin/python", "lock_path": "/tmp/hakd.lock", **changes})


@contextlib.contextmanager
def arm_board(recipe: Recipe, folder: Path) -> Iterator[ArmBoard]:
    """A board, switched on for the length of a block."""
    board = ArmBoard(recipe, folder)
    try:
        yield board.start()
    finally:
        board.stop()
