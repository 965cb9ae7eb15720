"""Timing and weighing real models with the real agent: results, store, resume, exclusive use."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from hakd.boards import Burst, Device, Protocol, open_board, packing
from hakd.boards.journal import read
from hakd.records.errors import HakdError
from tests.boards.points import QUICK, endless, pointwise
from tests.boards.rigs.needs import wait_for_bursts


def records(store: Path) -> list[dict]:
    return [record for path in sorted(store.glob("*/*.jsonl")) for record in read(path)]


def places(store: Path) -> Counter:
    """How often each (key, slot, round) was measured, visits to a reference point apart."""
    bursts = [r for r in records(store) if r["type"] == "burst" and not r["reference"]]
    return Counter((r["key"], r["slot"], r["round"]) for r in bursts)


def median_us(bursts: list[Burst]) -> float:
    return float(np.median([burst.median_ns for burst in bursts])) / 1e3


def test_a_sweep_is_plausible_ordered_checked_and_kept(local, tmp_path):
    points = [pointwise(width, inputs=32, size=16) for width in (8, 64, 256)]
    tie = pointwise(16)
    with open_board(local(), tmp_path / "store") as board:
        found = board.measure(points, QUICK, reference_point=tie, progress=False)
        assert not board.failures
        assert board.context["affinity"] and board.context["cpu_model"] and len(board.fingerprint) == 16
    times = [median_us(found[point.key]) for point in points]
    assert 1 < times[0] < times[1] < times[2] < 20_000
    for point in points:
        bursts = found[point.key]
        assert sorted(b.round for b in bursts) == [0, 0, 1, 1, 2, 2]
        assert len({b.process for b in bursts}) == 2
        assert all(0 < b.min_ns <= b.median_ns and 5 <= b.calls <= 60 and b.cpu_ratio > 0 for b in bursts)
    assert len(found[tie.key]) == 2 * 3  # every round of every process
    assert {b.process for b in found[tie.key]} == {b.process for b in found[points[0].key]}
    orders = {
        tuple(b.position for b in sorted((b for k in found for b in found[k] if b.process == p), key=at))
        for p in {b.process for b in found[tie.key]}
    }
    assert len(orders) > 1  # fresh random orders
    journal = records(tmp_path / "store")
    checks = [r for r in journal if r["type"] == "check" and r["max_abs_error"] is not None]
    assert {r["key"] for r in checks} == {p.key for p in [*points, tie]}
    assert all(r["max_abs_error"] < 1e-4 for r in checks)
    assert journal[0]["type"] == "session" and journal[-1]["type"] == "end" and journal[-1]["context"]["load"]

    before = len(journal)
    with open_board(local(), tmp_path / "store") as board:
        again = board.measure(points, QUICK, reference_point=tie, progress=False)
    assert again == found
    assert len(records(tmp_path / "store")) == before  # nothing measured, nothing written


def at(burst: Burst) -> tuple[int, str]:
    return burst.round, burst.key


def test_purposes_epochs_and_more_rounds_measure_only_what_is_new(local, tmp_path):
    point, store = pointwise(8), tmp_path / "store"
    with open_board(local(), store) as board:
        first = board.measure([point], QUICK, progress=False)[point.key]
        fresh = board.measure([point], QUICK, purpose="verify", progress=False)[point.key]
        assert not {b.process for b in first} & {b.process for b in fresh}
        more = Protocol(**{**vars(QUICK), "rounds": 5, "processes": 3})
        longer = board.measure([point], more, progress=False)[point.key]
        assert len(longer) == 15 and set(first) < set(longer)
        assert board.measure([point], QUICK, progress=False)[point.key] == first
    with open_board(local(epoch=2), store) as board:
        other = board.measure([point], QUICK, progress=False)[point.key]
    assert not {b.process for b in first} & {b.process for b in other}
    assert len(list(store.iterdir())) == 2


def test_many_points_are_split_into_processes_that_share_the_reference(local, tmp_path):
    points = [pointwise(width) for width in range(1, 8)]
    tie, short = pointwise(16), Protocol(**{**vars(QUICK), "chunk_points": 3, "processes": 1})
    with open_board(local(), tmp_path / "store") as board:
        found = board.measure(points, short, reference_point=tie, progress=False)
    processes = {burst.process for point in points for burst in found[point.key]}
    assert len(processes) == 3
    assert Counter(burst.process for burst in found[tie.key]) == dict.fromkeys(processes, 3)


def test_large_models_are_split_into_processes_that_share_the_reference(local, tmp_path, monkeypatch):
    points = [replace(pointwise(width, inputs=64), curve="large") for width in range(60, 64)]  # 15 KiB each
    tie, short = pointwise(16), Protocol(**{**vars(QUICK), "processes": 1})
    monkeypatch.setattr(packing, "PROCESS_BYTES", 40 << 10)
    with open_board(local(), tmp_path / "store") as board:
        found = board.measure(points, short, reference_point=tie, progress=False)
    names = [{burst.process for burst in found[point.key]} for point in points]
    assert names[0] == names[1] != names[2] == names[3]
    assert {burst.process for burst in found[tie.key]} == names[0] | names[2]


def test_memory_is_what_the_model_needs_beyond_the_engine(local, tmp_path):
    small, large = pointwise(8), pointwise(2048, inputs=1024, size=2)  # 8 MiB of weights
    with open_board(local(), tmp_path / "store") as board:
        weights = board.memory([small, large], progress=False)
        assert board.memory([large], progress=False) == {large.key: weights[large.key]}
    assert 0 <= weights[small.key] < 4 << 20
    assert 8 << 20 <= weights[large.key] < 64 << 20
    assert sum(r["type"] == "memory" for r in records(tmp_path / "store")) == 2


SWEEP = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.boards.points import pointwise
from hakd.boards import Device, Protocol, open_board
protocol = Protocol(processes=2, rounds=12, burst_ms=2, max_calls=5000, warmup_ms=0.5)
points = [pointwise(width) for width in range(1, 13)]
with open_board(Device("local", lock_path={lock!r}), Path({store!r})) as board:
    board.measure(points, protocol, reference_point=pointwise(16), progress=False)
    print(len(board.failures))
"""


