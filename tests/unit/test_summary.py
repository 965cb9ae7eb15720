"""Summaries, the Pareto front, averages over seeds, comparisons at equal latency: against figures by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hakd.analysis.summary import (
    aggregate,
    compare,
    join_devices,
    pareto_front,
    student_interval,
    summarise,
    to_markdown,
)
from hakd.records.columns import SUMMARY
from hakd.records.errors import HakdError
from hakd.records.tables import check_table
from tests.unit.table_rows import described, predicted, timed

DEVICE = {"device": "local", "engine": "onnxruntime 1.31.0", "threads": 1}


def row(name="c", **changes) -> dict:
    """A summary row."""
    measured = {"accuracy": 0.9, "latency_ms": 1.0, "latency_low_ms": 0.9, "latency_high_ms": 1.1}
    measured |= {"median_ms": 1.05, "predicted_ms": None, "memory_bytes": None, "trusted": True, **DEVICE}
    measured |= dict.fromkeys(("weight_bytes", "energy_mj", "energy_low_mj", "energy_high_mj", "idle_w"))
    return {**described(name), **measured, **changes}


def frame(*rows: dict) -> pd.DataFrame:
    """Rows with names of their own."""
    return check_table("summary", pd.DataFrame([{**r, "candidate": f"c{i}"} for i, r in enumerate(rows)]))


def test_summarise_counts_accuracy_and_keeps_the_contract():
    predictions = pd.concat([predicted("b", 7), predicted("a", 9), predicted("unused", 1)])
    found = summarise([described("a"), described("b", seed=1)], timed("b", "a"), predictions, DEVICE)
    assert list(found.columns) == [column.name for column in SUMMARY]
    assert dict(zip(found["candidate"], found["accuracy"], strict=True)) == {"a": 0.9, "b": 0.7}
    assert dict(zip(found["candidate"], found["latency_ms"], strict=True)) == {"a": 2.0, "b": 1.0}
    assert list(found["latency_low_ms"]) == [1.8, 0.9] and list(found["device"]) == ["local", "local"]


@pytest.mark.parametrize(
    ("candidates", "times", "names", "device", "words"),
    [
        (["a", "b"], ["a"], ["a", "b"], {}, "b: no benchmark of this candidate"),
        (["a"], ["a", "b"], ["a"], {}, "b: timed, but not described"),
        (["a", "a"], ["a"], ["a"], {}, "a: described twice"),
        (["a"], ["a", "a"], ["a"], {}, "a: timed twice"),
        (["a"], ["a"], ["b"], {}, "a: no predictions of this candidate"),
        (["a"], ["a"], ["a"], {"threads": None}, "threads: the device lacks this key"),
    ],
)
def test_summarise_refuses_what_does_not_fit(candidates, times, names, device, words):
    with pytest.raises(HakdError, match=words):
        summarise(
            [described(name) for name in candidates],
            timed(*times),
            pd.concat([predicted(name, 5) for name in names]),
            {**DEVICE, **device},
        )


def test_summarise_refuses_other_test_images_and_missing_keys():
    other = predicted("b", 5)
    other["label"] = other["label"].to_numpy()[::-1]
    both = [described("a"), described("b")]
    with pytest.raises(HakdError, match="b: scored on other test images or labels than a"):
        summarise(both, timed("a", "b"), pd.concat([predicted("a", 5), other]), DEVICE)
    with pytest.raises(HakdError, match="b: scored on other"):
        summarise(both, timed("a", "b"), pd.concat([predicted("a", 5), predicted("b", 5)[:9]]), DEVICE)
    short = {key: value for key, value in described("a").items() if key != "macs"}
    with pytest.raises(HakdError, match="macs: candidate a lacks this key"):
        summarise([short], timed("a"), predicted("a", 5), DEVICE)
    with pytest.raises(HakdError, match="trusted: column missing"):
        summarise([described("a")], timed("a").drop(columns="trusted"), predicted("a", 5), DEVICE)


def test_join_devices():
    local, board = frame(row()), frame(row(device="pi", latency_ms=5.0, latency_high_ms=6.0))
    joined = join_devices([board, local])
    assert list(joined["device"]) == ["local", "pi"]
    pd.testing.assert_frame_equal(joined, join_devices([local, board]))
    with pytest.raises(HakdError, match="two rows for c0, local"):
        join_devices([local, local])
    with pytest.raises(HakdError, match="accuracy: candidate c0 differs between devices"):
        join_devices([local, frame(row(device="pi", accuracy=0.8))])
    with pytest.raises(HakdError, match="no summaries"):
        join_devices([])


points = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=25)


@settings(max_examples=150, deadline=None)
@given(points)
def test_front_is_what_nothing_dominates(values):
    table = pd.DataFrame(values, columns=["latency_ms", "accuracy"], dtype=float)
    brute = [
        not any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in values)
        for cost, gain in values
    ]
    assert pareto_front(table).tolist() == brute


def test_front_refuses_nan_and_missing_columns():
    table = pd.DataFrame({"latency_ms": [1.0, math.nan], "accuracy": [0.5, 0.6]}, index=["x", "y"])
    with pytest.raises(HakdError, match="latency_ms: row y is not a number"):
        pareto_front(table)
    with pytest.raises(HakdError, match="size_bytes: column missing"):
        pareto_front(table, x="size_bytes")
    assert pareto_front(pd.DataFrame({"a": [2, 1, 1], "b": [3, 3, 3]}), "a", "b").tolist() == [
        False,
        True,
        True,
    ]


def test_student_interval_is_that_of_scipy():
    values = [0.91, 0.93, 0.90, 0.95]
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert student_interval(values) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert all(map(math.isnan, student_interval([0.9])))


def test_aggregate_figures():
    latencies, lows, highs = (1.00, 1.04, 1.02), (0.99, 1.01, 1.00), (1.03, 1.05, 1.035)
    seeds = [
        row(
            seed=s,
            accuracy=a,
            latency_ms=m,
            latency_low_ms=lo,
            latency_high_ms=hi,
            size_bytes=size,
            trusted=s != 2,
        )
        for s, a, m, lo, hi, size in zip(
            range(3), (0.90, 0.92, 0.94), latencies, lows, highs, (99, 100, 101), strict=True
        )
    ]
    found = aggregate(frame(*seeds, row(seed=0, level=0.25, target_device="local")))
    assert list(found["level"]) == [0.5, 0.25] and list(found["seeds"]) == [3, 1]
    first, second = found.iloc[0], found.iloc[1]
    half = 4.302652729696142 * 0.02 / math.sqrt(3)  # Student's t, 2 degrees of freedom
    assert (first["accuracy"], first["accuracy_low"]) == pytest.approx((0.92, 0.92 - half))
    assert (first["accuracy_high"], first["accuracy_min"], first["accuracy_max"]) == pytest.approx(
        (0.92 + half, 0.9, 0.94)
    )
    # Medians of the ends are 1.00 and 1.035; the slowest seed widens the upper one to 1.04.
    assert tuple(first[["latency_ms", "latency_low_ms", "latency_high_ms"]]) == (1.02, 1.00, 1.04)
    assert first["size_bytes"] == 100 and not first["trusted"] and second["trusted"]
    assert math.isnan(second["accuracy_low"]) and math.isnan(first["predicted_ms"])
    assert pd.isna(first["target_device"]) and second["target_device"] == "local"


def test_aggregate_without_latency_intervals():
    found = aggregate(frame(*(row(seed=s, latency_low_ms=None, latency_high_ms=None) for s in range(2))))
    assert math.isnan(found["latency_low_ms"][0]) and found["latency_ms"][0] == 1.0


def test_aggregate_refuses_mixed_seeds():
    with pytest.raises(HakdError, match=r"seed: duplicate seed for mobilenet 0.5 hakd distilled at local"):
        aggregate(frame(row(seed=1), row(seed=1)))
    with pytest.raises(HakdError, match=r"engine: seeds of .* differ"):
        aggregate(frame(row(seed=1), row(seed=2, engine="other")))
    with pytest.raises(HakdError, match="without rows"):
        aggregate(frame(row()).iloc[:0])
    with pytest.raises(HakdError, match="accuracy: column missing"):
        aggregate(frame(row()).drop(columns="accuracy"))


def series(method: str, points: dict, seeds=(0, 1, 2), offsets=(0.0, 0.01, -0.01), **changes) -> list[dict]:
    """One method's candidates: {level: (latency, accuracy)}, seeds spread by offsets."""
    return [
        row(
            method=method,
            level=level,
            arch=f"{method} {level}",
            seed=seed,
            latency_ms=x,
            accuracy=y + d,
            latency_low_ms=None,
            **changes,
        )
        for level, (x, y) in points.items()
        for seed, d in zip(seeds, offsets, strict=True)
    ]


