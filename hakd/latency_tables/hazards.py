"""The hazard table of a device: by how much pruning a few channels of a layer can slow it down, from latency tables."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from hakd.latency_tables.files import all_curves
from hakd.records.errors import HakdError
from hakd.records.tables import check_table
from hakd.records.text import counted
from hakd.staircase.hazards import SHARE, hazard

UNKNOWN = "unknown"  # the device of a table of rows only


def hazard_table(
    tables: Iterable[tuple[pd.DataFrame, Mapping[str, Any]]], share: float = SHARE, where: object = None
) -> pd.DataFrame:
    """Rows of the table `hazards`: one for each curve of the latency tables, the worst first.

    Args:
        tables: latency tables with their metadata.
        share: largest share of the channels that is pruned, above 0 and below 1.
        where: for error messages.

    Raises:
        HakdError: no curves in the tables.
    """
    rows = []
    for frame, about in tables:
        device = str(about.get("device") or UNKNOWN)
        for network, part in frame.groupby("network", sort=False):
            full = _full_widths(part)
            for curve in all_curves(part):
                row = hazard(curve, full[curve.group], share).to_row()
                around = json.dumps(dict(curve.neighbour_widths))
                rows.append({"device": device, "network": network, "neighbour_widths": around, **row})
    if not rows:
        raise HakdError(
            "no curves, only tiles", where=where, key="kind", remedy="Give a table of `hakd sweep --mode map`"
        )
    # Whole numbers stay whole despite empty cells.
    hazards = check_table("hazards", pd.DataFrame(rows), where)
    order = hazards["slowdown"].fillna(-1.0).sort_values(ascending=False, kind="stable").index
    return hazards.loc[order].reset_index(drop=True)


def _full_widths(part: pd.DataFrame) -> dict[str, int]:
    """The widest width of each group in a network's rows: the full network's tiles have it, and curves end there."""
    found: dict[str, int] = {}
    blocks = part[part["kind"] == "block"]
    known = list(zip(blocks["group"], blocks["width"], strict=True))
    for text in dict.fromkeys(part["neighbour_widths"]):
        known += json.loads(text).items()
    for group, width in known:
        found[group] = max(found.get(group, 0), int(width))
    return found


def lines(found: pd.DataFrame, share: float, modes: Iterable[str]) -> list[str]:
    """The table in words: what slows down, what is not known, what is not certain."""
    said = [f"pruning up to {100 * share:g} % of the channels, by the widths that were timed:"]
    said += [f"  {_line(row)}" for row in found.to_dict("records")]
    part = int((found["timed"] < found["widths"]).sum())
    if part:
        said.append(
            f"In {part} of {counted(len(found), 'curve')} not every width of the range was timed:"
            " the true worst may be worse."
        )
    if "targets" in modes:
        said.append(
            "Mode `targets` times only what choosing a width needs; `hakd sweep --mode map` or `exhaustive` shows more."
        )
    return said


def _line(row: Mapping[str, Any]) -> str:
    level = "" if pd.isna(row["level"]) else f" level {row['level']:g}"
    head = f"{row['network']}{level} {row['group']}: from {row['full_width']}"
    timed = f"{row['timed']} of {row['widths']} timed"
    if pd.isna(row["slowdown"]):
        text = f"{head} not known ({timed})"
    else:
        text = f"{head} to {row['worst_width']} {100 * row['slowdown']:+.1f} % ({timed})"
    if not pd.isna(row["any_slowdown"]):
        ends = f"from {row['any_start']} to {row['any_worst']} {100 * row['any_slowdown']:+.1f} %"
        text += f"; worst anywhere {ends} ({row['any_timed']} of {row['any_widths']} timed)"
    return text if row["trusted"] else f"{text}; not certain: {row['reason']}"
