"""Journal, store, chunks and the agent's lock, without a board."""

import dataclasses
import fcntl
import itertools
import os
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.boards import Device, Point, Protocol, Unmeasurable, agent, packing, worker
from hakd.boards.journal import Journal, read
from hakd.boards.points import PROTOCOL
from hakd.boards.store import Store, fingerprint, identity
from hakd.records.errors import HakdError

IDENTITY = identity(Device("local"), "f" * 16, "1.31.1")


def burst(key="a", slot=0, turn=0, purpose="sweep", process="p1", reference=False, median_ns=1000) -> dict:
    about = {"type": "burst", "purpose": purpose, "slot": slot, "reference": reference, "at_ns": 1}
    times = {
        "calls": 5,
        "min_ns": 900,
        "median_ns": median_ns,
        "switches": 0,
        "clock_mhz": None,
        "cpu_ratio": 1.0,
    }
    return {**about, "key": key, "process": process, "round": turn, "position": 0, **times}


def write(folder, name, records) -> None:
    journal = Journal(folder / name)
    journal.append(records)
    journal.close()


records = st.lists(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20)), max_size=8)


@given(records, st.integers(0, 10**6))
def test_a_journal_cut_off_anywhere_gives_its_whole_lines(tmp_path_factory, content, cut):
    path = tmp_path_factory.mktemp("j") / "a.jsonl"
    journal = Journal(path)
    journal.append(content)
    journal.close()
    assert read(path) == content
    data = path.read_bytes()
    path.write_bytes(data[: cut % (len(data) + 1)])
    found = read(path)
    assert found == content[: len(found)]
    assert len(found) == path.read_bytes().count(b"\n")


def test_damage_before_the_end_is_an_error(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"type":"run"}\n{"typ\n{"type":"run"}\n')
    with pytest.raises(HakdError, match=r"a\.jsonl: damaged journal"):
        read(tmp_path / "a.jsonl")


def test_a_journal_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HakdError, match="cannot write"):
        Journal(tmp_path / "file" / "a.jsonl").append([{}])


def test_a_journal_that_cannot_be_read_is_an_error(tmp_path):
    folder = Store(tmp_path, IDENTITY).folder
    (folder / "a.jsonl").mkdir(parents=True)
    with pytest.raises(HakdError, match=r"a\.jsonl: cannot read \("):
        Store(tmp_path, IDENTITY)


def test_a_store_merges_journals_and_knows_what_is_missing(tmp_path):
    protocol = Protocol(processes=2, rounds=2)
    folder = Store(tmp_path, IDENTITY).folder
    write(
        folder,
        "1.jsonl",
        [{"type": "session"}, burst(), burst(reference=True, key="tie"), burst(purpose="verify")],
    )
    write(
        folder, "2.jsonl", [burst(turn=1), burst(slot=1, process="p2"), burst(median_ns=5000), burst(slot=7)]
    )
    store = Store(tmp_path, IDENTITY)
    assert store.missing("sweep", "a", protocol) == {(1, 1)}
    assert store.missing("verify", "a", protocol) == {(0, 1), (1, 0), (1, 1)}
    assert store.missing("sweep", "b", protocol) == protocol.slots()
    found = store.bursts("sweep", "a", protocol)
    assert [(b.round, b.process, b.median_ns) for b in found] == [
        (0, "p1", 1000),
        (1, "p1", 1000),
        (0, "p2", 1000),
    ]
    assert [b.key for b in store.reference("tie", {"p1", "p9"})] == ["tie"]
    assert store.memory("a") is None
    write(folder, "3.jsonl", [{"type": "memory", "key": "a", "bytes": 7}, burst(slot=1, turn=1)])
    assert Store(tmp_path, IDENTITY).memory("a") == 7
    assert Store(tmp_path, IDENTITY).missing("sweep", "a", protocol) == set()


