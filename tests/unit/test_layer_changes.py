"""Which layers became slower or faster since a table was made: on simulated bursts whose truth is known."""

import math

import numpy as np
import pandas as pd
import pytest

from hakd.latency_tables.layer_changes import LayerChange, layer_changes
from hakd.staircase.estimate import estimate
from hakd.staircase.ratio import Ratio
from tests.unit.bursts import TRUTH, simulate

CURVES = {(1.0, f"b{i}"): ([f"k{4 * i + j}" for j in range(4)], 0.03) for i in range(15)}
NOISE = {"noise": 0.01, "point": 0.01, "rounds": 4}


def table(**changes) -> pd.DataFrame:
    """The latency table of an earlier session."""
    processes = {f"then{i}": 1.0 + 0.03 * i for i in range(3)}
    found = estimate(simulate(TRUTH, processes, **{**NOISE, **changes})).by_key
    names = ("latency_ms", "latency_low_ms", "latency_high_ms")
    return pd.DataFrame([{"shape": key} | {n: getattr(one, n) for n in names} for key, one in found.items()])


def session(factors, seed, scale=1.0, **changes):
    """Bursts of a later session in which the points of some curves take `factors` times as long."""
    of = {key: factors.get(curve[1], 1.0) for curve, (keys, _) in CURVES.items() for key in keys}
    processes = {f"now{i}": scale * (1 + 0.04 * i) for i in range(5)}
    truth = {key: ms * of[key] for key, ms in TRUTH.items()}
    return simulate(truth, processes, seed=seed, **{**NOISE, **changes})


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.3])
def test_layers_that_changed_are_named_with_their_ratio_at_any_clock(scale):
    factors = {"b2": 1.2, "b7": 0.7}
    found_scale, found = layer_changes(table(), session(factors, 3, scale), CURVES)
    assert found_scale == pytest.approx(scale, rel=0.08)  # the processes differ by up to 16 %
    states = {one.curve[1]: one.state for one in found if one.state in ("slower", "faster")}
    assert states == {"b2": "slower", "b7": "faster"}
    assert [found[0].curve[1], found[-1].curve[1]] == ["b2", "b7"]  # sorted
    for one in found:
        assert one.ratio.low < factors.get(one.curve[1], 1.0) < one.ratio.high


def test_without_noise_the_ratios_are_exact():
    quiet = {"noise": 0.0, "point": 0.0}
    _, found = layer_changes(table(**quiet), session({"b2": 1.2}, 0, 2.0, **quiet), CURVES)
    assert found[0].ratio.value == pytest.approx(1.2, rel=1e-3)
    assert [one.state for one in found] == ["slower", *["unchanged"] * 14]


def test_all_intervals_hold_together():
    missed = 0
    for seed in range(15):
        _, found = layer_changes(table(seed=1000 + seed), session({"b2": 1.1}, seed), CURVES)
        truths = {one.curve: 1.1 if one.curve[1] == "b2" else 1.0 for one in found}
        missed += any(not one.ratio.low <= truths[one.curve] <= one.ratio.high for one in found)
    assert missed <= 3  # one is expected of 20


def test_what_is_not_known_is_undecided():
    frame = table()
    frame.loc[frame["shape"] == "k0", ["latency_low_ms", "latency_high_ms"]] = None
    bursts = session({}, 1)
    for key in CURVES[1.0, "b1"][0]:
        bursts[key] = []  # failed on the board
    del bursts["k8"]  # one point of four
    _, found = layer_changes(frame, bursts, CURVES)
    unknown = {one.curve[1]: one.state for one in found if one.ratio is None}
    assert unknown == {"b0": "undecided", "b1": "undecided"}
    assert layer_changes(frame, {}, CURVES)[0] is None


def test_points_that_a_second_look_timed_alone_count_too():
    bursts = session({"b2": 1.2}, 5)
    alone = simulate({key: 1.2 * TRUTH[key] for key in CURVES[1.0, "b2"][0]}, {"late": 1.5}, seed=9, **NOISE)
    _, found = layer_changes(table(), {key: bursts[key] + alone.get(key, []) for key in bursts}, CURVES)
    assert found[0].curve[1] == "b2" and found[0].ratio.value == pytest.approx(1.2, rel=0.03)
    assert all(np.isfinite(one.ratio.high) for one in found)


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (1.03, 1.2, "slower"),
        (1.01, 1.2, "undecided"),
        (0.99, 1.01, "unchanged"),
        (0.9, 1.1, "undecided"),
        (0.8, 0.97, "faster"),
        (0.8, 0.99, "undecided"),
    ],
)
def test_a_layer_has_changed_where_its_whole_interval_is_beyond_the_tolerance(low, high, state):
    assert LayerChange((1.0, "a"), Ratio(math.sqrt(low * high), low, high), 0.02, 4).state == state
