"""A disk without room: whatever is written, one error with the path, and nothing half written."""

import contextlib
import gc
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hakd.plots.style import save_pages
from hakd.pruning.trajectory import COLUMNS, write_trajectory
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.checkpoint import write_checkpoint
from hakd.records.errors import HakdError
from hakd.records.files import atomic, write_bytes, write_json
from hakd.records.folders import atomic_folder
from hakd.records.provenance import provenance
from hakd.records.tables import write_table
from tests.unit.table_rows import LATENCY_ROW

LARGEST = 1000  # bytes of a file
ROWS = pd.DataFrame([LATENCY_ROW])


@contextlib.contextmanager
def little_room() -> Iterator[None]:
    """The system refuses files above a few bytes, as it does on a full disk; Python ignores the signal for it."""
    provenance()  # asks git, once: no other program is to run into the limit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def figure():
    """A page of a plot."""
    from matplotlib.figure import Figure

    made = Figure()
    made.subplots().plot([1, 2])
    return made


def state(path: Path) -> None:
    """A kept state of training."""
    with atomic(path) as temporary:
        torch.save({"weights": torch.zeros(10_000)}, temporary)


def folder(path: Path) -> None:
    """A folder of files; the second is too large."""
    with atomic_folder(path, {"a", "b"}) as made:
        (made / "a").write_text("small")
        write_bytes(made / "b", bytes(10_000))


WRITERS = {
    "a.json": lambda path: write_json(path, "thing", {"x": "x" * 2000}),
    "a.parquet": lambda path: write_table(path, "latency", ROWS),
    "a.csv": lambda path: write_trajectory(path, [dict.fromkeys(COLUMNS, 1)] * 1000),
    "a.safetensors": lambda path: write_checkpoint(
        path, Architecture(NetworkSpec("n", "mobilenet", 1, 8, 10), {}), {"w": np.zeros(10_000)}, {}
    ),
    "a.resume": state,
    "a.pdf": lambda path: save_pages(path, [figure], "title"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_without_room_is_one_error_with_the_path(tmp_path, name):
    with little_room(), pytest.raises(HakdError, match=rf"{name}: cannot write \(.+\)\. Make room"):
        WRITERS[name](tmp_path / name)
    gc.collect()  # what a writer left open cannot be flushed either: here, not in a later test
    assert list(tmp_path.iterdir()) == []
    WRITERS[name](tmp_path / name)
    assert (tmp_path / name).stat().st_size > LARGEST, "the test had no file that is too large"


def test_a_folder_without_room_is_one_error_with_its_path_and_the_one_before_stays(tmp_path):
    folder(tmp_path / "made")
    before = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    with little_room(), pytest.raises(HakdError, match=rf"^{tmp_path}/made: cannot write \(.+\)\. Make room"):
        folder(tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} == before


def test_a_defect_stays_a_defect(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic(tmp_path / "a") as temporary:
        temporary.write_bytes(bytes(1 // 0))
