"""Verify and repair against a simulated device whose true costs are known."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.choosing.fresh import Fresh
from hakd.choosing.repair import Move, moves_from, repair, undo_order
from hakd.choosing.snap import snap
from hakd.records.errors import HakdError
from hakd.staircase.ratio import SAME, Ratio
from tests.unit.shapes import flat, sampled, staircase


class Device:
    """Times a pair: every move has a true cost (ms) on a twin of 1 ms; the interval is +- `half`."""

    def __init__(self, costs, half=0.0):
        self.costs, self.half, self.calls = costs, half, []

    def __call__(self, widths):
        moved = {group for group, width in widths.items() if group in self.costs and width != 8}
        self.calls.append(moved)
        ratio = 1 + sum(self.costs[group] for group in moved)
        return Fresh(ratio, Ratio(ratio, ratio - self.half, ratio + self.half))


def build(costs, saliency=None):
    """Moves 8 -> 16 whose curves tell the truth."""
    return [Move(g, 8, 16, (saliency or {}).get(g, 1.0), cost) for g, cost in costs.items()]


def twin_of(moves):
    return {"fixed": 5} | {move.group: move.width_from for move in moves}


cost_maps = st.dictionaries(
    st.sampled_from("abcdefghijkl"), st.floats(-0.05, 0.05).map(lambda c: round(c, 4)), max_size=12
)


def test_a_network_that_is_as_fast_is_accepted_at_once():
    moves = build({"a": -0.1, "b": 0.02})
    device = Device({"a": -0.1, "b": 0.02}, half=0.01)
    found = repair(twin_of(moves), moves, device)
    assert found.widths == {"fixed": 5, "a": 16, "b": 16}
    assert len(device.calls) == len(found.steps) == 1 and found.steps[0].reason == "accepted"
    assert (found.ratio.value, found.ratio.high) == pytest.approx((0.92, 0.93)) and not found.undone


def test_the_least_saliency_per_microsecond_goes_first():
    costs = {"dear": 0.02, "cheap": 0.002, "poor": 0.01, "saves": -0.005}
    saliency = {"dear": 10.0, "cheap": 0.9, "poor": 1.0, "saves": 0.0}
    order = [move.group for move in undo_order(build(costs, saliency))]
    assert order == ["poor", "cheap", "dear", "saves"]  # 0.1, 0.45, 0.5 per us


@given(cost_maps, st.data())
def test_moves_that_save_time_are_undone_last_and_the_largest_saving_at_the_very_end(costs, data):
    saliency = {group: data.draw(st.floats(0, 10)) for group in costs}
    order = undo_order(build(costs, saliency))
    assert sorted(move.group for move in order) == sorted(costs)
    paying = [move for move in order if move.cost_ms > 0]
    assert order[: len(paying)] == paying
    rates = [move.saliency_per_us for move in paying]
    assert rates == sorted(rates)
    savings = [-move.cost_ms for move in order[len(paying) :]]
    assert savings == sorted(savings)


@settings(max_examples=300, deadline=None)
@given(cost_maps, st.floats(0, 0.02), st.integers(1, 10))
def test_repair_ends_in_time_with_a_network_that_is_not_slower(costs, half, timings):
    moves = build(costs)
    device = Device(costs, half)
    found = repair(twin_of(moves), moves, device, max_timings=timings)
    assert len(device.calls) == len(found.steps) <= timings
    assert sorted(m.group for m in (*found.kept, *found.undone)) == sorted(costs)
    assert found.widths == twin_of(moves) | {move.group: 16 for move in found.kept}
    assert found.ratio.high <= 1.0
    if found.kept:
        assert 1 + sum(costs[move.group] for move in found.kept) + half <= 1.0 + 1e-9
    else:
        assert found.ratio == SAME and found.widths == twin_of(moves)
    undone = [group for step in found.steps for group in step.undone]
    assert undone == [move.group for move in found.undone]
    assert [{move.group for move in moves} - set(undone[:n]) for n in _before(found.steps)] == device.calls
    json.dumps(found.to_dict(), allow_nan=False)


def _before(steps):
    """How many moves were undone before each step."""
    count, counts = 0, []
    for step in steps:
        counts.append(count)
        count += len(step.undone)
    return counts


def test_one_at_a_time_when_near_and_a_quarter_when_far_off():
    costs = dict.fromkeys("abcdefgh", 0.001)
    near = repair(twin_of(build(costs)), build(costs), Device(costs, half=0.02), max_timings=20)
    assert [len(step.undone) for step in near.steps] == [1] * 8
    costs = dict.fromkeys("abcdefgh", 0.05)
    far = repair(twin_of(build(costs)), build(costs), Device(costs, half=0.001), max_timings=20)
    assert [len(step.undone) for step in far.steps] == [2, 2, 1, 1, 1, 1]
    assert "clearly slower" in far.steps[0].reason and "not shown" in near.steps[0].reason


def test_a_bound_on_timings_spreads_the_moves():
    costs = {chr(97 + i): 0.001 for i in range(20)}
    found = repair(twin_of(build(costs)), build(costs), Device(costs, half=0.1), max_timings=4)
    assert [len(step.undone) for step in found.steps] == [5, 5, 5, 5]


def test_a_limit_above_one_accepts_what_is_not_inferior():
    costs = {"a": 0.0, "b": 0.0}
    strict = repair(twin_of(build(costs)), build(costs), Device(costs, half=0.004))
    lenient = repair(twin_of(build(costs)), build(costs), Device(costs, half=0.004), limit=1.01)
    assert not strict.kept and len(lenient.kept) == 2 and lenient.limit == 1.01


def test_without_moves_nothing_is_timed():
    device = Device({})
    found = repair({"a": 8}, [], device)
    assert (
        found.widths == {"a": 8}
        and found.ratio == SAME
        and not device.calls
        and "nothing was moved" in found.reason
    )


@settings(max_examples=200, deadline=None)
@given(cost_maps.filter(bool), st.floats(0, 0.02), st.integers(1, 10), st.integers(0, 4))
def test_a_device_that_cannot_compare_leaves_the_twin_and_says_so(costs, half, timings, answers):
    """It compares a few times, then no two processes timed both networks any more."""
    moves, device, asked = build(costs), Device(costs, half), []

    def time_fresh(widths):
        asked.append(widths)
        return device(widths) if len(asked) <= answers else None

    found = repair(twin_of(moves), moves, time_fresh, max_timings=timings)
    json.dumps(found.to_dict(), allow_nan=False)
    if len(asked) <= answers:  # it ended before
        assert found.verified and found == repair(
            twin_of(moves), moves, Device(costs, half), max_timings=timings
        )
        return
    assert not found.verified and found.to_dict()["verified"] is False
    assert found.widths == twin_of(moves) and not found.kept
    assert len(found.steps) == answers and len(asked) == answers + 1  # it is not asked again
    assert sorted(move.group for move in found.undone) == sorted(costs)
    assert found.ratio == SAME
    assert found.reason == "not verified, no two processes timed both networks: the twin itself"


def test_moves_come_from_choices_that_change_a_width():
    up = snap(sampled(staircase(), range(1, 65)), 20, 64)
    stays = snap(sampled(flat(), range(1, 65)), 64, 64)
    (move,) = moves_from([up, stays], {"g": 3.0})
    assert move == Move("g", 20, 32, 3.0, 0.0) and math.isinf(move.saliency_per_us)
    with pytest.raises(HakdError, match="g: no saliency"):
        moves_from([up], {})


@pytest.mark.parametrize(
    "answer", [(float("nan"), 0.9, 1.1), (1.0, 1.1, 0.9), (1.0, 0.9, float("inf")), (0.0, 0.0, 0.0)]
)
def test_a_ratio_that_is_not_a_measurement_is_refused(answer):
    with pytest.raises(HakdError, match="verification: a ratio of"):
        repair({"a": 8}, [Move("a", 8, 16, 1.0, 0.1)], lambda widths: Fresh(1.0, Ratio(*answer)))


@pytest.mark.parametrize(
    ("moves", "words"),
    [
        ([Move("b", 8, 16, 1.0, 0.1)], "b: a move from 8 does not fit a twin of None"),
        ([Move("a", 9, 16, 1.0, 0.1)], "a: a move from 9 does not fit a twin of 8"),
        ([Move("a", 8, 16, 1.0, 0.1)] * 2, "a: a move from 8"),
        ([Move("a", 8, 16, float("nan"), 0.1)], "a: saliency and cost"),
    ],
)
def test_moves_that_do_not_fit_are_refused(moves, words):
    with pytest.raises(HakdError, match=words):
        repair({"a": 8}, moves, Device({"a": 0.1}))
    with pytest.raises(HakdError, match="verify: a positive limit"):
        repair({"a": 8}, [], Device({}), max_timings=0)
