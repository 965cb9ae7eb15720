"""The checks of a finished study: they pass on tables that agree, and each finds what was changed in one of them."""

import runpy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hakd.analysis.checks import CHECKS, Artefacts, run_checks, summed_up
from hakd.analysis.fronts import fronts
from hakd.analysis.scores import read_scores
from hakd.analysis.summary import join_devices, summarise
from hakd.records.files import write_json
from hakd.staircase.correction import qualities
from tests.unit.table_rows import described, predicted

ROOT = Path(__file__).resolve().parents[2]
ARCHS = {"aaaaaaaaaaaa": {"pw1": 16}, "bbbbbbbbbbbb": {"pw1": 24}}
SLOW, FAST = "m/0.5/joint/pi/distilled/at/0", "m/0.5/hakd/pi/distilled/at/0"
DEVICE = {"engine": "virtual 1", "threads": 1}


def entry(name: str, arch: str, method: str) -> dict:
    """A line of a candidate list."""
    path = f"results/mobilenet/students/{arch}/distilled-at-0"
    paths = {"checkpoint_path": f"{path}.safetensors", "onnx_path": f"{path}.onnx"}
    about = {"method": method, "target_device": "pi", "search_seed": 0, "arch": arch}
    return described(name, **about, **paths) | {"widths": ARCHS[arch]}


@pytest.fixture(scope="module")
def artefacts() -> Artefacts:
    """Of a study with two candidates on one device."""
    listed = [entry(FAST, "aaaaaaaaaaaa", "hakd"), entry(SLOW, "bbbbbbbbbbbb", "joint")]
    names, latency = [FAST, SLOW], np.array([1.0, 2.0])
    predicted_ms = np.array([1.1, 1.9])
    times = pd.DataFrame({
        "candidate": names, "latency_ms": latency, "low": 0.9 * latency, "high": 1.1 * latency, "median_ms": latency,
        "predicted_ms": predicted_ms, "memory_bytes": 1000, "weight_bytes": 800, "trusted": True,
        **dict.fromkeys(("energy_mj", "energy_low_mj", "energy_high_mj", "idle_w")),
    })  # fmt: skip
    predictions = pd.concat([predicted(FAST, 6), predicted(SLOW, 8)], ignore_index=True)
    summary = join_devices([summarise(listed, times, predictions, {"device": "pi", **DEVICE})])
    quality = {size: one and asdict(one) for size, one in qualities(predicted_ms, latency).items()}
    rows = [{"arch": one["arch"], "predicted_ms": ms} for one, ms in zip(listed, predicted_ms, strict=True)]
    certificates = pd.DataFrame([
        {"network": "mobilenet", "level": 0.5, "method": one["method"], "budget": None, "search_seed": 0,
         "device": "pi", "scope": scope, "group": group, "width_to": width}
        for one in listed
        for scope, group, width in (("width", "pw1", ARCHS[one["arch"]]["pw1"]), ("network", "all", None))
    ])  # fmt: skip
    return Artefacts(
        summary=summary,
        predictions={"pi": predictions},
        expected={"pi": names},
        listed={"pi": listed},
        audits={"pi": {"archs": rows, "quality": {"predicted_ms": quality}}},
        certificates={"pi": certificates},
        fronts=fronts(summary, read_scores([predictions]), count=50),
        architectures=ARCHS,
        files={one["onnx_path"]: (one["onnx_path"], 1000) for one in listed},
    )


def with_(frame: pd.DataFrame, column: str, value: object, row: int = 0) -> pd.DataFrame:
    """A table with one cell changed."""
    frame = frame.copy()
    frame[column] = frame[column].astype(object)
    frame.loc[frame.index[row], column] = value
    return frame


def doctored(artefacts: Artefacts, name: str, column: str, value: object) -> Artefacts:
    """The artefacts with a cell changed in the first row of a table, that of `pi` where each device has one."""
    table = getattr(artefacts, name)
    changed = (
        with_(table, column, value)
        if name in ("summary", "fronts")
        else {"pi": with_(table["pi"], column, value)}
    )
    return replace(artefacts, **{name: changed})


