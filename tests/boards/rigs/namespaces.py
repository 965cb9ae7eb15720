"""Namespaces that last as long as a process, and that process no longer than the program that started it."""

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.boards.rigs.needs import Unavailable, program


def user_namespace() -> list[str]:
    """Words for unshare that give the rights for all other namespaces; root has them."""
    return [] if os.getuid() == 0 else ["--user", "--map-root-user"]


def own_user() -> list[str]:
    """Words for unshare, in such a namespace, to be oneself again: an sshd that is root there cannot change users."""
    if os.getuid() == 0:
        return []
    return ["--user", f"--map-user={os.getuid()}", f"--map-group={os.getgid()}", "--keep-caps"]


def entrance(pid: int, *namespaces: str) -> list[str]:
    """Words before a command that is to run in namespaces of a process that has those of `user_namespace`."""
    words = [program("nsenter"), "--target", str(pid), *(f"--{name}" for name in namespaces)]
    return words if os.getuid() == 0 else [*words, "--user", "--preserve-credentials"]


class Holder:
    """New namespaces, prepared by a script, kept until `close` or the end of this program closes the script's stdin.

    Args:
        unshare: words for unshare; with `--fork` the script is the first process of its namespace.
        prepare: shell commands; the constructor returns when they are done.
        serve: shell commands that run after `go`.
        enter: words before unshare.
        log: file that takes what all of them say on stderr.

    Attributes:
        pid: of the shell that runs the script.

    Raises:
        Unavailable: no right to make them, or a command of `prepare` fails.
    """

    def __init__(
        self, unshare: Sequence[str], prepare: str, log: Path, serve: str = "", enter: Sequence[str] = ()
    ) -> None:
        # bash rather than sh: as the first process it inherits orphans, and it reaps them while it reads.
        script = f"set -e\n{prepare}\necho ready\nread -r go\n{serve}\nread -r never\n"
        argv = [*enter, program("unshare"), *unshare, program("bash"), "-c", script]
        start = log.stat().st_size if log.exists() else 0
        with open(log, "ab") as stderr:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self.close()
            said = log.read_bytes()[start:].decode(errors="replace").strip()
            raise Unavailable(f"cannot make namespaces: {said[-300:]}")
        self.pid = self._process.pid
        if "--fork" in unshare:
            (child,) = psutil.Process(self.pid).children()
            self.pid = child.pid

    def go(self) -> None:
        """Let the script go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Kill the first process, and with it, where it has a namespace of processes, all that run in there."""
        with contextlib.suppress(psutil.NoSuchProcess, AttributeError):
            psutil.Process(self.pid).kill()
        self._process.kill()
        self._process.communicate()
