"""Verification of choices of whole networks against a simulated device; which widths are worth timing."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.choosing.device_free import choose_device_free
from hakd.choosing.fresh import Fresh
from hakd.choosing.joint import NoneFits, OutOfTime, choose
from hakd.choosing.tile_costs import Cost, TileTable
from hakd.choosing.width_candidates import width_candidates
from hakd.choosing.within_budgets import within_budgets
from hakd.networks.families import full_widths
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.staircase.ratio import SAME, Ratio
from tests.unit.shapes import comb, sampled, slope, staircase

WIDTHS = list(range(8, 129, 8))
EXCEEDED = Fresh(2.0, Ratio(1.05, 1.01, 1.09))
TABLE = TileTable("t", ("g",), {(w,): w / 100 for w in WIDTHS}, {(w,): 0.0 for w in WIDTHS})


def solve(budget_ms: float):
    return choose({"g": {w: float(w) for w in WIDTHS}}, [Cost("d", [TABLE], budget_ms)])


def within_budget(solve, time_fresh, budget_ms, fallback=None):
    """One device is a fleet of one."""
    return within_budgets(
        lambda asked: solve(asked["d"]), lambda widths: {"d": time_fresh(widths)}, {"d": budget_ms}, fallback
    )


def ratio_of(found):
    return SAME if found.taken is None else found.taken.devices["d"].ratio


def shrinkage_of(found, budget_ms=1.0):
    return found.to_dict("d", budget_ms)["shrinkage"]


def device(factor: float, half: float = 0.001, budget_ms: float = 1.0):
    """Takes `factor` times what the table says; remembers what it was asked."""

    def time_fresh(widths):
        time_fresh.asked.append(dict(widths))
        ms = factor * widths["g"] / 100
        return Fresh(ms, Ratio(ms / budget_ms, ms / budget_ms - half, ms / budget_ms + half))

    time_fresh.asked = []
    return time_fresh


def test_a_prediction_that_holds_is_accepted_at_once():
    fresh = device(1.0)
    found = within_budget(solve, fresh, 1.0)
    assert found.widths == {"g": 96} and len(found.steps) == 1 and ratio_of(found).high <= 1
    assert shrinkage_of(found) == pytest.approx(0.0) and found.reason.startswith("verified: at most 0.961")
    assert json.loads(json.dumps(found.to_dict("d", 1.0)))["steps"][0]["fresh_ms"] == pytest.approx(0.96)


@given(st.floats(1.0, 2.0), st.floats(0.001, 0.02))
def test_a_slower_device_gets_a_tighter_choice_that_truly_keeps_the_budget(factor, half):
    fresh = device(factor, half)
    found = within_budget(solve, fresh, 1.0)
    assert factor * found.widths["g"] / 100 <= 1 and ratio_of(found).high <= 1
    assert len(found.steps) == len(fresh.asked) <= 3
    widths = [step.widths["g"] for step in found.steps]
    assert widths == sorted(set(widths), reverse=True)  # never the same again
    assert factor * (found.widths["g"] + 16) / 100 + half > 1  # and not much narrower than it has to be
    assert shrinkage_of(found) == pytest.approx(factor - 1)


def test_a_choice_that_may_not_be_the_best_says_so_and_one_that_was_not_found_claims_nothing():
    found = within_budget(lambda budget: replace(solve(budget), gap=0.034), device(1.0), 1.0)
    assert found.reason.endswith("; best known, at most 3.40% from the best possible")
    (step,) = found.to_dict("d", 1.0)["steps"]
    assert step["gap"] == 0.034 and "best known" in step["reason"]
    assert within_budget(solve, device(1.0), 1.0).to_dict("d", 1.0)["steps"][0]["gap"] <= 1e-4

    def slow(budget):
        raise OutOfTime("nothing was found in 60 s", remedy="Wait")

    assert within_budget(slow, device(1.0), 1.0, {"g": 8}).reason.startswith(
        "nothing was found in 60 s: the network"
    )
    with pytest.raises(OutOfTime):
        within_budget(slow, device(1.0), 1.0)


def test_without_success_it_is_the_fallback_or_says_that_it_is_not_verified():
    def never(widths):
        return EXCEEDED

    found = within_budget(solve, never, 1.0, {"g": 50})
    assert found.widths == {"g": 50} and ratio_of(found).value == ratio_of(found).high == 1.0
    assert (
        found.reason == "not verified in 4 tries: the network that gave the budget" and len(found.steps) == 4
    )
    found = within_budget(solve, never, 1.0)
    assert ratio_of(found).high == 1.09 and "may be exceeded by 9.0% at most" in found.reason


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_a_device_that_cannot_compare_leaves_the_fallback_or_the_best_so_far(answers):
    """It says what the second and all further choices exceed the budget by, and then nothing any more."""
    asked = []

    def time_fresh(widths):
        asked.append(dict(widths))
        return EXCEEDED if len(asked) <= answers else None

    found = within_budget(solve, time_fresh, 1.0, {"g": 50})
    assert found.widths == {"g": 50} and ratio_of(found).value == ratio_of(found).high == 1.0
    assert found.reason == "not verified, no two processes timed it: the network that gave the budget"
    assert len(found.steps) == answers and len(asked) == answers + 1
    asked.clear()
    if not answers:
        with pytest.raises(
            HakdError, match=r"choosing\.budgets: no choice could be timed against its budget\. See"
        ):
            within_budget(solve, time_fresh, 1.0)
        return
    found = within_budget(solve, time_fresh, 1.0)
    assert found.widths == found.steps[0].widths and ratio_of(found).high == 1.09
    assert found.reason.startswith(
        "not verified, no two processes timed it: the budget may be exceeded by 9.0%"
    )


def test_a_budget_below_everything_is_an_error_or_the_fallback():
    with pytest.raises(NoneFits, match=r"0.01 ms on d"):
        within_budget(solve, device(1.0), 0.01)
    found = within_budget(solve, device(1.0), 0.01, {"g": 50})
    assert found.widths == {"g": 50} and not found.steps and shrinkage_of(found) is None
    found = within_budget(solve, device(20.0, budget_ms=0.1), 0.1)  # the second choice has nothing left
    assert found.widths == {"g": 8} and "nothing in the tables keeps" in found.reason


def test_a_ratio_that_is_not_a_measurement_is_refused():
    for ratio in (
        Ratio(1.0, 0.0, 1.1),
        Ratio(1.0, 0.9, math.nan),
        Ratio(1.0, 0.9, math.inf),
        Ratio(1.2, 0.9, 1.1),
    ):
        with pytest.raises(
            HakdError, match=r"is not a measurement\. Time the networks in at least two processes"
        ):
            Fresh(1.0, ratio)


# --- candidate widths


def test_ends_of_plateaus_are_candidates_and_widths_inside_one_are_not():
    found = width_candidates(sampled(staircase(), range(1, 129)), 37, 128, most=20)
    assert found == [16, 32, 37, *range(48, 129, 16)]


def test_teeth_are_candidates_and_what_lies_between_them_is_none():
    found = width_candidates(sampled(comb(), range(40, 65)), 61, 64, lowest=40, most=20)
    assert found == [40, 44, 48, 52, 56, 60, 61, 64]


def test_a_curve_that_starts_at_the_pruned_width_gets_multiples_below_and_far_above():
    assert width_candidates(sampled(slope(), [37, 38, 40, 64, 256]), 37, 256) == [
        16,
        32,
        37,
        48,
        64,
        144,
        256,
    ]
    assert width_candidates(sampled(slope(), [37, 38, 40, 64, 256]), 37, 256, lowest=33)[0] == 37
    assert width_candidates(sampled(slope(), [7, 8, 16]), 7, 16) == [4, 6, 7, 8, 10, 16]
    assert width_candidates(sampled(slope(), [1, 2, 4]), 1, 4) == [1, 2, 4]


@given(
    shape=st.sampled_from([staircase(), comb(), slope()]),
    width=st.integers(1, 128),
    below=st.integers(0, 127),
    most=st.integers(6, 10),
    dense=st.booleans(),
)
def test_they_are_few_and_hold_the_pruned_the_full_and_the_widest_free_width(
    shape, width, below, most, dense
):
    timed = sorted({width, 128, *range(8 if dense else width // 8 * 8 + 8, 129, 8)})
    lowest = max(width - below, 1)
    curve = sampled(shape, timed)
    found = width_candidates(curve, width, 128, lowest, most)
    free = max(w for w in timed if curve.at(w) <= curve.at(width) * (1 + min(curve.eps, 0.03)))
    assert found == sorted(set(found)) and {width, 128, free} <= set(found)
    assert len(found) <= most and found[0] >= lowest and found[-1] == 128


def test_rounding_to_8_16_and_32_is_chosen_without_a_device():
    from tests.unit.builders import small_densenet

    spec = small_densenet()
    full = full_widths(spec)
    found = choose_device_free(Architecture(spec, dict.fromkeys(full, 5)), 0.9, 0)
    for multiple in (8, 16, 32):
        widths = found[f"round{multiple}"].widths
        assert widths == {group: min(multiple, size) for group, size in full.items()}
