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
from hakd.networks.engine_model import engine_model
from hakd.networks.families import full_architecture
from hakd.networks.onnx_model import stand_in_weights
from hakd.records.arch import NetworkSpec
from hakd.records.code import CHECKOUT
from hakd.records.tables import read_table
from hakd.staircase.curve_rows import curves_from_table
from hakd.staircase.mapping import budget, changes
from hakd.sweeping.parts import engine_graph

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
        self.back, self.mixed = nn.Conv2d(33, 12, 1), nn.Conv2d(12, 8, 3, groups=4)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.back(torch.relu(self.inner(x)))
        return self.last(self.mixed(x).mean((2, 3)))

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
LACKS = "import nowhere"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A working directory with the user's own module and a device file."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "nets.py").write_text(SOURCE)
    (tmp_path / "mine" / "lacks.py").write_text(LACKS)
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


def cost_ms(width: int) -> float:
    """What the device takes for the decision block of the group `inner`."""
    spec = NetworkSpec(**read_table("table.parquet", "latency")[1]["network"])
    graph = engine_graph(full_architecture(spec).at({"inner": width})).block("inner")
    model = engine_model("onnxruntime", graph, stand_in_weights(graph), 1)
    return cost_model_from(MODEL).cost_us(layers_of(model)) / 1e3


def test_every_width_of_every_group_is_in_the_table(project):
    done = run(*ASKED, "--mode", "exhaustive", "--out", "table.parquet")
    assert done.returncode == 0, done.stderr
    table, about = read_table("table.parquet", "latency")
    assert set(table["network"]) == {"mine.nets:small"} and set(table["kind"]) == {"block", "tile"}
    assert (about["mode"], about["curves_decided"], about["batch"]) == ("exhaustive", 1, 1)
    assert about["network"]["input_channels"] == 3 and about["network"]["input_size"] == 16
    (curve,) = curves_from_table(table, 1.0).values()
    assert (curve.group, curve.widths) == ("inner", tuple(range(1, 34)))
    assert list(curve.latency_ms) == pytest.approx([cost_ms(width) for width in curve.widths], rel=1e-3)
    said = done.stdout.splitlines()
    assert said[0].startswith("mine.nets:small on vdev (onnxruntime virtual-1): ")
    assert "mixed (8) was not timed: grouped convolution mixed (4 groups)" in done.stdout
    assert said[-1].startswith("Written: table.parquet (")


def test_a_map_finds_the_steps_with_fewer_points_and_others_can_read_it(project):
    assert main(["sweep", *ASKED, "--groups", "inner", "--out", "table.parquet"]) == 0
    table, _ = read_table("table.parquet", "latency")
    curve = curves_from_table(table, 1.0)["inner"]
    assert len(curve.widths) <= budget(33)
    exact = {change.before for change in changes(curve) if change.exact and change.ratio > 1.04}
    assert {8, 16, 24, 32} & exact == {8, 16, 24, 32}
    assert json.loads(table["neighbour_widths"].iloc[0]) == {}
    assert main(["export-table", "table.parquet", "--format", "csv", "--out", "table.csv"]) == 0
    again = read_table("table.csv", "latency")[0]
    assert again["shape"].tolist() == table["shape"].tolist()
    Path("copy.yaml").write_text(yaml.safe_dump({"copy": {"transport": "virtual", "table": "table.parquet"}}))
    assert main(["sweep", "copy.yaml", *ASKED[1:], "--groups", "inner", "--out", "copy.csv"]) == 0
    assert curves_from_table(read_table("copy.csv", "latency")[0], 1.0)["inner"].widths == curve.widths


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mine.nets:big",), r"mine\.nets:big: mine\.nets has no function 'big' \(it is .*nets\.py\)\. Write"),
        (("mine.net:small",), r"no such module .*No module named 'mine\.net'"),
        (("mine.lacks:small",), r"no such module .*No module named 'nowhere'.*Install nowhere"),
        (("mine.nets:number",), r"mine\.nets has no function 'number'"),
        (("mine.nets:fails",), r"it fails in mine/nets\.py, line \d+ \(RuntimeError: no weights here\)\. .*without"),
        (("mine.nets:nothing",), r"returns NoneType, not a torch\.nn\.Module"),
        (("mine.nets:small", "--input", "1,16,16"), r"does not take an image of 1,16,16 in mine/nets\.py, line \d+ \("),
        ((*ASKED[1:], "--groups", "stm"), r"groups: no such width group: 'stm'\. Known: inner"),
        (("mine.nets:small", "--channels", "4"), r"--channels: only for networks of the configuration"),
        (("mine.nets:small", "--classes", "4"), r"--classes: only for networks of the configuration"),
        (("mobilenet", "--input", "3,16,16"), r"--input: only for package\.module:function"),
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
        given = ["--network", "mine.nets:small", "--input", "3,16,16"] if form.endswith("csv") else []
        assert main(["recheck", "device.yaml", "--table", form, "--store", "store", *given]) == FINE
    assert capsys.readouterr().out.count("level 1 inner  holds    step 8->9, step 16->17") == 3
    assert main(["import-table", "table.json", "--device", "device.yaml"]) == FINE
    assert re.search(r"\d+ shapes", capsys.readouterr().out)
    again = read_table("tables/vdev-mine.nets-small.parquet", "latency")[0]
    assert again.equals(read_table(table, "latency")[0])


