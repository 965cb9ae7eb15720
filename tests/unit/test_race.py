"""Successive halving: who goes on, what it cost, and which files a rung needs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.choosing.race import Lap, race_rows, rung_record, steps_at, survivors, winner
from hakd.records.files import write_json
from hakd.study.races import lap_path, rung_path, runners, running


def contestants(*origins):
    entries = [
        {"arch": f"a{i}", "origin": origin, "latency_ms": 1.0, "latency_high_ms": 1.1, "kept": True}
        for i, origin in enumerate(origins)
    ]
    archs = [entry["arch"] for entry in entries]
    return {"contestants": entries, "survivors": archs, "search_s": 10.0, "budget": "round16"}


def run(accuracies, rungs, origins=None):
    """A race in which the accuracy of each contestant is the same in every rung."""
    race = contestants(*(origins or ["runner-up"] * len(accuracies)))
    for rung in range(1, rungs + 1):
        laps = {arch: Lap(accuracies[int(arch[1:])], steps_at(rung, 100) * 8, 1.0) for arch in running(race)}
        race = rung_record(race, laps, rung, rungs)
    return race


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 5))
def test_the_best_wins_and_half_leave_at_each_rung(accuracies, rungs):
    race = run(accuracies, rungs)
    best = winner(race)
    assert accuracies[int(best["arch"][1:])] == max(accuracies)
    assert best["arch"] == f"a{accuracies.index(max(accuracies))}"  # the first of equal ones
    left, images = len(accuracies), 0
    for rung in range(1, rungs + 1):
        if left > 1:
            images += left * steps_at(rung, 100) * 8
        left = 1 if rung == rungs else math.ceil(left / 2)
    assert best["search_images"] == images == sum(row["images"] for row in race_rows(race))
    assert best["search_s"] == 10.0 + sum(row["seconds"] for row in race_rows(race))
    assert [row["won"] for row in race_rows(race)].count(True) == 1


def test_later_scores_decide_and_scores_at_each_rung_are_kept():
    race = contestants("joint/saliency", "joint/macs", "round16")
    laps = {"a0": Lap(0.9, 8, 1.0), "a1": Lap(0.8, 8, 1.0), "a2": Lap(0.7, 8, 1.0)}
    race = rung_record(race, laps, 1, 2)
    assert race["survivors"] == ["a0", "a1"]
    race = rung_record(race, {"a0": Lap(0.91, 16, 2.0), "a1": Lap(0.95, 16, 2.0)}, 2, 2)
    best = winner(race)
    assert (best["arch"], best["baseline"], best["budget"]) == ("a1", False, "round16")
    assert [row["val_accuracies"] for row in race_rows(race)] == ["0.9000 0.9100", "0.8000 0.9500", "0.7000"]
    assert [row["baseline"] for row in race_rows(race)] == [True, False, True]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_survivors_keep_their_order(keep):
    assert survivors({"a": 0.1, "b": 0.3, "c": 0.2}, keep) == [["b"], ["b", "c"], ["a", "b", "c"]][keep - 1]


def test_a_rung_trains_who_is_left_and_nobody_who_is_alone(tmp_path):
    write_json(tmp_path / "snap.json", "snap", {"race": {"round16": contestants("round16", "joint/macs")}})
    write_json(tmp_path / "1.json", "race", {"race": {"round16": {"survivors": ["a1"]}}})
    assert runners(tmp_path / "snap.json", 1) == ["a0", "a1"] and runners(tmp_path / "1.json", 2) == []
    assert lap_path("results/n/search1/", "0.5", "a1", 2) == "results/n/search1/race/0.5/a1-2.safetensors"
    assert rung_path("results/n/", "0.5", "pi", 3) == "results/n/race/0.5/pi/3.json"


def test_races_of_several_budgets_share_their_laps(tmp_path):
    left = {"round16": ["a0", "a1"], "speedup2": ["a1", "a2"], "fisher": ["a3"]}
    races = {label: {"survivors": archs} for label, archs in left.items()}
    write_json(tmp_path / "1.json", "race", {"race": races})
    assert runners(tmp_path / "1.json", 2) == ["a0", "a1", "a2"]


def test_a_lap_that_diverged_is_lost_and_named_in_the_table():
    race = contestants("joint/saliency", "joint/macs")
    race = rung_record(race, {"a0": Lap(0.0, 8, 1.0, diverged=True), "a1": Lap(0.1, 8, 1.0)}, 1, 1)
    assert winner(race)["arch"] == "a1" and winner(race)["search_images"] == 16
    assert [row["diverged"] for row in race_rows(race)] == [True, False]
