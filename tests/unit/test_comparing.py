"""Two studies, candidates or series side by side: what differs, and which differences are called more than noise."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hakd.analysis.pairs import compared_latency, figures, pair_keys
from hakd.analysis.series import NoCandidates
from hakd.cli import FINDING, FINE, main
from hakd.records.errors import HakdError
from hakd.records.files import write_json
from hakd.records.tables import write_table
from hakd.study.configuration import config_digest
from hakd.study.kept import differing, keep_configuration, kept_configuration, kept_path
from hakd.study.sides import find_side
from tests.unit.table_rows import SUMMARY_ROW


def rows(accuracies, latency=(0.3, 0.29, 0.31), **changes) -> pd.DataFrame:
    """A summary's rows of one candidate: a seed for each accuracy; latency in ms with the ends of its interval."""
    made = []
    for seed, accuracy in enumerate(accuracies):
        times = dict(zip(("latency_ms", "latency_low_ms", "latency_high_ms"), latency, strict=True))
        row = {**SUMMARY_ROW, **times, "seed": seed, "search_seed": 0, "accuracy": accuracy} | changes
        name = "/".join(
            str(row[key]) for key in ("network", "method", "recipe", "level", "search_seed", "seed")
        )
        made.append(row | {"candidate": name})
    return pd.DataFrame(made)


def only(a: pd.DataFrame, b: pd.DataFrame) -> dict:
    """The figures of two candidates."""
    (row,), *_ = figures(a, b, pair_keys(a, b, False))
    return row


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([0.8, 0.9], [0.8, 0.9], "same"),
        ([0.80, 0.90, 0.85], [0.83, 0.94, 0.88], "higher"),
        ([0.83, 0.94, 0.88], [0.80, 0.90, 0.85], "lower"),
        ([0.80, 0.90, 0.85], [0.81, 0.80, 0.95], "undecided"),
        ([0.8], [0.9], "undecided"),  # one seed says nothing of others
        ([0.8, 0.9], [0.81, 0.91], "undecided"),  # nor do differences without any scatter
        ([0.80, 0.81, 0.79], [0.90, 0.91, 0.89, 0.90], "higher"),  # not paired
        ([0.5, 0.9, 0.7], [0.6, 1.0, 0.8, 0.8], "undecided"),
    ],
)
def test_accuracy_is_decided_by_seeds(a, b, verdict):
    found = only(rows(a), rows(b))["accuracy"]
    assert found["verdict"] == verdict
    assert found["difference"] == pytest.approx(np.mean(b) - np.mean(a))
    if found["low"] is not None and len(a) == len(b):
        plain = stats.ttest_rel(b, a).confidence_interval(0.95)
        assert (found["low"], found["high"]) == pytest.approx((plain.low, plain.high))


def test_search_seeds_that_share_their_luck_are_the_units():
    """Two searches with two trainings each: the mean of a search counts once."""
    a = pd.concat([rows([0.80, 0.82], search_seed=0), rows([0.90, 0.92], search_seed=1)])
    b = pd.concat([rows([0.81, 0.83], search_seed=0), rows([0.93, 0.95], search_seed=1)])
    found = only(a, b)
    plain = stats.ttest_rel([0.82, 0.94], [0.81, 0.91]).confidence_interval(0.95)
    assert found["seeds"] == [2, 2]
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == pytest.approx((plain.low, plain.high))


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ((1.0, 0.98, 1.02), (1.1, 1.08, 1.12), "slower"),
        ((1.1, 1.08, 1.12), (1.0, 0.98, 1.02), "faster"),
        ((1.0, 0.9, 1.1), (1.05, 0.95, 1.15), "undecided"),
        ((1.0, 0.98, 1.02), (1.0, 0.98, 1.02), "same"),
        ((1.0, None, None), (2.0, 1.9, 2.1), "undecided"),  # one process
    ],
)
def test_latency_is_decided_by_both_intervals(a, b, verdict):
    found = only(rows([0.9], a), rows([0.9], b))["latency_ms"]
    assert found["verdict"] == verdict and found["ratio"] == pytest.approx(b[0] / a[0])
    assert (found["low"] is None) == (a[1] is None)


TIMES = st.tuples(st.floats(0.1, 10), st.floats(0, 0.5), st.floats(0, 0.5))


