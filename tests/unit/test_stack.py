"""Threads, memory and bytes beside accuracy: speed-ups, costs at one accuracy, hypervolumes, and their pages."""

import itertools

import numpy as np
import pandas as pd
import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hakd.analysis.hypervolume import ALL, Dominated, hypervolumes
from hakd.analysis.scores import read_scores
from hakd.analysis.stack import at_accuracy, speedups
from hakd.plots.stack import stack_figure
from tests.unit.table_rows import SUMMARY_ROW

BOARDS = {"pi-t1": "pi", "pi-t4": "pi", "lone": "lone"}
IMAGES = 50


def rows(
    threads=(("pi-t1", 1), ("pi-t4", 4), ("lone", 1)), levels=(0.3, 0.6), seeds=(0, 1, 2), energy=None
) -> pd.DataFrame:
    """A study of three methods: `hakd` looks at the device, `fisher` does not."""
    found = []
    cells = itertools.product(threads, ("teacher", "fisher", "hakd"), levels, seeds)
    for (device, count), method, level, seed in cells:
        if method == "teacher" and level != levels[0]:
            continue
        level = 1.0 if method == "teacher" else level
        target = device if method == "hakd" else None
        ms = 4 * level / count**0.5 * (0.8 if method == "hakd" else 1.0)
        found.append(SUMMARY_ROW | {
            "candidate": f"{method}-{level}-{target}-{seed}", "network": "net", "method": method, "level": level,
            "target_device": target, "device": device, "threads": count, "seed": seed, "search_seed": 0, "budget": None,
            "recipe": "scratch" if method == "teacher" else "distilled", "loss": "ce",
            "arch": f"{method}{level}{target}",
            "val_accuracy": 0.80 + 0.15 * level + 0.01 * seed, "accuracy": 0.78 + 0.16 * level,
            "latency_ms": ms, "latency_low_ms": 0.9 * ms, "latency_high_ms": 1.1 * ms, "predicted_ms": ms,
            "size_bytes": int(1e6 * level), "params": int(2.5e5 * level), "nonzero_params": int(2.5e5 * level),
            "memory_bytes": int(3e6 * level), "weight_bytes": int(1e6 * level), "energy_mj": energy and energy * level,
        })  # fmt: skip
    return pd.DataFrame(found)


def predictions(frame: pd.DataFrame) -> pd.DataFrame:
    """Of every candidate, right as often as its accuracy says."""
    parts = []
    for row in frame.drop_duplicates("candidate").itertuples():
        right = np.arange(IMAGES) < round(row.accuracy * IMAGES)
        parts.append(
            pd.DataFrame(
                {"candidate": row.candidate, "image": range(IMAGES), "label": 1, "prediction": right * 1}
            )
        )
    return pd.concat(parts, ignore_index=True)


def test_speed_up_is_over_the_fewest_threads_of_the_same_board():
    found = speedups(rows(), BOARDS)
    assert set(found["board"]) == {"pi"} and set(found["method"]) == {"teacher", "fisher", "hakd"}
    one, four = (found[found["threads"] == count] for count in (1, 4))
    assert (one[["speedup", "speedup_low", "speedup_high"]] == 1).all(axis=None)
    assert np.allclose(four["speedup"], 2) and np.allclose(four["speedup_low"], 2 * 0.9 / 1.1)
    assert np.allclose(four["speedup_high"], 2 * 1.1 / 0.9)
    same = found.groupby("method")["same_network"].min().to_dict()
    assert same == {"teacher": True, "fisher": True, "hakd": False}


def test_one_number_of_threads_has_no_speed_up():
    assert speedups(rows([("lone", 1), ("other", 2)]), {"lone": "lone", "other": "other"}).empty


def test_at_an_accuracy_each_method_has_its_fastest_network_by_validation_alone():
    frame = rows([("lone", 1)], levels=(0.3, 0.6, 0.9))
    found, missed = at_accuracy(frame, 0.90)
    assert dict(zip(found["method"], found["level"], strict=True)) == {
        "hakd": 0.6,
        "fisher": 0.6,
        "teacher": 1.0,
    }
    assert list(found["latency_ms"]) == sorted(found["latency_ms"]) and missed == {("net", "lone"): []}
    worse_tests = at_accuracy(frame.assign(accuracy=0.1), 0.90)[0]
    assert list(worse_tests["level"]) == list(found["level"])
    none, missed = at_accuracy(frame, 0.99)
    assert none.empty and sorted(missed["net", "lone"]) == ["fisher", "hakd", "teacher"]


