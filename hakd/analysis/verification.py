"""What choices were verified at, and what the benchmark says of them: selection against fresh figures.

A choice is accepted on the timings that accepted it, which flatter it (winner's curse). The benchmark times the same
networks again in processes that no choice saw; `shrinkage` is by how much that is slower than what was selected.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = (
    "network",
    "level",
    "search_seed",
    "method",
    "budget",
    "device",
    "arch",
    "against",
    "selected_ratio",
    "selected_low",
    "selected_high",
    "fresh_ratio",
    "shrinkage",
    "moved",
    "undone",
    "trusted",
    "reason",
)


def verifications(
    snaps: Iterable[Mapping[str, Any]],
    candidates: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """A row per choice of widths that used the device.

    Args:
        snaps: contents of the `snap` files of one device; `method` and `budget` of a choice are its key and None where
            it does not say.
        candidates: what the device's benchmark timed, with `candidate` and `arch`.
        rows: of that benchmark, with `candidate`, `latency_ms` and `trusted`.

    Returns:
        Columns `COLUMNS`. `budget`: its label; None for the readings of HAKD. `selected_ratio` with its interval:
        latency over what it was held against (`against`), at the timings that accepted it. `fresh_ratio`: the same in
        the benchmark, medians over candidates of an architecture; NaN where its reference is not a candidate.
        `shrinkage`: fresh / selected - 1, NaN for a choice that is what it is held against. `moved`, `undone`: groups
        whose width changed, and whose change was undone.
    """
    archs = {entry["candidate"]: entry["arch"] for entry in candidates}
    times = defaultdict(list)
    trusted = True
    for row in rows:
        times[archs[row["candidate"]]].append(row["latency_ms"])
        trusted &= bool(row["trusted"])
    fresh_ms = {arch: float(np.median(found)) for arch, found in times.items()}
    made = []
    for snap in snaps:
        for entry in snap["methods"].values():
            made.append(_row(snap, entry, fresh_ms) | {"trusted": trusted})
    return pd.DataFrame(made, columns=list(COLUMNS))


def _row(snap: Mapping[str, Any], entry: Mapping[str, Any], fresh_ms: Mapping[str, float]) -> dict[str, Any]:
    repair, choices = entry["repair"], entry["choices"]
    reference = repair["reference"]
    held = fresh_ms.get(reference, np.nan) * repair["share"] if reference else repair["budget_ms"]
    fresh = fresh_ms.get(entry["arch"], np.nan) / held
    same = entry["arch"] == reference
    return {
        "network": choices[0]["network"],
        "level": snap["level"],
        "search_seed": snap["search_seed"],
        "method": entry["method"],
        "budget": entry["budget"],
        "device": snap["device"],
        "arch": entry["arch"],
        "against": repair.get("budget", "the latency of fisher"),
        "selected_ratio": repair["ratio"],
        "selected_low": repair["ratio_low"],
        "selected_high": repair["ratio_high"],
        "fresh_ratio": fresh,
        "shrinkage": np.nan if same else fresh / repair["ratio"] - 1,
        "moved": sum(c["width_to"] != c["width_from"] for c in choices),
        "undone": sum(c["undone"] for c in choices),
        "reason": repair["reason"],
    }