@given(TIMES, TIMES)
def test_intervals_apart_are_decided_and_the_sides_can_be_exchanged(one, other):
    a, b = ((mid, mid * (1 - low), mid * (1 + high)) for mid, low, high in (one, other))
    there, back = compared_latency(a, b), compared_latency(b, a)
    assert there["low"] == pytest.approx(1 / back["high"]) and there["high"] == pytest.approx(1 / back["low"])
    if a[2] < b[1] * (1 - 1e-9):
        assert there["verdict"] == "slower" and back["verdict"] == "faster"


def test_the_ratio_of_two_latencies_is_within_its_interval_nineteen_times_of_twenty():
    means, errors = np.log([0.3, 0.33]), np.array([0.02, 0.05])
    hits = 0
    for draw in np.random.default_rng(0).normal(means, errors, (2000, 2)):
        a, b = (
            np.exp([mid, mid - 1.96 * error, mid + 1.96 * error])
            for mid, error in zip(draw, errors, strict=True)
        )
        found = compared_latency(a, b)
        hits += found["low"] <= 1.1 <= found["high"]
    assert 0.94 < hits / 2000 < 0.96


def test_sizes_that_a_header_explains_are_the_same_and_macs_are_exact():
    found = only(rows([0.9], size_bytes=100_000, macs=1000), rows([0.9], size_bytes=100_050, macs=1001))
    assert found["size_bytes"]["verdict"] == "same" and found["macs"]["verdict"] == "more"
    found = only(rows([0.9], size_bytes=100_000), rows([0.9], size_bytes=90_000))
    assert found["size_bytes"]["verdict"] == "smaller"


def test_studies_are_paired_by_configuration_and_series_by_level():
    a = pd.concat([rows([0.9, 0.8]), rows([0.7], method="fisher", target_device=None, budget=None)])
    b = pd.concat([rows([0.9, 0.8]), rows([0.7], method="uniform", target_device=None, budget=None)])
    both, alone_a, alone_b = figures(a, b, pair_keys(a, b, True))
    assert [row["method"] for row in both] == ["hakd"] and both[0]["seeds"] == [2, 2]
    assert [row["method"] for row in (*alone_a, *alone_b)] == ["fisher", "uniform"]
    levels = [
        pd.concat([rows([0.9], level=level, method=m) for level in (0.5, 0.25)]) for m in ("hakd", "joint")
    ]
    both, *_ = figures(*levels, pair_keys(*levels, False))
    assert [(row["level"], row["device"]) for row in both] == [(0.5, "local"), (0.25, "local")]


def test_without_a_device_in_common_all_but_latency_is_compared():
    a, b = rows([0.9, 0.8]), rows([0.9, 0.8], device="pi")
    found = only(a, b)
    assert found["latency_ms"] is None and found["accuracy"]["verdict"] == "same"
    (row,), *_ = figures(a, b, pair_keys(a, b, True))
    assert "device" not in row and row["latency_ms"] is None


def study(folder: Path, frame: pd.DataFrame, fingerprint: str, widths: dict) -> str:
    """A study's folder with what `hakd compare` reads."""
    folder.mkdir()
    device = {"fingerprint": fingerprint, "engine": "onnxruntime 1.31.0", "threads": 1, "batch": 1}
    about = {"devices": {"local": {"device": device}}}
    write_table(folder / "results" / "summary.parquet", "summary", frame, about)
    entries = [{"arch": arch, "widths": w} for arch, w in widths.items()]
    write_json(folder / "results" / "candidates" / "m.json", "candidates", {"candidates": entries})
    return str(folder)


@pytest.fixture
def two(tmp_path, monkeypatch) -> list[str]:
    """Two studies that differ in everything; both keep their configuration."""
    found = []
    for name, seeds, arch, fingerprint, latency in (
        ("one", [0, 1], "0a1b", "f1", (0.3, 0.29, 0.31)),
        ("two", [0, 1, 2], "0a1c", "f2", (0.4, 0.39, 0.41)),
    ):
        config = {"run": {"seeds": seeds}, "students": {"epochs": 5}}
        monkeypatch.setenv("HAKD_CONFIG_HASH", config_digest(config))
        frame = rows([0.8, 0.9, 0.85][: len(seeds)], latency, arch=arch, config_hash=config_digest(config))
        found.append(
            study(tmp_path / name, frame, fingerprint, {arch: {"stem": 8, "pw1": int(arch[-1], 16)}})
        )
        monkeypatch.chdir(tmp_path / name)
        keep_configuration(config)
    monkeypatch.chdir(tmp_path)
    return found


