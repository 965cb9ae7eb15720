"""Real models, a real agent in a real subprocess, a lock and a store of the test's own."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from hakd.boards import Device, Point, Protocol
from tests.boards.rigs import Lab, Sshd, Unavailable
from tests.boards.rigs.processes import MARK, marked

QUICK = Protocol(processes=2, rounds=3, burst_ms=0.3, warmup_ms=0.5, point_timeout_s=20)


def _model(nodes: list, shape: tuple, out_shape: tuple | None, weights: dict[str, np.ndarray]) -> bytes:
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "test",
        [tensor("input", TensorProto.FLOAT, shape)],
        [tensor("output", TensorProto.FLOAT, out_shape or shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def pointwise(width: int, inputs: int = 8, size: int = 8, wrong_by: float = 0.0) -> Point:
    """A 1 x 1 convolution, whose expected output numpy knows."""
    weight = (np.arange(width * inputs, dtype=np.float32) % 13 - 6).reshape(width, inputs) / 8
    shape, out_shape = (1, inputs, size, size), (1, width, size, size)

    def model() -> bytes:
        node = helper.make_node("Conv", ["input", "w"], ["output"])
        return _model([node], shape, out_shape, {"w": weight.reshape(width, inputs, 1, 1)})

    def reference(x: np.ndarray) -> np.ndarray:
        return np.einsum("oi,nihw->nohw", weight, x) + wrong_by

    key = f"pointwise-{inputs}-{width}-{size}-{wrong_by}"
    return Point(key, key, model, reference, shape)


def endless(turns: int = 1 << 62) -> Point:
    """A model that adds 1 so many times: a hang that no engine can optimise away."""

    def model() -> bytes:
        value = helper.make_tensor_value_info
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go"], ["still"]),
                helper.make_node("Add", ["x", "one"], ["y"]),
            ],
            "body",
            [
                value("i", TensorProto.INT64, []),
                value("go", TensorProto.BOOL, []),
                value("x", TensorProto.FLOAT, [1]),
            ],
            [value("still", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, [1])],
        )
        node = helper.make_node("Loop", ["turns", "", "input"], ["output"], body=body)
        weights = {"turns": np.array(turns, np.int64), "one": np.ones(1, np.float32)}
        return _model([node], (1,), None, weights)

    return Point(f"endless-{turns}", "endless", model, None, (1,))


def wait_for_bursts(store: Path, count: int) -> None:
    """Return once the journals hold so many bursts."""
    deadline = time.monotonic() + 30
    while sum(path.read_bytes().count(b'"type":"burst"') for path in store.glob("*/*.jsonl")) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def system_part() -> Iterator[None]:
    """Skip what this machine has no part for and say what installs it; where HAKD_REQUIRE_SYSTEM is set, fail."""
    try:
        yield
    except Unavailable as lack:
        text = f"{lack}. On Debian, as root: make system-deps"
        if os.environ.get("HAKD_REQUIRE_SYSTEM") == "1":
            pytest.fail(text)
        pytest.skip(text)


def workers_of(agent_pid: int) -> list[psutil.Process]:
    """The agent's worker processes."""
    try:
        return psutil.Process(agent_pid).children()
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def local(tmp_path: Path) -> Callable[..., Device]:
    """A device `local` with a lock of the test's own."""
    settings = {"lock_path": str(tmp_path / "lock")}
    return lambda **changes: Device.from_config("local", {**settings, **changes})


@pytest.fixture
def sshd(tmp_path: Path, nothing_left: None) -> Iterator[Sshd]:
    """A board on the loopback address, with an sshd of the test's own."""
    with system_part(), Sshd(tmp_path / "board") as board:
        yield board


@pytest.fixture
def gate(tmp_path: Path, nothing_left: None) -> Iterator[Sshd]:
    """A second board on the loopback address, or the one to jump through."""
    with system_part(), Sshd(tmp_path / "gate") as board:
        yield board


@pytest.fixture
def lab(tmp_path: Path, nothing_left: None) -> Iterator[Lab]:
    """A network of the test's own, for boards in namespaces."""
    with system_part(), Lab(tmp_path / "lab") as lab:
        yield lab


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch):
    """No test leaves a process behind."""
    mark = secrets.token_hex(8)
    monkeypatch.setenv(MARK, mark)
    yield
    _, alive = psutil.wait_procs(marked(mark), timeout=5)
    assert not alive
