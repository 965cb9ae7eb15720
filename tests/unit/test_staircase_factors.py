"""From bursts to a number per key and process, the factor of a process, and how well measurements repeat."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from hakd.staircase.estimate import estimate
from hakd.staircase.factors import LOW, LOWEST, MANY, common_factors, grouped_quantile, process_times
from hakd.staircase.repeats import process_sigma, residual_p95
from tests.unit.bursts import TRUTH, at_speed, simulate


def test_two_processes_differ_by_the_median_log_ratio_of_shared_keys():
    rng = np.random.default_rng(0)
    logs = rng.normal(size=(31, 2)) * 0.01 + rng.normal(size=(31, 1))
    logs[:5, 0], logs[5:8, 1] = np.nan, np.nan
    logs[10] += [0, 2.0]  # an outlier counts as one
    factors, component = common_factors(logs)
    assert factors[1] - factors[0] == pytest.approx(np.median(logs[8:, 1] - logs[8:, 0]), abs=1e-12)
    assert np.quantile(factors, 0.25) == pytest.approx(0, abs=1e-12) and component.tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_many_processes_are_fitted_by_least_absolute_deviations(seed):
    """Against a linear program, with absent cells, chunks and outliers."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(size=(25, 1)) + rng.normal(size=6) * 0.1 + rng.standard_t(2, size=(25, 6)) * 0.01
    logs[:12, 3:], logs[12:24, :3] = np.nan, np.nan  # two chunks, key 24 in common
    logs[2, 1] = np.nan
    factors, _ = common_factors(logs)
    present = np.isfinite(logs)

    def loss(effects):
        rest = np.where(present, logs - effects, np.nan)
        return np.nansum(np.abs(rest - np.nanmedian(rest, axis=1)[:, None]))

    key, process = np.nonzero(present)
    n = len(key)
    design = np.zeros((n, 25 + 6))
    design[np.arange(n), key] = design[np.arange(n), 25 + process] = 1
    program = optimize.linprog(
        np.r_[np.zeros(31), np.ones(n)],
        A_ub=np.block([[design, -np.eye(n)], [-design, -np.eye(n)]]),
        b_ub=np.r_[logs[present], -logs[present]],
        bounds=[(None, None)] * 31 + [(0, None)] * n,
    )
    assert loss(factors) == pytest.approx(program.fun, rel=1e-3)


def test_residual_is_the_95th_percentile_over_keys_and_pairs():
    rng = np.random.default_rng(1)
    bursts = simulate(TRUTH, {"p": 1, "q": 1.02, "r": 0.97}, noise=0.01, point=0.01, seed=2)
    two = {
        key: [burst for burst in found if burst.process != "r"]
        for key, found in bursts.items()
        if key != "k0"
    }
    per = {k: [min(b.min_ns for b in found if b.process == p) for p in "pq"] for k, found in two.items()}
    gaps = np.array([np.log(p / q) for p, q in per.values()])
    wanted = np.percentile(np.abs(gaps - np.median(gaps)), 95)
    assert estimate(two).residual_p95 == pytest.approx(wanted, rel=1e-9)

    adjusted = rng.normal(size=(50, 3))
    adjusted[4, 1] = np.nan
    pairs = [np.abs(adjusted[:, i] - adjusted[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    wanted = np.nanpercentile(np.concatenate(pairs), 95)
    assert residual_p95(adjusted) == pytest.approx(wanted)


@pytest.mark.parametrize("processes", [4, 5, 7])
def test_residual_of_four_processes_or_more_is_that_of_all_of_them_by_their_halves(processes):
    adjusted = np.random.default_rng(processes).normal(size=(200, processes))
    halves = np.median(adjusted[:, ::2], axis=1) - np.median(adjusted[:, 1::2], axis=1)
    assert residual_p95(adjusted) == pytest.approx(np.percentile(np.abs(halves), 95) / 2**0.5)
    pairs = np.abs(adjusted[:, :1] - adjusted[:, 1:2])
    assert residual_p95(adjusted) < 0.7 * np.percentile(pairs, 95)  # more processes repeat better
    again = np.random.default_rng(processes + 100).normal(size=(200, processes))
    repeated = np.abs(np.median(adjusted, axis=1) - np.median(again, axis=1))
    assert residual_p95(adjusted) == pytest.approx(np.percentile(repeated, 95), rel=0.25)  # what it claims


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_the_spread_of_a_process_is_that_of_its_keys_whatever_a_few_of_them_do(processes):
    adjusted = np.random.default_rng(processes).normal(scale=0.02, size=(400, processes))
    adjusted[:20] *= 30
    adjusted[50:60, 1:] = np.nan
    assert process_sigma(adjusted) == pytest.approx(0.02, rel=0.15)
    assert process_sigma(adjusted[:, :1]) is None


@pytest.mark.parametrize("jumps", [0.0, 0.05])
@pytest.mark.parametrize("keys", [MANY - 1, MANY])
def test_the_minimum_stands_for_a_process_unless_many_keys_say_that_it_scatters_more(jumps, keys):
    """What disturbs only slows, by 1 % on average; jumps: share of bursts of which a call came out too fast."""
    rng = np.random.default_rng(3)

    def disturbed(burst):
        return at_speed(
            burst, (1 + 0.01 * rng.exponential()) * (1 - 0.2 * rng.random() * (rng.random() < jumps))
        )

    truth = {f"k{i}": 0.1 + 0.01 * i for i in range(keys)}
    calm = simulate(truth, dict.fromkeys("pqr", 1.0), rounds=20)
    bursts = {key: [disturbed(burst) for burst in found] for key, found in calm.items()}
    times = process_times(bursts)
    level = LOW if jumps and keys >= MANY else LOWEST
    assert times.quantile == level
    for k, key in enumerate(times.keys):
        for p, process in enumerate(times.processes):
            wanted = np.quantile([b.min_ns for b in bursts[key] if b.process == process], level) / 1e6
            assert np.exp(times.log_ms[k, p]) == pytest.approx(wanted)
        assert times.min_ms[k] == pytest.approx(min(b.min_ns for b in bursts[key]) / 1e6)
        assert times.median_ms[k] == pytest.approx(np.median([b.median_ns for b in bursts[key]]) / 1e6)


def test_the_low_quantile_is_the_more_precise_one_where_it_is_taken():
    rng = np.random.default_rng(1)
    bursts = simulate(TRUTH, dict.fromkeys("pq", 1.0), rounds=20, noise=0.003)
    jumping = {
        key: [at_speed(b, 1 - 0.2 * rng.random() * (rng.random() < 0.04)) for b in found]
        for key, found in bursts.items()
    }
    lowest = {
        key: [replace(b, min_ns=min(o.min_ns for o in found if o.process == b.process)) for b in found]
        for key, found in jumping.items()
    }  # so that every quantile over rounds is the minimum
    assert estimate(jumping).residual_p95 < 0.5 * estimate(lowest).residual_p95


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0.01, 100)), min_size=1, max_size=40), st.floats(0, 1))
def test_grouped_quantiles_are_numpys(rows, level):
    group, values = np.array([g for g, _ in rows]), np.array([v for _, v in rows])
    found = grouped_quantile(group, values, 5, level)
    for number in range(5):
        own = values[group == number]
        assert (
            np.isnan(found[number])
            if not own.size
            else found[number] == pytest.approx(np.quantile(own, level))
        )