def test_a_study_whose_tables_agree_passes_every_check(artefacts):
    findings = run_checks(artefacts)
    assert [one.name for one in findings] == list(CHECKS)
    assert [one.violations for one in findings] == [[]] * len(CHECKS) and summed_up(findings) is None
    rows = pd.DataFrame([one.row() for one in findings])
    assert rows["passed"].all() and (rows["checked"] >= 2).all() and (rows["detail"] == "").all()


@pytest.mark.parametrize(
    ("name", "column", "value", "check", "words"),
    [
        ("summary", "accuracy", 0.9, "accuracies", "accuracy on pi is 0.9, its predictions give "),
        ("summary", "val_accuracy", 1.2, "accuracies", "val_accuracy is 1.2, not from 0 to 1"),
        ("summary", "accuracy", -0.1, "accuracies", "accuracy is -0.1, not from 0 to 1"),
        ("predictions", "prediction", 3, "accuracies", "its predictions give 0.5."),
        ("fronts", "on_front", False, "fronts", "no other one beats it (on_front)"),
        ("fronts", "accuracy", 0.1, "fronts", "accuracy is 0.1, the summary gives "),
        ("fronts", "latency_ms", 7.0, "fronts", "latency_ms is 7, the summary gives "),
        ("fronts", "probability", 1.5, "fronts", "probability is 1.5"),
        ("fronts", "recipe", "scratch", "fronts", "is in the summary, but not in this table"),
        ("summary", "predicted_ms", 1.2, "predictions", "predicted_ms is 1.2, the audit has "),
        ("certificates", "width_to", 17, "certificates", "certifies 17, 16 was trained (aaaaaaaaaaaa)"),
        ("certificates", "group", "pw9", "certificates", "None was trained"),
        ("summary", "size_bytes", 999, "sizes", "has 1000 bytes, the summary says 999"),
        ("summary", "latency_low_ms", 5.0, "latencies", "interval 5 to "),
        ("summary", "latency_ms", 0.0, "latencies", "0 ms on pi"),
    ],
)  # fmt: skip
def test_a_changed_cell_is_found(artefacts, name, column, value, check, words):
    (found,) = [one for one in run_checks(doctored(artefacts, name, column, value)) if one.name == check]
    assert any(words in line for line in found.violations), found.violations
    assert all("\n" not in line and "study's command with `-R " in line for line in found.violations)
    row = found.row()
    assert row["passed"] is False and words in row["detail"]


def test_a_beaten_candidate_on_the_front_is_found(artefacts):
    slow = artefacts.summary["candidate"] == SLOW
    worse = artefacts.summary.assign(accuracy=artefacts.summary["accuracy"].mask(slow, 0.2))
    listed = artefacts.fronts.assign(
        accuracy=artefacts.fronts["accuracy"].mask(artefacts.fronts["method"] == "joint", 0.2)
    )
    (found,) = [
        one for one in run_checks(replace(artefacts, summary=worse, fronts=listed)) if one.name == "fronts"
    ]
    (line,) = found.violations
    assert "joint" in line and "is on the front, but another one beats it" in line


def test_errors_beyond_what_the_audit_states_are_found(artefacts):
    """The prediction is the audit's, but the network is not as fast as the audit says."""
    slower = doctored(artefacts, "summary", "latency_ms", 3.0)
    (found,) = [one for one in run_checks(slower) if one.name == "predictions"]
    (line,) = found.violations
    assert "the audit states 0.9500 to 1.1000" in line and line.startswith(
        "results/devices/pi/benchmark.json: "
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"expected": {"pi": [FAST, SLOW, "m/new"]}},
            ["m/new: is configured, but in no list of candidates (pi)"],
        ),
        ({"expected": {"pi": [FAST]}}, [f"{SLOW}: is listed, but not configured (pi)"]),
    ],
)
def test_candidates_that_are_not_those_of_the_configuration_are_found(artefacts, changes, words):
    (found,) = [one for one in run_checks(replace(artefacts, **changes)) if one.name == "candidates"]
    assert [any(word in line for line in found.violations) for word in words] == [True] * len(words)
    assert len(found.violations) == len(words)


