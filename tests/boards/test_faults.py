"""What goes wrong on boards: crashes, hangs, wrong outputs, lost agents, noise and lies."""

import os
import signal
import sys
import threading
import time
import venv
from pathlib import Path

import pytest

from hakd.boards import Protocol, agent, open_board
from hakd.boards import local as local_transport
from hakd.boards.journal import read
from hakd.records.errors import HakdError
from tests.boards.points import QUICK, endless, pointwise
from tests.boards.rigs.needs import wait_for_bursts
from tests.boards.rigs.processes import workers_of

HASTY = Protocol(**{**vars(QUICK), "processes": 1, "point_timeout_s": 1.0})


def failures(store: Path) -> list[dict]:
    found = [record for path in store.glob("*/*.jsonl") for record in read(path)]
    return [record for record in found if record["type"] == "failure"]


def test_a_hang_is_recorded_and_quarantined_while_the_others_finish(local, tmp_path):
    points = [pointwise(8), endless(), pointwise(16)]
    with open_board(local(), tmp_path / "store") as board:
        found = board.measure(points, HASTY, progress=False)
        assert list(board.failures) == [points[1].key]
        assert "timeout" in board.failures[points[1].key]
        assert board.measure(points, HASTY, progress=False).keys() == found.keys()  # not tried a third time
    assert found.keys() == {points[0].key, points[2].key}
    assert all(len(bursts) == 3 for bursts in found.values())
    assert [record["key"] for record in failures(tmp_path / "store")] == [points[1].key] * 2


def test_a_segfault_is_recorded_and_quarantined_while_the_others_finish(local, tmp_path):
    """The signal is a real SIGSEGV, sent while the marked point runs; the agent has to find out which it was."""
    points = [pointwise(8), endless(), pointwise(16)]
    done = threading.Event()

    def crash(agent_pid: int) -> None:
        while not done.wait(0.1):
            for worker in workers_of(agent_pid):
                if time.time() - worker.create_time() > 2.0:
                    worker.send_signal(signal.SIGSEGV)

    with open_board(local(), tmp_path / "store") as board:
        thread = threading.Thread(target=crash, args=(board._link.process.pid,))
        thread.start()
        try:
            patient = Protocol(**{**vars(HASTY), "point_timeout_s": 30.0})
            found = board.measure(points, patient, progress=False)
        finally:
            done.set()
            thread.join()
        assert "SIGSEGV" in board.failures[points[1].key]
    assert found.keys() == {points[0].key, points[2].key}


def test_wrong_outputs_and_broken_models_are_refused(local, tmp_path):
    good, wrong, off = pointwise(8), pointwise(9, wrong_by=0.5), pointwise(10, wrong_by=2e-6)
    broken = pointwise(11)
    object.__setattr__(broken, "model", lambda: b"no model at all")
    shapeless = pointwise(12)
    object.__setattr__(shapeless, "reference", lambda x: x)
    with open_board(local(), tmp_path / "store") as board:
        found = board.measure([good, wrong, off, broken, shapeless], QUICK, progress=False)
        assert board.failures.keys() == {wrong.key, broken.key, shapeless.key}
        assert "differs from the reference by up to 0.5" in board.failures[wrong.key]
        assert "shape" in board.failures[shapeless.key]
        assert board.memory([broken, good], progress=False).keys() == {good.key}
    assert found.keys() == {good.key, off.key}
    assert all(len(bursts) == 6 for bursts in found.values())


def test_a_failing_reference_point_is_given_up_not_the_sweep(local, tmp_path):
    point, tie = pointwise(8), pointwise(9, wrong_by=1)
    with open_board(local(), tmp_path / "store") as board:
        found = board.measure([point], QUICK, reference_point=tie, progress=False)
        assert list(board.failures) == [tie.key]
    assert len(found[point.key]) == 6 and found[tie.key] == []