def forgotten(process, purpose="sweep", key="a") -> dict:
    return {"type": "forget", "purpose": purpose, "key": key, "processes": [process]}


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_what_is_forgotten_does_not_count_whichever_order_the_records_come_in(tmp_path, order):
    """The record names a purpose, a point and processes; what else these timed stays."""
    protocol = Protocol(processes=2, rounds=2)
    parts = [
        [
            burst(turn=0),
            burst(turn=1),
            burst(turn=0, purpose="verify"),
            burst(key="b"),
            burst(reference=True, key="tie"),
        ],
        [burst(slot=1, process="p2"), burst(slot=1, turn=1, process="p2")],
        [forgotten("p1")],
        [forgotten("p9"), forgotten("p2", key="c")],
    ]
    store = Store(tmp_path, IDENTITY)
    for number in order:
        store.add(parts[number])
    assert [(b.process, b.round) for b in store.bursts("sweep", "a", protocol)] == [("p2", 0), ("p2", 1)]
    assert store.missing("sweep", "a", protocol) == {(0, 0), (0, 1)}
    assert [b.process for b in store.bursts("verify", "a", protocol)] == ["p1"]
    assert [b.process for b in store.bursts("sweep", "b", protocol)] == ["p1"]
    assert [b.process for b in store.reference("tie", {"p1"})] == ["p1"]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 2)), max_size=20),
    st.sets(st.tuples(st.sampled_from("ab"), st.sampled_from(["p0", "p1"]))),
    st.randoms(use_true_random=False),
)
def test_forgetting_commutes_with_bursts_of_processes_with_slots_of_their_own(
    tmp_path_factory, places, gone, random
):
    found = [burst(key, slot, turn, process=f"p{slot}") for key, slot, turn in places]
    found += [forgotten(process, key=key) for key, process in gone]
    random.shuffle(found)
    store, protocol = Store(tmp_path_factory.mktemp("s"), IDENTITY), Protocol(processes=2, rounds=3)
    store.add(found)
    for key in "ab":
        wanted = {
            (f"p{slot}", turn) for k, slot, turn in places if k == key and (key, f"p{slot}") not in gone
        }
        assert {(b.process, b.round) for b in store.bursts("sweep", key, protocol)} == wanted


def test_what_is_measured_anew_takes_the_place_of_what_is_forgotten(tmp_path):
    protocol = Protocol(processes=1, rounds=2)
    store = Store(tmp_path, IDENTITY)
    assert store.forgetting("sweep", {"a"}) == []
    store.add([burst(), burst(turn=1)])
    (record,) = store.forgetting("sweep", {"a", "b"})
    assert (
        record == forgotten("p1")
        and store.forgetting("verify", {"a"}) == store.forgetting("sweep", {"b"}) == []
    )
    store.add([record, burst(process="p2", median_ns=7000), burst(turn=1, process="p2", median_ns=7000)])
    assert [(b.process, b.median_ns) for b in store.bursts("sweep", "a", protocol)] == [("p2", 7000)] * 2
    assert store.forgetting("sweep", {"a"}) == [forgotten("p2")]
    write(store.folder, "1.jsonl", [{"type": "session"}, burst(), burst(turn=1)])
    write(store.folder, "2.jsonl", [{"type": "session"}, record, burst(process="p2", median_ns=7000)])
    again = Store(tmp_path, IDENTITY)
    assert [(b.process, b.median_ns) for b in again.bursts("sweep", "a", protocol)] == [("p2", 7000)]
    assert again.missing("sweep", "a", protocol) == {(0, 1)}


def test_a_journal_of_another_format_names_its_file(tmp_path):
    write(Store(tmp_path, IDENTITY).folder, "1.jsonl", [{"type": "burst", "key": "a"}])
    with pytest.raises(HakdError, match=r"1\.jsonl: not a journal"):
        Store(tmp_path, IDENTITY)


def test_everything_a_measurement_depends_on_is_in_its_address(tmp_path):
    plain = Device("local")
    folders = {Store(tmp_path, identity(plain, "f", "1")).folder}
    for change in ({"threads": 2}, {"batch": 2}, {"epoch": 2}):
        folders.add(Store(tmp_path, identity(dataclasses.replace(plain, **change), "f", "1")).folder)
    folders.add(Store(tmp_path, identity(plain, "g", "1")).folder)
    folders.add(Store(tmp_path, identity(plain, "f", "2")).folder)
    assert len(folders) == 6
    other_name = dataclasses.replace(plain, name="other", lock_path="/tmp/x")
    assert identity(other_name, "f", "1") == identity(plain, "f", "1")
    assert identity(plain, "f", "1")["protocol"] == PROTOCOL
    here = agent.hardware()
    assert fingerprint(here, "1", 1) == fingerprint(agent.hardware(), "1", 1)
    assert len({fingerprint(here, "1", 1), fingerprint(here, "2", 1), fingerprint(here, "1", 2)}) == 3


def point(number: int, curve: str = "") -> Point:
    return Point(f"k{number}", f"point {number}", lambda: b"", None, (1, 2), curve)


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=40), st.integers(1, 8))
def test_chunks_keep_order_size_and_curves(curves, most):
    points = [point(number, curve) for number, curve in enumerate(curves)]
    found = list(packing.chunks(points, most))
    assert [p for chunk in found for p in chunk] == points
    assert all(0 < len(chunk) <= most for chunk in found)
    for before, after in itertools.pairwise(found):
        if before[-1].curve and before[-1].curve == after[0].curve:  # split only what cannot fit
            joined = [p for p in before + after if p.curve == after[0].curve]
            assert len(joined) > most or len(before) == most


