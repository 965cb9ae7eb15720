"""The study's tables: fixed columns, checked when written and when read, provenance inside.

One kind of table per contract: `summary` (a row per candidate and device), `latency` (a row per tile or
block, width and level of one network on one device) and `predictions` (a row per candidate and test image).
`docs/results.md` explains the columns to readers of the files; `Column.meaning` is the source of those
explanations.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hakd.records.columns import DTYPES, KEYS, TABLES, Column
from hakd.records.csv_tables import read_csv
from hakd.records.errors import HakdError, make_again
from hakd.records.files import atomic
from hakd.records.provenance import provenance

FORMAT = 1
_METADATA_KEY = b"hakd"

# A number as spreadsheets write it; a hash has neither sign nor point, and small letters.
NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+(?:[eE][+-]?\d+)?|E[+-]?\d+|e[+-]\d+)")

_ARROW: dict[str, pa.DataType] = {
    "text": pa.string(),
    "category": pa.dictionary(pa.int32(), pa.string()),
    "float": pa.float64(),
    "int": pa.int64(),
    "int32": pa.int32(),
    "int16": pa.int16(),
    "bool": pa.bool_(),
    "json": pa.string(),
}


def write_table(
    path: str | os.PathLike, kind: str, frame: pd.DataFrame, metadata: Mapping[str, Any] | None = None
) -> None:
    """Check `frame` and write it whole or not at all, as Parquet or CSV by the suffix of `path`.

    Args:
        path: `.parquet` (with provenance, format version, kind and `metadata` in its schema) or `.csv` (rows
            only; made for spreadsheets, the Parquet file beside it holds the rest).
        kind: `summary`, `latency` or `predictions`.
        frame: the columns of that kind in any order, nothing else; one row or more.
        metadata: what else the reader must know (device context, engine, protocol); anything JSON can hold.

    Raises:
        HakdError: unknown kind or suffix, missing, surplus or ill-typed column, empty table, a value out of
            range, two rows with one key; names file and column.
    """
    suffix = _suffix(path)
    table = check_table(kind, frame, where=path)
    if suffix == ".csv":
        with atomic(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
        return
    schema = pa.schema([(column.name, _ARROW[column.type]) for column in TABLES[kind]])
    arrow = pa.Table.from_pandas(table, schema=schema, preserve_index=False)
    try:
        header = json.dumps(
            {**(metadata or {}), "kind": kind, "format": FORMAT, "provenance": provenance()}, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise HakdError(f"metadata that JSON cannot hold ({error})", where=path) from None
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _METADATA_KEY: header.encode()})
    with atomic(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def read_table(path: str | os.PathLike, kind: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read and check what `write_table` wrote; returns the table and its metadata (empty for CSV).

    Text is `str` with NaN for null, whole numbers are `int64` (`Int64` where null is allowed), predictions
    are compact.

    Raises:
        HakdError: missing file, damaged file, another kind or format, or a table that breaks its contract.
    """
    suffix = _suffix(path)
    if kind not in TABLES:
        raise HakdError(f"unknown kind of table: {kind!r}", where=path, remedy=f"Known: {', '.join(TABLES)}")
    if not Path(path).is_file():
        raise HakdError("no such file", where=path, remedy=make_again(path))
    if suffix == ".csv":
        return check_table(kind, read_csv(path, TABLES[kind]), where=path), {}
    try:
        arrow = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        text = str(error).splitlines()[0]
        raise HakdError(f"not a Parquet file ({text})", where=path, remedy=make_again(path)) from None
    metadata = _metadata(arrow, path, kind)
    return check_table(kind, arrow.to_pandas(), where=path), metadata


def check_table(kind: str, frame: pd.DataFrame, where: object = None) -> pd.DataFrame:
    """Return a copy of `frame` with the contract's columns, order and types.

    Raises:
        HakdError: as for `write_table`; `where` is the file named in the message.
    """
    if kind not in TABLES:
        raise HakdError(f"unknown kind of table: {kind!r}", where=where, remedy=f"Known: {', '.join(TABLES)}")
    columns = TABLES[kind]
    names = [column.name for column in columns]
    frame = with_late(kind, frame)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise HakdError(f"column missing in a {kind} table", where=where, key=missing[0])
    surplus = [str(name) for name in frame.columns if name not in names]
    if surplus:
        raise HakdError(f"column unknown in a {kind} table", where=where, key=surplus[0])
    if not frame.columns.is_unique:
        double = frame.columns[frame.columns.duplicated()][0]
        raise HakdError(f"duplicate column in a {kind} table", where=where, key=double)
    if frame.empty:
        raise HakdError(f"a {kind} table without rows", where=where, remedy=make_again(where))
    frame = frame.reset_index(drop=True)
    made = pd.DataFrame({column.name: _checked(frame[column.name], column, where) for column in columns})
    key = list(KEYS[kind])
    double = made.duplicated(key)
    if double.any():
        row = made.loc[double.idxmax(), key]
        raise HakdError(f"two rows for {', '.join(str(v) for v in row)}", where=where, key=" x ".join(key))
    _check_intervals(made, where)
    return made


