"""From what was measured to what is shown: summaries of devices, the Pareto front, averages over seeds,
tables.

`compare` (hakd/analysis/comparison.py) answers who is more accurate at equal measured latency.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hakd.analysis.comparison import compare
from hakd.analysis.series import need, units
from hakd.analysis.spread import student_interval
from hakd.records.columns import SUMMARY
from hakd.records.errors import HakdError, run_again
from hakd.records.tables import check_table, with_late

__all__ = [
    "aggregate",
    "compare",
    "join_devices",
    "on_front",
    "pareto_front",
    "student_interval",
    "summarise",
    "to_markdown",
]

# What the measurements add to a candidate's own description.
BENCHMARK = (
    *("candidate", "latency_ms", "low", "high", "median_ms", "predicted_ms"),
    *("memory_bytes", "weight_bytes", "energy_mj", "energy_low_mj", "energy_high_mj", "idle_w", "trusted"),
)
_MEASURED = (
    *(
        "accuracy",
        "latency_ms",
        "latency_low_ms",
        "latency_high_ms",
        "median_ms",
        "predicted_ms",
        "memory_bytes",
        "weight_bytes",
        "energy_mj",
        "energy_low_mj",
        "energy_high_mj",
        "idle_w",
        "trusted",
    ),
    *("device", "engine", "threads", "precision"),
)
DESCRIBED = tuple(column.name for column in SUMMARY if column.name not in _MEASURED)
_LATE = frozenset(column.name for column in SUMMARY if column.late)  # older descriptions lack them

# Seeds of one of these are repeats of one experiment.
CONFIGURATION = ("network", "level", "method", "budget", "recipe", "loss", "target_device", "device")
_SAME = ("data", "engine", "threads")
_AVERAGED = ("val_accuracy", "median_ms", "predicted_ms", "size_bytes", "params", "nonzero_params", "macs")
_SPENT = (
    "memory_bytes",
    "weight_bytes",
    "energy_mj",
    "idle_w",
    "train_images",
    "train_macs",
    "search_s",
    "search_images",
)


def summarise(
    candidates: Sequence[Mapping[str, Any]],
    benchmark: pd.DataFrame,
    predictions: pd.DataFrame,
    device: Mapping[str, Any],
) -> pd.DataFrame:
    """The summary of one device: a row per candidate, checked against the contract.

    Args:
        candidates: descriptions, each with the keys `DESCRIBED`; further keys are ignored.
        benchmark: a row per candidate with the columns `BENCHMARK` (`low` and `high`: ends of the 95 %
            interval of `latency_ms`; NaN where unknown).
        predictions: a `predictions` table of at least these candidates; the test accuracy is counted from it.
        device: `device` (its name), `engine` (with version) and `threads`; `precision` where it is not float32.

    Raises:
        HakdError: a candidate without description, time or predictions; candidates of one data set scored on
            different images or labels; whatever breaks the contract.
    """
    where = f"summary of {device.get('device')}"
    for key in ("device", "engine", "threads"):
        if device.get(key) is None:
            raise HakdError("the device lacks this key", where=where, key=key)
    rows = [_described(candidate, where) for candidate in candidates]
    described = pd.DataFrame(rows, columns=list(DESCRIBED))
    need(benchmark, BENCHMARK, where)
    _same_candidates(described["candidate"], benchmark["candidate"], where)
    accuracy = _accuracies(described, predictions, where)
    times = benchmark[list(BENCHMARK)].rename(columns={"low": "latency_low_ms", "high": "latency_high_ms"})
    frame = described.merge(times, on="candidate", how="left", validate="one_to_one")
    frame["accuracy"] = frame["candidate"].map(accuracy)
    for key in ("device", "engine", "threads"):
        frame[key] = device[key]
    frame["precision"] = device.get("precision", "float32")
    return _sorted(check_table("summary", frame, where=where))


def join_devices(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All devices' summaries in one; a candidate's own figures must agree wherever the same file was timed.

    Raises:
        HakdError: no summaries, a candidate twice on a device, or a candidate that is not the same on two
            devices.
    """
    parts = [check_table("summary", frame, where=f"summary {i + 1}") for i, frame in enumerate(frames)]
    if not parts:
        raise HakdError("no summaries to join", where="summary", remedy="Select at least one device")
    joined = check_table("summary", pd.concat(parts, ignore_index=True), where="joined summary")
    for name in ("accuracy", "size_bytes", "arch", "seed", "macs"):
        differs = joined.groupby(["candidate", joined["onnx_path"].fillna("")])[name].nunique() > 1
        if differs.any():
            raise HakdError(
                f"candidate {differs.idxmax()[0]} differs between devices",
                where="joined summary",
                key=name,
                remedy="Build all devices' summaries from the same run",
            )
    return _sorted(joined)