def test_a_recheck_finds_what_has_become_stale(table, capsys):
    cost = {**MODEL, "tile_out": 16}
    Path("new.yaml").write_text(yaml.safe_dump({"vdev": {"transport": "virtual", "cost_model": cost}}))
    assert main(["recheck", "new.yaml", "--table", table]) == FINDING
    assert "level 1 inner  STALE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"--network: the table is of mine\.nets:small and does not describe it.* Give --network mine\.nets:small"),
        (("--network", "mine.nets:other"), r"--network: the table is of mine\.nets:small\. Leave it out"),
        (("--network", "mine.nets:small", "--input", "3,8,8"), r"inner: the table is not of this mine\.nets:small"),
    ],
)  # fmt: skip
def test_a_table_of_rows_alone_names_a_function_and_calls_nothing(words, message, table, capsys):
    assert main(["export-table", table, "--format", "csv", "--out", "t.csv"]) == FINE
    capsys.readouterr()
    assert main(["recheck", "device.yaml", "--table", "t.csv", "--store", "store", *words]) == FINDING
    assert re.match(rf"error: .*{message}", said := capsys.readouterr().err), said
    assert said.count("\n") == 1


def test_a_function_that_has_changed_is_not_that_of_the_rows(table, project, capsys):
    assert main(["export-table", table, "--format", "csv", "--out", "t.csv"]) == FINE
    source = (project / "mine" / "nets.py").read_text()
    (project / "mine" / "nets.py").write_text(
        source.replace("nn.Conv2d(12, 33, 1)", "nn.Conv2d(12, 33, 3, 1, 1)")
    )
    done = subprocess.run(
        [sys.executable, "-m", "hakd", "recheck", "device.yaml", "--table", "t.csv", "--store", "store",
         "--network", "mine.nets:small", "--input", "3,16,16"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == FINDING and "inner: the table is not of this mine.nets:small" in done.stderr


@pytest.mark.parametrize("form", ["halp", "ofa", "netadapt"])
def test_it_has_the_layers_that_other_formats_add_up(form, project, capsys):
    assert main(["sweep", *ASKED, "--out", "all.parquet"]) == FINE
    out = f"out.{'yaml' if form == 'ofa' else 'json'}"
    assert main(["export-table", "all.parquet", "--format", form, "--out", out]) == FINE
    assert Path(out).stat().st_size > 100


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


@pytest.mark.parametrize("engine", ["litert", "ncnn"])
def test_an_engine_of_another_format(engine, project):
    here(project, engine=engine)
    assert main(["sweep", *ASKED, "--groups", "inner", *QUICK, "--out", "table.csv"]) == FINE
    table = read_table("table.csv", "latency")[0]
    assert set(table["group"]) == {"inner"} and (table["latency_ms"] > 0).all()


QUICK = ("--rounds", "3", "--min-step", "1")


def here(project: Path, **settings: str) -> Path:
    """This machine as the device; returns the path of its lock."""
    lock = project / "lock"
    given = {"lock_path": str(lock), "burst_ms": 0.3, **settings}
    Path("device.yaml").write_text(yaml.safe_dump({"here": given}))
    return lock


def test_on_this_machine(project):
    here(project)
    assert main(["sweep", *ASKED, "--groups", "inner", *QUICK, "--out", "table.csv"]) == 0
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
