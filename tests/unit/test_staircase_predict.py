"""Additive prediction: the coefficient is found, outliers do not move it, the audit is honest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from hakd.records.errors import HakdError
from hakd.staircase.predict import Overhead, fit_overhead, predict, predict_left_out

times = st.lists(
    st.tuples(st.floats(0.05, 5), st.floats(0.7, 1.3), st.integers(1, 30)), min_size=1, max_size=15
)


@given(st.floats(0.5, 1.5), st.lists(st.floats(0.05, 5), min_size=1, max_size=20))
def test_a_factor_is_found(value, sums):
    overhead = fit_overhead(sums, [value * s for s in sums])
    assert overhead == Overhead("factor", pytest.approx(value), len(sums))
    assert predict(sums, overhead) == pytest.approx([value * s for s in sums])


@given(st.floats(0.0, 0.01), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_an_overhead_per_tile_is_found(value, tiles):
    sums = [0.05 * n + 0.1 for n in tiles]
    measured = [s - value * (n - 1) for s, n in zip(sums, tiles, strict=True)]
    overhead = fit_overhead(sums, measured, tiles)
    assert predict(sums, overhead, tiles) == pytest.approx(measured)
    if max(tiles) > 1:
        assert overhead.value == pytest.approx(value, abs=1e-9)


@given(times)
def test_the_fit_minimises_the_absolute_relative_error(rows):
    sums, factors, tiles = map(np.array, zip(*rows, strict=True))
    measured = sums * factors
    joints = tiles - 1

    def loss_factor(c):
        return np.abs(c * sums / measured - 1).sum()

    def loss_tile(o):
        return np.abs((sums - o * joints) / measured - 1).sum()

    for loss, value in (
        (loss_factor, fit_overhead(sums, measured).value),
        (loss_tile, fit_overhead(sums, measured, tiles).value),
    ):
        best = min(
            optimize.minimize_scalar(loss, bounds=(value - 2, value + 2), method="bounded").fun,
            loss(value * 1.01 + 1e-4),
            loss(value * 0.99 - 1e-4),
        )
        assert loss(value) <= best + 1e-6


def test_one_odd_network_does_not_move_the_fit():
    sums = np.linspace(0.2, 2, 11)
    measured = sums * 0.97
    measured[5] *= 1.8
    assert fit_overhead(sums, measured).value == pytest.approx(0.97)


def test_a_prediction_never_falls_below_the_mean_tile():
    assert predict(1.0, Overhead("per_tile", 0.5, 3), 10) == pytest.approx(0.1)
    with pytest.raises(HakdError, match="tiles: a per-tile overhead needs"):
        predict(1.0, Overhead("per_tile", 0.5, 3))


def test_each_network_is_predicted_without_itself():
    sums, measured = [0.5, 1.0, 2.0], np.array([0.5, 1.0, 4.0])
    ratio = predict_left_out(sums, measured) / measured
    # The last network, twice as slow as its sum, never helps to predict itself; the others weigh more than it does.
    assert ratio == pytest.approx([1, 1, 0.5])


def test_a_lone_network_is_predicted_by_its_plain_sum():
    assert predict_left_out([0.1], [0.11], [5]) == pytest.approx([0.1])


def test_an_overhead_per_tile_is_exact_for_networks_it_was_not_fitted_to():
    tiles = [5, 10, 20, 14]
    sums = [0.05 * n for n in tiles]
    measured = [s - 0.004 * (n - 1) for s, n in zip(sums, tiles, strict=True)]
    assert predict_left_out(sums, measured, tiles) == pytest.approx(measured)
    assert max(np.array(sums) / measured) > 1.05


@pytest.mark.parametrize(
    ("sums", "measured", "tiles", "words"),
    [
        ([], [], None, "as many sums"),
        ([1.0], [1.0, 2.0], None, "as many sums"),
        ([1.0], [0.0], None, "not positive"),
        ([float("nan")], [1.0], None, "not positive"),
        ([1.0], [1.0], [0], "a number of tiles"),
        ([1.0], [1.0], [3, 4], "a number of tiles"),
    ],
)
def test_bad_input_is_one_clear_error(sums, measured, tiles, words):
    with pytest.raises(HakdError, match=words):
        fit_overhead(sums, measured, tiles)
