"""Every engine in a real session: times, weight, checks, threads, and what happens when it is not what it should be."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hakd.boards import Protocol, open_board
from hakd.boards.engines import ENGINES as ALL
from hakd.boards.kernels import KERNELS
from hakd.boards.opencl import OPENCL
from hakd.evaluation.benchmark import candidate_point
from hakd.networks.engine_model import engine_model
from hakd.networks.onnx_model import stand_in_weights
from hakd.ops.tensors import Segment
from hakd.records.errors import HakdError
from hakd.records.graph import Builder
from hakd.sweeping.parts import point
from tests.boards.parts import blocks, heavy, records
from tests.boards.points import QUICK
from tests.boards.rigs.processes import workers_of
from tests.unit.builders import exported, small_densenet

ENGINES = ALL.keys() - {
    "onnxruntime-cuda",
    *OPENCL,
}  # those: test_opencl.py, and the test of a missing provider
CPUS = sorted(os.sched_getaffinity(0))
THREADS = [1, pytest.param(2, marks=pytest.mark.skipif(len(CPUS) < 2, reason="one CPU"))]
MANY = Protocol(processes=1, rounds=30, burst_ms=2)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_an_engine_times_and_weighs_blocks_and_is_checked(local, tmp_path, engine, threads):
    device, store = local(engine=engine, threads=threads), tmp_path / "store"
    points, large = blocks(device), heavy(device)
    with open_board(device, store) as board:
        found = board.measure([*points, large], QUICK, progress=False)
        assert board.failures == {}
        memory = board.memory([points[0], large], progress=False)
        assert board.context["engine"] == engine and board.engine_version in board.context["engine_version"]
    assert {key: len(bursts) for key, bursts in found.items()} == {p.key: 6 for p in [*points, large]}
    checks = {r["key"]: r["max_abs_error"] for r in records(store, "check") if r["max_abs_error"] is not None}
    assert checks.keys() == {p.key for p in [*points, large]}
    times = {key: np.median([burst.median_ns for burst in bursts]) for key, bursts in found.items()}
    assert times[large.key] > 2 * times[points[0].key] > 0
    # 147 kB of weights, 512 kB of activations and what else an engine makes of them
    assert 0 <= memory[points[0].key] < 64 << 20 and 1 << 19 < memory[large.key] < 64 << 20
    warm = records(store, "warm")
    assert len(warm) == QUICK.processes and all(record["tasks"] >= threads for record in warm)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_cpu_time_over_wall_time_tells_the_threads(local, tmp_path, engine, threads):
    device, ratios = local(engine=engine, threads=threads), []
    point_, least = heavy(device), 0.9 if threads == 1 else 1.3
    with open_board(device, tmp_path / "store") as board:
        for look in range(10):  # other processes on this machine lower it: the best of the bursts tells
            found = board.measure([point_], MANY, f"look {look}", progress=False)[point_.key]
            ratios += [burst.cpu_ratio for burst in found]
            if max(ratios) > least:
                break
    assert max(ratios) > least
    assert np.quantile(ratios, 0.9) < 1.1 * threads


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_each_thread_has_a_cpu_of_its_own(local, tmp_path):
    """Or the kernel puts both on one for many calls, and bursts have one of two speeds."""
    device = local(engine="litert", threads=2, cpus=CPUS[:2])
    slow = Protocol(processes=1, rounds=100, burst_ms=20, max_calls=1000)
    seen: set[frozenset] = set()
    with open_board(device, tmp_path / "store") as board:
        timing = threading.Thread(
            target=board.measure, args=([heavy(device)], slow), kwargs={"progress": False}
        )
        timing.start()
        while timing.is_alive():
            for worker in workers_of(board._link.process.pid):
                with contextlib.suppress(OSError):
                    tasks = [int(path.name) for path in Path(f"/proc/{worker.pid}/task").iterdir()]
                    seen.add(frozenset(frozenset(os.sched_getaffinity(task)) for task in tasks))
            time.sleep(0.01)
        timing.join()
        assert board.failures == {}
    assert frozenset({frozenset({CPUS[0]}), frozenset({CPUS[1]})}) in seen


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_a_wrong_output_is_refused(local, tmp_path, engine):
    device = local(engine=engine)
    builder = Builder(3, 5)
    graph = builder.graph(builder.conv(builder.input, "conv", Segment(None, 4), 3))
    right = point(graph, "conv", device)
    weights = stand_in_weights(graph)
    weights["conv.weight"][2, 1, 0, 0] += 0.01
    wrong = replace(right, key="wrong", model=lambda: engine_model(engine, graph, weights))
    with open_board(device, tmp_path / "store") as board:
        found = board.measure([right, wrong], QUICK, progress=False)
        assert found.keys() == {right.key}
        assert "wrong output: differs from the reference" in board.failures["wrong"]


@pytest.mark.parametrize("engine", ["litert", "openvino"])
def test_a_batch_is_timed_as_a_batch(local, tmp_path, engine):
    device = local(engine=engine, batch=3)
    points = blocks(device)[:2]
    with open_board(device, tmp_path / "store") as board:
        assert len(board.measure(points, QUICK, progress=False)) == 2
        assert board.failures == {}


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_a_candidate_is_timed_as_its_file_says(local, tmp_path, engine):
    """The model comes from the exported file and is checked against what ONNX Runtime makes of that file."""
    device, spec, path = local(engine=engine), small_densenet(), tmp_path / "network.onnx"
    exported(path, spec)
    entry = {"candidate": "one", "onnx_path": path, "onnx_digest": "abc", "network_spec": spec.to_dict()}
    with open_board(device, tmp_path / "store") as board:
        assert board.measure([candidate_point(entry, device)], QUICK, progress=False).keys() == {"onnx:abc"}
    (checked,) = {r["max_abs_error"] for r in records(tmp_path / "store", "check")} - {None}
    assert 0 <= checked < 1e-3


# --- a board's own Python, with what is linked into it


@pytest.fixture
def python(tmp_path: Path) -> tuple[str, Path]:
    """An interpreter that has numpy and nothing else, and its folder of packages."""
    home = tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    for name in ("numpy", "numpy.libs"):
        if (installed() / name).exists():
            (packages / name).symlink_to(installed() / name)
    return str(home / "bin" / "python"), packages


def installed() -> Path:
    return Path(sysconfig.get_path("platlib"))


@pytest.mark.parametrize("engine", sorted(ENGINES - KERNELS.keys()))
def test_an_engine_that_is_not_there_is_named(local, tmp_path, engine, python):
    device = local(engine=engine, python=python[0])
    module = "ai_edge_litert" if engine == "litert" else engine
    with (
        pytest.raises(
            HakdError, match=rf"the engine does not run there.*No module named '{module}'.*{engine}"
        ),
        open_board(device, tmp_path / "store"),
    ):
        pass


def test_an_onnxruntime_without_cuda_is_refused_in_one_line(local, tmp_path):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    expected = (
        r"has no CUDAExecutionProvider, only .*CPUExecutionProvider\)\. Install onnxruntime-gpu instead of"
    )
    with (
        pytest.raises(HakdError, match=expected) as refusal,
        open_board(local(engine="onnxruntime-cuda"), tmp_path / "store"),
    ):
        pass
    assert "\n" not in str(refusal.value)


def own_ncnn(packages: Path) -> Path:
    """ncnn with an `__init__` that a test may change; what does the work is linked."""
    (packages / "ncnn").mkdir()
    for path in (installed() / "ncnn").glob("*.so"):
        (packages / "ncnn" / path.name).symlink_to(path)
    (packages / "ncnn.libs").symlink_to(installed() / "ncnn.libs")
    return Path(shutil.copy(installed() / "ncnn" / "__init__.py", packages / "ncnn"))


def test_an_engine_that_changes_within_a_session_is_refused(local, tmp_path, python):
    init, device, store = own_ncnn(python[1]), local(engine="ncnn", python=python[0]), tmp_path / "store"
    points = blocks(device)
    expected = r"ncnn 9\.9 is there now, the session began with 1\.\S+"
    with pytest.raises(HakdError, match=expected), open_board(device, store) as board:  # noqa: PT012
        board.measure(points[:1], QUICK, progress=False)
        init.write_text(init.read_text() + "\n__version__ = '9.9'\n")
        board.measure(points[1:], QUICK, progress=False)
    assert {record["key"] for record in records(store, "burst")} == {points[0].key}
    with open_board(device, store) as board:  # a new session is one of the new engine
        assert board.engine_version == "9.9"
        assert len(board.measure(points, QUICK, progress=False)) == len(points)
    assert len(list(store.iterdir())) == 2


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_threads_that_leave_their_cpus_are_refused(local, tmp_path, python):
    init, device = own_ncnn(python[1]), local(engine="ncnn", python=python[0], cpus=[CPUS[0]])
    roam = f"""
import os, threading, time
def roam():
    os.sched_setaffinity(0, {CPUS})
    time.sleep(60)
threading.Thread(target=roam, daemon=True).start()
"""
    init.write_text(init.read_text() + roam)
    match = rf"1 of its 2 threads may run on other CPUs than {CPUS[0]}"
    with pytest.raises(HakdError, match=match), open_board(device, tmp_path / "store") as board:
        board.measure(blocks(device)[:1], QUICK, progress=False)
    assert records(tmp_path / "store", "burst") == []


def test_the_journal_says_what_was_refused(local, tmp_path, python):
    init, device = own_ncnn(python[1]), local(engine="ncnn", python=python[0])
    with pytest.raises(HakdError), open_board(device, tmp_path / "store") as board:  # noqa: PT012
        init.write_text("raise OSError('a broken installation')")
        board.measure(blocks(device)[:1], QUICK, progress=False)
    reasons = {record["reason"] for record in records(tmp_path / "store", "failure")}
    assert "the engine cannot be used: OSError: a broken installation" in reasons
    assert json.dumps(sorted(reasons)).count("Traceback") == 0
