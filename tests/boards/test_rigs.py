"""The rigs themselves: what they lack is said, what they start is theirs alone and ends with them."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.boards.rigs import Unavailable
from tests.boards.rigs.namespaces import Holder, user_namespace
from tests.boards.rigs.needs import library, program, succeed
from tests.boards.rigs.processes import MARK, marked
from tests.boards.rigs.tiny_disk import TinyDisk
from tests.boards.skipping import system_part

pytestmark = pytest.mark.beside

OWNER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.boards.rigs import Lab, Sshd, TinyDisk
folder = Path({folder!r})
sshd, disk = Sshd(folder / "board").start(), TinyDisk(folder / "disk", 64)
lab = Lab(folder / "lab")
board = lab.board()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("required", ["", "1"])
def test_a_part_that_is_not_there_is_named(required, monkeypatch):
    """Skipped with the reason and the remedy; where the parts are required, a failure."""
    monkeypatch.setenv("HAKD_REQUIRE_SYSTEM", required)
    outcome = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(outcome, match=r"no such-a-program on this machine.*make system-deps"), system_part():
        program("such-a-program")
    with pytest.raises(Unavailable, match=r"no libsuchathing.so"):
        library("libsuchathing.so")


def test_a_right_that_is_not_there_is_named(tmp_path):
    """A real refusal of the kernel, in a user namespace that may make no further one."""
    with system_part():
        unshare = program("unshare")
    nobody = [unshare, "--user", "--", program("setpriv"), "--no-new-privs", "--bounding-set", "-all", "--"]
    with pytest.raises(Unavailable, match=r"cannot make namespaces: .*(not permitted|denied)"):
        Holder(["--net"], "true", tmp_path / "log", enter=nobody)
    with pytest.raises(Unavailable, match=r"cannot make namespaces: .*no-such-command"):
        Holder([*user_namespace(), "--net"], "no-such-command", tmp_path / "log2")


def test_the_lab_has_no_way_out_and_nobody_sees_it(lab):
    with system_part():
        boards = [lab.board(), lab.board()]
    routes = succeed([*lab.enter, program("ip"), "route"]).split("\n")
    assert sorted(filter(None, routes)) == [
        "10.77.1.0/30 dev v1 proto kernel scope link src 10.77.1.1 ",
        "10.77.2.0/30 dev v2 proto kernel scope link src 10.77.2.1 ",
    ]
    assert not any(name.startswith("v1") for name in psutil.net_if_addrs())
    assert "10.77." not in succeed([program("ip"), "route"])
    look = ["/bin/sh", "-c", "hostname; cat /proc/[0-9]*/comm"]
    inner = succeed([*boards[0].enter("net", "pid", "mount", "uts"), *look])
    assert inner.startswith("board1\n") and inner.count("sshd") == 1
    touch = [*boards[0].enter("mount"), "/usr/bin/touch", str(boards[0].folder / "x")]
    assert "Read-only" in subprocess.run(touch, capture_output=True, text=True).stderr


def test_a_tiny_disk_is_small_and_seen_by_those_inside_only(tmp_path):
    with system_part():
        disk = TinyDisk(tmp_path / "disk", 64)
    try:
        with pytest.raises(OSError, match="No space"):
            (disk.path / "file").write_bytes(bytes(100_000))
        assert not list((tmp_path / "disk").iterdir())
        disk.resize(256)
        (disk.path / "file").write_bytes(bytes(100_000))
        assert succeed([*disk.enter, "/bin/cat", str(tmp_path / "disk" / "file")]) == "\0" * 100_000
    finally:
        disk.close()
    assert not disk.path.exists()


def test_rigs_end_with_a_killed_owner(root: Path, tmp_path: Path, monkeypatch):
    """A test run that is killed leaves no sshd, no board, no namespace."""
    with system_part():
        program("sshd"), program("ip")
    monkeypatch.setenv(MARK, mark := "owner" + str(time.monotonic_ns()))
    code = OWNER.format(root=str(root), folder=str(tmp_path))
    pipe = subprocess.PIPE
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True)
    with owner:
        if owner.stdout.readline() != "ready\n":
            with system_part():
                raise Unavailable(owner.stderr.read().strip().splitlines()[-1])
        started = psutil.Process(owner.pid).children(recursive=True)
        assert sum(process.name() == "sshd" for process in started) == 2
        owner.kill()
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive and not marked(mark)
