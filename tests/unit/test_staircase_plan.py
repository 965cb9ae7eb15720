"""The few widths that are timed decide as all widths would."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner import judge
from benchmarks.real_engines import TRUTH, replay, truth_of
from hakd.choosing.snap import snap
from hakd.records.errors import HakdError
from hakd.staircase.combs import hidden_multiples
from hakd.staircase.plan import POINTS, SLOPE_POINTS, extend, is_settled, targets
from tests.unit.shapes import comb, costs, flat, hump, sampled, sawtooth, slope, staircase

ROUNDS = 10  # as hakd.sweeping.modes asks


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
    assert targets(50, 100) == [50, 51, 56, 60, 100]
    assert targets(63, 128) == [63, 64, 72, 120, 128]
    assert targets(64, 64) == [64]
    assert targets(3, 5) == [3, 4, 5]
    assert targets(1, 1) == [1]


@given(st.data())
def test_targets_hold_pruned_next_and_full_width_and_stay_within(data):
    full = data.draw(st.integers(1, 2048))
    width = data.draw(st.integers(1, full))
    found = targets(width, full)
    assert found == sorted(set(found)) and (found[0], found[-1]) == (width, full)
    assert min(width + 1, full) in found and len(found) <= 6
    for modulus in (8, 12, 60):
        following = (width // modulus + 1) * modulus
        assert following > full or following in found


@settings(max_examples=60, deadline=None)
@given(costs, st.data())
def test_extensions_end_and_keep_to_the_budget(cost, data):
    full = data.draw(st.integers(1, 600))
    width = data.draw(st.integers(1, full))
    curve, rounds = planned(cost, width, full)
    assert (curve.widths[0], curve.widths[-1]) == (width, full)
    assert len(curve.widths) <= POINTS and rounds <= POINTS


@pytest.mark.parametrize("plateau", [4, 8, 16, 32])
@pytest.mark.parametrize("reading", ["hakd", "hakd_free"])
def test_on_staircases_the_plan_decides_as_all_widths_do(plateau, reading):
    """Steps of 6 %, the smallest that matter."""
    cost, full, wrong = (lambda w: 0.1 * 1.06 ** -(-w // plateau)), 160, 0
    everything = sampled(cost, range(1, full + 1))
    for width in range(1, full + 1):
        curve, rounds = planned(cost, width, full)
        assert rounds <= ROUNDS and len(curve.widths) <= 10
        chosen, wanted = (snap(c, width, full, reading).width_to for c in (curve, everything))
        wrong += chosen != wanted
    assert wrong <= 0.02 * full


@pytest.mark.parametrize("modulus", [4, 8])
def test_on_combs_the_plan_decides_as_all_widths_do(modulus):
    cost, full = comb(modulus), 128
    everything = sampled(cost, range(1, full + 1))
    for width in range(9, full + 1):
        curve, rounds = planned(cost, width, full)
        assert rounds <= ROUNDS
        for reading in ("hakd", "hakd_free"):
            assert (
                snap(curve, width, full, reading).width_to == snap(everything, width, full, reading).width_to
            )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 48), st.integers(1, 12), st.floats(1.06, 1.6), st.integers(24, 640), st.data())
def test_whatever_the_moduli_no_decision_is_slower_than_the_pruned_width(tile, period, slow, full, data):
    """A block whose width is both its outputs and the next layer's inputs; extensions end within the budget."""
    cost, width = block(tile, period, slow), data.draw(st.integers(full // 8, full - 1))
    curve, rounds = planned(cost, width, full)
    assert rounds <= ROUNDS and len(curve.widths) <= POINTS
    for reading in ("hakd", "hakd_free"):
        assert cost(snap(curve, width, full, reading).width_to) <= 1.01001 * cost(width)


def block(tile: int, period: int, slow: float) -> Callable[[int], float]:
    """Outputs padded to a tile, then inputs that are `slow` where the period does not divide them."""
    return lambda w: 0.02 + 0.001 * -(-w // tile) * tile + 0.002 * w * (slow if w % period else 1)


@pytest.mark.parametrize(
    ("name", "costs_of", "moduli"),
    [
        ("tiles", lambda n: staircase(n, 0.001 * n, 0.02), (6, 10, 12, 20, 24, 48)),
        ("combs", lambda m: comb(m, 1.25), (3, 5, 6, 12)),
        ("combs of a wide group", lambda m: comb(m, 1.1), (3, 5, 6, 12)),
        ("both", lambda m: block(20, m, 1.4), (3, 5, 6, 12)),
    ],
)
def test_unusual_moduli_are_found(name, costs_of, moduli):
    """The widest free width, to the channel, and the end of the run, in about as many points as elsewhere."""
    full, same, points = 640 if "wide" in name else 160, [], []
    for modulus in moduli:
        cost = costs_of(modulus)
        everything = sampled(cost, range(1, full + 1))
        for width in range(full // 8, full, full // 40):
            curve, _ = planned(cost, width, full)
            points.append(len(curve.widths))
            for reading in ("hakd", "hakd_free"):
                chosen, wanted = (snap(c, width, full, reading).width_to for c in (curve, everything))
                same.append(chosen == wanted)
    assert sum(same) >= 0.94 * len(same)
    assert sum(points) <= (9.5 if full > 160 else 8) * len(points)


@pytest.mark.parametrize("period", [128, 16])
def test_on_a_comb_upside_down_the_plan_decides_as_all_widths_do(period):
    """Multiples of 4 are slow, as 1x1 convolutions over inputs are on two engines; alone, or with steps between."""
    full = 128

    def cost(w):
        return (0.05 + 0.0008 * w) * (1.15 if w % 4 == 0 else 1) + 0.004 * (w // period)

    everything, good = sampled(cost, range(1, full + 1)), []
    for width in range(9, full):
        curve, rounds = planned(cost, width, full)
        assert rounds <= ROUNDS
        for reading in ("hakd", "hakd_free"):
            chosen, wanted = (snap(c, width, full, reading).width_to for c in (curve, everything))
            good.append(wanted - 3 <= chosen <= wanted)
            assert cost(chosen) <= 1.011 * cost(width)
    assert sum(good) >= 0.95 * len(good)


def test_a_run_does_not_pass_multiples_that_are_not_timed_where_these_are_slow():
    cost = {60: 9, 61: 8, 64: 9.05, 65: 8.2, 67: 8.3, 70: 8.5, 96: 12}.__getitem__
    curve = sampled(cost, [60, 61, 64, 65, 67, 70, 96])
    assert hidden_multiples(curve, 0, 5) == [68] and hidden_multiples(curve, 0, 4) == []
    assert snap(curve, 60, 96).width_to == 67
    assert snap(curve, 60, 96, "hakd_free").width_to == 70
    assert 68 in extend(curve, 60, 96)


@pytest.mark.parametrize("engine", sorted(path.stem for path in TRUTH.glob("*.csv")))
def test_on_recorded_curves_of_real_engines_the_plan_decides_as_all_widths_do(engine):
    cases = [case for true in truth_of(engine).values() for case in replay(true, step=5)]
    assert len(cases) > 200
    assert sum(case["good"] for case in cases) >= 0.97 * len(cases)
    assert not any(case["lost"] for case in cases)


def test_on_a_hump_the_plan_crosses_the_cliff_and_no_more():
    cost, full = hump(49, 64), 128
    everything = sampled(cost, range(1, full + 1))
    for width in range(49, 65):
        curve, _ = planned(cost, width, full)
        for reading in ("hakd", "hakd_free"):
            chosen, wanted = (snap(c, width, full, reading).width_to for c in (curve, everything))
            assert 64 < chosen <= wanted and not judge(everything, chosen, wanted)


def test_on_sawteeth_the_plan_is_never_wider_than_all_widths_allow():
    cost, full = sawtooth(), 160
    everything = sampled(cost, range(1, full + 1))
    same = 0
    for width in range(1, full + 1):
        curve, _ = planned(cost, width, full)
        free, truth = (snap(c, width, full, "hakd_free").width_to for c in (curve, everything))
        assert free <= truth
        same += free == truth
    assert same / full > 0.6  # teeth of 16, 8 and 4 at once are no hypothesis of the search


def test_a_slope_and_a_flat_curve_are_hardly_extended():
    for cost in (slope(0.004), flat()):
        curve, rounds = planned(cost, 50, 128)
        assert rounds <= 1 and len(curve.widths) <= SLOPE_POINTS
        assert snap(curve, 50, 128).width_to == (50 if cost(128) > cost(50) else 128)


@pytest.mark.parametrize("at", [53, 61, 77, 81, 90, 101])
def test_a_rise_off_every_modulus_is_found_where_it_is(at):
    curve, _ = planned(lambda w: 1.0 if w <= at else 1.3, 50, 128)
    for reading in ("hakd", "hakd_free"):
        assert snap(curve, 50, 128, reading).width_to == at
    assert len(curve.widths) <= POINTS


def test_a_fall_asks_for_the_width_beside_it():
    curve = sampled(comb(4, 1.4, 0.00001), targets(61, 128))  # 61, 62, 64 (a tooth), 128
    assert 63 in extend(curve, 61, 128)
    curve = sampled(comb(4), [63, 64, 96, 128])
    assert 65 in extend(curve, 63, 128)


@pytest.mark.parametrize(
    ("residual", "cost", "enough"),
    [
        (0.005, staircase(16, 0.04), True),  # the tolerance is at its floor
        (0.011, staircase(16, 0.04), True),  # every width is far from the limit
        (
            0.011,
            slope(0.001, 0.05),
            False,
        ),  # 51 and 52 are within a tolerance of 2.2 %, and would not be of 1 %
        (0.016, staircase(16, 0.04), True),  # noisy, and yet every width is decided
        (0.07, staircase(16, 0.04), False),  # equal widths are known to +-7 % only
        (None, staircase(16, 0.04), False),
    ],
)
def test_a_curve_has_enough_looks_when_no_width_is_near_the_limit(residual, cost, enough):
    assert is_settled(sampled(cost, targets(50, 128), residual), 50, 128) is enough


def test_unknown_noise_is_not_extended():
    assert extend(sampled(flat(), targets(50, 128), residual=None), 50, 128) == []


def test_a_group_that_was_not_pruned_needs_one_width_and_one_look():
    curve = sampled(staircase(16, 0.04), targets(64, 64), 0.011)
    assert curve.widths == (64,) and is_settled(curve, 64, 64)
    assert extend(curve, 64, 64) == []


@pytest.mark.parametrize("width", [0, 65, -1])
def test_widths_that_do_not_fit_are_refused(width):
    with pytest.raises(HakdError, match=r"width: a width of -?\d+ channels of 64"):
        targets(width, 64)
    with pytest.raises(HakdError, match=r"width: a width of"):
        extend(sampled(flat(), [8, 16]), width, 64)


def test_a_curve_of_its_own_width_alone_asks_for_nothing():
    """All wider widths failed on the device."""
    assert extend(sampled(staircase(), [20]), 20, 64) == []
