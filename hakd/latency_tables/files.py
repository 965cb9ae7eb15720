"""Latency tables from every format that hakd writes: Parquet, CSV (rows only) or JSON."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.records.errors import HakdError
from hakd.records.files import read_json, write_json
from hakd.records.tables import check_table, read_table
from hakd.records.text import did_you_mean, printable
from hakd.staircase.curve import Curve
from hakd.staircase.curve_rows import curves_from_table

SUFFIXES = (".parquet", ".csv", ".json")
KIND = "latency"


def read_latency(path: str | os.PathLike) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A latency table and its metadata (empty for CSV, which holds rows only).

    Raises:
        HakdError: another suffix, no such file, or a table that breaks its contract.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        problem = f"not a latency table by its suffix ({suffix or 'none'})"
        raise HakdError(problem, where=path, remedy=f"Give a file that ends in {', '.join(SUFFIXES)}")
    if not Path(path).is_file():
        raise HakdError("no such file", where=path, remedy="Make one with `hakd sweep`, or give another path")
    frame, about = _read_json(path) if suffix == ".json" else read_table(path, KIND)
    if not isinstance(about.get("context", {}), dict):
        remedy = "Get the table as hakd wrote it"
        raise HakdError("is not a mapping", where=path, key="context", remedy=remedy)
    return frame, about


def _read_json(path: str | os.PathLike) -> tuple[pd.DataFrame, dict[str, Any]]:
    content = read_json(path, KIND)
    rows, about = content.get("rows"), content.get("about")
    if (
        not isinstance(rows, list)
        or not isinstance(about, dict)
        or not all(isinstance(r, dict) for r in rows)
    ):
        remedy = "Get the table as hakd wrote it"
        raise HakdError("no rows with a description", where=path, key="rows", remedy=remedy)
    frame = pd.DataFrame(
        [{**row, "neighbour_widths": json.dumps(row.get("neighbour_widths"))} for row in rows]
    )
    return check_table(KIND, frame, where=path), about


def write_latency_json(path: str | os.PathLike, frame: pd.DataFrame, about: Mapping[str, Any]) -> None:
    """Write a table as JSON: `about` (device, engine, context) and `rows`, null where a cell is empty."""
    kept = {key: value for key, value in about.items() if key not in ("kind", "format", "provenance")}
    rows = [
        {**row, "neighbour_widths": json.loads(row["neighbour_widths"])}
        for row in frame.astype(object).where(frame.notna(), None).to_dict("records")
    ]
    write_json(path, KIND, {"about": kept, "rows": rows})


def select(
    frame: pd.DataFrame, where: object, groups: Sequence[str] = (), level: float | None = None
) -> pd.DataFrame:
    """The rows of some groups and a level; if empty or None, of all.

    Raises:
        HakdError: a group or level that the table does not have.
    """
    for group in groups:
        if group not in set(frame["group"]):
            remedy = did_you_mean(group, frame["group"])
            raise HakdError(f"no such group: {group!r}", where=where, key="--group", remedy=remedy)
    if groups:
        frame = frame[frame["group"].isin(groups)]
    if level is not None:
        known = sorted({float(value) for value in frame["level"].dropna()})
        if level not in known:
            remedy = f"Known: {', '.join(f'{value:g}' for value in known) or 'none'}"
            raise HakdError(f"no such level: {level:g}", where=where, key="--level", remedy=remedy)
        frame = frame[frame["level"] == level]
    return frame


def all_curves(frame: pd.DataFrame) -> list[Curve]:
    """Every curve of a latency table, level by level."""
    levels = dict.fromkeys(frame.loc[frame["kind"] == "block", "level"].dropna())
    return [curve for level in levels for curve in curves_from_table(frame, level).values()]


def headline(about: Mapping[str, Any]) -> str:
    """Engine, threads and processor of a table, for the head of a page; empty for a table without metadata."""
    if not about:
        return ""
    context = about.get("context") or {}
    threads = context.get("threads")
    words = [f"{about.get('engine')} {about.get('engine_version')}"]
    words += [f"{threads} thread{'s' * (threads != 1)}"] if threads else []
    words += [str(precision)] if (precision := context.get("precision", "float32")) != "float32" else []
    words += [str(context["cpu_model"])] if context.get("cpu_model") else []
    return printable(", ".join(words))
