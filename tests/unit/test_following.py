"""Sweeps followed on a computed board: what stops them, and that the figures are those of the truth."""

import pytest

from benchmarks.computed import Block, ComputedBoard, Truth, block_line, block_point
from benchmarks.planner import true_curve
from hakd.boards import Device
from hakd.boards.cost_model import cost_model_from
from hakd.choosing.snap import snap
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder
from hakd.study.measuring import Measuring
from hakd.sweeping.following import follow
from hakd.sweeping.looks import LOOKS, MOST
from hakd.sweeping.modes import MODES


def convolution(channels: int):
    b = Builder(48, 16)
    b.tile = "block"
    return b.graph(b.conv(b.input, "conv", Segment("g", channels), 1))


BLOCKS = [Block(f"conv {full}", full, convolution) for full in (40, 96, 128)]


def followed(mode: str, noise: dict, widths=(21, 50, 77), seed: int = 3, sessions: int = 1):
    model = cost_model_from({"tile_out": 16, "us_per_mmac": 40.0, "noise": noise, "seed": seed})
    truth = Truth(model)
    device = Device("computed", "virtual", cost_model=model.to_dict())
    board = ComputedBoard(device, truth, seed)
    for _ in range(sessions):
        lines = [
            block_line(block, width, MODES[mode], 1.0) for block, width in zip(BLOCKS, widths, strict=True)
        ]
        found = follow(board, lines, Measuring(), block_point(BLOCKS[0], 24, device))
    return lines, found, board, truth


def test_exhaustive_times_every_width_and_without_noise_gets_the_truth():
    lines, _, _, truth = followed("exhaustive", {})
    for line in lines:
        assert line.curve.widths == tuple(range(1, line.full + 1))
        assert line.precise and line.look == 1
        exact = true_curve(truth, line.block)
        assert line.curve.latency_ms == pytest.approx(exact.latency_ms, rel=1e-4)


@pytest.mark.parametrize("reading", ["hakd", "hakd_free"])
def test_targets_decide_as_exhaustive_in_a_tenth_of_the_points(reading):
    noise = {"sigma": 0.003, "spike_probability": 0.02, "drift": 0.03, "process_sigma": 0.01}
    few, _, _, truth = followed("targets", noise)
    for line in few:
        wanted = snap(true_curve(truth, line.block), line.width, line.full, reading)
        assert snap(line.curve, line.width, line.full, reading).width_to == wanted.width_to
    assert sum(len(line.keys) for line in few) <= 24


def test_a_quiet_device_is_looked_at_once_and_a_noisy_one_until_the_budget_is_spent():
    lines, *_ = followed("targets", {"sigma": 0.001})
    assert all(line.precise and line.look == 1 for line in lines)
    lines, *_ = followed("targets", {"sigma": 0.12})
    assert all(not line.precise and line.look == LOOKS for line in lines)
    assert not any(line.curve.trusted or line.decided or line.settled for line in lines)


def test_others_at_work_for_less_than_a_burst_are_not_seen_in_the_fastest_calls():
    """They slow half of the calls by 1.3 on average, in some bursts nearly all of them."""
    noise = {"interference_share": 0.45, "interference_factor": 1.3}
    (calm, *_), (busy, found, *_) = (followed("exhaustive", {**one, "sigma": 0.001}) for one in ({}, noise))
    for one, other in zip(calm, busy, strict=True):
        assert other.curve.latency_ms == pytest.approx(one.curve.latency_ms, rel=0.01)
        timed = [found.by_key[key] for key in other.keys.values()]
        assert sum(e.median_ms > 1.1 * e.latency_ms for e in timed) > 0.2 * len(timed)


@pytest.mark.parametrize("sessions", [1, 2, 3, 4])
def test_a_later_session_looks_further_at_what_was_not_told_up_to_twelve_looks_in_all(sessions):
    lines, found, *_ = followed("targets", {"sigma": 0.12}, sessions=sessions)
    looks = min(sessions * LOOKS, MOST)
    assert any(not line.settled for line in lines)
    for line in lines:
        assert line.look == looks if not line.settled else line.precise and line.look <= looks
        assert found.by_key[line.keys[line.width]].processes >= Measuring().processes * line.look
    lines, *_ = followed("targets", {"sigma": 0.001}, sessions=sessions)
    assert all(
        line.precise and line.decided and line.look == 1 for line in lines
    )  # nothing is left to look at


def test_a_computed_board_keeps_the_rules_of_a_session():
    """Nothing of a purpose is timed twice, and the reference point comes with every process."""
    _, _, board, _ = followed("targets", {"sigma": 0.01})
    device, before = board.device, board.processes
    points = [block_point(BLOCKS[0], width, device) for width in (3, 4)]
    first = board.measure(points, Measuring().one_process(), "again", points[0])
    again = board.measure(points, Measuring().one_process(), "again", points[0])
    assert first == again and board.processes == before + 1
    assert len(first[points[0].key]) == 20 and len(first[points[1].key]) == 10


def test_an_unpruned_group_is_trusted_by_the_noise_of_the_whole_sweep():
    lines, found, *_ = followed("targets", {"sigma": 0.004}, widths=(40, 50, 77))
    curve = lines[0].curve
    assert curve.widths == (40,) and curve.trusted and lines[0].look == 1
    assert curve.residual_p95 == found.residual_p95
