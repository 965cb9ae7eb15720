"""The joint choice against brute force, on chains, dense and residual networks; its baselines; fleets."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.choosing import joint_program
from hakd.choosing.joint import NoneFits, OutOfTime, choose
from hakd.choosing.joint_program import GAP
from hakd.choosing.table_baselines import knapsack, latency_greedy, separable
from hakd.choosing.tile_costs import Cost, TileTable, latency_of, value_of
from hakd.records.errors import HakdError
from tests.unit.tile_networks import SHAPES, brute_force, budget_at, every, small


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(0.02, 1),
    noise=st.sampled_from([0.0, 0.01, 0.1]),
    hump=st.sampled_from([1.0, 1.4]),
)
def test_it_is_as_good_as_brute_force_within_one_per_cent(shape, seed, share, noise, hump):
    values, tiles = small(shape, seed, noise=noise, hump=hump)
    cost = Cost("d", tiles, budget_at(values, tiles, share), overhead_ms=-0.0)
    best = brute_force(values, [cost])
    found = choose(values, [cost])
    assert found.upper_ms["d"] <= cost.budget_ms * (1 + 1e-6)
    assert latency_of(cost, found.widths) == (found.latency_ms["d"], found.upper_ms["d"])
    assert best - found.value <= 0.01 * abs(best)
    assert best - found.value <= found.gap * unit(found, values) + 2e-6 * largest(values)
    assert found.gap <= GAP and not found.note
    assert found.value == pytest.approx(sum(values[g][w] for g, w in found.widths.items()))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 1), own=st.sampled_from([0.0, 1.0]))
def test_what_does_not_add_up_over_groups_is_as_good_as_brute_force(shape, seed, share, own):
    """Products of widths by tile, as multiply-accumulates are, alone or beside values of widths."""
    values, tiles = small(shape, seed)
    values = {group: {w: own * value for w, value in some.items()} for group, some in values.items()}
    worth = {tile.name: {key: float(math.prod(key)) for key in tile.latency_ms} for tile in tiles}
    cost = Cost("d", tiles, budget_at(values, tiles, share))
    found = choose(values, [cost], worth=worth)
    fits = [widths for widths in every(values) if latency_of(cost, widths)[1] <= cost.budget_ms]
    best = max(value_of(values, tiles, widths, worth) for widths in fits)
    assert found.upper_ms["d"] <= cost.budget_ms * (1 + 1e-6)
    assert found.value == pytest.approx(value_of(values, tiles, found.widths, worth))
    assert best - found.value <= 0.01 * max(abs(best), 0.01 * max(map(largest, (values, worth))))


@pytest.mark.parametrize("shape", ["chain", "stages"])
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), share=st.floats(0.3, 0.9), noise=st.sampled_from([0.0, 0.03]))
def test_a_fleet_keeps_every_budget_and_nothing_better_does(shape, seed, share, noise):
    values, tiles = small(shape, seed, noise=noise)
    rng = np.random.default_rng(seed + 1)
    other = [  # a device to which other widths are dear
        TileTable(
            tile.name,
            tile.groups,
            {key: ms * rng.uniform(0.5, 2) for key, ms in tile.latency_ms.items()},
            dict(tile.sigma_ms),
        )
        for tile in tiles
    ]
    costs = [Cost(name, part, budget_at(values, part, share)) for name, part in (("a", tiles), ("b", other))]
    best = brute_force(values, costs)
    if best is None:
        with pytest.raises(NoneFits, match=r"ms on a.*ms on b"):
            choose(values, costs)
        return
    found = choose(values, costs)
    assert all(found.upper_ms[cost.name] <= cost.budget_ms * (1 + 1e-6) for cost in costs)
    assert best - found.value <= 0.01 * abs(best)
    assert all(choose(values, [cost]).value >= found.value - 1e-4 * abs(found.value) for cost in costs)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), low=st.floats(0.05, 0.9), more=st.floats(0.01, 0.5))
def test_more_time_never_keeps_less(seed, low, more):
    values, tiles = small("chain", seed)
    tight = choose(values, [Cost("d", tiles, budget_at(values, tiles, low))])
    loose = choose(values, [Cost("d", tiles, budget_at(values, tiles, low) * (1 + more))])
    assert loose.value >= tight.value - 1e-3 * abs(tight.value)


def test_probability_one_half_ignores_the_errors_and_more_costs_value():
    tile = TileTable("t", ("g",), {(8,): 0.5, (16,): 0.6}, {(8,): 0.05, (16,): 0.05})
    values, cost = {"g": {8: -1.0, 16: 0.0}}, Cost("d", [tile], 0.7)
    free, sure = choose(values, [cost], 0.5), choose(values, [cost], 0.99)
    assert free.widths == {"g": 16} and free.latency_ms == free.upper_ms
    assert sure.widths == {"g": 8} and sure.upper_ms["d"] == pytest.approx(0.5 + 2.326 * 0.05, abs=1e-4)


def largest(values):
    return max(abs(value) for some in values.values() for value in some.values())


def unit(found, values):
    """What a gap is relative to."""
    return max(abs(found.value), 0.01 * largest(values))


def large(seed):
    """A network whose program takes the solver more than its root: 12 groups of 8 widths in a chain."""
    rng = np.random.default_rng(seed)
    widths = list(range(8, 72, 8))
    values = {f"g{i}": {w: -rng.lognormal() * (1 - w / 72) ** 2 for w in widths} for i in range(12)}
    tiles = []
    for i in range(11):
        latency = {(a, b): a * b * rng.uniform(0.5, 1.5) / 1000 for a in widths for b in widths}
        sigma = {key: 0.05 * ms for key, ms in latency.items()}
        tiles.append(TileTable(f"t{i}", (f"g{i}", f"g{i + 1}"), latency, sigma))
    return values, [Cost("d", tiles, 11 * 0.5)]


def stop_programs(monkeypatch, nodes):
    """Every program ends after so many nodes of its search tree, as it would at a limit of its time."""
    milp = joint_program.milp

    def stopped(*args, options, **kwargs):
        return milp(*args, options={**options, "node_limit": nodes, "presolve": False}, **kwargs)

    monkeypatch.setattr(joint_program, "milp", stopped)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_search_that_ends_early_gives_its_best_and_claims_no_more(monkeypatch, caplog, seed):
    values, costs = large(seed)
    best = choose(values, costs)
    assert best.gap <= GAP and best.note == "" and not caplog.text
    stop_programs(monkeypatch, 1)
    found = choose(values, costs)
    assert found.upper_ms["d"] <= costs[0].budget_ms * (1 + 1e-6)
    assert best.value - found.value <= found.gap * unit(found, values) + GAP * abs(best.value)
    assert found.gap > GAP
    assert (
        found.note == f"best known, at most {found.gap:.2%} from the best possible"
        and found.note in caplog.text
    )


def test_the_time_limit_is_one_of_the_whole_search():
    values, costs = large(0)
    best = choose(values, costs)
    for limit_s in (0.1, 0.3, 1.0):
        start = time.monotonic()
        try:
            found = choose(values, costs, time_limit_s=limit_s)
        except OutOfTime:
            found = None
        assert time.monotonic() - start < limit_s + 2
        if found is not None:
            assert found.upper_ms["d"] <= costs[0].budget_ms * (1 + 1e-6)
            assert best.value - found.value <= found.gap * unit(found, values) + GAP * abs(best.value)


def test_what_was_not_found_in_time_is_not_said_not_to_exist(monkeypatch):
    values, costs = large(0)
    stop_programs(monkeypatch, 0)
    with pytest.raises(OutOfTime, match=r"meet the budget \(5.5 ms on d\) were found in 60 s; there may be"):
        choose(values, costs)


def test_a_wide_error_does_not_hide_what_fits():
    """The fastest on average is too uncertain; what is left lies under a tangent of less noise alone."""
    tile = TileTable("t", ("g",), {(8,): 0.5, (16,): 0.6}, {(8,): 0.5, (16,): 0.001})
    found = choose({"g": {8: 0.0, 16: -1.0}}, [Cost("d", [tile], 0.61)])
    assert found.widths == {"g": 16}


def test_tiny_and_huge_numbers_choose_alike():
    values, tiles = small("chain", 11)
    cost = Cost("d", tiles, budget_at(values, tiles, 0.5))
    found = choose(values, [cost]).widths
    for value_scale, time_scale in ((1e-9, 1.0), (1e9, 1.0), (1.0, 1e-4), (1.0, 1e5)):
        scaled = [
            TileTable(
                t.name,
                t.groups,
                {k: ms * time_scale for k, ms in t.latency_ms.items()},
                {k: ms * time_scale for k, ms in t.sigma_ms.items()},
            )
            for t in tiles
        ]
        worth = {g: {w: v * value_scale for w, v in some.items()} for g, some in values.items()}
        assert choose(worth, [Cost("d", scaled, cost.budget_ms * time_scale)]).widths == found


def test_overhead_counts_and_of_equal_values_the_faster_is_taken():
    tile = TileTable("t", ("g",), {(8,): 0.5, (16,): 0.4, (24,): 0.9}, {(8,): 0.0, (16,): 0.0, (24,): 0.0})
    values = {"g": {8: -1.0, 16: -1.0, 24: 0.0}}
    assert choose(values, [Cost("d", [tile], 1.0)]).widths == {"g": 24}
    found = choose(values, [Cost("d", [tile], 1.0, overhead_ms=0.2)])
    assert found.widths == {"g": 16} and found.latency_ms["d"] == pytest.approx(0.6)
    assert choose(values, [Cost("d", [tile], 0.75, overhead_ms=-0.2)]).widths == {"g": 24}


def test_a_combination_that_was_not_timed_is_not_chosen():
    latency = {(8, 8): 0.1, (8, 16): 0.1, (16, 8): 0.1}  # (16, 16) failed on the device
    tile = TileTable("t", ("a", "b"), latency, dict.fromkeys(latency, 0.0))
    found = choose({"a": {8: -1.0, 16: 0.0}, "b": {8: -2.0, 16: 0.0}}, [Cost("d", [tile], 1.0)])
    assert found.widths == {"a": 8, "b": 16}


@pytest.mark.parametrize(
    ("budget", "probability", "name", "words"),
    [
        (1e-6, 0.95, "d", "none of the timed widths meet the budget.*1e-06 ms on d.*Raise the budget"),
        (0.0, 0.95, "d", "a budget of 0.0 ms"),
        (math.nan, 0.95, "d", "a budget of nan ms"),
        (1.0, 0.2, "d", r"0.2 is not in \[0.5, 1\)"),
        (1.0, 0.95, "strange", "no values are known for strange"),
    ],
)
def test_what_cannot_be_is_one_clear_error(budget, probability, name, words):
    values, tiles = small("chain", 1)
    if name != "d":
        tiles = [TileTable("t", (name,), {(8,): 0.1}, {(8,): 0.0})]
    with pytest.raises(HakdError, match=words):
        choose(values, [Cost("d", tiles, budget)], probability)


@pytest.mark.parametrize(
    ("latency", "sigma"),
    [({}, {}), ({(8,): -1.0}, {(8,): 0.0}), ({(8, 8): 1.0}, {(8, 8): 0.1}), ({(8,): 1.0}, {})],
)
def test_a_table_that_is_none_is_refused(latency, sigma):
    with pytest.raises(HakdError, match="t: a tile's table needs"):
        TileTable("t", ("g",), latency, sigma)


# --- baselines


@settings(max_examples=25)
@given(shape=st.sampled_from(list(SHAPES)), seed=st.integers(0, 10**6), share=st.floats(0.2, 1))
def test_no_baseline_beats_the_joint_choice_within_the_budget(shape, seed, share):
    values, tiles = small(shape, seed)
    cost = Cost("d", tiles, budget_at(values, tiles, share))
    best = choose(values, [cost])
    twin = {group: sorted(some)[1] for group, some in values.items()}
    for method in (knapsack, latency_greedy):
        try:
            found = method(values, cost, twin)
        except NoneFits:
            continue
        if latency_of(cost, found.widths)[1] <= cost.budget_ms:
            assert found.value <= best.value + 1e-3 * abs(best.value)
    if shape == "dense":  # nothing interacts: the separable view is the whole truth
        assert knapsack(values, cost, twin).value == pytest.approx(best.value, rel=1e-3, abs=1e-9)


@given(shape=st.sampled_from(list(SHAPES)), seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_the_separable_view_is_right_at_the_twin_and_one_step_from_it(shape, seed):
    values, tiles = small(shape, seed)
    cost = Cost("d", tiles, 1.0, overhead_ms=0.05)
    twin = {group: sorted(some)[1] for group, some in values.items()}
    view = separable(cost, twin)
    for group, some in values.items():
        for width in some:
            widths = {**twin, group: width}
            assert latency_of(view, widths)[0] == pytest.approx(latency_of(cost, widths)[0])


def test_greedy_narrows_what_loses_least_per_millisecond_and_passes_a_comb():
    cheap = TileTable(
        "a", ("a",), {(64,): 1.0, (63,): 1.2, (60,): 0.8}, dict.fromkeys([(64,), (63,), (60,)], 0.0)
    )
    dear = TileTable("b", ("b",), {(64,): 1.0, (32,): 0.5}, {(64,): 0.0, (32,): 0.0})
    values = {"a": {64: 0.0, 63: -0.1, 60: -0.4}, "b": {64: 0.0, 32: -10.0}}
    for budget, expected in ((2.0, (64, 64)), (1.9, (60, 64)), (1.4, (60, 32))):
        found = latency_greedy(values, Cost("d", [cheap, dear], budget))
        assert tuple(found.widths.values()) == expected
    with pytest.raises(NoneFits, match=r"narrowing one group after the other ends at 1.3 ms"):
        latency_greedy(values, Cost("d", [cheap, dear], 1.2))


def test_a_twin_that_was_not_timed_is_one_clear_error():
    values, tiles = small("chain", 1)
    with pytest.raises(HakdError, match="g0: its pruned width was not timed"):
        knapsack(values, Cost("d", tiles, 1.0), {"g0": 3, "g1": 5, "g2": 5, "g3": 5})