def test_candidates_that_the_summary_lacks_or_has_too_many_are_found(artefacts):
    (found,) = [
        one
        for one in run_checks(replace(artefacts, summary=artefacts.summary.iloc[:1], fronts=None))
        if one.name == "candidates"
    ]
    (line,) = found.violations
    assert "is configured and listed, but not summarised (pi)" in line
    surplus = with_(artefacts.summary, "candidate", "m/old")
    (found,) = [one for one in run_checks(replace(artefacts, summary=surplus)) if one.name == "candidates"]
    assert any("m/old: is summarised, but not listed (pi)" in line for line in found.violations)


def _timed(artefacts: Artefacts, candidate: str) -> str:
    """The file of a candidate that was timed."""
    rows = artefacts.summary
    return rows.loc[rows["candidate"] == candidate, "onnx_path"].iloc[0]


def test_files_that_are_missing_or_damaged_are_found(artefacts):
    damaged = {**ARCHS, "bbbbbbbbbbbb": "results/architectures/bbbbbbbbbbbb.json: not JSON. Run it again"}
    changed = replace(
        artefacts, architectures=damaged, files={_timed(artefacts, FAST): ("results/a.onnx", None)}
    )
    found = {one.name: one.violations for one in run_checks(changed) if one.violations}
    assert found["architectures"] == [damaged["bbbbbbbbbbbb"]]
    assert "results/a.onnx: " in found["sizes"][1] or "results/a.onnx: " in found["sizes"][0]
    assert len(found["sizes"]) == 2 and all("no such file" in line for line in found["sizes"])
    assert set(found) == {"architectures", "sizes"}
    words = summed_up(run_checks(changed))
    assert words == f"2 of {len(CHECKS)} checks failed: sizes (2), architectures (1)"
    (lost,) = [one for one in run_checks(replace(artefacts, architectures={"aaaaaaaaaaaa": ARCHS["aaaaaaaaaaaa"]}))
               if one.name == "architectures"]  # fmt: skip
    assert "results/architectures/bbbbbbbbbbbb.json: bbbbbbbbbbbb: no such file" in lost.violations[0]
    old = run_checks(replace(artefacts, architectures={**ARCHS, "cccccccccccc": "damaged"}))
    ((line,),) = [one.violations for one in old if one.violations]
    assert line.startswith("results/architectures/cccccccccccc.json: ") and line.endswith(". Delete it")


def test_without_contrasts_and_audit_there_is_nothing_to_check(artefacts):
    summary = artefacts.summary.assign(predicted_ms=None)
    findings = run_checks(replace(artefacts, summary=summary, fronts=None, audits={"pi": {}}))
    assert summed_up(findings) is None
    assert {one.name for one in findings if one.row()["detail"] == "nothing to check"} == {
        "fronts",
        "predictions",
    }


def test_a_choice_whose_budget_no_widths_keep_is_not_expected(tmp_path):
    path = str(tmp_path / "snap.json")
    write_json(path, "snap", {"methods": {}, "unkept": {"joint@1ms": "none meet the budget"}})
    expected = {"a": [], "b": [path, "joint@1ms"], "c": [path, "joint@fisher"]}
    assert runpy.run_path(str(ROOT / "workflow" / "scripts" / "checks.py"))["_kept"](expected) == ["a", "c"]


def test_every_check_is_documented():
    section = (ROOT / "docs" / "results.md").read_text().split("## `results/checks.csv`")[1].split("\n## ")[0]
    assert [name for name in CHECKS if f"| `{name}` |" not in section] == []