@pytest.mark.parametrize("victim", ["agent", "stopped agent"])
def test_a_lost_agent_is_one_error_and_nothing_is_lost(local, tmp_path, victim, monkeypatch):
    monkeypatch.setattr("hakd.boards.link.SILENCE_S", 3.0)
    store, point = tmp_path / "store", pointwise(8)
    slow = Protocol(processes=1, rounds=100, burst_ms=10, max_calls=10_000)
    number = signal.SIGKILL if victim == "agent" else signal.SIGSTOP

    def strike(pid: int) -> None:
        wait_for_bursts(store, 10)
        os.kill(pid, number)

    with open_board(local(), store) as board:
        thread = threading.Thread(target=strike, args=(board._link.process.pid,))
        thread.start()
        with pytest.raises(HakdError, match=r"agent went away.*Run the same command again"):
            board.measure([point], slow, progress=False)
        thread.join()
    with open_board(local(), store) as board:
        bursts = board.measure([point], slow, progress=False)[point.key]
    assert [burst.round for burst in bursts] == list(range(100))
    assert len({burst.process for burst in bursts}) == 2


def test_an_agent_leaves_when_nothing_is_heard_from_its_client(local, tmp_path, monkeypatch):
    monkeypatch.setattr("hakd.boards.connecting.LEASE_S", 1.5)
    with open_board(local(reconnects=0), tmp_path / "store") as board:
        board._link._closed.set()  # the heart stops; stdin stays open
        with pytest.raises(HakdError, match=r"heard nothing from this program for 1.5 s"):
            board.measure([endless()], QUICK, progress=False)


def tampered(script: str):
    """A transport whose agent is the real one after `script`, which may change its `source`."""
    boot = (
        "import sys,os\nb=sys.stdin.buffer\nn=int(b.readline())\nsource=b.read(n).decode()\n"
        + script
        + "\nexec(compile(source,'agent','exec'))"
    )
    return lambda device: [sys.executable, "-u", "-c", boot]


def test_noise_on_the_agents_output_is_ignored_and_counted(local, tmp_path):
    """A banner, lines that look like ours, a line without an end, a repeated line: none of them counts."""
    script = r"""
os.write(1, b'Welcome to board\n@0123 00000000 {"t":"hello"}\n\xff\xfe\x00 no newline at the end')
source = source.replace("write_all(self.fd, tagged(self.tag, body))",
    "write_all(self.fd, tagged(self.tag, body) * 2 + b'@' + self.tag.encode() + b' 00000000 {}\\nunfinished')")
"""
    point = pointwise(8)
    with open_board(local(), tmp_path / "store", tampered(script)) as board:
        found = board.measure([point], QUICK, progress=False)
        assert board.noise > 10
    assert len(found[point.key]) == 6 and not board.failures


