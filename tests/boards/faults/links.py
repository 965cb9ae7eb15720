"""Links that fail, boards that lose their power, disks that run full."""

import contextlib
import re
import threading
from pathlib import Path

from tests.boards.cases import Case
from tests.boards.faults.registry import NETWORK, START_S, fault
from tests.boards.rigs import TinyDisk


@fault(
    "link down for 7 s",
    "done",
    board=NETWORK,
)
def link_down_7s(case: Case) -> None:
    """It may be back before ssh gives it up: then nobody notices."""
    case.sweeping()
    case.strike(lambda: case.board.flap(7.0))
    case.ended()


@fault("link down for 12 s", "done", within_s=10, board=NETWORK)
def link_down_12s(case: Case) -> None:
    """Longer than ssh waits, and than the first try to connect again."""
    case.sweeping()
    back = threading.Thread(target=lambda: case.board.flap(12.0))
    case.strike(back.start)
    case.goes_on("not responding")
    back.join()
    if "(try 2 of 3)" not in case.clients[-1].log:
        case.notes.append("the first try came through")


@fault("link flaps: down for 2 s", "done", board=NETWORK)
def link_flaps(case: Case) -> None:
    case.set_protocol(rounds=40)
    case.sweeping()
    case.strike(lambda: case.board.flap(2.0))
    case.ended()


@fault(
    "cable pulled, `reconnects: 2`",
    "error",
    says="the link was lost .*not responding.*2 tries to connect again failed, the last: no answer",
    within_s=30,
    board=NETWORK,
)
def cable_pulled(case: Case) -> None:
    case.device["reconnects"] = 2
    case.sweeping()
    case.strike(lambda: case.board.plug(False))
    case.ended()
    # By the lease. sshd's own process stays until its TCP gives up: it cannot know either.
    case.released()
    last = case.start().result()
    if last["event"] != "error" or not re.search("host: no answer", last["message"]):
        case.notes.append(f"the cable is out, and the client says {last}")
    case.board.plug(True)


@fault("every tenth packet lost", "done", board=NETWORK)
def packets_lost(case: Case) -> None:
    case.strike(lambda: case.board.lose(10))
    case.start()
    case.ended()


@fault("power cut in a sweep for 10 s", "done", within_s=10, board=NETWORK)
def power_cut(case: Case) -> None:
    case.sweeping()
    case.strike(case.board.cut_power)
    back = threading.Timer(10.0, case.board.start)
    back.start()
    case.goes_on("not responding")
    back.join()
    if len({session["context"]["boot_id"] for session in case.sessions()}) != 2:
        case.notes.append("the reboot is not on record")


@fault("board rebooted between two sweeps", "error", says="host: no answer", within_s=START_S, board=NETWORK)
def rebooted(case: Case) -> None:
    first, before = case.start(case.widths[:2]), case.board
    assert case.ended()["event"] == "done", case.last
    booted = first.events[0]["context"]["boot_id"]
    case.strike(before.power_off)
    case.start()
    case.ended()
    before.start()
    again = case.start()
    assert again.result()["event"] == "done", again.events
    if again.events[0]["context"]["boot_id"] == booted:
        case.notes.append("the reboot is not on record")


@fault("the board's disk full", "done", board=NETWORK)
def board_disk_full(case: Case) -> None:
    """Read-only but for a home in memory, which runs full; nothing but the lock file is ever written there."""
    case.sweeping()
    before = case.board.files()
    case.strike(case.board.fill_home)
    case.ended()
    case.start(case.widths)
    assert case.ended()["event"] == "done"
    surplus = case.board.files() - before - {str(case.board.home / "filler")}
    if surplus or before != {str(case.board.home / name) for name in (".bashrc", "lock")}:
        case.notes.append(f"written on the board: {before | surplus}")


@fault(
    "the client's disk full", "error", says=r"\.jsonl: cannot write \(No space left on device\)\. Make room"
)
def client_disk_full(case: Case) -> None:
    disk = TinyDisk(case.folder / "tiny", 256)
    case.closing(disk.close)
    case.store, case.seen, case.enter = disk.folder, disk.path, tuple(disk.enter)
    case.sweeping()
    case.strike(lambda: _fill(disk.path))
    case.ended()
    (disk.path / "filler").unlink()


def _fill(folder: Path) -> None:
    with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1024))