def test_compare_reads_the_rival_off_its_line():
    ours = series("hakd", {0.5: (1.5, 0.90)}, latency_high_ms=None)
    rival = series(
        "fisher", {0.5: (2.0, 0.88), 0.25: (1.0, 0.80)}, offsets=(0.0, 0.02, -0.01), latency_high_ms=None
    )
    found = compare(frame(*ours, *rival), "hakd", "fisher/distilled")
    at, mean = found.iloc[0], found.iloc[1]
    assert list(found["scope"]) == ["at", "mean"] and at["latency_ms"] == 1.5
    assert at["level_a"] == 0.5 and math.isnan(at["level_b"])
    assert (at["accuracy_a"], at["accuracy_b"]) == pytest.approx((0.90, 0.84 + 0.01 / 3))
    paired = np.array([0.06, 0.05, 0.06])
    assert at["difference"] == pytest.approx(paired.mean()) and at["seeds"] == 3
    assert (at["low_seeds"], at["high_seeds"]) == pytest.approx(student_interval(paired))
    assert mean["difference"] == pytest.approx(at["difference"])


def test_compare_is_antisymmetric_and_never_extrapolates():
    ours = series("hakd", {0.5: (1.6, 0.92), 0.25: (1.1, 0.87)}, latency_high_ms=None)
    rival = series("fisher", {0.5: (2.0, 0.90), 0.25: (1.2, 0.84), 0.125: (0.7, 0.7)}, latency_high_ms=None)
    table = frame(*ours, *rival)
    forth, back = compare(table, "hakd", "fisher"), compare(table, "fisher", "hakd")
    assert list(forth["latency_ms"][:-1]) == [1.1, 1.2, 1.6]
    np.testing.assert_allclose(forth["difference"], -back["difference"])
    np.testing.assert_allclose(forth["low_seeds"], -back["high_seeds"])
    assert forth["difference"].iloc[-1] == pytest.approx(forth["difference"][:-1].mean())


