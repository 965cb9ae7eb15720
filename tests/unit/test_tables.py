"""The study's tables: what is written is read back, and what breaks the contract is refused with file and column."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.records.columns import KEYS, TABLES
from hakd.records.errors import HakdError
from hakd.records.tables import check_table, read_table, write_table
from tests.unit.table_rows import HAZARD_ROW, LATENCY_ROW, SUMMARY_ROW

PREDICTION_ROW = {"candidate": "a", "image": 0, "label": 3, "prediction": 4, "original": 17}
CERTIFICATE_ROW = {
    "network": "m",
    "level": 0.5,
    "method": "joint",
    "budget": "round16",
    "scope": "width",
    "group": "pw1",
    "width_from": 81,
    "width_to": 96,
    "free_channels": 15,
    "ratio": 1.001,
    "bound": 0.012,
    "tolerance": 0.015,
    "shown": True,
    "confidence": 0.95,
    "together": 14,
    "processes": 8,
    "device": "pi4",
    "engine": "onnxruntime",
    "engine_version": "1.31.1",
    "threads": 1,
    "words": "96 is at most 1.2 % slower than 81 (95 %)",
}
ROWS = {
    "summary": SUMMARY_ROW,
    "latency": LATENCY_ROW,
    "predictions": PREDICTION_ROW,
    "hazards": HAZARD_ROW,
    "certificates": CERTIFICATE_ROW,
}
NULL = {
    "summary": {
        *("target_device", "search_seed", "budget", "predicted_ms", "memory_bytes", "weight_bytes"),
        *("energy_mj", "energy_low_mj", "energy_high_mj", "idle_w", "search_s"),
    },
    "predictions": {"original"},
    "latency": {"level", "width", "median_ms", "tolerance"},
    "hazards": {"worst_width", "slowdown", "any_start"},
    "certificates": {"budget", "group", "width_from", "free_channels", "bound", "tolerance"},
}


def table(kind: str, *changes: dict) -> pd.DataFrame:
    """One row per dictionary of changed values."""
    return pd.DataFrame([{**ROWS[kind], **change} for change in changes or [{}]])


def refused(kind: str, frame: pd.DataFrame, column: str, words: str, path="x.parquet") -> None:
    """The error names the file, the column and the problem."""
    with pytest.raises(HakdError) as caught:
        write_table(path, kind, frame)
    assert str(caught.value).startswith(f"{path}: {column}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("kind", TABLES)
def test_reads_what_it_wrote(tmp_path, kind, suffix):
    empty = dict.fromkeys(NULL.get(kind, ()))
    key = {"latency": "group", "hazards": "group", "certificates": "network"}.get(kind, "candidate")
    frame = table(kind, {}, {**empty, key: "other"})
    path = tmp_path / f"t{suffix}"
    write_table(path, kind, frame.sample(frac=1, axis=1, random_state=0))
    back, _ = read_table(path, kind)
    assert list(back.columns) == [column.name for column in TABLES[kind]]
    pd.testing.assert_frame_equal(back, check_table(kind, frame))
    for name in empty:
        assert pd.isna(back.loc[1, name]) and not pd.isna(back.loc[0, name])


def test_types_are_those_of_the_contract(tmp_path):
    write_table(tmp_path / "p.parquet", "predictions", table("predictions"))
    write_table(tmp_path / "l.parquet", "latency", table("latency", {"width": None, "kind": "tile"}))
    predictions = read_table(tmp_path / "p.parquet", "predictions")[0].dtypes
    latency = read_table(tmp_path / "l.parquet", "latency")[0].dtypes
    assert predictions["label"] == predictions["prediction"] == np.int16 and predictions["image"] == np.int32
    assert isinstance(predictions["candidate"], pd.CategoricalDtype)
    assert latency["width"] == pd.Int64Dtype() and latency["trusted"] == np.bool_


def test_predictions_are_small(tmp_path):
    """A candidate costs about as many bytes as it has images, not a name per image."""
    names = [f"mobilenet/0.5/hakd/local/distilled/at+logits/{seed}" for seed in range(10)]
    images, rng = np.arange(2000), np.random.default_rng(0)
    labels = rng.integers(0, 10, 2000)
    parts = [
        pd.DataFrame(
            {"candidate": name, "image": images, "label": labels, "prediction": rng.permutation(labels)}
        )
        for name in names
    ]
    write_table(tmp_path / "p.parquet", "predictions", pd.concat(parts))
    assert (tmp_path / "p.parquet").stat().st_size < 2.5 * 2000 * 10


def test_metadata_and_provenance(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(
        path, "latency", table("latency"), {"engine": "onnxruntime", "context": {"cpu": "x", "mhz": 2.5}}
    )
    _, metadata = read_table(path, "latency")
    assert metadata["context"] == {"cpu": "x", "mhz": 2.5} and metadata["engine"] == "onnxruntime"
    assert metadata["kind"] == "latency" and metadata["format"] == 1
    assert set(metadata["provenance"]) == {"commit", "config_hash", "versions"}
    header = json.loads(pq.read_schema(path).metadata[b"hakd"])
    assert header == metadata
    with pytest.raises(HakdError, match="JSON cannot hold"):
        write_table(path, "latency", table("latency"), {"cpu": math.nan})


@settings(max_examples=12, deadline=None)
@given(
    number=st.floats(min_value=1e-12, max_value=1e12),
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    count=st.integers(1, 2**62),
    null=st.booleans(),
)
def test_every_value_survives_csv_and_parquet(tmp_path_factory, number, text, count, null):
    folder = tmp_path_factory.mktemp("t")
    change = {"latency_ms": number, "latency_low_ms": None, "latency_high_ms": None, "engine": text}
    change |= {
        "train_macs": count,
        "memory_bytes": None if null else count,
        "onnx_path": None if null else text,
    }
    for suffix in (".csv", ".parquet"):
        write_table(folder / f"t{suffix}", "summary", table("summary", change))
        row = read_table(folder / f"t{suffix}", "summary")[0].iloc[0]
        assert row["latency_ms"] == number and row["engine"] == text and row["train_macs"] == count
        assert pd.isna(row["memory_bytes"]) if null else row["memory_bytes"] == count
        assert pd.isna(row["onnx_path"]) if null else row["onnx_path"] == text


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_from_before_a_column_came_is_read_as_if_it_were_empty(tmp_path, suffix):
    late = [column.name for column in TABLES["latency"] if column.late]
    assert late == ["median_ms", "tolerance"]
    path = tmp_path / f"old{suffix}"
    write_table(path, "latency", table("latency").drop(columns=late))
    frame, _ = read_table(path, "latency")
    assert list(frame.columns) == [column.name for column in TABLES["latency"]]
    assert frame[late].isna().all(axis=None)
    rest = [name for name in frame.columns if name not in late]
    whole = tmp_path / f"new{suffix}"
    write_table(whole, "latency", table("latency"))
    again = read_table(whole, "latency")[0]
    pd.testing.assert_frame_equal(frame[rest], again[rest])
    assert again[late].iloc[0].tolist() == [0.022, 0.02]
    assert not any(column.late and not column.null for columns in TABLES.values() for column in columns)


@pytest.mark.parametrize("kind", TABLES)
def test_missing_and_surplus_columns(kind):
    for column in TABLES[kind]:
        if column.late:
            continue
        refused(kind, table(kind).drop(columns=column.name), column.name, "column missing")
    refused(kind, table(kind).assign(colour=1), "colour", "column unknown")
    name = TABLES[kind][0].name
    refused(kind, pd.concat([table(kind), table(kind)[[name]]], axis=1), name, "duplicate column")


@pytest.mark.parametrize(
    ("kind", "column", "value", "words"),
    [
        ("summary", "method", "hacked", "expected one of teacher, fisher"),
        ("summary", "recipe", "boiled", "expected one of tuned"),
        ("summary", "accuracy", 1.01, "up to 1"),
        ("summary", "accuracy", math.nan, "is empty"),
        ("summary", "accuracy", "0.9", "expected a number"),
        ("summary", "level", 0.0, "above 0 up to 1"),
        ("summary", "latency_ms", 0.0, "above 0"),
        ("summary", "latency_ms", math.inf, "expected a number"),
        ("summary", "latency_low_ms", 0.4, "above latency_high_ms"),
        ("summary", "size_bytes", 10.5, "whole number"),
        ("summary", "size_bytes", 0, "from 1"),
        ("summary", "trusted", 1, "true or false"),
        ("summary", "trusted", None, "is empty"),
        ("summary", "seed", True, "whole number"),
        ("summary", "seed", -1, "from 0"),
        ("summary", "candidate", "", "text that is not empty"),
        ("summary", "arch", 12, "text that is not empty"),
        ("latency", "kind", "layer", "expected one of tile, block"),
        ("latency", "neighbour_widths", "stem 8", "JSON object of widths"),
        ("latency", "neighbour_widths", '{"stem": 8.5}', "JSON object of widths"),
        ("latency", "neighbour_widths", "[8]", "JSON object of widths"),
        ("latency", "width", 0, "from 1"),
        ("latency", "processes", 0, "from 1"),
        ("hazards", "slowdown", -1.5, "a number from -1"),
        ("certificates", "scope", "layer", "expected one of width, network"),
        ("certificates", "words", "", "text that is not empty"),
        ("predictions", "label", 40000, "int16"),
        ("predictions", "image", -1, "from 0"),
    ],
)
def test_refuses_bad_values_naming_the_column(tmp_path, kind, column, value, words):
    path = tmp_path / "t.parquet"
    frame = table(kind)
    frame[column] = pd.Series([value], dtype=object)
    refused(kind, frame, column, words, path)
    assert not list(tmp_path.iterdir())


def test_refuses_two_rows_with_one_key():
    for kind in TABLES:
        refused(kind, table(kind, {}, {}), " x ".join(KEYS[kind]), "two rows for")
    assert len(check_table("latency", table("latency", {}, {"level": 0.25}, {"level": None}))) == 3


def test_refuses_empty_tables_unknown_kinds_and_suffixes(tmp_path):
    with pytest.raises(HakdError, match="summary table without rows"):
        write_table(tmp_path / "a.parquet", "summary", table("summary").iloc[:0])
    for call in (lambda p: write_table(p, "weather", table("summary")), lambda p: read_table(p, "weather")):
        with pytest.raises(
            HakdError, match=r"unknown kind of table: 'weather'.*summary, latency, predictions"
        ):
            call(tmp_path / "a.parquet")
    with pytest.raises(HakdError, match=r"cannot be \.xls"):
        write_table(tmp_path / "a.xls", "summary", table("summary"))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, "summary", table("summary"))
    before = path.read_bytes()
    with pytest.raises(HakdError):
        write_table(path, "summary", table("summary", {"accuracy": 2.0}))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_refuses_other_files(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(HakdError, match="no such file"):
        read_table(path, "summary")
    write_table(path, "latency", table("latency"))
    with pytest.raises(HakdError, match="is 'latency', not 'summary'"):
        read_table(path, "summary")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(HakdError, match="not a Parquet file"):
        read_table(path, "latency")
    table("latency").to_parquet(path)
    with pytest.raises(HakdError, match="hakd did not write"):
        read_table(path, "latency")


def test_refuses_other_formats_and_contents_on_reading(tmp_path):
    path = tmp_path / "t.parquet"
    for header, frame, words in (
        ({"kind": "latency", "format": 2}, table("latency"), "format 2, this program reads 1"),
        ({"kind": "latency", "format": 1}, table("latency").drop(columns="width"), "width: column missing"),
        (
            {"kind": "latency", "format": 1},
            table("latency", {"latency_ms": -1.0}),
            "latency_ms: row 0 holds -1.0",
        ),
    ):
        arrow = pa.Table.from_pandas(frame)
        pq.write_table(arrow.replace_schema_metadata({b"hakd": json.dumps(header).encode()}), path)
        with pytest.raises(HakdError, match=words):
            read_table(path, "latency")


def test_refuses_damaged_csv(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, "predictions", table("predictions"))
    good = path.read_text()
    assert good == "candidate,image,label,prediction,original\na,0,3,4,17\n"
    for bad, words in (
        (good.replace(",3,", ",three,"), "label: not int16"),
        (good + "b,1\n", "is empty"),
        (good.splitlines()[0] + "\n", "without rows"),
        ("", "not a CSV table"),
    ):
        path.write_text(bad)
        with pytest.raises(HakdError, match=words):
            read_table(path, "predictions")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HakdError, match="not a CSV table"):
        read_table(path, "predictions")


def test_every_column_is_documented():
    text = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text()
    for columns in TABLES.values():
        for column in columns:
            assert f"| `{column.name}` | {column.meaning} |" in text
