"""What can be told of two widths: free, slower or open, and which noise lets a step pass unseen."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.boards.points import Burst
from hakd.records.errors import HakdError
from hakd.records.tables import read_table, write_table
from hakd.staircase.curve import FREE, OPEN, SLOWER, TOGETHER, Curve, curve_from, tolerance
from hakd.staircase.curve_rows import curve_of, curve_rows, curves_from_table
from hakd.staircase.estimate import estimate
from tests.unit.shapes import sampled, staircase


def pair(ratio: float, half: float, eps: float = 0.03, linked: bool = True) -> Curve:
    """Two widths, the second so many times slower; the interval of the ratio is exp(+-half)."""
    each = math.exp(half / 2**0.5)
    ms = (1.0, ratio)
    low, high = tuple(one / each for one in ms), tuple(one * each for one in ms)
    return Curve("g", 1.0, {}, (16, 17), ms, low, high, ms, eps / 2, eps, linked)


@pytest.mark.parametrize(
    ("ratio", "half", "wanted"),
    [
        (1.0, 0.001, FREE),
        (0.5, 0.1, FREE),
        (1.03, 0.0295, FREE),  # at the tolerance, and known to within another one
        (1.03, 0.0297, OPEN),
        (1.0, 0.0591, FREE),
        (1.0, 0.0592, OPEN),  # may be 6 % slower
        (0.9, 0.16, FREE),
        (0.9, 0.17, OPEN),
        (1.031, 0.03, SLOWER),
        (1.031, 0.031, OPEN),  # may be as fast
        (1.2, 0.18, SLOWER),
        (1.2, 0.19, OPEN),
    ],
)
def test_verdicts_of_made_up_intervals(ratio, half, wanted):
    curve = pair(ratio, half)
    assert curve.verdict(1, 0) == wanted
    assert curve.decided(16) is (wanted != OPEN) and curve.decided(16, 16) and curve.decided(17)
    assert curve.verdict(0, 0) == FREE


@given(st.floats(0.5, 2.0), st.floats(0, 0.5), st.floats(0.0, 0.05), st.booleans())
def test_a_verdict_is_what_its_interval_says(ratio, half, eps, linked):
    curve = pair(ratio, half, eps, linked)
    found = curve.compared(1, 0)
    assert found.value == pytest.approx(ratio)
    if not linked:
        assert found.low == 0 and math.isinf(found.high) and curve.verdict(1, 0) == OPEN
        return
    assert (found.low, found.high) == pytest.approx((ratio * math.exp(-half), ratio * math.exp(half)))
    told = curve.verdict(1, 0)
    if told == FREE:
        assert ratio <= 1 + eps + 1e-8 and found.high <= (1 + eps) ** 2 + 1e-7
    if told == SLOWER:
        assert ratio > 1 + eps and found.low > 1
    together = curve.verdict(1, 0, TOGETHER)
    assert together in (told, OPEN)  # what holds together with all else holds alone
    assert curve.compared(1, 0, TOGETHER).high == pytest.approx(ratio * math.exp(TOGETHER * half))
    assert curve.faster(0, 1) is bool(
        ratio > 1 + curve.eps and ratio * math.exp(-TOGETHER * half) > 1
    ) or math.isclose(ratio, 1 + curve.eps)


def test_nothing_is_told_without_noise_that_is_known():
    curve = replace(pair(1.5, 0.001), residual_p95=None, tolerance=None)
    assert curve.verdict(1, 0) == curve.verdict(0, 0) == OPEN
    assert not curve.decided(16) and not curve.decided(17) and math.isinf(curve.eps)
    assert curve.precise == (False, False) and not curve.trusted
    assert "its noise is unknown" in curve.reason


def test_widths_without_an_interval_of_their_own_go_by_the_residual():
    curve = replace(pair(1.0, 0.5), low=(None, None), high=(None, 1.2), residual_p95=0.02)
    assert curve.compared(1, 0).high == pytest.approx(math.exp(0.02))
    alone = replace(curve, residual_p95=None)
    assert math.isinf(alone.compared(1, 0).high) and alone.verdict(1, 0) == OPEN


def test_the_reason_says_how_well_it_is_known_and_what_it_would_take():
    assert pair(1.0, 0.02).reason == "residual p95 1.5%, tolerance 3.0%" and pair(1.0, 0.02).precise == (
        True,
        True,
    )
    curve = pair(1.0, 0.06)
    assert curve.precise == (False, False)
    more = (0.06 / math.log1p(0.03)) ** 2
    assert curve.reason == (
        "residual p95 1.5%, tolerance 3.0%; 2 of 2 widths known to +-6.2% only, "
        f"{more:.1f} times the processes would be enough"
    )
    assert "processes that share no point" in pair(1.0, 0.01, linked=False).reason


@pytest.mark.parametrize(
    ("residual", "min_step", "trusted"),
    [(0.015, 0.06, True), (0.016, 0.06, False), (0.03, 0.12, True), (0.0, 0.019, False), (0.0, 0.02, True)],
)
def test_a_curve_is_trusted_where_its_noise_lets_every_step_that_matters_be_told(residual, min_step, trusted):
    curve = replace(pair(1.0, 0.001), residual_p95=residual, tolerance=tolerance(residual, min_step))
    assert curve.trusted is trusted
    assert not replace(curve, linked=False).trusted
    assert not replace(curve, residual_p95=None, tolerance=None).trusted


def simulated(sigma: float, steps: np.ndarray, seed: int, processes: int = 2) -> Curve:
    """A curve of as many widths as `steps` (log latencies), timed in processes that scatter by sigma."""
    rng = np.random.default_rng(seed)
    bursts = {
        f"k{i}": [
            Burst(f"k{i}", f"p{p}", 0, i, 20, ns, ns, 0, None, 1.0)
            for p in range(processes)
            for ns in [1e6 * math.exp(log + sigma * rng.standard_normal())]
        ]
        for i, log in enumerate(steps)
    }
    return curve_from(estimate(bursts), "g", 1.0, {}, {8 * (i + 1): f"k{i}" for i in range(len(steps))})


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("sigma", [0.002, 0.005, 0.01, 0.02, 0.04, 0.1])
def test_a_step_that_matters_hardly_ever_passes_for_free_whatever_the_noise(sigma, processes):
    """6 % from the first width to every other further one; the rest is as fast as the first."""
    steps = np.where(np.arange(16) % 2, math.log(1.06), 0.0)
    told = {FREE: 0, SLOWER: 0, OPEN: 0}
    equal = {FREE: 0, SLOWER: 0, OPEN: 0}
    for seed in range(250):
        curve = simulated(sigma, steps, seed, processes)
        for i in range(1, 16):
            (told if i % 2 else equal)[curve.verdict(i, 0)] += 1
    assert told[FREE] / sum(told.values()) <= 0.04
    assert equal[SLOWER] / sum(equal.values()) <= 0.04
    if sigma <= 0.005:
        assert told[SLOWER] / sum(told.values()) > 0.95 and equal[FREE] / sum(equal.values()) > 0.9
    if sigma == 0.1:
        assert told[OPEN] / sum(told.values()) > 0.8


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0001, 1.0), st.integers(0, 99))
def test_the_tolerance_of_a_curve_is_at_most_half_a_step_that_matters(sigma, seed):
    curve = simulated(sigma, np.zeros(8), seed)
    assert 0.01 <= curve.tolerance <= 0.03 and curve.eps == max(0.01, 2 * curve.residual_p95)


# --- as rows of a table


def table(sigma: float = 0.01) -> tuple[Curve, pd.DataFrame]:
    rng = np.random.default_rng(0)
    keys = {8 * (i + 1): f"k{i}" for i in range(12)}
    bursts = {
        key: [
            Burst(key, f"p{p}", 0, 0, 20, ns, 1.1 * ns, 0, None, 1.0)
            for p in range(3)
            for ns in [1e6 * math.exp(sigma * rng.standard_normal())]
        ]
        for key in keys.values()
    }
    sweep = estimate(bursts)
    curve = curve_from(sweep, "g", 0.5, {"in": 32}, keys)
    return curve, pd.DataFrame(curve_rows(curve, "net", keys, sweep))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_curve_comes_back_whole_from_a_table(tmp_path, suffix):
    curve, frame = table()
    write_table(tmp_path / f"t{suffix}", "latency", frame)
    again, _ = read_table(tmp_path / f"t{suffix}", "latency")
    found = curves_from_table(again.sample(frac=1, random_state=1), 0.5)
    assert found == {"g": curve} and found["g"].neighbour_widths == {"in": 32}
    assert frame["median_ms"].gt(frame["latency_ms"]).all()
    assert frame["trusted"].tolist() == list(curve.precise)
    with pytest.raises(HakdError, match=r"no curves at level 0\.25"):
        curves_from_table(again, 0.25)


@pytest.mark.parametrize("drop", [["tolerance"], ["tolerance", "median_ms"], []])
def test_a_curve_of_an_older_table_goes_by_its_residual(drop):
    """Its intervals were of two processes alone, which say nothing."""
    curve, frame = table(0.02)
    old = frame.assign(tolerance=None, median_ms=None).drop(columns=drop)
    found = curve_of(old)
    assert found.low == found.high == (None,) * 12
    assert found.tolerance == tolerance(curve.residual_p95) and found.residual_p95 == curve.residual_p95
    half = math.log(found.compared(1, 0).high / found.compared(1, 0).value)
    assert half == pytest.approx(curve.residual_p95)
    assert found.latency_ms == curve.latency_ms and found.min_ms == curve.min_ms
    unknown = curve_of(old.assign(residual_p95=None))
    assert unknown.tolerance is None and unknown.verdict(1, 0) == OPEN


def test_a_curve_from_different_scales_stays_one():
    _, frame = table()
    reason = "its widths were timed in processes that share no point"
    assert not curve_of(frame.assign(reason=reason)).linked
    assert curve_of(frame).linked
    older = "untrusted: its widths were timed in processes that share no point"
    assert not curve_of(frame.assign(reason=older, tolerance=None)).linked
    written = replace(sampled(staircase(), [8, 16]), linked=False)
    assert json.loads(json.dumps(written.reason)) == reason