def test_compare_matches_latencies_within_the_tolerance_only():
    ours = series("hakd", {0.5: (1.0, 0.92)}, latency_high_ms=None)
    rival = series("fisher", {0.5: (1.015, 0.90)}, latency_high_ms=None)
    near = compare(frame(*ours, *rival), "hakd", "fisher")
    assert near["difference"].tolist() == pytest.approx([0.02] * 3)
    assert compare(frame(*ours, *rival), "hakd", "fisher", tolerance=0.01).empty


def test_recipes_of_one_architecture_meet_at_equal_latency():
    """Each file is timed by itself, here 5 % apart; the networks are equally fast."""
    tuned = series("fisher", {0.5: (1.0, 0.90)}, recipe="tuned", latency_high_ms=None)
    scratch = series("fisher", {0.5: (1.05, 0.85)}, recipe="scratch", latency_high_ms=None)
    found = compare(frame(*tuned, *scratch), "fisher/tuned", "fisher/scratch")
    assert found["scope"].tolist() == ["at", "mean"] and found["latency_ms"][0] == pytest.approx(1.025)
    assert found["difference"][0] == pytest.approx(0.05)


def test_compare_drops_levels_no_faster_than_a_larger_one():
    """A smaller fisher network at odd widths as slow as the larger one must not drag its line down."""
    ours = series("hakd", {0.5: (1.0, 0.92)}, latency_high_ms=None)
    rival = series("fisher", {0.5: (1.0, 0.91), 0.25: (0.999, 0.80), 0.125: (0.5, 0.7)}, latency_high_ms=None)
    found = compare(frame(*ours, *rival), "hakd", "fisher")
    assert found["difference"].iloc[0] == pytest.approx(0.01)
    assert 0.999 not in set(found["latency_ms"])


