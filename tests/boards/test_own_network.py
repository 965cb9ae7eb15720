"""`hakd sweep DEVICE package.module:function`: a latency table of a network that the project does not know."""

import fcntl
import json
import logging
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from hakd.boards.cost_model import cost_model_from
from hakd.boards.virtual import layers_of
from hakd.cli import main
from hakd.commands.common import FINDING, FINE, USAGE
from hakd.explaining.blocks import block_of
from hakd.explaining.own_network import exported
from hakd.importing.groups import WidthGroups
from hakd.records.code import CHECKOUT
from hakd.records.tables import read_table
from hakd.staircase.curve_rows import curves_from_table
from hakd.staircase.mapping import budget, changes

pytestmark = [  # the warning is of torch's older exporter
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.beside,
]
MODEL = {"overhead_us": 0.3, "us_per_mmac": 12.0, "depthwise_us_per_mmac": 30.0, "tile_out": 8}
SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 12, 3, 1, 1), nn.Conv2d(12, 33, 1)
        self.back, self.mixed = nn.Conv2d(33, 12, 1), nn.Conv2d(12, 8, 3)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.back(torch.relu(self.inner(x)))
        return self.last(self.mixed(x.flip(1)).flip(1).mean((2, 3)))

def small():
    return Net()

def other():
    net = Net()
    net.inner, net.back = nn.Conv2d(12, 40, 3, 1, 1), nn.Conv2d(40, 12, 1)
    return net

def bare():
    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 8, 1))

def nothing():
    return None

def fails():
    raise RuntimeError("no weights here")