def with_late(kind: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns that came later and that it lacks, empty."""
    later = [column.name for column in TABLES[kind] if column.late and column.name not in frame.columns]
    return frame.assign(**dict.fromkeys(later, None)) if later else frame


def _suffix(path: str | os.PathLike) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise HakdError(
            f"a table cannot be {suffix or 'without suffix'}", where=path, remedy="Use .parquet or .csv"
        )
    return suffix


def _metadata(arrow: pa.Table, path: str | os.PathLike, kind: str) -> dict[str, Any]:
    header = (arrow.schema.metadata or {}).get(_METADATA_KEY)
    if header is None:
        raise HakdError(
            "a Parquet file that hakd did not write", where=path, key="metadata", remedy=make_again(path)
        )
    content = json.loads(header)
    if content.get("kind") != kind:
        raise HakdError(
            f"is {content.get('kind')!r}, not {kind!r}", where=path, key="kind", remedy=make_again(path)
        )
    if content.get("format") != FORMAT:
        raise HakdError(
            f"format {content.get('format')}, this program reads {FORMAT}",
            where=path,
            key="format",
            remedy=make_again(path),
        )
    return content


def _checked(values: pd.Series, column: Column, where: object) -> pd.Series:
    """One column in its type, after all its checks."""
    if column.null and column.type == "text":
        values = values.mask(values == "")  # a CSV file cannot distinguish them
    null = values.isna()
    if null.any() and not column.null:
        raise HakdError(f"row {int(null.idxmax())} is empty", where=where, key=column.name)
    present = values[~null]
    if column.type in ("text", "category", "json"):
        wrong = [not isinstance(value, str) or not value for value in present]
    elif column.type == "bool":
        wrong = [not isinstance(value, bool | np.bool_) for value in present]
    else:
        wrong = _wrong_numbers(present, column)
    _refuse(pd.Series(wrong, index=present.index, dtype=bool), present, column, where)
    if column.hashed:
        _refuse_damaged_hashes(present, column, where)
    if column.values is not None:
        _refuse(~present.isin(column.values), present, column, where)
    if column.type == "json":
        _refuse(~present.map(_is_widths), present, column, where)
    dtype = "Int64" if column.null and column.type == "int" else DTYPES[column.type]
    return values.astype(object).where(~null, None).astype(dtype) if null.any() else values.astype(dtype)


def _refuse(bad: pd.Series, present: pd.Series, column: Column, where: object) -> None:
    if bad.any():
        row = bad.idxmax()
        value = present[row]
        value = value.item() if isinstance(value, np.generic) else value
        raise HakdError(
            f"row {row} holds {value!r}, expected {column.wanted()}", where=where, key=column.name
        )


def _refuse_damaged_hashes(present: pd.Series, column: Column, where: object) -> None:
    """Refuse what a spreadsheet makes of a hash that looks like a number: of 12e4500000000000, say, 1.20E+46."""
    for row, value in present.items():
        if NUMBER.fullmatch(value):
            raise HakdError(
                f"row {row} holds {value!r}: a spreadsheet has turned a hash into a number",
                where=where,
                key=column.name,
                remedy=f"Import the column `{column.name}` as text, or use the Parquet or JSON file",
            )


def _wrong_numbers(present: pd.Series, column: Column) -> list[bool]:
    """Which values are no numbers of the column's type and range; infinities never are."""
    if present.dtype == bool:
        return [True] * len(present)
    if present.dtype == object and any(isinstance(value, str | bool) for value in present):
        return [isinstance(value, str | bool) for value in present]
    try:
        numbers = present.to_numpy(dtype=float)
    except (TypeError, ValueError):
        return [True] * len(present)
    wrong = ~np.isfinite(numbers)
    if column.type != "float":
        limit = float(np.iinfo(DTYPES[column.type]).max)
        with np.errstate(invalid="ignore"):
            wrong |= (numbers != np.floor(numbers)) | (np.abs(numbers) > limit)
    low, high, open_low = column.low, column.high, column.open_low
    if low is not None:
        wrong |= (numbers <= low) if open_low else (numbers < low)
    if high is not None:
        wrong |= numbers > high
    return wrong.tolist()


def _is_widths(text: str) -> bool:
    """Whether a text is a JSON object of whole numbers by name."""
    try:
        content = json.loads(text)
    except ValueError:
        return False
    return isinstance(content, dict) and all(type(value) is int for value in content.values())


def _check_intervals(frame: pd.DataFrame, where: object) -> None:
    """An interval's ends come in order."""
    if "latency_low_ms" in frame.columns:
        wrong = frame["latency_low_ms"] > frame["latency_high_ms"]
        if wrong.any():
            raise HakdError(
                f"row {int(wrong.idxmax())} is above latency_high_ms", where=where, key="latency_low_ms"
            )