def test_compare_keeps_to_own_devices_and_common_seeds():
    ours = series("hakd", {0.5: (1.0, 0.92)}, target_device="local", latency_high_ms=None)
    stranger = series("hakd", {0.5: (1.0, 0.10)}, target_device="pi", latency_high_ms=None)
    rival = series("fisher", {0.5: (1.0, 0.90)}, seeds=(2, 1, 7), latency_high_ms=None)
    found = compare(frame(*ours, *stranger, *rival), "hakd", "fisher")
    assert found["seeds"].tolist() == [2, 2]
    # Seed 1: 0.93 - 0.91; seed 2: 0.91 - 0.90.
    assert found["difference"][0] == pytest.approx(0.015)
    alone = compare(
        frame(*ours, *series("fisher", {0.5: (1.0, 0.9)}, seeds=(7, 8, 9), latency_high_ms=None)),
        "hakd",
        "fisher",
    )
    assert alone.empty


def test_compare_names_one_series():
    table = frame(row(), row(recipe="scratch", seed=1), row(method="fisher", seed=2))
    with pytest.raises(HakdError, match=r"hakd: matches several series\. Name one of: .*hakd/scratch/at"):
        compare(table, "hakd", "fisher")
    with pytest.raises(HakdError, match=r"joint: no such candidates\. Use one of: fisher"):
        compare(table, "joint", "fisher")
    with pytest.raises(HakdError, match="level: column missing"):
        compare(table.drop(columns="level"), "hakd", "fisher")
    with pytest.raises(HakdError, match="two candidates of one level and seed"):
        compare(frame(row(), row(), row(method="fisher")), "hakd", "fisher")


def simulated(
    rng: np.random.Generator, images: int = 400, seeds: int = 4
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two methods with a true difference of 0.03, seed effects of 0.01, and their predictions."""
    rows, parts = [], []
    difficulty = rng.uniform(-0.05, 0.05, images)
    for method, skill in (("hakd", 0.93), ("fisher", 0.90)):
        for seed in range(seeds):
            chance = np.clip(skill + rng.normal(0, 0.01) + difficulty, 0, 1)
            right = rng.uniform(size=images) < chance
            name = f"{method}{seed}"
            rows.append(row(name, method=method, seed=seed, accuracy=float(right.mean())))
            label = rng.integers(0, 10, images)
            said = np.where(right, label, label + 1)
            parts.append(
                pd.DataFrame({"candidate": name, "image": range(images), "label": label, "prediction": said})
            )
    return check_table("summary", pd.DataFrame(rows)), pd.concat(parts, ignore_index=True)


def test_intervals_over_images():
    table, predictions = simulated(np.random.default_rng(1))
    shuffled = predictions.sample(frac=1, random_state=0)
    found = compare(table, "hakd", "fisher", predictions=shuffled).iloc[0]
    right = (predictions["label"] == predictions["prediction"]).to_numpy(dtype=float).reshape(2, 4, 400)
    by_image = (right[0] - right[1]).mean(axis=0)
    error = by_image.std(ddof=1) / 20
    assert found["difference"] == pytest.approx(by_image.mean())
    assert found["high_images"] - found["difference"] == pytest.approx(stats.t.ppf(0.975, 399) * error)
    assert found["low"] < min(found["low_seeds"], found["difference"]) or found["low"] < found["low_images"]
    with pytest.raises(HakdError, match="hakd0: no predictions of this candidate"):
        compare(table, "hakd", "fisher", predictions=predictions[predictions["candidate"] != "hakd0"])
    with pytest.raises(HakdError, match="prediction: column missing"):
        compare(table, "hakd", "fisher", predictions=predictions.drop(columns="prediction"))
    with pytest.raises(HakdError, match="fisher3: scored on different test images"):
        compare(table, "hakd", "fisher", predictions=predictions.iloc[:-3])


def test_markdown():
    table = pd.DataFrame(
        {
            "method": ["hakd", "a|b"],
            "accuracy": [0.91234, math.nan],
            "seeds": [3, 1],
            "trusted": [True, False],
            "target": [None, "pi"],
        }
    )
    assert to_markdown(table, {"accuracy": ".1%"}).splitlines() == [
        "| method | accuracy | seeds | trusted | target |",
        "| --- | ---: | ---: | --- | --- |",
        "| hakd | 91.2% | 3 | yes | - |",
        "| a\\|b | - | 1 | no | pi |",
    ]
    assert "| 0.9123 |" in to_markdown(table)
    with pytest.raises(HakdError, match="speed: a format for an unknown column"):
        to_markdown(table, {"speed": ".1f"})
