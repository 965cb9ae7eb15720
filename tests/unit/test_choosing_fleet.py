"""One choice for several devices against brute force and simulated devices; what sharing costs each."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.choosing.fleet import choose_for_all, shared_candidates, sharing_costs
from hakd.choosing.fresh import Fresh
from hakd.choosing.joint import NoneFits
from hakd.choosing.tile_costs import Cost, TileTable, latency_of
from hakd.choosing.within_budgets import within_budgets
from hakd.records.errors import HakdError
from hakd.staircase.ratio import Ratio, plain
from tests.unit.tile_networks import brute_force, budget_at, every, small

NAMES = ("a", "b", "c")
WIDTHS = list(range(8, 129, 8))
VALUES = {"g": {w: float(w) for w in WIDTHS}, "h": {w: w / 2 for w in WIDTHS}}


def others(tiles, seed, count):
    """As many devices more to which other widths are dear."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield [
            TileTable(
                tile.name,
                tile.groups,
                {key: ms * rng.uniform(0.5, 2) for key, ms in tile.latency_ms.items()},
                dict(tile.sigma_ms),
            )
            for tile in tiles
        ]


def value_of(values, widths):
    return sum(values[group][width] for group, width in widths.items())


@settings(max_examples=20)
@given(shape=st.sampled_from(["chain", "residual"]), seed=st.integers(0, 10**6), share=st.floats(0.3, 0.9))
def test_three_devices_keep_their_budgets_and_sharing_costs_what_brute_force_says(shape, seed, share):
    values, tiles = small(shape, seed, widths=3)
    parts = [tiles, *others(tiles, seed + 1, 2)]
    costs = [
        Cost(name, part, budget_at(values, part, share)) for name, part in zip(NAMES, parts, strict=True)
    ]
    best = brute_force(values, costs)
    if best is None:
        with pytest.raises(NoneFits, match="each can be kept alone"):
            choose_for_all(values, costs)
        return
    found = choose_for_all(values, costs)
    assert all(found.upper_ms[cost.name] <= cost.budget_ms * (1 + 1e-6) for cost in costs)
    assert best - found.value <= 0.01 * abs(best)
    costs_of_sharing = sharing_costs(values, costs, found.widths)
    for name, cost in zip(NAMES, costs, strict=True):
        shared = costs_of_sharing[name]
        assert shared.lost == pytest.approx(-found.value) and shared.own_lost <= shared.lost
        assert shared.own_lost == pytest.approx(-value_of(values, shared.own_widths))
        assert -shared.own_lost >= brute_force(values, [cost]) * 1.01 - 1e-9  # values are below zero
        assert latency_of(cost, shared.own_widths)[1] <= cost.budget_ms * (1 + 1e-6)
        assert shared.own_ms == latency_of(cost, shared.own_widths)[0]
        assert set(shared.elsewhere) == set(NAMES) - {name}
        for other in costs:
            if other is not cost:
                ratio = latency_of(other, shared.own_widths)[0] / other.budget_ms
                assert shared.elsewhere[other.name] == pytest.approx(ratio)


def test_a_network_that_keeps_a_budget_by_definition_counts_as_a_devices_own():
    tile = TileTable("t", ("g",), {(8,): 0.5, (16,): 0.9}, {(8,): 0.01, (16,): 0.01})
    values, cost = {"g": {8: -1.0, 16: 0.0}}, Cost("a", [tile], 0.9)
    other = Cost("b", [tile], 0.6)
    alone = sharing_costs(values, [cost, other], {"g": 8})
    assert alone["a"].own_widths == {"g": 8} and alone["a"].own_lost == alone["a"].lost == 1  # 0.9 +- 0.01
    allowed = sharing_costs(values, [cost, other], {"g": 8}, {"a": {"g": 16}})
    assert allowed["a"].own_widths == {"g": 16} and allowed["a"].own_lost == 0
    assert allowed["a"].elsewhere == {"b": pytest.approx(1.5)} and allowed["b"].own_lost == 1


def test_an_impossible_device_is_named():
    tile = TileTable("t", ("g",), {(8,): 0.5}, {(8,): 0.0})
    costs = [Cost("fast", [tile], 0.6), Cost("slow", [tile], 0.4)]
    with pytest.raises(NoneFits, match=r"0.6 ms on fast, 0.4 ms on slow.*no widths keep it on slow alone"):
        choose_for_all({"g": {8: 0.0}}, costs)


def test_candidates_of_all_devices_are_timed_on_each():
    found = shared_candidates([{"g": [8, 16], "h": [4]}, {"g": [12, 16], "h": [4, 2]}])
    assert found == {"g": [8, 12, 16], "h": [2, 4]}


# --- verification on simulated devices: `a` pays for g, `b` for h


def table(group: str) -> TileTable:
    return TileTable(group, (group,), {(w,): w / 100 for w in WIDTHS}, {(w,): 0.0 for w in WIDTHS})


TILES = {"a": [table("g")], "b": [table("h")]}


def solve(asked):
    return choose_for_all(VALUES, [Cost(name, tiles, asked[name]) for name, tiles in TILES.items()])


