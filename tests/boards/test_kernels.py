"""The engines with kernels of hakd's own on a board: compiler, versions, sparse candidates, what is left behind."""

import os
import shutil
import signal
import stat
import threading
import time
from pathlib import Path

import pytest

from hakd.boards import Device, open_board
from hakd.boards.kernels import COMPILERS
from hakd.evaluation.benchmark import candidate_point
from hakd.evaluation.export import read_back
from hakd.records.errors import HakdError
from tests.boards.parts import blocks, heavy, records
from tests.boards.points import QUICK
from tests.boards.rigs.needs import Unavailable, wait_until
from tests.boards.rigs.processes import workers_of
from tests.boards.skipping import system_part
from tests.unit.builders import exported, small_mobilenet

pytestmark = pytest.mark.beside
MEMORY = Path("/dev/shm")
# A compiler that takes its time, so that it can be interrupted; `more` is printed as part of its version.
SLOW = """#!/bin/sh
[ "$1" = --version ] && {{ {compiler} --version | head -n 1 | sed 's/$/ {more}/'; exit; }}
sleep {seconds}
exec {compiler} "$@"
"""


@pytest.fixture
def compiler() -> str:
    with system_part():
        found = next(filter(None, map(shutil.which, COMPILERS)), None)
        if found is None:
            raise Unavailable("no C compiler on this machine")
    return found


def own_compiler(folder: Path, compiler: str, more: str = "", seconds: float = 0) -> str:
    """A PATH on which `cc` is a script that calls the compiler."""
    folder.mkdir()
    script = folder / "cc"
    script.write_text(SLOW.format(compiler=compiler, more=more, seconds=seconds))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def folders() -> set[Path]:
    return set(MEMORY.glob("hakd-*"))


@pytest.mark.parametrize("engine", ["csr", "bitmap"])
def test_a_board_without_a_compiler_is_refused_by_csr_and_bitmap(local, tmp_path, engine, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = r"no C compiler: cc, gcc, clang are not on the PATH\)\. Install a C compiler \(on Debian: gcc"
    with pytest.raises(HakdError, match=expected) as refusal, open_board(local(engine=engine), tmp_path):
        pass
    assert "\n" not in str(refusal.value)


def test_csr_with_a_compiler_that_fails_is_refused_in_one_line(local, tmp_path, monkeypatch):
    script = tmp_path / "cc"
    script.write_text("#!/bin/sh\necho 'kernels.c:1: error: no luck'\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        pytest.raises(HakdError, match=r"does not compile the kernels: kernels.c:1: error: no luck\)"),
        open_board(local(engine="csr"), tmp_path),
    ):
        pass


def test_csr_of_another_compiler_is_measured_again(local, tmp_path, compiler, monkeypatch):
    device, store, versions = local(engine="csr"), tmp_path / "store", []
    for more in ("1", "2", "1"):
        monkeypatch.setenv("PATH", own_compiler(tmp_path / f"bin{len(versions)}", compiler, more))
        with open_board(device, store) as board:
            found = board.measure(blocks(device)[:1], QUICK, progress=False)
            versions.append((board.engine_version, board.timed, len(found)))
    assert versions[0][0] != versions[1][0] and versions[0][0] == versions[2][0]
    assert [timed > 0 for _, timed, _ in versions] == [True, True, False]
    assert all(version.endswith(" -O3 -march=native") for version, *_ in versions)
    assert len(list(store.iterdir())) == 2


@pytest.mark.alone  # it looks at the folders of all workers
def test_nothing_of_csr_is_left_whatever_ends_the_worker(local, tmp_path, compiler, monkeypatch):
    """Killed while it compiles and while it measures, and at its ordinary end."""
    before, device = folders(), local(engine="csr")
    with open_board(device, tmp_path / "store") as board:
        board.measure(blocks(device)[:1], QUICK, progress=False)
    wait_until(lambda: folders() <= before, "the folder in memory goes")
    monkeypatch.setenv("PATH", own_compiler(tmp_path / "bin", compiler, seconds=3))
    seen: list[bool] = []

    def strike() -> None:
        """Kill the group of the first worker that has made its folder."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not seen:
            workers = [worker for agent in workers_of(os.getpid()) for worker in workers_of(agent.pid)]
            if workers and folders() - before:
                os.killpg(workers[0].pid, signal.SIGKILL)  # a worker leads its group
                seen.append(True)
            time.sleep(0.02)

    striker = threading.Thread(target=strike)
    striker.start()
    with (
        pytest.raises(HakdError, match="the engine does not run there"),
        open_board(device, tmp_path / "store"),
    ):
        pass
    striker.join()
    assert seen
    wait_until(lambda: folders() <= before, "the folder in memory goes")


@pytest.mark.parametrize("engine", ["csr", "bitmap"])
def test_a_candidate_keeps_its_zeros_in_csr_and_bitmap(local, tmp_path, engine):
    """What is timed holds the values of the file that are not zero, and gives ONNX Runtime's output."""
    device, spec, path = local(engine=engine), small_mobilenet(16), tmp_path / "network.onnx"
    exported(path, spec, density=0.25)
    entry = {"candidate": "one", "onnx_path": path, "onnx_digest": "abc", "network_spec": spec.to_dict()}
    point_ = candidate_point(entry, device)
    zeros = sum(int((array == 0).sum()) for array in read_back(path)[1].values())
    dense = candidate_point(entry, Device("dense", engine="im2col"))
    assert zeros > 1000 and len(point_.model()) < len(dense.model()) - zeros
    with open_board(device, tmp_path / "store") as board:
        assert board.measure([point_], QUICK, progress=False).keys() == {"onnx:abc"}
    (error,) = {r["max_abs_error"] for r in records(tmp_path / "store", "check")} - {None}
    assert 0 <= error < 1e-3


def test_a_sweep_times_csr_at_the_density_of_the_device(local, tmp_path):
    times = {}
    for density in (1.0, 0.05):
        device = local(engine="csr", density=density)
        with open_board(device, tmp_path / "store") as board:
            bursts = board.measure([heavy(device)], QUICK, progress=False)[heavy(device).key]
            times[density] = min(burst.min_ns for burst in bursts)
            assert board.failures == {}
    assert times[0.05] < times[1.0]
    assert len(list((tmp_path / "store").iterdir())) == 2
    with pytest.raises(HakdError, match="Only for the engines csr and bitmap"):
        local(engine="ncnn", density=0.5)
