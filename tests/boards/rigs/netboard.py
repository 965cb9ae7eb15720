"""Boards of their own on a network of their own: namespaces of network, mounts, processes and host name, tied by veth.

    client --- enter ---> lab: v1 10.77.1.1 --- eth0 10.77.1.2 of board 1, with its sshd at port 22
                               v2 10.77.2.1 --- eth0 10.77.2.2 of board 2

The lab has no way out, and nothing outside can reach it. A program is in the lab when its command line starts with
`Lab.enter`. A board's disk is the machine's, read-only, but for a small home in memory.
"""

import os
import pwd
import secrets
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.boards.rigs.namespaces import Holder, entrance, own_user, user_namespace
from tests.boards.rigs.needs import Unavailable, program, succeed, wait_until
from tests.boards.rigs.sshd import Sshd

MACHINE_ID, BOOT_ID, ZONES = "/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/sys/class/thermal"


class Lab:
    """A network with no way out, and the boards in it.

    Raises:
        Unavailable: no right to make namespaces.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.boards = folder, []  # type: tuple[Path, list[NetBoard]]
        program("ip")
        self._holder = Holder([*user_namespace(), "--net"], "ip link set lo up", folder / "lab.log")
        self.enter = entrance(self._holder.pid, "net")
        self.rights = entrance(self._holder.pid, "net") if os.getuid() else []  # over its boards

    def board(self, **about: Any) -> "NetBoard":
        """One more board, switched on."""
        board = NetBoard(self, len(self.boards) + 1, **about)
        self.boards.append(board)
        board.start()
        return board

    def close(self) -> None:
        """Switch everything off."""
        for board in self.boards:
            board.stop()
        self._holder.close()

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *about: object) -> None:
        self.close()


class NetBoard(Sshd):
    """A board with an address, a machine id and a boot id of its own; made by `Lab.board`.

    Args:
        lab: its network.
        number: 1 to 254.
        home_kb: size of its home, the only place where something can be written.
        bashrc: what the login shell runs first.
        zones: temperatures in degrees C, one thermal zone each; None: those of the machine.
        settings: more lines of sshd's configuration.
        environment: of the sessions.
    """

    def __init__(
        self,
        lab: Lab,
        number: int,
        home_kb: int = 1024,
        bashrc: str = "",
        zones: Sequence[float] | None = None,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if not Path(MACHINE_ID).exists():
            raise Unavailable(f"no {MACHINE_ID} to put another one over")
        folder = lab.folder / f"board{number}"
        self.home = folder / "home"
        super().__init__(
            folder, f"10.77.{number}.2", 22, settings, {"TMPDIR": str(self.home), **(environment or {})}
        )
        self.number, self.lab = number, lab
        self._holder: Holder | None = None
        self._home_kb, self._zones = home_kb, zones
        self.home.mkdir()
        (folder / "bashrc").write_text(bashrc)
        (folder / "machine-id").write_text(secrets.token_hex(16) + "\n")
        for at, degrees in enumerate(zones or ()):
            self.heat(degrees, at)

    def _prepare(self) -> str:
        """What the board's first process does before it is on the network."""
        user = pwd.getpwuid(os.getuid())
        line = f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::{self.home}:{program('bash')}\n"
        (self.folder / "passwd").write_text(line + Path("/etc/passwd").read_text())  # the first line counts
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        binds = {"machine-id": MACHINE_ID, "boot_id": BOOT_ID, "passwd": "/etc/passwd"}
        if self._zones is not None:
            binds["thermal"] = ZONES
        lines = [f"mount --bind '{self.folder / name}' {target}" for name, target in binds.items()]
        return "\n".join(
            [
                f"hostname board{self.number}",
                "ip link set lo up",
                *lines,
                f"mount -t tmpfs -o size={self._home_kb}k,mode=700 none '{self.home}'",
                f"cp '{self.folder}/bashrc' '{self.home}/.bashrc'",
                "mount -o remount,bind,ro /",
            ]
        )

    # --- power

    def start(self) -> "NetBoard":
        """Switch it on and wait until its sshd listens."""
        before = self.log.count("Server listening")
        sshd = " ".join(f"'{word}'" for word in self.command())
        words = [
            *own_user(),
            *["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"],
        ]
        log = self.folder / "sshd.log"
        self._holder = Holder(words, self._prepare(), log, f"{sshd} </dev/null >&2 &", self.lab.enter)
        cable, here = f"v{self.number}", f"10.77.{self.number}.1/30"
        self._lab_ip(
            f"link add {cable} type veth peer name eth0 netns {self._holder.pid}",
            f"addr add {here} dev {cable}",
            f"link set {cable} up",
        )
        self._ip(f"addr add {self.address}/30 dev eth0", "link set eth0 up")
        self._holder.go()
        wait_until(lambda: self.log.count("Server listening") > before, "the board's sshd listens")
        self.listener = next(p for p in psutil.Process(self._holder.pid).children() if p.name() == "sshd")
        return self

    def _end_listener(self) -> None:
        """Every process of the board is gone at once; the kernel ends their connections."""
        if self._holder is not None:
            self._holder.close()
            self._holder = self.listener = None
            # Its network may outlive it for a while, kept by a connection that waits for an answer.
            cut = [program("ip"), "link", "del", f"v{self.number}"]
            subprocess.run([*self.lab.enter, *cut], capture_output=True)

    power_off = _end_listener

    def cut_power(self) -> None:
        """The cable first: a kernel that goes down in order would still say good-bye to those connected."""
        self.plug(False)
        self.power_off()

    # --- network

    def _ip(self, *commands: str) -> None:
        succeed([*self.enter("net"), program("ip"), "-batch", "-"], "\n".join(commands))

    def _lab_ip(self, *commands: str) -> None:
        succeed([*self.lab.enter, program("ip"), "-batch", "-"], "\n".join(commands))

    def enter(self, *namespaces: str) -> list[str]:
        """Words before a command that is to run on the board."""
        assert self._holder is not None
        pid = str(self._holder.pid)
        return [*self.lab.rights, program("nsenter"), "--target", pid, *(f"--{name}" for name in namespaces)]

    def plug(self, plugged_in: bool) -> None:
        """Pull the network cable, or put it in."""
        self._ip(f"link set eth0 {'up' if plugged_in else 'down'}")

    def flap(self, seconds: float) -> None:
        """Pull the cable for a while."""
        self.plug(False)
        time.sleep(seconds)
        self.plug(True)

    def lose(self, percent: int) -> None:
        """Drop so many of the packets that arrive at the board, at random."""
        rule = f"numgen random mod 100 < {percent} drop"
        table = f"table inet loss {{\nchain arrivals {{\ntype filter hook input priority 0;\n{rule}\n}}\n}}\n"
        succeed([*self.enter("net"), program("nft"), "-f", "-"], table)

    def narrow(self, kbit: int) -> None:
        """A slow line in both directions."""
        shape = f"root tbf rate {kbit}kbit burst 8kb latency 500ms".split()
        for where, cable in ((self.enter("net"), "eth0"), (self.lab.enter, f"v{self.number}")):
            succeed([*where, program("tc"), "qdisc", "add", "dev", cable, *shape])

    # --- disk, temperature

    def fill_home(self) -> None:
        """Write until the disk is full."""
        text = f"dd if=/dev/zero of='{self.home}/filler' bs=4k status=none || true; df --output=avail '{self.home}'"
        left = succeed([*self.enter("mount"), program("bash"), "-c", text]).split()[-1]
        assert left == "0", f"{left} KB left"

    def files(self) -> set[str]:
        """Everything in its home, the only place where something can be written."""
        find = [program("find"), str(self.home), "-mindepth", "1"]
        return set(succeed([*self.enter("mount"), *find]).splitlines())

    def heat(self, degrees: float, zone: int = 0) -> None:
        """Set the temperature that a zone tells."""
        path = self.folder / "thermal" / f"thermal_zone{zone}" / "temp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{degrees * 1000:.0f}\n")

    def device(self, **changes: Any) -> dict[str, Any]:
        return super().device(**{"lock_path": str(self.home / "lock"), **changes})