number = 3
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A working directory with the user's own module and a device file."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "nets.py").write_text(SOURCE)
    settings = {"transport": "virtual", "cost_model": MODEL}
    (tmp_path / "device.yaml").write_text(yaml.safe_dump({"vdev": settings}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        monkeypatch.delitem(sys.modules, name)  # of another test's folder
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    return tmp_path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """As a user types it."""
    command = [sys.executable, "-m", "hakd", "sweep", *words]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert "Traceback" not in done.stderr
    return done


ASKED = ("device.yaml", "mine.nets:small", "--input", "3,16,16", "--store", "store")


def test_every_width_of_every_group_is_in_the_table(project):
    done = run(*ASKED, "--mode", "exhaustive", "--out", "table.parquet")
    assert done.returncode == 0, done.stderr
    table, about = read_table("table.parquet", "latency")
    assert set(table["network"]) == {"mine.nets:small"} and set(table["kind"]) == {"block"}
    assert (about["input"], about["mode"], about["curves_decided"]) == ([3, 16, 16], "exhaustive", 1)
    (curve,) = curves_from_table(table, 1.0).values()
    assert (curve.group, curve.widths) == ("inner", tuple(range(1, 34)))
    stopped = {"by": "precision", "widths": list(curve.widths), "tolerance": curve.tolerance}
    assert about["stopped"] == {"inner": stopped} and about["looks"] == {} and about["batch"] == 1
    width_groups = WidthGroups(exported("mine.nets:small", (3, 16, 16)))
    inner = next(group for group in width_groups.groups if group.name == "inner")
    cost = cost_model_from(MODEL)
    truth = [
        cost.cost_us(layers_of(block_of(width_groups, inner, width).model())) / 1e3 for width in curve.widths
    ]
    assert list(curve.latency_ms) == pytest.approx(truth, rel=1e-3)
    said = done.stdout.splitlines()
    assert said[0].startswith(
        "mine.nets:small on vdev (onnxruntime virtual-1): 33 points, 1 of 1 curve decided"
    )
    assert "Slice (/Slice) does not keep channels apart" in done.stdout
    assert said[-1] == "Written: table.parquet (33 rows). Every burst is in store."


def test_a_map_finds_the_steps_with_fewer_points_and_others_can_read_it(project):
    assert main(["sweep", *ASKED, "--groups", "inner", "--out", "table.parquet"]) == 0
    table, _ = read_table("table.parquet", "latency")
    curve = curves_from_table(table, 1.0)["inner"]
    assert len(curve.widths) <= budget(33)
    exact = {change.before for change in changes(curve) if change.exact and change.ratio > 1.04}
    assert {8, 16, 24, 32} & exact == {8, 16, 24, 32}
    assert json.loads(table["neighbour_widths"].iloc[0]) == {"stem (+1 tied)": 12}
    assert main(["export-table", "table.parquet", "--format", "csv", "--out", "table.csv"]) == 0
    again = read_table("table.csv", "latency")[0]
    assert again["shape"].tolist() == table["shape"].tolist()
    Path("copy.yaml").write_text(yaml.safe_dump({"copy": {"transport": "virtual", "table": "table.parquet"}}))
    assert main(["sweep", "copy.yaml", *ASKED[1:], "--groups", "inner", "--out", "copy.csv"]) == 0
    assert curves_from_table(read_table("copy.csv", "latency")[0], 1.0)["inner"].widths == curve.widths


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mine.nets:big",), r"mine\.nets:big: no such function .*Write package\.module:function"),
        (("mine.net:small",), r"no such function .*No module named"),
        ((":small",), r"no such function"),
        (("mine.nets:",), r"no such function"),
        (("mine.nets:number",), r"it fails .*not callable"),
        (("mine.nets:fails",), r"it fails \(RuntimeError: no weights here\)\. .*without arguments"),
        (("mine.nets:nothing",), r"gives NoneType, no torch\.nn\.Module"),
        (("mine.nets:small", "--input", "1,16,16"), r"cannot be exported for an input of 1,16,16 \(RuntimeError"),
        ((*ASKED[1:], "--groups", "stem"), r"groups: no such width group: 'stem'\. Known: inner"),
        (("mine.nets:small", "--level", "0.5"), r"--level: goes with networks of the configuration only"),
        (("mine.nets:small", "--mode", "targets"), r"--mode targets: goes with networks of the configuration only"),
        (("mobilenet", "--input", "3,16,16"), r"--input: belongs to package\.module:function"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(words, message, project, capsys):
    assert main(["sweep", "device.yaml", *words, "--out", "table.csv"]) == 1
    said = capsys.readouterr()
    assert re.match(rf"error: .*{message}", said.err), said.err
    assert said.err.count("\n") == 1 and not said.out and not Path("table.csv").exists()


@pytest.fixture
def table(project) -> str:
    """The map of the group that can be changed."""
    assert main(["sweep", *ASKED, "--groups", "inner", "--out", "table.parquet"]) == FINE
    return "table.parquet"


def test_its_table_can_be_drawn_rechecked_exported_and_imported(table, capsys):
    assert main(["export-table", table, "--format", "json", "--out", "table.json"]) == FINE
    assert main(["export-table", table, "--format", "csv", "--out", "table.csv"]) == FINE
    for form in ("table.parquet", "table.json", "table.csv"):
        assert main(["staircase", form, "--group", "inner", "--out", "steps.png"]) == FINE
        assert Path("steps.png").stat().st_size > 10_000
        Path("steps.png").unlink()
        words = [
            "recheck",
            "device.yaml",
            "--table",
            form,
            "--store",
            "store",
            "--network",
            "mine.nets:small",
        ]
        assert main([*words, "--input", "3,16,16"]) == FINE
    assert main([*words[:3], table, *words[4:]]) == FINE  # the table says the input
    assert capsys.readouterr().out.count("level 1 inner  holds    step 8->9, step 16->17") == 4
    assert main(["import-table", "table.json", "--device", "device.yaml"]) == FINE
    assert "shapes not (the network is its author's own" in capsys.readouterr().out
    again = read_table("tables/vdev-mine.nets-small.parquet", "latency")[0]
    assert again.equals(read_table(table, "latency")[0])


def test_a_recheck_finds_what_has_become_stale(table, capsys):
    cost = {**MODEL, "tile_out": 16}
    Path("new.yaml").write_text(yaml.safe_dump({"vdev": {"transport": "virtual", "cost_model": cost}}))
    assert main(["recheck", "new.yaml", "--table", table, "--network", "mine.nets:small"]) == FINDING
    assert "level 1 inner  STALE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"--network: the table is of mine\.nets:small.* Give --network mine\.nets:small"),
        (("--network", "mine.nets:big"), r"mine\.nets:big: no such function"),
        (("--network", "mine.nets:other"), r"inner: the table is not of mine\.nets:other .*: its block at width"),
        (("--network", "mine.nets:bare"), r"inner: the table is not of mine\.nets:bare .*it has no such width group"),
        (("--network", "mine.nets:small", "--input", "3,8,8"), r"for an input of 3,8,8: its block at width"),
    ],
)  # fmt: skip
def test_a_recheck_with_another_network_is_refused(words, message, table, capsys):
    assert main(["recheck", "device.yaml", "--table", table, "--store", "store", *words]) == FINDING
    assert re.match(rf"error: .*{message}", said := capsys.readouterr().err), said
    assert said.count("\n") == 1


def test_a_table_of_another_batch_or_without_an_input_says_so(table, capsys):
    settings = yaml.safe_load(Path("device.yaml").read_text())["vdev"]
    Path("two.yaml").write_text(yaml.safe_dump({"vdev": {**settings, "batch": 2}}))
    words = ["--store", "store", "--network", "mine.nets:small"]
    assert main(["recheck", "two.yaml", "--table", table, *words]) == FINDING
    assert "timed with batch 1, vdev has 2" in capsys.readouterr().err
    assert main(["export-table", table, "--format", "csv", "--out", "t.csv"]) == FINE
    assert main(["recheck", "device.yaml", "--table", "t.csv", *words]) == FINDING
    assert "--input: the table does not say the shape of an image" in capsys.readouterr().err
    assert main(["export-table", table, "--format", "json", "--out", "t.json"]) == FINE
    Path("t.json").write_text(re.sub(r'"input": \[[^]]*\]', '"input": ["3"]', Path("t.json").read_text()))
    assert main(["recheck", "device.yaml", "--table", "t.json", *words]) == FINDING
    assert "t.json: input: is no shape of an image" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["halp", "ofa", "netadapt"])
