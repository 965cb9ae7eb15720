"""The prior from other devices' tables: what it learns, what it foretells, and that it decides nothing."""

import json
import sys

import gpytorch  # the optional extra is part of the development environment: nothing here is skipped
import numpy as np
import pandas as pd
import pytest

from benchmarks.computed import Block, ComputedBoard, Truth, block_line, block_point
from benchmarks.planner import true_curve
from hakd.boards import Device
from hakd.boards.cost_model import cost_model_from
from hakd.choosing.snap import READINGS, snap
from hakd.cli import main
from hakd.latency_tables.priors import likely, prior_session, timed_curves
from hakd.networks.families import full_widths, network_spec
from hakd.ops.tensors import Segment
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.records.graph import Builder
from hakd.records.tables import write_table
from hakd.study.measuring import Measuring
from hakd.sweeping.following import follow
from hakd.sweeping.modes import MODES, guide_mode
from hakd.sweeping.parts import engine_graph
from hakd.transfer.prior import SEED, Session, TimedCurve, learn_prior
from hakd.transfer.shapes import FEATURES, STEPS, block_shape, features, plain_shape

SPEEDS = ((3.0, 12.0), (6.0, 30.0), (2.0, 50.0))  # overhead_us, us_per_mmac


def block(cin: int, kernel: int, size: int, full: int = 96) -> Block:
    """A convolution over its output channels."""

    def graph(channels: int):
        b = Builder(cin, size)
        b.tile = "block"
        return b.graph(b.conv(b.input, "conv", Segment("g", channels), kernel))

    return Block(f"{kernel} {cin} {size}", full, graph)


BLOCKS = [block(24, 1, 16), block(48, 3, 8), block(64, 1, 8), block(33, 3, 16)]
NEW = block(40, 3, 8)


def device(tile_out: int, overhead_us: float, us_per_mmac: float, **noise: float) -> Truth:
    """A virtual device of the family of those that pad outputs to `tile_out`."""
    return Truth(
        cost_model_from(
            {
                "tile_out": tile_out,
                "overhead_us": overhead_us,
                "us_per_mmac": us_per_mmac,
                "noise": noise,
                "seed": 5,
            }
        )
    )


def table(truth: Truth, parts=BLOCKS) -> list[TimedCurve]:
    """Exact times of some widths of each block."""
    found = []
    for one in parts:
        widths = tuple(sorted({1, 7, 16, 17, 31, 32, 33, 47, 48, 49, 57, 64, 65, 80, 81, 89, 96}))
        shape = block_shape(one.name, one.full, one.graph)
        found.append(TimedCurve(shape, widths, tuple(truth.ms(one, w) for w in widths), 0.004))
    return found


def learned(tile_out: int, steps: int = 40):
    return learn_prior({f"{speed}": table(device(tile_out, *speed)) for speed in SPEEDS}, steps=steps)


@pytest.fixture(scope="module")
def related():
    return learned(16)


