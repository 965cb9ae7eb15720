"""Figures of two candidates, series or studies side by side, and whether each difference is more than noise.

Every verdict is at 95 %, for itself: of twenty pairs that do not differ, one may seem to.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hakd.analysis.series import units
from hakd.analysis.spread import seeds_spread
from hakd.analysis.summary import CONFIGURATION, aggregate

UNDECIDED, SAME = "undecided", "same"
PLACE = ("network", "level", "device")
_ROUNDING = 1e-12  # of accuracies
_HEADER = 1e-3  # sizes no further apart are the same: files say how long their training took, in more or fewer digits

Row = dict[str, Any]


def pair_keys(a: pd.DataFrame, b: pd.DataFrame, whole: bool) -> list[str]:
    """The columns by which rows of two summaries belong together.

    Args:
        a, b: rows of summaries.
        whole: they are studies, whose candidates belong together when all is equal but seeds; else each is one
            candidate or series, and where both have one network at one level, these may differ.
    """
    keys = [*CONFIGURATION] if whole else [*PLACE]
    if not whole and all(len(rows[["network", "level"]].drop_duplicates()) == 1 for rows in (a, b)):
        keys = ["device"]
    apart = not {*a["device"]} & {*b["device"]}
    return [key for key in keys if key != "device"] if apart else keys


def figures(a: pd.DataFrame, b: pd.DataFrame, keys: Sequence[str]) -> tuple[list[Row], list[Row], list[Row]]:
    """What both have, with both values of each figure, their difference (b less a) and its verdict; what one alone has.

    Args:
        a, b: rows of summaries; of one candidate or series where `keys` do not distinguish candidates.
        keys: as `pair_keys` gives them. Without the device among them, latencies are not compared.

    Returns:
        Rows of both, of `a` alone and of `b` alone, each with its keys. A row of both has `seeds`, `accuracy`,
        `latency_ms` (None: not compared), `size_bytes` and `macs`, each with `a`, `b` and `verdict`; accuracy also
        with `difference`, `low` and `high`, latency with `ratio`, `low` and `high` (95 % intervals; None: not known).
    """
    sides = [_each_once(rows, keys) for rows in (a, b)]
    parts = [_parts(rows, keys) for rows in sides]
    means = [_parts(aggregate(rows), keys) for rows in sides]
    both = [key for key in parts[0] if key in parts[1]]
    rows = [
        dict(zip(keys, key, strict=True))
        | _figures([side[key] for side in parts], [side[key].iloc[0] for side in means], "device" in keys)
        for key in both
    ]
    alone = [[dict(zip(keys, key, strict=True)) for key in part if key not in both] for part in parts]
    return rows, alone[0], alone[1]


def _each_once(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Each candidate once, where devices do not distinguish rows."""
    if "device" in keys:
        return rows
    first = rows["device"] == rows["device"].iloc[0]
    return rows.drop_duplicates("candidate") if "target_device" in keys else rows[first]


def _parts(rows: pd.DataFrame, keys: Sequence[str]) -> dict[tuple, pd.DataFrame]:
    """Rows by their keys, null as None."""
    if not keys:
        return {(): rows}
    plain = rows[[*keys]].astype(object).where(rows[[*keys]].notna(), None)
    found: dict[tuple, list[int]] = {}
    for place, key in enumerate(plain.itertuples(index=False, name=None)):
        found.setdefault(key, []).append(place)
    return {key: rows.iloc[places] for key, places in found.items()}


def _figures(rows: Sequence[pd.DataFrame], means: Sequence[pd.Series], timed: bool) -> Row:
    """Of one configuration: rows of both sides, and their averages over seeds."""
    latencies = [[float(one[f"latency{end}_ms"]) for end in ("", "_low", "_high")] for one in means]
    exact = {
        name: _exact(float(means[0][name]), float(means[1][name]), *words)
        for name, words in {
            "size_bytes": ("smaller", "larger", _HEADER),
            "macs": ("fewer", "more", 0.0),
        }.items()
    }
    return {
        "seeds": [int(one["seeds"]) for one in means],
        "accuracy": _accuracy(*rows),
        "latency_ms": compared_latency(*latencies) if timed else None,
        **exact,
    }


def _exact(a: float, b: float, less: str, more: str, tolerance: float) -> Row:
    """A figure without noise, the same where it differs by no more than a share of it."""
    return {"a": a, "b": b, "verdict": SAME if abs(b - a) <= tolerance * a else less if b < a else more}


def _accuracy(a: pd.DataFrame, b: pd.DataFrame) -> Row:
    """Means over seeds, and Student's t interval of their difference: paired where both have the same seeds."""
    (unit_a, nested_a), (unit_b, nested_b) = units(a), units(b)
    sides = [rows["accuracy"].astype(float).groupby(unit).mean() for rows, unit in ((a, unit_a), (b, unit_b))]
    paired = nested_a == nested_b and sides[0].index.equals(sides[1].index)
    values = [side.to_numpy() for side in sides]
    spread = seeds_spread([values[1] - values[0]] if paired else [values[1], -values[0]])
    difference, half = float(values[1].mean() - values[0].mean()), spread.half_width()
    row: Row = {"a": float(values[0].mean()), "b": float(values[1].mean()), "difference": difference}
    row |= {"low": None, "high": None}
    if paired and np.abs(values[1] - values[0]).max() <= _ROUNDING:
        return row | {"verdict": SAME}
    if not spread.standard_error > _ROUNDING:  # one seed, or no scatter to judge by
        return row | {"verdict": UNDECIDED}
    word = "higher" if difference > 0 else "lower"
    row |= {"low": difference - half, "high": difference + half}
    return row | {"verdict": word if abs(difference) > half else UNDECIDED}


def compared_latency(a: Sequence[float], b: Sequence[float]) -> Row:
    """Two latencies, the interval of their ratio and its verdict.

    The interval comes from that of each, by the method of variance estimates recovery (Zou and Donner, Statistics in
    Medicine 27, 2008) for the difference of their logarithms.

    Args:
        a, b: each with the ends of its 95 % interval, in ms; NaN where these are not known.
    """
    row: Row = {"a": a[0], "b": b[0], "ratio": b[0] / a[0], "low": None, "high": None}
    if any(math.isnan(value) for value in (*a, *b)):
        return row | {"verdict": UNDECIDED}
    (mid_a, low_a, high_a), (mid_b, low_b, high_b) = np.log([a, b])
    low = float(np.exp(mid_b - mid_a - math.hypot(mid_b - low_b, high_a - mid_a)))
    high = float(np.exp(mid_b - mid_a + math.hypot(high_b - mid_b, mid_a - low_a)))
    verdict = "faster" if high < 1 else "slower" if low > 1 else SAME if [*a] == [*b] else UNDECIDED
    return row | {"low": low, "high": high, "verdict": verdict}
