"""Mode `map`: few widths, and every step found, localised or listed with the gap it lies in."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.staircase.combs import comb as comb_of
from hakd.staircase.combs import comb_upside_down
from hakd.staircase.curve import Curve
from hakd.staircase.mapping import POINTS, Change, budget, changes, map_more, map_start
from tests.unit.shapes import Cost, comb, costs, flat, hump, sampled, sawtooth, slope, staircase

ROUNDS = 8  # as hakd.sweeping.modes asks


def mapped(cost: Cost, full: int, residual: float = 0.002, noise: float = 0.0, seed: int = 0) -> Curve:
    """The curve when nothing more is asked for."""
    widths = set(map_start(full))
    for _ in range(30):
        curve = sampled(cost, widths, residual, noise, seed)
        more = map_more(curve, full)
        assert more == sorted(set(more)) and not widths & set(more)
        if not more:
            return curve
        widths |= set(more)
    raise AssertionError("a map does not end")


def steps(cost: Cost, full: int, least: float) -> list[int]:
    """Widths w with a step of at least so much (log) between w and w + 1."""
    return [w for w in range(1, full) if abs(math.log(cost(w + 1) / cost(w))) > least]


def shifted(plateau: int, offset: int, ratio: float) -> Cost:
    """A staircase whose steps come after offset, offset + plateau, ...: on no modulus."""
    return lambda w: ratio ** ((w - offset - 1) // plateau)


@given(st.integers(1, 3000))
def test_the_start_is_coarse_and_within_the_budget(full):
    found = map_start(full)
    assert found == sorted(set(found)) and {found[0], found[-1]} == {1, full}
    assert len(found) <= budget(full)
    assert max(b - a for a, b in itertools.pairwise(found)) <= 16 if full > 1 else found == [1]


@settings(max_examples=80, deadline=None)
@given(costs, st.integers(2, 600))
def test_a_map_keeps_to_its_budget(cost, full):
    curve = mapped(cost, full)
    assert curve.widths[0] == 1 and curve.widths[-1] == full
    assert len(curve.widths) <= budget(full)
    if full <= 160:
        assert len(curve.widths) <= POINTS


@settings(max_examples=150, deadline=None)
@given(st.integers(3, 70), st.integers(0, 69), st.floats(1.03, 1.3), st.integers(20, 400))
def test_every_step_of_a_staircase_is_localised_or_listed(plateau, offset, ratio, full):
    """Wherever the steps lie: a curve that only rises hides nothing in a gap whose ends agree."""
    cost = shifted(plateau, offset, ratio)
    listed = changes(mapped(cost, full))
    for step in steps(cost, full, math.log1p(0.01)):
        assert any(change.before <= step < change.after for change in listed), step


@pytest.mark.parametrize("plateau", [16, 32, 64])
@pytest.mark.parametrize("full", [64, 100, 160])
def test_usual_staircases_are_localised_whole(plateau, full):
    found = changes(mapped(staircase(plateau), full))
    assert all(change.exact and change.ratio > 1 for change in found)
    assert [change.before for change in found] == list(range(plateau, full, plateau))


@pytest.mark.parametrize("at", [17, 50, 63, 80, 81, 101, 113, 158])
@pytest.mark.parametrize("ratio", [0.6, 1.1])
def test_one_jump_off_every_modulus_is_localised(at, ratio):
    """As torch does, which changes its algorithm at 81 channels."""
    found = changes(mapped(lambda w: 1.0 if w <= at else ratio, 160))
    assert found == [Change(at, at + 1, pytest.approx(ratio))]


@pytest.mark.parametrize(("left", "right"), [(49, 64), (33, 64), (40, 60), (50, 90)])
def test_a_hump_across_a_coarse_width_is_seen_on_both_sides(left, right):
    listed = changes(mapped(lambda w: 1.3 if left <= w <= right else 1.0, 160))
    for step in (left - 1, right):
        assert any(change.before <= step < change.after for change in listed)


def test_a_hump_within_one_gap_is_found_by_what_is_left_of_the_budget():
    listed = changes(mapped(lambda w: 1.3 if 51 <= w <= 60 else 1.0, 160))
    assert [change.ratio > 1 for change in listed] == [True, False]
    assert listed[0].before < 51 and listed[-1].after > 60


@pytest.mark.parametrize("modulus", [2, 4, 8])
@pytest.mark.parametrize("full", [64, 128, 160, 512])
@pytest.mark.parametrize(("slow", "slope"), [(1.1, 0.00001), (1.4, 0.0012)])
def test_the_modulus_of_a_comb_is_detected(modulus, full, slow, slope):
    """Where its teeth are faster than what lies between the multiples of 16 before and after."""
    curve = mapped(comb(modulus, slow, slope), full)
    assert comb_of(curve) == modulus
    assert len(curve.widths) <= budget(full)


@pytest.mark.parametrize("modulus", [2, 4, 8])
@pytest.mark.parametrize(("full", "slope"), [(64, 0.00001), (160, 0.0012), (512, 0.0012)])
def test_a_comb_upside_down_is_detected_with_its_modulus(modulus, full, slope):
    """Its multiples are slower, as those of 4 are over the inputs of some 1x1 convolutions."""
    curve = mapped(lambda w: (1 + slope * w) * (1.2 if w % modulus == 0 else 1), full)
    assert comb_upside_down(curve) == modulus and comb_of(curve) is None
    assert len(curve.widths) <= budget(full)


def test_a_comb_of_16_is_detected():
    assert comb_of(mapped(lambda w: 1.0 if w % 16 == 0 else 1.2, 160)) == 16


@pytest.mark.parametrize(
    "cost", [staircase(), staircase(8), hump(), slope(), flat(), shifted(7, 3, 1.05), staircase(32)]
)
@pytest.mark.parametrize("full", [64, 160, 300])
def test_what_is_no_comb_is_not_called_one(cost, full):
    assert comb_of(mapped(cost, full)) is None and comb_upside_down(mapped(cost, full)) is None


def test_a_comb_is_not_upside_down_and_a_rise_at_a_multiple_is_no_comb():
    for cost in (comb(), sawtooth(), lambda w: 1.1 ** (w // 16), lambda w: 1.02 ** (w // 4)):
        assert comb_upside_down(mapped(cost, 160)) is None


def test_sawteeth_are_listed():
    found = changes(mapped(sawtooth(), 160))
    for tooth in range(16, 160, 16):
        assert any(change.before < tooth <= change.after for change in found)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 160), st.sampled_from([0.001, 0.002, 0.004]))
def test_noise_within_the_residual_makes_no_steps(seed, full, noise):
    """Two points of noise sigma differ by more than 2 x 1.96 x sqrt(2) sigma about once in 10,000."""
    residual = 1.96 * 2**0.5 * noise
    found = changes(mapped(flat(), full, residual, noise, seed))
    assert len(found) <= 1


@pytest.mark.parametrize("noise", [0.002, 0.004])
def test_steps_above_the_tolerance_are_found_in_noise(noise):
    residual = 1.96 * 2**0.5 * noise
    for seed in range(10):
        curve = mapped(lambda w: 1.08 ** ((w - 1) // 16), 160, residual, noise, seed)
        exact = {change.before for change in changes(curve) if change.exact}
        assert exact == set(range(16, 160, 16))


def test_unknown_noise_is_not_refined():
    assert map_more(sampled(staircase(), map_start(160), residual=None), 160) == []


def test_a_map_takes_few_rounds():
    for cost in (staircase(), staircase(8), comb(), sawtooth(), hump(), slope(), flat()):
        widths, rounds = set(map_start(160)), 0
        while more := map_more(sampled(cost, widths), 160):
            widths, rounds = widths | set(more), rounds + 1
        assert rounds <= ROUNDS