def compared(capsys, *words: str) -> dict:
    """What `hakd compare --json` prints."""
    assert main(["compare", *words, "--json"]) == FINE
    return json.loads(capsys.readouterr().out)


def test_everything_that_differs_between_two_studies_is_said(two, capsys):
    found = compared(capsys, *two)
    assert found["configuration"]["differences"] == {"run.seeds": [[0, 1], [0, 1, 2]]}
    assert found["devices"]["differences"]["local"] == {"fingerprint": ["f1", "f2"]}
    (widths,) = found["widths"]
    assert widths["groups"] == {"pw1": [11, 12]} and widths["arch"] == ["0a1b", "0a1c"]
    (row,) = found["figures"]
    assert row["latency_ms"]["verdict"] == "slower" and row["seeds"] == [2, 3]
    assert main(["compare", *two]) == FINE
    text = capsys.readouterr().out
    for words in (
        "run.seeds: [0, 1] -> [0, 1, 2]",
        "pw1 11 -> 12",
        "fingerprint f1 -> f2",
        ": slower",
        ": undecided",
    ):
        assert words in text


def test_results_folders_and_series_of_studies_can_be_named(two, capsys):
    found = compared(capsys, f"{two[0]}/results", two[1])
    assert len(found["figures"]) == 1
    found = compared(capsys, *(f"{folder}:hakd@round16/distilled/at" for folder in two))
    assert found["what"] == "candidates" and found["figures"][0]["seeds"] == [2, 3]
    assert found["candidates"] == {"seed": [[0, 1], [0, 1, 2]]}
    name = "m/hakd/distilled/0.5/0/1"
    found = compared(capsys, f"{two[0]}:{name}", f"{two[1]}:{name}")
    assert found["figures"][0]["accuracy"]["a"] == 0.9 and found["candidates"] == {}


def test_a_study_against_itself_differs_in_nothing(two, capsys):
    found = compared(capsys, two[0], two[0])
    assert not found["configuration"]["differences"] and not found["versions"] and not found["widths"]
    assert {
        row[key]["verdict"] for row in found["figures"] for key in ("accuracy", "latency_ms", "macs")
    } == {"same"}


def test_without_copies_of_the_configuration_the_hashes_are_compared(two, capsys):
    one = find_side(two[0])
    kept_path(one.results, one.config_hash).unlink()
    found = compared(capsys, *two)
    assert (
        found["configuration"]["differences"] is None and one.config_hash in found["configuration"]["hashes"]
    )
    assert main(["compare", *two]) == FINE
    assert f"hashes {one.config_hash} and " in capsys.readouterr().out
    assert compared(capsys, two[0], two[0])["configuration"]["differences"] == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one", "one:hakd"], "one: is a study, one:hakd is not. Name a candidate or series of it: one:NAME"),
        (["one", "three"], "results/summary.parquet"),
        (["one", "three:hakd"], "three:hakd: no such folder"),
        (["one:m/hakd/distilled/0.5/0/7", "one:hakd"], "Did you mean 'm/hakd/distilled/0.5/0/"),
        (["one:joint", "one:hakd"], "joint: no such candidates. Use one of: hakd"),
    ],
)
def test_mistakes_are_one_line(two, capsys, words, message):
    assert main(["compare", *words]) == FINDING
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_copy_is_kept_once_whatever_the_order_of_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keep_configuration({"a": {"x": 1.0, "y": 2}, "b": [1]})
    keep_configuration({"b": [1], "a": {"y": 2, "x": 1}})
    (path,) = Path("results/configurations").iterdir()
    assert kept_configuration("results", path.stem) == {"a": {"x": 1, "y": 2}, "b": [1]}
    assert kept_configuration("results", "0" * 12) is kept_configuration("results", None) is None
    path.write_text("{")
    with pytest.raises(HakdError, match="not JSON"):
        kept_configuration("results", path.stem)


def test_differences_are_by_dotted_key():
    a = {"run": {"seeds": [0], "levels": [1]}, "old": 1, "same": {"x": 1}}
    b = {"run": {"seeds": [0, 1], "levels": [1]}, "new": {"x": 2}, "same": {"x": 1}}
    assert differing(a, b) == {"run.seeds": ([0], [0, 1]), "old": (1, None), "new": (None, {"x": 2})}
    assert issubclass(NoCandidates, HakdError)