def test_features_of_a_block_step_where_its_layers_are_padded():
    shape = block_shape(NEW.name, NEW.full, NEW.graph)
    rows = features(shape, range(1, 97))
    assert rows.shape == (96, FEATURES) and np.isfinite(rows).all()
    sixteen = rows[:, 3]  # outputs padded to multiples of 16, no overhead
    assert sixteen == pytest.approx([np.log(-(-w // 16) * 16 / w) for w in range(1, 97)])
    assert np.abs(rows[np.arange(63, 96, 64), :6]).max() == pytest.approx(
        0, abs=1e-12
    )  # nothing is lost at 64
    jumps = np.abs(np.diff(rows[:, STEPS:], axis=0)).max(axis=1)
    assert jumps[40] < 0.3  # the rest is smooth


def test_a_real_blocks_shape_is_that_of_its_graphs():
    spec = network_spec("m", {"family": "mobilenet", "multiplier": 0.5, "input_size": 32}, 3, 10, "test")
    full = full_widths(spec)

    def graph(channels: int):
        return engine_graph(Architecture(spec, {**full, "block2": channels})).block("block2")

    shape = block_shape("block2", full["block2"], graph)
    for channels in (1, 5, full["block2"]):
        macs = sum(
            (one.cout[0] + one.cout[1] * channels)
            * (1 if one.depthwise else one.cin[0] + one.cin[1] * channels)
            * one.area
            for one in shape.layers
        )
        assert macs == graph(channels).macs()


def test_a_related_devices_steps_are_told_from_four_points(related):
    truth, session = device(16, 4.0, 22.0), Session(related)
    guide = session.guiding(NEW.name, NEW.full, NEW.graph)
    exact = true_curve(truth, NEW)
    steps = {w for w in range(16, NEW.full, 16) if exact.at(w + 1) / exact.at(w) > 1.03}
    assert len(steps) == 5
    four = true_curve(truth, NEW)
    for name in ("widths", "latency_ms", "low", "high", "min_ms"):
        object.__setattr__(four, name, tuple(getattr(exact, name)[i - 1] for i in (5, 40, 65, 96)))
    object.__setattr__(four, "residual_p95", 0.004)
    guide.note(four)
    forecast = guide.forecast()
    assert {one.before for one in forecast.steps() if one.before > 8} == steps
    error = forecast.mean - np.log(exact.latency_ms)
    assert np.abs(error[3:]).max() < 0.1 and forecast.agrees()


def swept(truth: Truth, prior, mode: str = "targets"):
    board = ComputedBoard(Device("computed", "virtual", cost_model=truth.model.to_dict()), truth, 3)
    session, lines = Session(prior) if prior else None, []
    for one, width in zip(BLOCKS, (21, 50, 77, 34), strict=True):
        chosen = MODES[mode]
        if session:
            chosen = guide_mode(mode, session.guiding(one.name, one.full, one.graph))
        lines.append(block_line(one, width, chosen, 1.0))
    follow(board, lines, Measuring(), block_point(BLOCKS[0], 24, board.device))
    return lines


def test_decisions_with_a_related_prior_take_fewer_points(related):
    truth = device(16, 4.0, 22.0, sigma=0.003, process_sigma=0.01)
    plain, few = swept(truth, None), swept(truth, related)
    for line in few:
        exact = true_curve(truth, line.block)
        for reading in READINGS:
            wanted = snap(exact, line.width, line.full, reading).width_to
            assert snap(line.curve, line.width, line.full, reading).width_to == wanted
    assert sum(len(line.keys) for line in few) <= 0.8 * sum(len(line.keys) for line in plain)


@pytest.mark.parametrize("tile_out", [8, 32])
def test_an_unrelated_prior_changes_no_decision(related, tile_out):
    truth = device(tile_out, 4.0, 22.0, sigma=0.002)
    plain, other = swept(truth, None), swept(truth, related)
    for one, line in zip(plain, other, strict=True):
        for reading in READINGS:
            wanted = snap(one.curve, one.width, one.full, reading).width_to
            assert snap(line.curve, line.width, line.full, reading).width_to == wanted
    assert max(len(b.keys) - len(a.keys) for a, b in zip(plain, other, strict=True)) <= 6


def test_the_same_seed_learns_the_same():
    one, again = learned(16, steps=3), learned(16, steps=3)
    assert (one.learned.weights == again.learned.weights).all()
    shape = block_shape(NEW.name, NEW.full, NEW.graph)
    forecasts = [Session(prior).forecast("new", shape) for prior in (one, again)]
    assert (forecasts[0].covariance == forecasts[1].covariance).all()


def test_without_the_extra_one_line_names_it(monkeypatch):
    assert gpytorch.__version__
    monkeypatch.delitem(sys.modules, "hakd.transfer.kernel", raising=False)
    monkeypatch.setitem(sys.modules, "gpytorch", None)
    with pytest.raises(HakdError, match=r"^--prior: needs gpytorch .*pip install 'hakd\[transfer\]'$"):
        learned(16, steps=1)
    monkeypatch.delitem(sys.modules, "hakd.transfer.kernel", raising=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mobilenet", "--mode", "exhaustive"], "--prior: of no use where every width is timed"),
        (["mobilenet"], "no such file"),
    ],
)
def test_a_prior_that_cannot_help_is_refused_before_anything_is_timed(tmp_path, capsys, words, message):
    out = str(tmp_path / "t.csv")
    assert main(["sweep", "local", *words, "--prior", str(tmp_path / "x.parquet"), "--out", out]) == 1
    assert message in capsys.readouterr().err


# --- tables


def frame(tile_out: int = 16) -> tuple[pd.DataFrame, dict]:
    """A table of a MobileNet group, as `hakd sweep` writes it."""
    spec = network_spec(
        "mobilenet", {"family": "mobilenet", "multiplier": 0.5, "input_size": 32}, 3, 10, "test"
    )
    full = full_widths(spec)
    group, rows = "block2", []
    for width in (1, 8, 16, 17, 32, 33, 48, 49, 64):
        graph = engine_graph(Architecture(spec, {**full, group: width})).block(group)
        ms = 0.01 + 0.002 * -(-width // tile_out)
        rows.append(
            {
                "network": "mobilenet", "level": 1.0, "kind": "block", "group": group, "shape": graph.shape_key(),
                "width": width, "neighbour_widths": json.dumps({g: full[g] for g in ("block1", "block3")}),
                "latency_ms": ms, "latency_low_ms": ms, "latency_high_ms": ms, "min_ms": ms, "bursts": 20, "dropped": 0,
                "processes": 2, "residual_p95": 0.004, "trusted": True, "reason": "",
            }
        )  # fmt: skip
    return pd.DataFrame(rows), {"network": spec.to_dict(), "device": "pi", "fingerprint": "f00"}


def test_a_table_gives_its_curves_with_their_blocks():
    rows, about = frame()
    (curve,) = timed_curves(rows, about, "t")
    assert curve.widths == (1, 8, 16, 17, 32, 33, 48, 49, 64) and curve.residual_p95 == 0.004
    assert curve.shape.full == 64 and any(layer.depthwise for layer in curve.shape.layers)
    (unknown,) = timed_curves(rows, {}, "t")  # CSV does not say what network it is
    assert unknown.shape == plain_shape("block2", 64)
    with pytest.raises(HakdError, match="has another shape"):
        list(timed_curves(rows.assign(shape="0" * 16), about, "t"))


def test_a_prior_of_tables_names_its_devices_and_its_likely_steps(tmp_path):
    paths, said = [], []
    for name, tile in (("a.parquet", 16), ("b.csv", 16)):
        rows, about = frame(tile)
        write_table(tmp_path / name, "latency", rows, about if name == "a.parquet" else None)
        paths.append(str(tmp_path / name))
    session = prior_session(paths, said.append)
    assert said == ["Prior: learned from 2 curves of 2 devices."]
    assert session.about() == {"devices": ["pi f00", paths[1]], "seed": SEED, "likely_steps": {}}
    (curve,) = timed_curves(*frame(), "t")
    session.seen["mobilenet 1 block2"] = TimedCurve(curve.shape, (1, 17, 64), (0.012, 0.014, 0.018), 0.004)
    (line,) = likely(session, "mobilenet")
    assert line.startswith("  1 block2: likely, not timed: ") and "48->49" in line
    write_table(tmp_path / "c.csv", "latency", frame()[0].iloc[:3])
    with pytest.raises(HakdError, match=r"--prior: no curve of 4 widths"):
        prior_session([str(tmp_path / "c.csv")])
