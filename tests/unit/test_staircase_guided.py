"""Plans that go by a forecast: few points where it is right, the decisions of all widths where it is wrong."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.choosing.snap import READINGS, snap
from hakd.staircase.guided import (
    FEW,
    Forecast,
    guided_extend,
    guided_map_more,
    guided_map_start,
    guided_targets,
    map_points,
)
from hakd.staircase.plan import POINTS
from tests.unit.shapes import sampled, slope, staircase

FULL = 160


def surely(cost, curve=None, full: int = FULL, spread: float = 0.003) -> Forecast:
    """A forecast that is sure of a curve, right or wrong."""
    mean = np.array([math.log(cost(w)) for w in range(1, full + 1)])
    timed = curve.widths if curve else ()
    off = [math.log(ms) - mean[w - 1] for w, ms in zip(timed, curve.latency_ms, strict=True)] if curve else []
    level = float(np.median(off)) if off else 0.0
    errors = tuple(value - level for value in off)
    return Forecast(mean + level, spread**2 * np.eye(full), timed, errors, (spread,) * len(timed))


def planned(cost, predicted, width: int, full: int = FULL, spread: float = 0.003):
    widths = set(guided_targets(surely(predicted, full=full, spread=spread), width, full))
    for _ in range(20):
        curve = sampled(cost, widths)
        more = guided_extend(surely(predicted, curve, full, spread), curve, width, full)
        if not more:
            return curve
        assert not set(more) & widths and all(width <= w <= full for w in more)
        widths |= set(more)
    raise AssertionError("no end")


def wanted(cost, width: int, reading: str, full: int = FULL) -> int:
    return snap(sampled(cost, range(1, full + 1)), width, full, reading).width_to


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((6, 8, 16, 24, 32)), st.integers(10, FULL - 1))
def test_a_right_forecast_needs_few_points(plateau, width):
    cost = staircase(plateau)
    curve = planned(cost, cost, width)
    for reading in READINGS:
        assert snap(curve, width, FULL, reading).width_to == wanted(cost, width, reading)
    assert len(curve.widths) <= 5


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((8, 16, 32)), st.sampled_from((6, 8, 16, 24, 32)), st.integers(10, FULL - 1))
def test_a_wrong_forecast_changes_no_decision(plateau, predicted, width):
    cost = staircase(plateau)
    curve = planned(cost, staircase(predicted), width)
    for reading in READINGS:
        assert snap(curve, width, FULL, reading).width_to == wanted(cost, width, reading)
    assert len(curve.widths) <= POINTS


def test_a_slope_stays_whatever_was_predicted_and_predicted_it_costs_less():
    cost = slope()
    right, wrong = planned(cost, cost, 70), planned(cost, staircase(16), 70)
    for curve in (right, wrong):
        assert all(snap(curve, 70, FULL, reading).width_to == 70 for reading in READINGS)
    assert len(right.widths) == 5 < len(wrong.widths)


def test_a_step_where_a_slope_was_predicted_is_found():
    cost = staircase(16)
    for width in (21, 50, 77, 111):
        curve = planned(cost, slope(), width)
        assert snap(curve, width, FULL).width_to == wanted(cost, width, "hakd")


def test_an_unsure_forecast_gives_way_to_the_plan_without_one():
    cost = staircase(16)
    sure, unsure = planned(cost, cost, 50), planned(cost, cost, 50, spread=0.5)
    assert len(sure.widths) < FEW <= len(unsure.widths)
    assert snap(unsure, 50, FULL).width_to == 64


def test_nothing_is_pruned_nothing_is_planned():
    cost = staircase(16)
    assert guided_targets(surely(cost), FULL, FULL) == [FULL]
    assert guided_extend(surely(cost), sampled(cost, [FULL]), FULL, FULL) == []


def test_a_map_as_predicted_ends_early_and_another_is_mapped_without_a_forecast():
    cost = staircase(16)
    lengths = {}
    for predicted in (16, 24):
        widths = set(guided_map_start(surely(staircase(predicted)), 90, FULL))
        while True:
            curve = sampled(cost, widths)
            more = guided_map_more(surely(staircase(predicted), curve), curve, FULL)
            if not more:
                break
            assert not set(more) & widths
            widths |= set(more)
        lengths[predicted] = len(widths)
    assert lengths[16] <= map_points(FULL) < lengths[24] <= 25 + map_points(FULL)


def test_likely_steps_are_ranked_and_a_slope_has_none():
    found = surely(staircase(16)).steps()
    assert {type(one.before) for one in found} == {int}  # as files and hashes hold them
    assert {(one.before, one.after) for one in found} == {(w, w + 1) for w in range(16, FULL, 16)}
    assert [one.ratio for one in found] == sorted((one.ratio for one in found), reverse=True)
    assert all(one.probability > 0.9 for one in found)
    assert surely(slope()).steps() == []
    assert surely(staircase(16), spread=5.0).steps()[0].probability == pytest.approx(0.5, abs=0.02)
