"""Successive halving: who stays, how long each trains, and what is recorded."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.choosing.race import BASELINES, kept_after, race_cost, race_record, rung_steps, survivors
from hakd.records.errors import HakdError

ACCURACIES = st.lists(st.sampled_from([0.5, 0.6, 0.7, 0.8, math.nan]), min_size=1, max_size=12)


def named(scores):
    return {f"arch{number}": score for number, score in enumerate(scores)}


@given(st.integers(1, 200))
def test_each_rung_keeps_half_and_the_last_one(contestants):
    kept = kept_after(contestants)
    assert len(kept) == math.ceil(math.log2(contestants))
    before = [contestants, *kept]
    assert all(after == math.ceil(one / 2) for one, after in zip(before, kept, strict=False))
    assert not kept or kept[-1] == 1


@given(ACCURACIES, st.integers(0, 12))
def test_the_best_stay_in_their_order_and_the_first_of_equals(accuracies, keep):
    scores = named(accuracies)
    found = survivors(scores, keep)
    assert len(found) == min(max(keep, 1), len(scores))
    assert found == [arch for arch in scores if arch in found]
    known = {arch: -1.0 if math.isnan(score) else score for arch, score in scores.items()}
    order = list(scores)
    for out in set(scores) - set(found):
        for one in found:
            earlier = order.index(one) < order.index(out)
            assert known[one] > known[out] or (known[one] == known[out] and earlier)


def test_steps_double_and_the_cost_is_that_of_all():
    assert [rung_steps(100, rung) for rung in (1, 2, 3)] == [100, 200, 400]
    assert kept_after(8) == [4, 2, 1] and kept_after(5) == [3, 2, 1] and kept_after(1) == []
    assert race_cost(8, 100, 64) == {"steps": 2400, "images": 153600}
    assert race_cost(5, 10, 1)["steps"] == 5 * 10 + 3 * 20 + 2 * 40
    assert race_cost(1, 100, 64) == {"steps": 0, "images": 0}


def contestants(*origins):
    return [{"arch": f"arch{number}", "origin": origin} for number, origin in enumerate(origins)]


def test_the_record_says_who_won_and_why():
    field = contestants("joint/saliency", "joint/macs", "round16", "runner-up", "runner-up")
    halvings = [
        {"arch2": 0.7, "arch0": 0.7, "arch1": 0.9, "arch3": math.nan, "arch4": 0.8},
        {"arch4": 0.91, "arch1": 0.95, "arch0": 0.91},
        {"arch0": 0.97, "arch1": 0.96},
    ]
    found = race_record(field, halvings, 10, 32)
    assert found["winner"] == "arch0" and found["origin"] == "joint/saliency" and found["baseline"]
    assert found["finalists"] == ["arch0", "arch1"]
    assert [one["kept"] for one in found["halvings"]] == [
        ["arch0", "arch1", "arch4"],
        ["arch0", "arch1"],
        ["arch0"],
    ]
    assert [one["steps"] for one in found["halvings"]] == [10, 20, 40]
    assert found["halvings"][0]["scores"]["arch3"] is None and found["cost"] == race_cost(5, 10, 32)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("origin", "baseline"), [*((one, True) for one in BASELINES), ("joint/macs", False), ("runner-up", False)]
)
def test_a_baselines_win_is_said_to_be_one(origin, baseline):
    assert (
        race_record(contestants(origin, "runner-up"), [{"arch0": 1.0, "arch1": 1.0}], 1, 1)["baseline"]
        is baseline
    )
    alone = race_record(contestants(origin), [], 1, 1)
    assert (alone["winner"], alone["finalists"], alone["baseline"]) == ("arch0", ["arch0"], baseline)


@given(st.integers(1, 20), st.randoms())
def test_the_best_of_all_wins_when_scores_never_change(number, rng):
    field = contestants(*["runner-up"] * number)
    scores = {one["arch"]: rng.random() for one in field}
    running, halvings = list(scores), []
    for keep in kept_after(number):
        halvings.append({arch: scores[arch] for arch in running})
        running = survivors(halvings[-1], keep)
    assert race_record(field, halvings, 5, 8)["winner"] == max(scores, key=scores.get)


def test_scores_of_another_race_are_refused():
    field = contestants("round16", "runner-up", "runner-up")
    first = {"arch0": 0.1, "arch1": 0.2, "arch2": 0.3}
    with pytest.raises(HakdError, match="1 halvings of 3 contestants"):
        race_record(field, [first], 1, 1)
    with pytest.raises(HakdError, match=r"rung 2 has scores of arch0, arch2.*from its first rung"):
        race_record(field, [first, {"arch0": 0.1, "arch2": 0.3}], 1, 1)
    with pytest.raises(HakdError, match="without contestants"):
        kept_after(0)