def devices(factors, half=0.001, budgets=None):
    """Each takes `factors` times what its table says; remembers what it was asked."""

    def time_fresh(widths):
        time_fresh.asked.append(dict(widths))
        found = {}
        for name, group in (("a", "g"), ("b", "h")):
            ms = factors[name] * widths[group] / 100
            ratio = ms / (budgets or {"a": 1.0, "b": 0.5})[name]
            found[name] = Fresh(ms, Ratio(ratio, ratio - half, ratio + half))
        return found

    time_fresh.asked = []
    return time_fresh


BUDGETS = {"a": 1.0, "b": 0.5}
FIRST_EXCEEDED = {"a": Fresh(2.0, Ratio(1.05, 1.01, 1.09)), "b": Fresh(0.4, Ratio(0.8, 0.79, 0.81))}


def test_predictions_that_hold_are_accepted_at_once():
    kept = within_budgets(solve, devices({"a": 1.0, "b": 1.0}), BUDGETS)
    assert kept.widths == {"g": 96, "h": 48} and len(kept.steps) == 1 and kept.taken is kept.steps[0]
    assert kept.reason.startswith("verified: at most 0.961")
    (step,) = json.loads(json.dumps(plain(kept.steps)))
    assert step["devices"]["b"]["fresh_ms"] == pytest.approx(0.48)
    assert step["devices"]["a"]["ratio_high"] == kept.taken.devices["a"].ratio.high


@given(st.floats(1.0, 1.8), st.floats(1.0, 1.8), st.floats(0.001, 0.02))
def test_only_what_is_exceeded_is_tightened_until_all_truly_keep_their_budgets(first, second, half):
    fresh = devices({"a": first, "b": second}, half)
    kept = within_budgets(solve, fresh, BUDGETS)
    assert first * kept.widths["g"] / 100 <= 1 and second * kept.widths["h"] / 100 <= 0.5
    assert all(one.ratio.kept for one in kept.taken.devices.values()) and len(fresh.asked) <= 4
    for before, after in zip(kept.steps, kept.steps[1:], strict=False):
        for name, budget in BUDGETS.items():
            one, other = before.devices[name], after.devices[name]
            assert other.asked_ms < one.asked_ms if not one.ratio.kept else other.asked_ms == one.asked_ms
            assert one.asked_ms <= budget
    if first * 0.96 + half <= 1:
        assert kept.widths["g"] == 96  # the other device's trouble is not its own


def test_without_success_it_is_the_fallback_or_says_on_which_device_it_is_not_verified():
    def never(widths):
        return dict(FIRST_EXCEEDED)

    kept = within_budgets(solve, never, BUDGETS, {"g": 50, "h": 50})
    assert kept.widths == {"g": 50, "h": 50} and kept.taken is None and len(kept.steps) == 4
    assert kept.reason == "not verified in 4 tries: the network that gave the budget"
    kept = within_budgets(solve, never, BUDGETS)
    assert kept.taken.devices["b"].ratio.kept and not kept.taken.devices["a"].ratio.kept
    assert kept.reason.endswith("the budget may be exceeded on a by 9.0% at most")
    assert kept.reason.startswith("not verified in 4 tries")


@pytest.mark.parametrize("answers", [0, 1, 2])
@pytest.mark.parametrize("silent", ["a", "b", "ab"])
def test_a_device_that_cannot_compare_is_named_and_leaves_the_fallback_or_the_best_so_far(answers, silent):
    asked = []

    def time_fresh(widths):
        asked.append(dict(widths))
        found = dict(FIRST_EXCEEDED)
        return found if len(asked) <= answers else found | dict.fromkeys(silent)

    words = f"not verified, no two processes timed it on {', '.join(silent)}"
    kept = within_budgets(solve, time_fresh, BUDGETS, {"g": 50, "h": 50})
    assert kept.widths == {"g": 50, "h": 50} and kept.taken is None
    assert kept.reason == f"{words}: the network that gave the budget"
    assert len(kept.steps) == answers and len(asked) == answers + 1
    asked.clear()
    if not answers:
        with pytest.raises(
            HakdError, match=r"choosing\.budgets: no choice could be timed against its budget\. See"
        ):
            within_budgets(solve, time_fresh, BUDGETS)
        return
    kept = within_budgets(solve, time_fresh, BUDGETS)
    assert kept.taken is kept.steps[0] and kept.widths == kept.steps[0].widths
    assert kept.reason == f"{words}: the budget may be exceeded on a by 9.0% at most"


def test_budgets_below_everything_are_an_error_or_the_fallback():
    fresh = devices({"a": 1.0, "b": 1.0})
    with pytest.raises(NoneFits, match="no widths keep it on b alone"):
        within_budgets(solve, fresh, {"a": 1.0, "b": 0.01})
    kept = within_budgets(solve, fresh, {"a": 1.0, "b": 0.01}, {"g": 8, "h": 8})
    assert kept.widths == {"g": 8, "h": 8} and not kept.steps and not fresh.asked
    tight = {"a": 1.0, "b": 0.1}
    kept = within_budgets(solve, devices({"a": 1.0, "b": 20.0}, budgets=tight), tight)
    assert "nothing in the tables keeps" in kept.reason and kept.widths["h"] == 8


def test_every_width_is_seen_by_brute_force():
    assert sum(1 for _ in every(small("chain", 1, widths=3)[0])) == 81