def start_sweep(root: Path, lock: Path, store: Path) -> subprocess.Popen:
    code = SWEEP.format(root=str(root), lock=str(lock), store=str(store))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_killed_client_resumes_where_it_was_and_leaves_no_process(root, tmp_path):
    store, lock = tmp_path / "store", tmp_path / "lock"
    for wanted in (20, 180):  # once in the first process, once in the second
        client = start_sweep(root, lock, store)
        wait_for_bursts(store, wanted)
        family = psutil.Process(client.pid).children(recursive=True)
        assert len(family) == 2  # agent and worker
        client.send_signal(signal.SIGKILL)
        client.communicate()
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive
    cut_off = len(places(store))
    assert 20 <= cut_off < 12 * 2 * 12
    client = start_sweep(root, lock, store)
    out, _ = client.communicate(timeout=60)
    assert (client.returncode, out) == (0, "0\n")
    found = places(store)
    assert set(found.values()) == {1}
    assert len(found) == 12 * 2 * 12


def test_two_clients_take_turns(root, tmp_path):
    stores = [tmp_path / "one", tmp_path / "two"]
    clients = [start_sweep(root, tmp_path / "lock", store) for store in stores]
    for client in clients:
        out, _ = client.communicate(timeout=60)
        assert (client.returncode, out) == (0, "0\n")
    spans = []
    for store in stores:
        at_ns = [r["at_ns"] for r in records(store) if r["type"] == "burst"]
        assert len(at_ns) == 2 * 12 * 13
        spans.append((min(at_ns), max(at_ns)))
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end < second_start


def test_a_held_lock_is_one_error_that_names_its_holder(local, tmp_path):
    with open_board(local(), tmp_path / "store") as board:
        agent = board._link.process.pid
        with (
            pytest.raises(HakdError, match=f"in use.*{tmp_path}/lock.*process {agent}"),
            open_board(local(lock_wait_s=0), tmp_path / "store"),
        ):
            pass
        assert board.measure([pointwise(8)], QUICK, progress=False)


def test_a_lock_that_is_a_link_is_refused(local, tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HakdError, match="cannot lock"), open_board(local(), tmp_path / "store"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_an_interrupt_keeps_what_was_measured(local, tmp_path):
    class Interrupted(Exception):
        pass

    def stop(signum, frame):
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, stop)
    slow = Protocol(processes=1, rounds=1000, burst_ms=5, max_calls=10_000)
    try:
        with open_board(local(), tmp_path / "store") as board:
            signal.setitimer(signal.ITIMER_REAL, 1.5)
            with pytest.raises(Interrupted):
                board.measure([pointwise(8)], slow, progress=False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert 0 < len(places(tmp_path / "store")) < 1000


def test_long_measurements_show_a_bar_with_the_time_left(local, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hakd.boards.bars.BAR_DELAY_S", 0.1)
    monkeypatch.setattr("hakd.boards.bars.LOGGED_BAR_S", 0.1)
    long = Protocol(processes=1, rounds=10, burst_ms=60, max_calls=10**6)
    with open_board(local(), tmp_path / "store") as board:
        board.measure([pointwise(8)], long)
    shown = capsys.readouterr().err
    assert "local: sweep" in shown and "<" in shown


def test_the_journal_is_plain_json_lines(local, tmp_path):
    with open_board(local(), tmp_path / "store") as board:
        board.measure([pointwise(8)], QUICK, progress=False)
    (path,) = (tmp_path / "store").glob("*/*.jsonl")
    kinds = Counter(json.loads(line)["type"] for line in path.read_text().splitlines())
    assert kinds == {"session": 1, "run": 2, "check": 2, "warm": 2, "burst": 6, "end": 1}
    assert os.stat(path).st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_device_with_fewer_cpus_than_threads_says_so(local, tmp_path):
    with (
        pytest.raises(HakdError, match="threads: the login may use"),
        open_board(local(threads=200), tmp_path / "store"),
    ):
        pass


def test_two_threads_are_pinned_to_two_cpus(local, tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        with pytest.raises(HakdError, match="threads"), open_board(local(threads=2), tmp_path / "store"):
            pass
        return
    with open_board(local(threads=2), tmp_path / "store") as board:
        assert len(board.context["affinity"]) == 2
        assert board.measure([pointwise(64)], QUICK, progress=False)
        single = Device("local", lock_path=str(tmp_path / "other"))
        with open_board(single, tmp_path / "store") as other:
            assert other.fingerprint != board.fingerprint
            assert len(other.context["affinity"]) == 1


def test_a_slow_model_gets_a_short_burst(local, tmp_path):
    slow = endless(20_000)  # about 10 ms
    with open_board(local(), tmp_path / "store") as board:
        bursts = board.measure([slow], QUICK, progress=False)[slow.key]
    assert {burst.calls for burst in bursts} == {QUICK.min_calls}
    assert median_us(bursts) > 500
