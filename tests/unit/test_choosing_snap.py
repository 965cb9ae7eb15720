"""Snapping: the two readings on every shape of curve."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.choosing.snap import choice_from, snap, snap_all
from hakd.records.errors import HakdError
from hakd.staircase.curve import FREE, OPEN
from tests.unit.shapes import comb, curves, flat, hump, sampled, sawtooth, slope, staircase

readings = st.sampled_from(["hakd", "hakd_free"])
residuals = st.floats(0, 0.015) | st.floats(0.016, 0.2)  # all are decided; some are not


@settings(max_examples=400, deadline=None)
@given(curves(residuals), readings)
def test_never_narrower_wider_than_full_or_slower_than_the_tolerance(case, reading):
    curve, width, full = case
    choice = snap(curve, width, full, reading)
    assert width <= choice.width_to <= full
    assert choice.width_to in curve.widths
    assert choice.latency_to_ms <= (1 + curve.tolerance + 1e-9) * choice.latency_from_ms
    assert choice.free_channels == choice.width_to - choice.width_from
    assert choice.reason.startswith("moves" if choice.free_channels else "stays")


@settings(max_examples=400, deadline=None)
@given(curves(residuals))
def test_free_reaches_at_least_as_far_and_nothing_wider_qualifies(case):
    curve, width, full = case
    near, far = snap(curve, width, full, "hakd"), snap(curve, width, full, "hakd_free")
    assert near.width_to <= far.width_to
    verdicts = {w: curve.verdict(i, curve.index(width)) for i, w in enumerate(curve.widths)}
    if far.free_channels:
        assert all(verdicts[w] != FREE for w in curve.widths if far.width_to < w <= full)
    if near.free_channels:  # every measured width on the way is free
        assert {verdicts[w] for w in curve.widths if width <= w <= near.width_to} == {FREE}
    undecided = OPEN in {verdicts[w] for w in curve.widths if width < w <= full}
    assert near.trusted == far.trusted == (not undecided)


@settings(max_examples=200, deadline=None)
@given(curves(st.none()), readings)
def test_a_curve_of_unknown_noise_changes_nothing_and_says_so(case, reading):
    curve, width, full = case
    choice = snap(curve, width, full, reading)
    assert choice.width_to == width and not choice.trusted and choice.tolerance is None
    assert choice.reason.startswith("stays: no two processes timed it")


@pytest.mark.parametrize("reading", ["hakd", "hakd_free"])
def test_widths_of_different_scales_change_nothing(reading):
    apart = replace(sampled(staircase(), range(1, 65)), linked=False)
    choice = snap(apart, 20, 64, reading)
    assert choice.width_to == 20 and not choice.trusted
    assert "processes that share no point" in choice.reason


def test_a_width_that_cannot_be_told_ends_a_run_and_is_not_taken():
    """A step of 2 %, with a tolerance of 1 %; where it is known to +-3 % only, neither side is decided."""
    sure = sampled(lambda w: 1.0 if w <= 24 else 1.02, [*range(20, 29), 32], 0.005)
    decided = snap(sure, 20, 32, "hakd")
    assert (
        decided.width_to == 24 and decided.trusted and "right end of its run: +2.0% at 25" in decided.reason
    )
    curve = _with_half(sure, 0.03, range(25, 33))
    near, far = snap(curve, 20, 32, "hakd"), snap(curve, 20, 32, "hakd_free")
    assert near.width_to == far.width_to == 24 and not near.trusted and not far.trusted
    assert near.reason.startswith("moves") and "end of the known run: 25 is +2.0% (" in near.reason
    assert "widest timed width that is not slower; undecided: 32 is +2.0% (" in far.reason


def test_a_free_width_past_one_that_cannot_be_told_is_taken_by_the_wide_reading_alone():
    curve = _with_half(sampled(flat(), [20, 24, 28, 32], 0.005), 0.1, [24])
    assert snap(curve, 20, 32, "hakd").width_to == 20
    assert snap(curve, 20, 32, "hakd_free").width_to == 32
    assert not snap(curve, 20, 32, "hakd_free").trusted


def test_what_more_processes_would_tell_is_said():
    """An interval of 4 % where 1 % is wanted takes 16 times the processes."""
    curve = _with_half(sampled(flat(), [20, 24], 0.005), 0.04, [24])
    reason = snap(curve, 20, 24).reason
    half = np.hypot(0.04, 0.005 / 2**0.5)
    assert f"{(half / np.log1p(0.01)) ** 2:.1f} times the processes would decide it" in reason


def _with_half(curve, half, widths):
    """The curve with intervals of some widths so wide: half of each in log."""
    ends = {
        w: (ms * np.exp(-half), ms * np.exp(half))
        for w, ms in zip(curve.widths, curve.latency_ms, strict=True)
    }
    pairs = [
        ends[w] if w in widths else (low, high)
        for w, low, high in zip(curve.widths, curve.low, curve.high, strict=True)
    ]
    return replace(curve, low=tuple(low for low, _ in pairs), high=tuple(high for _, high in pairs))


@pytest.mark.parametrize("plateau", [4, 8, 16, 32])
@pytest.mark.parametrize("reading", ["hakd", "hakd_free"])
def test_the_plateaus_right_end_is_found(plateau, reading):
    curve = sampled(staircase(plateau, 0.06), range(1, 129), 0.004, noise=0.0008)
    for width in range(1, 129):
        assert snap(curve, width, 128, reading).width_to == -(-width // plateau) * plateau


@pytest.mark.parametrize("reading", ["hakd", "hakd_free"])
def test_on_a_slope_the_width_stays(reading):
    curve = sampled(slope(0.004), range(1, 129), 0.012, noise=0.003)
    for width in range(1, 125, 3):
        choice = snap(curve, width, 128, reading)
        assert choice.width_to == width and "line fits" in choice.reason


def test_a_comb_from_between_its_teeth():
    curve = sampled(comb(4), range(1, 129))
    assert snap(curve, 63, 128, "hakd").width_to == 64  # 64 fast, 65 slow
    assert snap(curve, 61, 128, "hakd").width_to == 61  # 62 is slower by more than the tolerance
    free = snap(curve, 63, 128, "hakd_free")
    assert free.width_to == 88 and "past" in free.reason  # the last tooth below 63's latency
    assert snap(curve, 64, 128, "hakd").width_to == snap(curve, 64, 128, "hakd_free").width_to == 64


def test_an_unmeasured_gap_right_after_a_fall_is_not_crossed():
    """Multiples of 4 alone cannot tell a comb from the far side of a hump."""
    sparse = sampled(comb(4), [63, 64, 68, 72, 76, 80])
    choice = snap(sparse, 63, 128)
    assert choice.width_to == 64 and "next widths not timed" in choice.reason
    hills = sampled(hump(49, 64), [63, 64, 65, 68, 72, 80, 84])
    assert snap(hills, 64, 128).width_to == 65
    known = sampled(hump(49, 64), [63, 64, 65, 66, 68, 72, 80, 84])
    assert snap(known, 64, 128).width_to == 84  # still faster than the hump was


def test_a_gap_on_a_plateau_is_crossed():
    assert snap(sampled(staircase(16), [50, 51, 52, 56, 64, 68]), 50, 128).width_to == 64


def test_free_takes_a_strictly_faster_width_past_a_cliff():
    curve = sampled(hump(49, 64), range(1, 129))
    free = snap(curve, 50, 128, "hakd_free")
    assert free.width_to == 112 and free.latency_to_ms < free.latency_from_ms and free.cost_ms < 0
    assert snap(sampled(sawtooth(), range(1, 129)), 61, 128, "hakd_free").width_to > 63


def test_a_flat_curve_goes_to_the_full_width_even_when_sampled_beyond_it():
    curve = sampled(flat(), [*range(8, 129, 8)])
    assert snap(curve, 16, 64).width_to == 64
    assert snap(curve, 64, 64).reason == "stays: nothing was pruned"
    assert snap(curve, 16, 20).reason == "stays: nothing wider was timed"


def test_the_tolerance_is_anchored_once():
    """A gentle slope with one far step: neighbours are nearly equal, the run must still stop at the tolerance."""
    curve = sampled(lambda w: 0.1 * 1.004**w * (2 if w > 100 else 1), range(1, 129))
    choice = snap(curve, 40, 128)
    assert choice.width_to == 42 and choice.latency_to_ms <= choice.latency_from_ms * 1.01


def test_a_choice_survives_json():
    choice = snap(sampled(staircase(), range(1, 65)), 20, 64)
    assert (choice.width_to, choice.free_channels, choice.full_width, choice.method) == (32, 12, 64, "hakd")
    assert choice.neighbour_widths == {"in": 32} and choice.tolerance == 0.01
    assert "+22.2% at 33" in choice.reason
    assert choice_from(json.loads(json.dumps(choice.to_dict(), allow_nan=False))) == choice
    silent = snap(sampled(staircase(), range(1, 65), residual=None), 20, 64)
    assert choice_from(json.loads(json.dumps(silent.to_dict(), allow_nan=False))).tolerance is None
    with pytest.raises(HakdError, match=r"here\.json: no choice of a width"):
        choice_from({"group": "g"}, "here.json")


def test_all_groups_of_a_network():
    curves_ = {"a": sampled(staircase(), range(1, 65)), "b": sampled(slope(), range(1, 65))}
    choices = snap_all(curves_, {"a": 20, "b": 30}, {"a": 64, "b": 64})
    assert {group: choice.width_to for group, choice in choices.items()} == {"a": 32, "b": 30}
    with pytest.raises(HakdError, match="c: has no latency curve"):
        snap_all(curves_, {"c": 3}, {"c": 4})
    with pytest.raises(HakdError, match="a: has no full width"):
        snap_all(curves_, {"a": 3}, {})


@pytest.mark.parametrize(
    ("width", "full", "reading", "words"),
    [
        (20, 64, "widest", "unknown reading 'widest'.*Known: hakd, hakd_free"),
        (65, 64, "hakd", r"width 65 is not in 1\.\.64"),
        (0, 64, "hakd", r"width 0 is not in 1\.\.64"),
        (21, 64, "hakd", "width 21 was not timed"),
    ],
)
def test_bad_input_is_one_clear_error(width, full, reading, words):
    with pytest.raises(HakdError, match=words):
        snap(sampled(flat(), [8, 20, 64, 65]), width, full, reading)
