"""Curves as rows of a latency table (`hakd.records.columns`), and back."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from hakd.records.errors import SWEEP_AGAIN, HakdError
from hakd.staircase.curve import UNLINKED, Curve, tolerance
from hakd.staircase.estimate import Estimates


def timed_row(sweep: Estimates, key: str) -> dict[str, Any]:
    """The columns of a row that come from a key's timing."""
    one = sweep.by_key[key]
    return {
        "shape": key,
        "latency_ms": one.latency_ms,
        "latency_low_ms": one.latency_low_ms,
        "latency_high_ms": one.latency_high_ms,
        "min_ms": one.min_ms,
        "median_ms": one.median_ms,
        "bursts": one.bursts,
        "dropped": one.dropped,
        "processes": one.processes,
    }


def curve_rows(curve: Curve, network: str, keys: Mapping[int, str], sweep: Estimates) -> list[dict[str, Any]]:
    """A row for each width of a curve; `keys` maps width -> key of the sweep."""
    about = {
        "network": network,
        "level": curve.level,
        "kind": "block",
        "group": curve.group,
        "neighbour_widths": json.dumps(dict(curve.neighbour_widths)),
        "residual_p95": curve.residual_p95,
        "tolerance": curve.tolerance,
        "reason": curve.reason,
    }
    return [
        {**about, "width": width, "trusted": precise, **timed_row(sweep, keys[width])}
        for width, precise in zip(curve.widths, curve.precise, strict=True)
    ]


def curve_of(rows: pd.DataFrame) -> Curve:
    """The curve of rows of one group at one level.

    Older tables have no `tolerance`, and their intervals come from a point's own processes only, usually two, which is
    too few: there the residual p95 replaces both.
    """
    rows = rows.sort_values("width")
    first = rows.iloc[0]
    residual, own = _known(first.get("residual_p95")), _known(first.get("tolerance"))
    ends = ("latency_low_ms", "latency_high_ms")
    low, high = ((None,) * len(rows) if own is None else _column(rows, name) for name in ends)
    return Curve(
        str(first["group"]),
        _known(first.get("level")),
        json.loads(first["neighbour_widths"]),
        tuple(int(width) for width in rows["width"]),
        tuple(float(value) for value in rows["latency_ms"]),
        low,
        high,
        tuple(float(value) for value in rows["min_ms" if "min_ms" in rows else "latency_ms"]),
        residual,
        tolerance(residual) if own is None else own,
        UNLINKED not in str(first.get("reason")),
    )


def curves_from_table(table: pd.DataFrame, level: float) -> dict[str, Curve]:
    """The curves of a level, by group, from a latency table.

    Raises:
        HakdError: the table has no curve at this level.
    """
    rows = table[(table["kind"] == "block") & (table["level"] == level)]
    if rows.empty:
        raise HakdError(f"no curves at level {level:g}", where="latency table", remedy=SWEEP_AGAIN)
    return {str(group): curve_of(part) for group, part in rows.groupby("group", sort=False)}


def _known(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _column(rows: pd.DataFrame, name: str) -> tuple[float | None, ...]:
    return tuple(_known(value) for value in rows[name]) if name in rows else (None,) * len(rows)
