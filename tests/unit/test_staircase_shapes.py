"""What `features` and `has_step` say about latency curves like those of real engines."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.features import Step, features
from hakd.records.errors import HakdError
from hakd.staircase.curve import (
    Curve,
    curve_from,
    has_step,
    line_shape,
    shape_from,
    tolerance,
)
from hakd.staircase.estimate import Estimate, Estimates
from tests.unit.shapes import comb, flat, hump, sampled, sawtooth, slope, staircase


@pytest.mark.parametrize(
    ("residual", "min_step", "wanted"),
    [
        (0, 0.06, 0.01),
        (0.004, 0.06, 0.01),
        (0.005, 0.06, 0.01),
        (0.011, 0.06, 0.022),
        (0.016, 0.06, 0.03),
        (0.2, 0.06, 0.03),
        (0.2, 0.12, 0.06),
        (0.0, 0.019, 0.0095),
        (None, 0.06, None),
    ],
)
def test_tolerance_is_twice_the_residual_at_least_one_percent_and_half_a_step_at_most(
    residual, min_step, wanted
):
    assert tolerance(residual, min_step) == pytest.approx(wanted)


@given(st.floats(0, 10), st.floats(0.001, 1))
def test_tolerance_is_never_above_half_the_smallest_step_whatever_the_noise(residual, min_step):
    found = tolerance(residual, min_step)
    assert 0 < found <= min_step / 2
    assert found >= min(0.01, min_step / 2)


@pytest.mark.parametrize(
    ("cost", "width", "wanted"),
    [
        (staircase(), 40, "steps"),
        (staircase(), 49, "steps"),  # plateau 49-64, then up
        (comb(), 63, "steps"),
        (sawtooth(), 33, "steps"),
        (hump(), 40, "steps"),
        (slope(), 40, "line"),
        (slope(0.01), 1, "line"),
        (flat(), 8, "flat"),
        (slope(-0.0005, 0.2), 8, "flat"),  # wider is faster: nothing to hold back from
    ],
)
@pytest.mark.parametrize("dense", [True, False])
def test_shapes_are_told_apart_from_dense_and_sparse_samples(cost, width, wanted, dense):
    widths = range(1, 129) if dense else {width, width + 1, *range(8, 129, 8)}
    curve = sampled(cost, widths, 0.004, noise=0.0005)
    assert shape_from(curve, width) == wanted
    assert has_step(curve, width) is (wanted != "line")


def test_a_plateau_between_pruned_and_full_width_is_flat_and_counts_as_a_step():
    curve = sampled(staircase(16), [9, 10, 12, 16], 0.004, noise=0.0005)
    assert shape_from(curve, 9) == "flat" and has_step(curve, 9)


@pytest.mark.parametrize("residual", [0.003, 0.008, 0.012])
def test_noise_on_a_slope_rarely_looks_like_a_step(residual):
    sigma = residual / 1.96 / 2  # of the mean of two processes whose ratio has this p95
    curves_ = [sampled(slope(0.004), range(24, 129, 8), residual, sigma, seed) for seed in range(300)]
    assert np.mean([has_step(curve) for curve in curves_]) < 0.02


@pytest.mark.parametrize("residual", [0.003, 0.008, 0.012])
def test_a_staircase_with_the_smallest_step_that_matters_is_seen_through_noise(residual):
    """Equal relative steps of 6 % a plateau of 16, sampled at multiples of 8."""
    sigma = residual / 1.96 / 2
    for seed in range(200):
        curve = sampled(lambda w: 0.1 * 1.06 ** -(-w // 16), range(40, 129, 4), residual, sigma, seed)
        assert curve.trusted and has_step(curve)


def test_one_or_two_points():
    assert line_shape([5], [1.0], 0.01) == "flat"
    assert line_shape([5, 6], [1.0, 1.004], 0.01) == "flat"
    assert line_shape([5, 6], [1.0, 1.02], 0.01) == "line"


def test_features_of_a_staircase():
    found = features(sampled(staircase(16), range(1, 65)))
    assert [(plateau.left, plateau.right) for plateau in found.plateaus] == [
        (1, 16),
        (17, 32),
        (33, 48),
        (49, 64),
    ]
    assert [(step.before, step.after) for step in found.steps] == [(16, 17), (32, 33), (48, 49)]
    assert found.steps[0].ratio == pytest.approx(0.18 / 0.14)
    assert not found.cliffs and not found.humps and found.comb is None


def test_features_of_a_hump():
    found = features(sampled(hump(49, 64), range(1, 97)))
    assert found.humps == ((49, 64),)
    assert [(cliff.before, cliff.after) for cliff in found.cliffs] == [(64, 65)]
    assert found.cliffs[0] == Step(64, 65, pytest.approx(staircase()(65) / hump()(64)))


@pytest.mark.parametrize("modulus", [2, 4, 8, 16])
def test_features_name_the_modulus_of_a_comb(modulus):
    assert features(sampled(comb(modulus), range(64, 161))).comb == modulus
    assert features(sampled(comb(modulus), range(64, 161), noise=0.002)).comb == modulus


def test_a_curve_of_unknown_noise_is_one_tread():
    found = features(sampled(staircase(), range(1, 65), residual=None))
    assert len(found.plateaus) == 1 and not found.steps and not found.humps


def test_a_slope_is_cut_where_it_leaves_the_tolerance_of_a_plateaus_first_width():
    curve = sampled(slope(), range(50, 101))
    for plateau in features(curve).plateaus:
        assert curve.at(plateau.right) <= curve.at(plateau.left) * (1 + curve.eps)


@pytest.mark.parametrize(
    ("widths", "latency"),
    [
        ((), ()),
        ((2, 1), (1.0, 1.0)),
        ((1, 1), (1.0, 1.0)),
        ((1,), (0.0,)),
        ((1,), (np.nan,)),
        ((1, 2), (1.0,)),
    ],
)
def test_a_curve_refuses_what_is_none(widths, latency):
    none = (None,) * len(widths)
    with pytest.raises(HakdError, match=r"conv3: a curve needs"):
        Curve("conv3", None, {}, widths, latency, none, none, latency, 0.001, 0.01)


def test_a_width_that_was_not_timed_is_named():
    with pytest.raises(HakdError, match=r"g: width 7 was not timed"):
        sampled(flat(), [8, 16]).at(7)


def _sweep(logs: np.ndarray, components: Iterable[int] | None = None) -> Estimates:
    found = {
        f"k{i}": Estimate(f"k{i}", float(np.exp(row.mean())), None, None, 0.1, 0.1, 20, 0, 2, component)
        for i, (row, component) in enumerate(zip(logs, components or [0] * len(logs), strict=True))
    }
    gaps = np.abs(logs[:, 1] - logs[:, 0])
    return Estimates(found, float(np.percentile(gaps, 95)), {}, (), logs)


def test_a_curve_has_the_residual_of_its_own_widths():
    logs = np.zeros((40, 2))
    logs[20:, 1] = 0.2  # half of the sweep is bad
    curve = curve_from(_sweep(logs), "g", 0.5, {}, {8 * (i + 1): f"k{i}" for i in range(10)})
    assert curve.residual_p95 == 0 and curve.trusted


def test_a_short_curve_has_at_least_the_residual_of_the_sweep():
    logs = np.zeros((40, 2))
    logs[4:, 1] = 0.012
    curve = curve_from(_sweep(logs), "g", 0.5, {}, {8 * (i + 1): f"k{i}" for i in range(4)})
    assert curve.residual_p95 == pytest.approx(0.012)


def test_widths_on_unconnected_scales_are_not_trusted_and_failed_ones_left_out():
    sweep = _sweep(np.zeros((6, 2)), [0, 0, 0, 1, 1, 1])
    keys = {8 * (i + 1): f"k{i}" for i in range(6)}
    curve = curve_from(sweep, "g", 0.5, {}, {**keys, 64: "failed"})
    assert curve.widths == (8, 16, 24, 32, 40, 48)
    assert not curve.trusted and "share no point" in curve.reason
    assert curve_from(sweep, "g", 0.5, {}, {8: "k0", 16: "k1", 24: "k2"}).trusted
    with pytest.raises(HakdError, match=r"conv1: none of its widths was timed"):
        curve_from(sweep, "conv1", 0.5, {}, {8: "failed"})