def pareto_front(frame: pd.DataFrame, x: str = "latency_ms", y: str = "accuracy") -> np.ndarray:
    """Which rows no other row beats: none with less (or equal) `x` and more (or equal) `y`, one of them
    strictly.

    Equal points are all on the front or all off it. Returns a boolean array in the order of the rows.

    Raises:
        HakdError: a missing column, or a value that is not a number.
    """
    need(frame, (x, y), "Pareto front")
    points = []
    for name in (x, y):
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        if np.isnan(values).any():
            row = frame.index[int(np.isnan(values).argmax())]
            raise HakdError(f"row {row} is not a number", where="Pareto front", key=name)
        points.append(values)
    return on_front(*points)


def on_front(cost: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """`pareto_front` of two arrays without NaN."""
    front = np.zeros(len(cost), dtype=bool)
    best = last_cost = np.nan
    # By rising cost, then falling gain: a point is on the front when it gains more than all that cost less, or
    # when it equals the point that set the best so far. The first point beats NaN.
    for i in np.lexsort((-gain, cost)):
        if not gain[i] <= best or (gain[i] == best and cost[i] == last_cost):
            front[i] = True
            best, last_cost = gain[i], cost[i]
    return front


def aggregate(frame: pd.DataFrame) -> pd.DataFrame:
    """Averages over seeds: a row per network, level, method, budget, recipe, loss, target device and device.

    `accuracy` is the mean over seeds, `accuracy_low` and `accuracy_high` its 95 % Student-t interval over
    seeds (NaN with one seed), `accuracy_min` and `accuracy_max` the range of the seeds, `seeds` their number. Where
    search seeds are crossed with training seeds, a seed here is a search seed, with the mean over its trainings.
    `latency_ms` is the median over seeds of the latencies. All seeds are timed in the same
    processes, so their noise is shared and does not average out: the interval is from the median of the seeds' lower
    ends to the median of their upper ends, widened to hold every seed's own latency. Sizes, counts and `predicted_ms`
    are means; `trusted` means all seeds are.

    Raises:
        HakdError: a column missing, no rows, a duplicate seed, or seeds of one row that differ in data, engine
            or threads.
    """
    where = "average over seeds"
    frame = with_late("summary", frame)
    need(frame, (*CONFIGURATION, *_SAME, "seed", "accuracy", "latency_ms", "trusted"), where)
    if frame.empty:
        raise HakdError("a summary without rows", where=where)
    rows = []
    for key, group in frame.groupby(list(CONFIGURATION), dropna=False, sort=False):
        label = " ".join(str(part) for part in key if not pd.isna(part))
        if group.duplicated(["search_seed", "seed"]).any():
            raise HakdError(f"duplicate seed for {label}", where=where, key="seed")
        for name in _SAME:
            if group[name].nunique() > 1:
                raise HakdError(f"seeds of {label} differ", where=where, key=name)
        rows.append(dict(zip(CONFIGURATION, key, strict=True)) | _averages(group))
    return _sorted(pd.DataFrame(rows))


def to_markdown(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    """A Markdown table; numbers to the right, null as a dash.

    Args:
        frame: its columns become the headings.
        formats: format specification by column, e.g. `{"accuracy": ".2%", "latency_ms": ".3f"}`; `.4g` for
            other numbers.
    """
    formats = formats or {}
    unknown = set(formats) - set(frame.columns)
    if unknown:
        raise HakdError("a format for an unknown column", where="Markdown table", key=min(unknown))
    numeric = [pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_bool_dtype(t) for t in frame.dtypes]
    lines = [
        [_cell(name) for name in frame.columns],
        ["---:" if number else "---" for number in numeric],
    ]
    for row in frame.itertuples(index=False):
        lines.append(
            [_cell(value, formats.get(str(name))) for name, value in zip(frame.columns, row, strict=True)]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _cell(value: object, spec: str | None = None) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if spec is not None:
        return format(value, spec)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _described(candidate: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in DESCRIBED:
        if key not in candidate and key not in _LATE:
            raise HakdError(f"candidate {candidate.get('candidate')} lacks this key", where=where, key=key)
    return {key: candidate.get(key) for key in DESCRIBED}


def _same_candidates(described: pd.Series, timed: pd.Series, where: str) -> None:
    for names, problem in ((described, "described twice"), (timed, "timed twice")):
        if names.duplicated().any():
            raise HakdError(problem, where=where, key=names[names.duplicated()].iloc[0])
    for names, problem in (
        (sorted(set(described) - set(timed)), "no benchmark of this candidate"),
        (sorted(set(timed) - set(described)), "timed, but not described"),
    ):
        if names:
            raise HakdError(problem, where=where, key=names[0], remedy=run_again("benchmark"))


def _accuracies(described: pd.DataFrame, predictions: pd.DataFrame, where: str) -> dict[str, float]:
    """Share of right predictions by candidate; all candidates of a data set must have seen the same test
    images."""
    predictions = check_table("predictions", predictions, where=f"{where}: predictions")
    found = {str(name): part for name, part in predictions.groupby("candidate", observed=True)}
    labels: dict[str, tuple[str, dict[int, int]]] = {}
    accuracy = {}
    for name, data in zip(described["candidate"], described["data"], strict=True):
        if name not in found:
            raise HakdError("no predictions of this candidate", where=where, key=name)
        part = found[name]
        truth = dict(zip(part["image"], part["label"], strict=True))
        first, expected = labels.setdefault(data, (name, truth))
        if truth != expected:
            raise HakdError(
                f"scored on other test images or labels than {first}",
                where=where,
                key=name,
                remedy="Predict all candidates on the same test split",
            )
        accuracy[name] = float((part["label"] == part["prediction"]).mean())
    return accuracy


def _averages(group: pd.DataFrame) -> dict[str, Any]:
    accuracy = group["accuracy"].astype(float).groupby(units(group)[0]).mean()
    low, high = student_interval(accuracy)
    row: dict[str, Any] = {name: group[name].iloc[0] for name in _SAME}
    row |= {"seeds": len(accuracy), "accuracy": accuracy.mean(), "accuracy_low": low, "accuracy_high": high}
    row |= {"accuracy_min": accuracy.min(), "accuracy_max": accuracy.max()}
    row |= _latency(group)
    for name in (*_AVERAGED, *_SPENT):
        if name in group.columns:
            row[name] = (
                float(group[name].astype("Float64").mean()) if group[name].notna().any() else float("nan")
            )
    row["trusted"] = bool(group["trusted"].all())
    return row


def _latency(group: pd.DataFrame) -> dict[str, float]:
    latency = group["latency_ms"].astype(float)
    low = high = float("nan")
    if "latency_low_ms" in group.columns and group["latency_low_ms"].notna().any():
        low = min(float(group["latency_low_ms"].median()), float(latency.min()))
        high = max(float(group["latency_high_ms"].median()), float(latency.max()))
    return {"latency_ms": float(latency.median()), "latency_low_ms": low, "latency_high_ms": high}


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    """An order that does not depend on that of the parts: largest first within a method."""
    order = {column.name: column.values for column in SUMMARY if column.values}
    names = [n for n in (*CONFIGURATION, "search_seed", "seed", "candidate") if n in frame.columns]
    ascending = [name != "level" for name in names]

    def rank(values: pd.Series) -> pd.Series:
        listed = order.get(str(values.name))
        return values.map({v: i for i, v in enumerate(listed)}) if listed else values

    return frame.sort_values(
        names, ascending=ascending, key=rank, kind="stable", na_position="first"
    ).reset_index(drop=True)