def test_a_format_of_layers_has_no_place_for_it(form, table, capsys):
    out = f"out.{'yaml' if form == 'ofa' else 'json'}"
    assert main(["export-table", table, "--format", form, "--out", out]) == FINDING
    assert re.search(
        rf"--format: {form} adds up layers.* has no tiles.* Write csv or json", capsys.readouterr().err
    )
    assert not Path(out).exists()


def test_a_function_belongs_to_a_table_of_ones_own(table, capsys):
    assert (
        main(
            [
                "sweep",
                "device.yaml",
                "densenet",
                "--groups",
                "block1.layer1",
                "--store",
                "store",
                "--out",
                "d.csv",
            ]
        )
        == FINE
    )
    capsys.readouterr()
    assert main(["recheck", "device.yaml", "--table", "d.csv", "--network", "mine.nets:small"]) == FINDING
    assert "--network: the table is of densenet" in capsys.readouterr().err


def test_an_image_has_a_sensible_number_of_channels(project, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "device.yaml", "mobilenet", "--channels", "99999", "--out", "t.csv"])
    assert stop.value.code == USAGE
    assert "argument --channels: 99999 is not a whole number from 1 to 1024" in capsys.readouterr().err


def test_an_engine_that_takes_no_onnx_is_refused(project, capsys):
    Path("device.yaml").write_text(yaml.safe_dump({"vdev": {"engine": "litert"}}))
    assert main(["sweep", *ASKED, "--out", "table.csv"]) == 1
    assert "litert takes no ONNX" in capsys.readouterr().err


QUICK = ("--rounds", "3", "--min-step", "1")


def here(project: Path) -> Path:
    """This machine as the device; returns the path of its lock."""
    lock = project / "lock"
    Path("device.yaml").write_text(yaml.safe_dump({"here": {"lock_path": str(lock), "burst_ms": 0.3}}))
    return lock


def test_on_this_machine(project):
    here(project)
    assert main(["sweep", *ASKED, "--groups", "/inner/Conv", *QUICK, "--out", "table.csv"]) == 0
    table = read_table("table.csv", "latency")[0]
    assert set(table["group"]) == {"inner"} and (table["latency_ms"] > 0).all() and table["width"].max() == 33


def test_waiting_for_the_lock_does_not_count_as_seconds_of_the_sweep(project):
    """Another process has the board until two seconds after the sweep has begun to wait for it."""
    released_at = []
    with open(here(project), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def release() -> None:
            released_at.append(time.monotonic())
            fcntl.flock(lock, fcntl.LOCK_UN)

        class Waiting(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "waiting for the board" in record.getMessage():
                    threading.Timer(2.0, release).start()

        logging.getLogger("hakd.boards").addHandler(handler := Waiting())
        try:
            assert main(["sweep", *ASKED, *QUICK, "--out", "table.parquet"]) == 0
        finally:
            logging.getLogger("hakd.boards").removeHandler(handler)
    ended_at = time.monotonic()
    assert len(released_at) == 1
    _, about = read_table("table.parquet", "latency")
    assert 0 < about["seconds"] < ended_at - released_at[0]
