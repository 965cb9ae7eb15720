"""The few widths that are timed decide as all widths would."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_staircase_shapes import comb, costs, flat, hump, sampled, sawtooth, slope

from hakd.choosing.snap import snap
from hakd.records.errors import HakdError
from hakd.staircase.plan import extend, map_widths, targets


def planned(cost, width, full, residual=0.002, limit=40):
    """The curve after timing the targets and all extensions; how many rounds of extension it took."""
    widths = set(targets(width, full))
    for rounds in range(limit):
        curve = sampled(cost, widths, residual)
        more = extend(curve, width, full)
        assert not widths & set(more)
        if not more:
            return curve, rounds
        widths |= set(more)
    raise AssertionError("extensions do not end")


def test_targets_are_the_named_ones():
    assert targets(50, 100) == [8, 16, 24, 32, 40, 48, 50, 51, 52, 56, 64, 72, 80, 88, 96, 100]
    assert targets(64, 64) == [8, 16, 24, 32, 40, 48, 56, 64]
    assert targets(3, 5) == [3, 4, 5]
    assert targets(1, 1) == [1]
    assert map_widths(20) == [8, 16, 20]


@given(st.data())
def test_targets_hold_pruned_next_and_full_width_and_stay_within(data):
    full = data.draw(st.integers(1, 300))
    width = data.draw(st.integers(1, full))
    found = targets(width, full)
    assert found == sorted(set(found)) and found[0] >= 1 and found[-1] == full
    assert {width, min(width + 1, full)} <= set(found)
    for modulus in (4, 8, 16, 32):
        following = (width // modulus + 1) * modulus
        assert following > full or following in found


@settings(max_examples=60, deadline=None)
@given(costs, st.data())
def test_extensions_end_and_stay_within(cost, data):
    full = data.draw(st.integers(1, 200))
    width = data.draw(st.integers(1, full))
    curve, _ = planned(cost, width, full)
    assert curve.widths[-1] == full


@pytest.mark.parametrize("tread", [4, 8, 16, 32])
@pytest.mark.parametrize("reading", ["hakd", "hakd_free"])
def test_on_staircases_the_plan_decides_as_all_widths_do(tread, reading):
    """Steps of 6 %, the smallest that matter."""
    cost, full, wrong = (lambda w: 0.1 * 1.06 ** -(-w // tread)), 160, 0
    everything = sampled(cost, range(1, full + 1))
    for width in range(1, full + 1):
        curve, rounds = planned(cost, width, full)
        assert rounds <= 2
        chosen, wanted = (snap(c, width, full, reading).width_to for c in (curve, everything))
        wrong += chosen != wanted
    assert wrong <= 0.02 * full


@pytest.mark.parametrize("modulus", [4, 8])
def test_on_combs_the_plan_decides_as_all_widths_do(modulus):
    cost, full = comb(modulus), 128
    everything = sampled(cost, range(1, full + 1))
    for width in range(9, full + 1):
        curve, rounds = planned(cost, width, full)
        assert rounds <= 4
        for reading in ("hakd", "hakd_free"):
            assert (
                snap(curve, width, full, reading).width_to == snap(everything, width, full, reading).width_to
            )


def test_on_a_hump_the_plan_crosses_the_cliff_and_no_more():
    cost, full = hump(49, 64), 128
    everything = sampled(cost, range(1, full + 1))
    for width in range(49, 65):
        curve, _ = planned(cost, width, full)
        for reading in ("hakd", "hakd_free"):
            assert (
                snap(curve, width, full, reading).width_to == snap(everything, width, full, reading).width_to
            )


def test_on_sawteeth_the_plan_is_never_wider_than_all_widths_allow():
    cost, full = sawtooth(), 160
    everything = sampled(cost, range(1, full + 1))
    same = 0
    for width in range(1, full + 1):
        curve, _ = planned(cost, width, full)
        free, truth = (snap(c, width, full, "hakd_free").width_to for c in (curve, everything))
        assert free <= truth
        same += free == truth
    assert same / full > 0.7  # real sawteeth: 0.72


def test_a_slope_is_hardly_extended_and_a_flat_curve_is_mapped():
    assert planned(slope(0.004), 50, 128)[1] == 0
    curve, rounds = planned(flat(), 50, 128)
    assert rounds == 1 and {52, 60, 68, 124} <= set(curve.widths)


def test_a_fall_asks_for_the_ends_of_the_gap_beside_it():
    curve = sampled(comb(4), targets(63, 128))
    assert {65, 71} <= set(extend(curve, 63, 128)) and 65 not in curve.widths
    curve = sampled(comb(4), targets(101, 128))  # 101, 102 (+1 %), 104 (a tooth)
    assert 103 in extend(curve, 101, 128)


def test_unknown_noise_is_not_extended():
    assert extend(sampled(flat(), targets(50, 128), residual=None), 50, 128) == []


@pytest.mark.parametrize("width", [0, 65, -1])
def test_widths_that_do_not_fit_are_refused(width):
    with pytest.raises(HakdError, match=r"width: a width of -?\d+ channels of 64"):
        targets(width, 64)
    with pytest.raises(HakdError, match=r"width: a width of"):
        extend(sampled(flat(), [8, 16]), width, 64)
