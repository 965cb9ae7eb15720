"""OpenCL engines in a real session: a candidate is timed, and what is missing is named in one line."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hakd.boards import Board, Device, Protocol, open_board
from hakd.evaluation.benchmark import candidate_point
from hakd.records.errors import HakdError
from tests.boards.parts import records
from tests.boards.rigs import Unavailable
from tests.boards.skipping import system_part
from tests.unit.builders import exported, small_mobilenet

pytestmark = [pytest.mark.beside, pytest.mark.xdist_group("opencl")]
SHORT = Protocol(processes=1, rounds=2, burst_ms=0.3, warmup_ms=0.5)


@contextlib.contextmanager
def opened(device: Device, store: Path) -> Iterator[Board]:
    """A session, where this machine has an OpenCL device."""
    with contextlib.ExitStack() as stack:
        with system_part():
            try:
                board = stack.enter_context(open_board(device, store))
            except HakdError as lack:
                raise Unavailable(str(lack)) from None
        yield board


def test_a_candidate_is_timed_in_opencl(local, tmp_path):
    """On the CPU its times mean nothing, which the version says."""
    device, spec, path = local(engine="opencl"), small_mobilenet(16), tmp_path / "network.onnx"
    exported(path, spec)
    entry = {"candidate": "one", "onnx_path": path, "onnx_digest": "abc", "network_spec": spec.to_dict()}
    with opened(device, tmp_path / "store") as board:
        assert board.measure([candidate_point(entry, device)], SHORT, progress=False).keys() == {"onnx:abc"}
        assert re.match(r"[0-9a-f]{8} (CPU \(PoCL\)|CPU|GPU|device) \S", board.engine_version)
        assert board.context["engine_version"] == board.engine_version
    (error,) = {r["max_abs_error"] for r in records(tmp_path / "store", "check")} - {None}
    assert 0 <= error < 1e-3


@pytest.mark.parametrize("engine", ["opencl", "opencl-gemm"])
def test_a_board_without_an_opencl_device_is_refused(local, tmp_path, engine, monkeypatch):
    (tmp_path / "vendors").mkdir()
    monkeypatch.setenv("OCL_ICD_VENDORS", f"{tmp_path / 'vendors'}/")
    expected = r"no OpenCL device: install its driver .*pocl-opencl-icd\)\)\. Install pyopencl, "
    if engine == "opencl":
        expected = expected.replace("pyopencl, ", "pyopencl and an OpenCL driver and numpy")
    with pytest.raises(HakdError, match=expected) as refusal, open_board(local(engine=engine), tmp_path):
        pass
    assert "\n" not in str(refusal.value)


def test_a_board_without_pyopencl_is_refused_by_opencl(local, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", tmp_path / "python"],
        check=True,
    )
    device = local(engine="opencl", python=str(tmp_path / "python/bin/python"))
    with (
        pytest.raises(HakdError, match=r"No module named '(numpy|pyopencl)'.*pyopencl"),
        open_board(device, tmp_path),
    ):
        pass
