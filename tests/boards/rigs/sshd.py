"""A real sshd with a configuration, keys and a port of its own, started and ended by a test."""

import contextlib
import os
import pwd
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from tests.boards.rigs.needs import Unavailable, program, succeed, wait_until
from tests.boards.rigs.processes import BOARD_MARK, MARK, agents_and_workers, marked

_SETTINGS = {
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "UsePAM": "no",
    "StrictModes": "no",  # the keys lie below a folder for temporary files
    "PermitRootLogin": "prohibit-password",
    "PidFile": "none",
    "LogLevel": "VERBOSE",
}
PRIVILEGE_FOLDER = Path("/run/sshd")


@cache
def extra_settings() -> dict[str, str]:
    """Settings that only newer releases know: a board of the tests is logged in to wrongly more than once."""
    known = "PerSourcePenalties=no"
    check = [program("sshd"), "-t", "-f", os.devnull, "-o", known]
    done = subprocess.run(check, capture_output=True, text=True)
    return {} if "Bad configuration option" in done.stderr else dict([known.split("=")])


class Sshd:
    """A board on a loopback address, or the sshd of a board in namespaces.

    Args:
        folder: for its files, made if missing.
        address: where it listens.
        port: None: a free one.
        settings: more lines of its configuration.
        environment: of the sessions, beside the marks.

    Attributes:
        name: mark of everything that runs in its sessions.
    """

    def __init__(
        self,
        folder: Path,
        address: str = "127.0.0.1",
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.address = folder, address
        self.name = secrets.token_hex(8)
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.port = _free_port(address) if port is None else port
        self.settings, self.environment = dict(settings or {}), dict(environment or {})
        self.listener: psutil.Process | None = None
        self._child: subprocess.Popen | None = None
        program("sshd"), program("ssh"), program("ssh-keygen")
        folder.mkdir(parents=True, exist_ok=True)
        self._new_key("user_key")
        self._new_key("host_key")
        self.authorized_keys.write_text((folder / "user_key.pub").read_text())
        self.trust()

    # --- files

    @property
    def identity_file(self) -> Path:
        return self.folder / "user_key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def authorized_keys(self) -> Path:
        return self.folder / "authorized_keys"

    @property
    def log(self) -> str:
        """What sshd wrote so far."""
        path = self.folder / "sshd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _new_key(self, name: str) -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)
        succeed([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)])

    def trust(self) -> None:
        """Write the host key into the known hosts of the client."""
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        place = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        self.known_hosts.write_text(f"{place} {kind} {key}\n")

    def change_host_key(self) -> None:
        """Another host key from the next connection on, as after a new installation."""
        self._new_key("host_key")
        if self._child is not None:
            self.restart()

    def configure(self) -> Path:
        """Write the configuration; the path of it."""
        marks = {BOARD_MARK: self.name, **self.environment}
        if MARK in os.environ:
            marks[MARK] = os.environ[MARK]
        settings = {
            "Port": self.port,
            "ListenAddress": self.address,
            "HostKey": self.folder / "host_key",
            "AuthorizedKeysFile": self.authorized_keys,
            "AllowUsers": self.user,
            **_SETTINGS,
            **extra_settings(),
            **self.settings,
            "SetEnv": " ".join(f'"{name}={value}"' for name, value in marks.items()),
        }
        path = self.folder / "sshd_config"
        path.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        return path

    def wrapper(self, text: str, interpreter: str = "/bin/sh", name: str = "python") -> str:
        """A program on the board to be given as its `python`; its path."""
        path = self.folder / name
        path.write_text(f"#!{interpreter}\n{text}\n")
        path.chmod(0o755)
        return str(path)

    # --- running

    def command(self) -> list[str]:
        """Command line of the listener; it has to be started by its absolute path."""
        if os.getuid() == 0:
            PRIVILEGE_FOLDER.mkdir(mode=0o755, exist_ok=True)  # made by installing, gone with a reboot
        return [program("sshd"), "-D", "-e", "-f", str(self.configure())]

    def start(self) -> "Sshd":
        """Start the listener and wait until it listens. It dies with this process.

        Raises:
            Unavailable: it does not run on this machine.
        """
        before = self.log.count("Server listening")
        argv = [program("setpriv"), "--pdeathsig", "KILL", *self.command()]
        with open(self.folder / "sshd.log", "ab") as log:
            child = self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

        def over() -> bool:
            return self.log.count("Server listening") > before or child.poll() is not None

        wait_until(over, "sshd listens")
        if child.poll() is not None:
            raise Unavailable(f"sshd does not start: {self.log.strip()[-300:]}")
        self.listener = psutil.Process(child.pid)
        return self

    def stop(self) -> None:
        """End the listener and all sessions."""
        self._end_listener()
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _end_listener(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = self.listener = None

    def restart(self) -> None:
        """A new listener; the sessions go on."""
        self._end_listener()
        self.start()

    def __enter__(self) -> "Sshd":
        return self.start()

    def __exit__(self, *about: object) -> None:
        self.stop()

    # --- looking at it

    def sessions(self) -> list[psutil.Process]:
        """sshd's own processes of all connections, of earlier listeners too: known by the log they write to."""
        found, log = [], str(self.folder / "sshd.log")
        for process in psutil.process_iter(["name", "pid"]):
            if not process.info["name"].startswith("sshd") or process == self.listener:
                continue
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{process.pid}/fd/2") == log:
                    found.append(process)
        return found

    def processes(self) -> list[psutil.Process]:
        """All that runs on the board: sessions of sshd, agents, workers."""
        return [*self.sessions(), *marked(self.name, BOARD_MARK)]

    def logins(self) -> list[psutil.Process]:
        """ssh clients on this side that log in to it, known by their key; their proxies too."""
        found, key = [], str(self.identity_file)
        for process in psutil.process_iter(["name", "cmdline"]):
            if process.info["name"] == "ssh" and any(key in word for word in process.info["cmdline"] or ()):
                found.append(process)
        return found

    def agents(self) -> list[psutil.Process]:
        """Agents that run on it."""
        return agents_and_workers(self.name)[0]

    def workers(self) -> list[psutil.Process]:
        """Workers of its agents."""
        return agents_and_workers(self.name)[1]

    def device(self, **changes: Any) -> dict[str, Any]:
        """What a device file says about this board."""
        return {
            "transport": "ssh",
            "host": self.address,
            "port": self.port,
            "user": self.user,
            "identity_file": str(self.identity_file),
            "known_hosts": str(self.known_hosts),
            "python": sys.executable,
            "lock_path": str(self.folder / "lock"),
            **changes,
        }


def _free_port(address: str) -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]