def sized(number: int, size: int, curve: str = "") -> Point:
    return Point(f"k{number}", f"point {number}", lambda: bytes(size), None, (1,), curve)


def test_chunks_are_split_further_by_what_a_frame_and_a_process_hold(monkeypatch):
    blob = np.random.default_rng(0).bytes(1500)  # about 2000 when packed
    points = [Point(f"k{i}", "p", lambda: blob, None, (1,), "curve") for i in range(5)]
    monkeypatch.setattr(packing, "FRAME_BYTES", 5000)
    assert [[one["key"] for one in chunk] for chunk in packing.packed_chunks(points, 64, {})] == [
        ["k0", "k1"],
        ["k2", "k3"],
        ["k4"],
    ]
    monkeypatch.setattr(packing, "PROCESS_BYTES", 4000)
    small = [sized(number, 1500) for number in range(5)]  # a few bytes when packed
    assert [len(chunk) for chunk in packing.packed_chunks(small, 64, {})] == [2, 2, 1]
    tie = packing.pack_point(sized(9, 2000))  # is in each of the processes
    assert [len(chunk) for chunk in packing.packed_chunks(small, 64, {}, tie=tie)] == [1] * 5


CURVES = st.lists(
    st.tuples(st.sampled_from(["", "a", "b"]), st.integers(1, 5), st.integers(1, 900)).map(
        lambda run: [(run[0], run[2] + i) for i in range(run[1])]
    ),
    max_size=8,
)


@given(CURVES, st.integers(1, 6), st.integers(100, 2000), st.none() | st.integers(1, 300))
def test_processes_hold_what_they_can_and_split_no_curve_that_fits(runs, most, room, tie_size):
    points = [sized(i, size, curve) for i, (curve, size) in enumerate(one for run in runs for one in run)]
    tie = None if tie_size is None else packing.pack_point(sized(99, tie_size))
    left = room - (tie_size or 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "PROCESS_BYTES", room)
        found = list(packing.packed_chunks(points, most, {}, tie=tie))
    of = {point.key: point for point in points}
    chunks = [[(of[item["key"]].curve, item["model_bytes"]) for item in chunk] for chunk in found]
    assert [item["key"] for chunk in found for item in chunk] == [point.key for point in points]
    for chunk in chunks:
        assert 0 < len(chunk) <= most
        one_curve = len({curve for curve, _ in chunk}) == 1 and chunk[0][0] != ""
        if len(chunk) > 1 and not (tie is None and one_curve):
            assert sum(size for _, size in chunk) <= left
    for before, after in itertools.pairwise(chunks):
        if before[-1][0] and before[-1][0] == after[0][0]:  # split only what cannot fit
            joined = [size for curve, size in before + after if curve == after[0][0]]
            assert len(joined) > most or (tie is not None and sum(joined) > left)


def test_a_model_that_no_frame_can_carry_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(packing.agent, "FRAME_LIMIT", 1 << 20)
    with pytest.raises(HakdError, match=r"point 0: its model of 3 MiB is too large to send.*smaller network"):
        list(packing.packed_chunks([sized(0, 3 << 20)], 64, {}))


@given(st.binary(max_size=2000))
def test_packed_bytes_are_unpacked_by_the_worker(content):
    assert worker.unpack(packing.pack(content)) == content


def test_a_reference_that_is_not_finite_is_refused():
    bad = Point("k", "bad point", lambda: b"", lambda x: x * np.nan, (1, 2))
    with pytest.raises(Unmeasurable, match="the reference output is not finite"):
        packing.pack_point(bad)
    failures: dict[str, str] = {}
    (chunk,) = packing.packed_chunks([bad, sized(1, 10)], 64, failures)
    assert [one["key"] for one in chunk] == ["k1"] and failures == {"k": "the reference output is not finite"}


@pytest.mark.parametrize(
    "change", [{"processes": 0}, {"rounds": 1.5}, {"burst_ms": float("nan")}, {"min_calls": 61}]
)
def test_a_protocol_that_makes_no_sense_is_refused(change):
    with pytest.raises(ValueError, match="protocol"):
        Protocol(**change)