def test_the_hypervolume_of_one_cost_is_the_area_under_the_front():
    volume = Dominated(np.array([[0.25], [0.5], [1.0]]))
    assert volume.hypervolumes(np.array([[0.4, 0.8, 0.6]]))[0] == pytest.approx(0.25 * 0.4 + 0.5 * 0.8)


@given(
    hnp.arrays(
        float,
        st.tuples(st.integers(1, 9), st.integers(1, 3)),
        elements=st.sampled_from([0.1, 0.3, 0.55, 1.0]),
    ),
    st.integers(0, 9),
)
def test_the_hypervolume_is_the_accuracy_to_expect_of_a_random_budget(costs, seed):
    accuracies = np.random.default_rng(seed).random((2, len(costs)))
    ticks = (np.arange(20) + 0.5) / 20  # budgets of which each cell of these costs has its share
    budgets = np.array(list(itertools.product(ticks, repeat=costs.shape[1])))
    fits = np.all(costs[None] <= budgets[:, None], axis=2)
    expected = [np.where(fits, row, 0).max(axis=1).mean() for row in accuracies]
    assert Dominated(costs).hypervolumes(accuracies) == pytest.approx(expected)


def test_hypervolumes_of_methods_have_intervals_and_none_beats_all_together():
    frame = rows()
    found = hypervolumes(frame, read_scores([predictions(frame)]), count=200)
    assert set(found["metrics"]) == {"latency", "memory", "size", "latency+memory+size"}
    assert found.groupby(["device", "metrics"]).size().eq(4).all()
    assert (found["low"] <= found["hypervolume"]).all() and (found["hypervolume"] <= found["high"]).all()
    for _, part in found.groupby(["device", "metrics"]):
        whole = part[part["method"] == ALL].iloc[0]
        assert (part["hypervolume"] <= whole["hypervolume"] + 1e-12).all() and whole["networks"] == 5
    alone = found[(found["method"] == "teacher") & (found["metrics"] == "size")]
    assert np.allclose(alone["hypervolume"], frame["accuracy"].max() * (1 - 1 / 1.1), atol=0.01)  # 50 images
    again = hypervolumes(frame, read_scores([predictions(frame)]), count=200)
    pd.testing.assert_frame_equal(found, again)
    unweighed = hypervolumes(frame.assign(memory_bytes=None), read_scores([predictions(frame)]), count=20)
    assert set(unweighed["metrics"]) == {"latency", "size"}


def text_of(path) -> list[str]:
    return [page.get_textpage().get_text_bounded() for page in pypdfium2.PdfDocument(path)]


def titles(pages: list[str]) -> list[str]:
    """The title of each page: the one line that starts as titles do."""
    starts = ("Speed-up over", "net at", "net: acc", "Fronts of")
    return [next(line.strip() for line in page.splitlines() if line.startswith(starts)) for page in pages]


def test_the_pages_are_those_that_the_study_holds(tmp_path):
    frame = rows(energy=2.0)
    stack_figure(frame, speedups(frame, BOARDS), 0.9, tmp_path / "stack.pdf")
    pages = text_of(tmp_path / "stack.pdf")
    assert titles(pages) == [
        "Speed-up over threads: net on pi", "net at equal accuracy", "net: accuracy over compression",
        "Fronts of net on lone", "Fronts of net on pi-t1", "Fronts of net on pi-t4",
    ]  # fmt: skip
    assert "level 0.6" in pages[0] and "level 1" not in pages[0]
    assert "Every method reaches it" in pages[1] and "energy (mJ)" in pages[1]
    assert "peak memory (MiB)" in pages[3]

    lone = rows([("lone", 1)], seeds=(0,)).assign(memory_bytes=None)
    stack_figure(lone, speedups(lone, BOARDS), 0.99, tmp_path / "lone.pdf")
    pages = text_of(tmp_path / "lone.pdf")
    assert titles(pages) == [
        "net at equal accuracy", "net: accuracy over compression", "Fronts of net on lone",
    ]  # fmt: skip
    assert "No network reaches this accuracy" in pages[0] and "Not reached on lone: " in pages[0]
    assert not any("peak memory (MiB)" in page or "energy (mJ)" in page for page in pages)
    stack_figure(lone, speedups(lone, BOARDS), 0.99, tmp_path / "again.pdf")
    assert (tmp_path / "lone.pdf").read_bytes() == (tmp_path / "again.pdf").read_bytes()

    lone["accuracy"] = [*np.linspace(0.9, 0.95, len(lone) - 1), 0.423]
    stack_figure(lone, speedups(lone, BOARDS), 0.99, tmp_path / "far.pdf")
    assert all("42.3 %" in page for page in text_of(tmp_path / "far.pdf")[1:])