LIES = {
    "NaN": ('message["median_ns"] = float("nan")', None),  # strict JSON: noise, so the burst never arrives
    "negative": ('message["median_ns"] = -5', "median_ns is -5"),
    "infinite": ('message["cpu_ratio"] = 1e300', "cpu_ratio"),
    "text": ('message["switches"] = "0"', "switches"),
    "minimum": ('message["min_ns"] = message["median_ns"] + 1', "minimum"),
    "other point": ('message["key"] = "/etc/passwd"', "not requested"),
    "other round": ('message["round"] = 77', "not requested"),
    "calls": ('message["calls"] = 10**6', "number of calls"),
    "surplus": ('message["extra"] = 1', "wrong fields"),
    "kind": ('message["t"] = "hello\\x1b[2J"', "unexpected"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_agent_is_refused(local, tmp_path, lie):
    change, complaint = LIES[lie]
    script = f"""
source = source.replace("allow_nan=False", "allow_nan=True")
source = source.replace('        def relay(message):\\n', '''        def relay(message):
            if message["t"] == "burst":
                {change}
''')
"""
    point, transport = pointwise(8), tampered(script)
    complaint = complaint or "workers fail: a worker ended without a result"
    with (
        pytest.raises(HakdError, match=complaint) as caught,
        open_board(local(), tmp_path / "store", transport) as board,
    ):
        board.measure([point], QUICK, progress=False)
    assert "\x1b" not in str(caught.value)
    written = [record for path in (tmp_path / "store").glob("*/*.jsonl") for record in read(path)]
    assert not [record for record in written if record["type"] == "burst"]


def test_a_flood_is_cut_off(local, tmp_path, monkeypatch):
    monkeypatch.setattr("hakd.boards.link.NOISE_LIMIT", 1 << 18)
    flood = tampered("while True: os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)")
    with (
        pytest.raises(HakdError, match="too much output") as caught,
        open_board(local(), tmp_path / "store", flood),
    ):
        pass
    assert len(str(caught.value)) < 1000


SERVE = "    def serve(self):\n"


@pytest.mark.parametrize(
    ("says", "complaint"),
    [
        ("'beat'", "only heartbeats for 5 s"),
        ("'waiting', holder=None, waited_s=0.0", "the board is in use"),
    ],
)
def test_a_board_that_talks_for_ever_and_never_starts_is_given_up(
    local, tmp_path, monkeypatch, says, complaint
):
    """Each line is fine; the clock that counts is the client's, not what the board says of its own."""
    monkeypatch.setattr("hakd.boards.connecting.HELLO_S", 5.0)
    loop = f"{SERVE}        while True: self.voice.say({says}); time.sleep(0.1)\n"
    transport = tampered(f"source = source.replace({SERVE!r}, {loop!r})")
    with (
        pytest.raises(HakdError, match=complaint),
        open_board(local(lock_wait_s=2), tmp_path / "store", transport),
    ):
        pass


def test_a_board_that_does_not_take_its_leave_is_left(local, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("hakd.boards.session.BYE_S", 2.0)
    transport = tampered(
        "source = source.replace('BEAT_S = 2.0', 'BEAT_S = 0.1').replace('== \"bye\"', '== \"never\"')"
    )
    with open_board(local(), tmp_path / "store", transport) as board:
        found = board.measure([pointwise(8)], QUICK, progress=False)
    assert [len(bursts) for bursts in found.values()] == [6]
    assert "no goodbye message within 2 s" in caplog.text


def test_a_missing_interpreter_is_one_error(local, tmp_path):
    device = local(python=str(tmp_path / "python3"))
    with pytest.raises(HakdError, match=r"python: cannot start .*No such file"), open_board(device, tmp_path):
        pass


def test_an_interpreter_that_is_none_is_one_error(local, tmp_path):
    with (
        pytest.raises(HakdError, match="the agent went away"),
        open_board(local(python="/bin/true"), tmp_path),
    ):
        pass


def test_a_missing_engine_is_one_error(local, tmp_path):
    """A real interpreter that finds numpy and the engine nowhere."""
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    with (
        pytest.raises(HakdError, match=r"device local: engine: .*does not run there.*Install onnxruntime"),
        open_board(local(python=str(python)), tmp_path),
    ):
        pass


def test_the_remote_command_is_a_constant(local):
    boot = 'import sys;b=sys.stdin.buffer;n=int(b.readline());exec(compile(b.read(n),"agent","exec"))'
    assert boot == agent.BOOT
    assert local_transport.command(local()) == [sys.executable, "-u", "-c", boot]


def test_a_hanging_worker_dies_with_its_agent(local, tmp_path):
    """Nothing is left to write to a broken pipe here: only the parent-death signal ends this worker."""

    def strike(pid: int) -> None:
        while not any(time.time() - worker.create_time() > 2.0 for worker in workers_of(pid)):
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)

    with open_board(local(), tmp_path / "store") as board:
        thread = threading.Thread(target=strike, args=(board._link.process.pid,))
        thread.start()
        with pytest.raises(HakdError, match="went away"):
            board.measure([endless()], QUICK, progress=False)
        thread.join()