def test_the_lock_is_opened_read_only_created_and_never_followed(tmp_path):
    path = tmp_path / "lock"
    fd = agent.open_lock(str(path))
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert path.stat().st_mode & 0o777 == 0o644
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert agent.lock_holder(fd) == os.getpid()
    os.close(fd)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        agent.open_lock(str(tmp_path / "link"))
    with pytest.raises(OSError, match="not a regular file"):
        agent.open_lock(str(tmp_path))


def test_missing_files_of_the_board_are_null_not_errors(monkeypatch):
    monkeypatch.setattr(agent, "slurp", lambda path: None)
    state = agent.context([0])
    assert state["governor"] is None and state["clock_mhz"] is None and state["temperature_c"] is None
    assert agent.hardware()["cpu_model"] is None


QUOTAS = {
    "no groups": ({}, None),
    "v2, no limit": ({"self": "0::/user.slice", "/user.slice/cpu.max": "max 100000"}, None),
    "v2, a container that is the root": ({"self": "0::/", "/cpu.max": "50000 100000"}, 0.5),
    "v2, the group above": (
        {
            "self": "0::/a.slice/b.scope",
            "/a.slice/cpu.max": "150000 100000",
            "/a.slice/b.scope/cpu.max": "max 100000",
        },
        1.5,
    ),
    "v1": (
        {
            "self": "5:cpuset:/x\n4:cpuacct,cpu:/docker/1f\n0::/",
            "/cpu/docker/1f/cpu.cfs_quota_us": "200000",
            "/cpu/docker/1f/cpu.cfs_period_us": "100000",
            "/cpu/cpu.cfs_quota_us": "-1",
            "/cpu/cpu.cfs_period_us": "100000",
        },
        2.0,
    ),
    "v1, a container that sees the name from outside": (
        {"self": "4:cpu:/docker/1f", "/cpu/cpu.cfs_quota_us": "25000", "/cpu/cpu.cfs_period_us": "50000"},
        0.5,
    ),
    "of other controllers": (
        {"self": "4:cpuset:/x\n3:name=systemd:/x", "/cpu/x/cpu.cfs_quota_us": "1"},
        None,
    ),
    "nonsense": ({"self": "0\n\n::\n4:cpu", "/cpu.max": "1 2 3", "/cpu/cpu.cfs_quota_us": "a"}, None),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_the_quota_of_the_agent_s_control_groups_is_found(monkeypatch, case):
    files, expected = QUOTAS[case]
    paths = {
        "/proc/self/cgroup" if name == "self" else f"/sys/fs/cgroup{name}": text
        for name, text in files.items()
    }
    monkeypatch.setattr(agent, "slurp", lambda path: paths.get(os.path.normpath(path)))
    assert agent.cpu_quota() == expected == agent.context([0])["cpu_quota"]


def test_hyper_threads_of_one_core_count_once(monkeypatch):
    siblings = {0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5"}
    place = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    files = {place.format(cpu): text for cpu, text in siblings.items()}
    monkeypatch.setattr(agent, "slurp", files.get)
    assert [agent.cores(cpus) for cpus in ([0], [0, 1], [0, 4], [0, 1, 4, 5], [2])] == [1, 2, 1, 2, None]
    assert agent.context([0, 4])["cores"] == 1


def test_where_the_serial_number_comes_from_is_said(monkeypatch):
    files = {"/etc/machine-id": "1f", "/proc/device-tree/serial-number": "10000000abcdef"}
    monkeypatch.setattr(agent, "slurp", files.get)
    own, said = agent.hardware()["serial"], agent.context([0])["serial_from"]
    del files["/proc/device-tree/serial-number"]
    assert (said, agent.context([0])["serial_from"]) == ("device-tree", "machine-id")
    assert agent.hardware()["serial"] not in (own, None)


def test_memory_is_measured_with_a_c_library_that_has_no_malloc_trim(monkeypatch):
    """musl, of Alpine Linux, has none; glibc's is called."""

    class Engine:
        empty = (b"", (1,))

        def prepare(self, model, images):
            return self

        def call(self):
            return None

        def output(self):
            return np.ones(1, np.float32)

    job = {"points": [{"key": "a", "model": packing.pack(b""), "shape": [1]}], "cpus": [0]}
    trimmed: list[int] = []
    for library in (SimpleNamespace(), SimpleNamespace(malloc_trim=trimmed.append)):
        monkeypatch.setattr(worker.ctypes, "CDLL", lambda name, library=library: library)
        weighing = worker.Worker.__new__(worker.Worker)
        weighing.__dict__.update(job=job, numpy=np, progress=bytearray(16), step=0, lines=[])
        weighing.measure_memory(Engine())
        assert '"t": "memory"' in weighing.lines[-1]
    assert trimmed == [0]
