"""What threads gain and accuracy costs: speed-ups, and the fastest network of each method at one accuracy."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hakd.analysis.series import chosen_there, series_name, several_budgets
from hakd.analysis.summary import aggregate
from hakd.records.tables import with_late

SPEEDUP = (
    "network",
    "board",
    "device",
    "threads",
    "method",
    "level",
    "latency_ms",
    "speedup",
    "speedup_low",
    "speedup_high",
    "same_network",
)
_CELL = ["network", "board", "method", "level"]
AT_ACCURACY = (
    "network",
    "device",
    "method",
    "level",
    "recipe",
    "loss",
    "val_accuracy",
    "accuracy",
    "latency_ms",
    "memory_bytes",
    "weight_bytes",
    "size_bytes",
    "energy_mj",
)


def speedups(frame: pd.DataFrame, boards: Mapping[str, str]) -> pd.DataFrame:
    """How much faster each method's networks are with more threads: a row per network, method, level and device.

    Args:
        frame: a `summary` table.
        boards: by device, a name for all devices that differ from it in their threads alone
            (`hakd.study.branches.by_threads`).

    Returns:
        Columns `SPEEDUP`, for boards with several numbers of threads. `speedup`: latency with the fewest threads over
        that with these; the median over recipes and seeds of one choice, since widths alone decide. Its ends are those
        of the latencies' 95 % intervals at their worst, so they are wide; empty where one is. `same_network`: whether
        both have the same widths; methods that look at a device may choose others for each number of threads.
    """
    frame = with_late("summary", frame)
    frame = frame[chosen_there(frame) & frame["device"].isin(list(boards))]
    named = frame.assign(board=frame["device"].map(dict(boards)), method=_names(frame))
    several = named.groupby("board")["threads"].transform("nunique") > 1
    groups = named[several].groupby([*_CELL, "device", "threads"], sort=True)
    times = groups[["latency_ms", "latency_low_ms", "latency_high_ms"]].median()
    if times.empty:
        return pd.DataFrame(columns=list(SPEEDUP))
    times["archs"] = groups["arch"].agg(lambda archs: ",".join(sorted(set(archs))))
    rows = times.reset_index().sort_values([*_CELL, "threads"], kind="stable")
    first = rows.groupby(_CELL)[
        ["threads", "latency_ms", "latency_low_ms", "latency_high_ms", "archs"]
    ].transform("first")
    rows["speedup"] = first["latency_ms"] / rows["latency_ms"]
    own = first["threads"] == rows["threads"]  # exactly 1
    rows["speedup_low"] = (first["latency_low_ms"] / rows["latency_high_ms"]).where(~own, 1.0)
    rows["speedup_high"] = (first["latency_high_ms"] / rows["latency_low_ms"]).where(~own, 1.0)
    rows["same_network"] = first["archs"] == rows["archs"]
    return rows[list(SPEEDUP)].reset_index(drop=True)


def at_accuracy(
    frame: pd.DataFrame, accuracy: float
) -> tuple[pd.DataFrame, dict[tuple[str, str], list[str]]]:
    """The fastest network of each method whose validation accuracy reaches a point, by network and device.

    The test accuracy is reported and decides nothing.

    Args:
        frame: a `summary` table.
        accuracy: on the validation split, 0 to 1; of the average over seeds.

    Returns:
        Columns `AT_ACCURACY`, and by network and device the methods that do not reach it.
    """
    averages = aggregate(frame)
    averages = averages[chosen_there(averages)]
    averages = averages.assign(method=_names(averages))
    for name in ("memory_bytes", "weight_bytes", "energy_mj"):
        if name not in averages:
            averages[name] = np.nan
    reached = averages[averages["val_accuracy"] >= accuracy].sort_values("latency_ms", kind="stable")
    fastest = reached.drop_duplicates(["network", "device", "method"])
    missed = {}
    for key, group in averages.groupby(["network", "device"], sort=True):
        own = fastest[(fastest["network"] == key[0]) & (fastest["device"] == key[1])]
        missed[key] = [name for name in dict.fromkeys(group["method"]) if name not in set(own["method"])]
    return fastest[list(AT_ACCURACY)].reset_index(drop=True), missed


def _names(frame: pd.DataFrame) -> list[str]:
    """The series name of each row, without recipe and loss."""
    budgets = several_budgets(frame)
    return [
        series_name(method, target, budget)
        for method, target, budget in zip(frame["method"], frame["target_device"], budgets, strict=True)
    ]
