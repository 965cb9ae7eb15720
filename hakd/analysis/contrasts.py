"""Contrasts: differences between series that were declared before the study ran, tested together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hakd.analysis.comparison import Difference, differences, shared_places
from hakd.analysis.scores import Scores
from hakd.analysis.series import NoCandidates
from hakd.analysis.spread import Spread

ALPHA = 0.05
COLUMNS = (
    "contrast",
    "a",
    "b",
    "at",
    "network",
    "device",
    "scope",
    "latency_ms",
    "size_bytes",
    "level_a",
    "level_b",
    "accuracy_a",
    "accuracy_b",
    "difference",
    "low",
    "high",
    "standard_error",
    "seeds",
    "p_value",
    "p_holm",
    "verdict",
    "detectable",
    "detectable_holm",
    "reason",
)


APART = "no common device"
MISSING = "no candidates of {}"
HEADLINES = ("mean", "within")  # scopes of the rows that have verdicts


def contrasts(frame: pd.DataFrame, scores: Scores, declared: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Differences of test accuracy at equal measured latency or size, with what is known of them (docs/statistics.md).

    Args:
        frame: a `summary` table.
        scores: of all its candidates.
        declared: `a` and `b`, each naming a series as for `compare`, perhaps a `name`, and `at`: a key of
            `hakd.analysis.series.COSTS` (default `latency`).

    Returns:
        Columns `COLUMNS`, a row for the mean over the shared latencies (sizes) of each contrast, network and device,
        and then one at each of them. Where none is shared, one series costs more than the other throughout; its
        cheapest network and the other's most expensive one make a row of the scope `within` instead of both. `low` and
        `high`: 95 % interval, other seeds and other images. `p_value`: of no difference. Only the means and `within`
        have `p_holm` (Holm, Scandinavian Journal of Statistics 6, 1979, over the contrasts of a network and device)
        and `verdict`: `a` or `b` is more accurate where that is below 0.05, else `undecided`. `detectable`: the
        smallest difference that a test at 0.05 finds with a probability of 80 %; `detectable_holm`: at 0.05 over the
        number of contrasts, which the smallest of their p-values has to pass.

    A series without candidates makes one row, whose `reason` says so.

    Raises:
        HakdError: as `compare`, but for that.
    """
    rows = [row for contrast in declared for row in _rows(frame, scores, contrast)]
    families: dict[tuple[str, str], list[tuple[dict[str, Any], Spread]]] = {}
    for row, spread in rows:
        if row["scope"] in HEADLINES and spread is not None and not np.isnan(row["p_value"]):
            families.setdefault((row["network"], row["device"]), []).append((row, spread))
    for family in families.values():
        for (row, spread), p_holm in zip(family, holm([row["p_value"] for row, _ in family]), strict=True):
            better = "a" if row["difference"] > 0 else "b"
            row |= {"p_holm": p_holm, "verdict": better if p_holm < ALPHA else "undecided"}
            row["detectable_holm"] = spread.detectable(ALPHA / len(family))
    table = pd.DataFrame([row for row, _ in rows], columns=list(COLUMNS))
    return table.astype({"seeds": "Int64", **dict.fromkeys(("verdict", "reason"), "str")})


def _rows(
    frame: pd.DataFrame, scores: Scores, contrast: Mapping[str, str]
) -> list[tuple[dict[str, Any], Spread | None]]:
    """Of one contrast, the mean first; with the spread of each difference."""
    a, b, at = contrast["a"], contrast["b"], contrast.get("at", "latency")
    about = {"contrast": contrast.get("name") or f"{a} - {b}", "a": a, "b": b, "at": at}
    try:
        places, reason = shared_places(frame, a, b), APART  # fleets without a common device
    except NoCandidates as error:  # a budget that nothing keeps
        places, reason = [], MISSING.format(error.key)
    rows: list[tuple[dict[str, Any], Spread | None]] = []
    if not places:  # no reason to lose what the others say
        nothing = {"scope": "mean", "p_value": float("nan"), "verdict": "undecided"}
        rows.append((about | nothing | {"reason": reason}, None))
    for (network, device), parts in places:
        found = differences(*parts, scores=scores, at=at, within=True)
        found.sort(key=lambda one: one.place["scope"] not in HEADLINES)
        if not found or found[0].place["scope"] not in HEADLINES:
            place = {"network": network, "device": device, "scope": "mean", "verdict": "undecided"}
            rows.append(
                (about | place | {"p_value": float("nan"), "reason": "no seed has all networks"}, None)
            )
        rows += [(about | _row(one), one.both) for one in found]
    return rows


def _row(found: Difference) -> dict[str, Any]:
    spread = found.both
    assert spread is not None  # there are scores
    half, error = spread.half_width(), spread.standard_error
    row = found.place | {"accuracy_a": found.accuracies[0], "accuracy_b": found.accuracies[1]}
    row |= {"difference": found.value, "low": found.value - half, "high": found.value + half}
    row |= {"standard_error": error, "seeds": found.units, "p_value": spread.p_value(found.value)}
    row["detectable"] = spread.detectable(ALPHA)
    reasons = [row["reason"]] if "reason" in row else []
    if np.isnan(error):
        row["verdict"] = "undecided"
        reasons.append("one seed, or one image: no interval")
    elif row["p_value"] == 1 and half < 1e-9:
        reasons.append("the same networks")
    if reasons:
        row["reason"] = "; ".join(reasons)
    if row["scope"] not in HEADLINES:
        row.pop("verdict", None)
    return row


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values of several tests, adjusted: that any of those below alpha is false has at most that probability."""
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
