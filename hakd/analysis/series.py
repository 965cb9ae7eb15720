"""Series: one method's networks, trained by one recipe and loss, over the levels; how they are named, and their lines.

Two methods hardly ever give networks of equal cost (latency, or size), so a series' accuracy is read off the straight
lines between its own measured points (levels), never beyond their ends: a weighted sum of accuracies of trained
networks, the same for every seed and every test image.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hakd.records.errors import HakdError
from hakd.records.tables import with_late

KEY = ("method", "budget", "recipe", "loss")  # what distinguishes the series of a network and device
COSTS = {"latency": "latency_ms", "size": "size_bytes"}  # what accuracies are compared at, and its column
NEEDED = (
    "network",
    "device",
    "target_device",
    "level",
    "seed",
    "candidate",
    "latency_ms",
    "accuracy",
    "method",
    "recipe",
    "loss",
)


@dataclass(frozen=True)
class Series:
    """One series of one network on one device.

    Attributes:
        cost: by level, rising: latency in ms or size in bytes; the median over trainings.
        accuracy: by training (rows: its unit and its seed) and level (columns).
        candidate: names, likewise.
        nested: whether a unit is a search seed with trainings inside, not a training seed (`units`).
    """

    cost: pd.Series
    accuracy: pd.DataFrame
    candidate: pd.DataFrame
    nested: bool

    def weights(self, cost: float, tolerance: float) -> np.ndarray | None:
        """Weights of the levels whose weighted accuracy is that at a cost; None outside the measured range."""
        x = self.cost.to_numpy(dtype=float)
        weights = np.zeros(len(x))
        exact = np.flatnonzero(x == cost)
        if len(exact):
            weights[exact] = 1
        elif x[0] < cost < x[-1]:
            right = int(np.searchsorted(x, cost))
            share = (cost - x[right - 1]) / (x[right] - x[right - 1])
            weights[right - 1], weights[right] = 1 - share, share
        else:
            nearest = int(np.abs(x - cost).argmin())
            if abs(x[nearest] - cost) > tolerance * cost:
                return None
            weights[nearest] = 1
        return weights

    def measured(self, cost: float) -> float:
        """The level that has this cost; NaN where none has."""
        levels = self.cost.index[self.cost == cost]
        return float(levels[0]) if len(levels) else float("nan")


def series_name(method: str, target: object, budget: object = None) -> str:
    """How a method's rows are called.

    Those for fleets by the fleet as well, since a device may belong to several; those for one of several latency
    budgets (`several_budgets`) by the budget.
    """
    name = f"{method} {target}" if method == "fleet" else method
    return f"{name}@{budget}" if isinstance(budget, str) else name


def several_budgets(frame: pd.DataFrame) -> pd.Series:
    """The column `budget` where its method has several of them in the table; null elsewhere."""
    several = frame.groupby("method")["budget"].transform("nunique") > 1
    return frame["budget"].where(several, None)


def chosen_there(frame: pd.DataFrame) -> pd.Series:
    """Which rows are of networks chosen for the device they were timed on, for a fleet that it is in, or for none."""
    target = frame["target_device"]
    return target.isna() | (target == frame["device"]) | (frame["method"] == "fleet")


def on_their_devices(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks chosen for the device they were timed on, for its fleet or for none; fleets by their names.

    Trainings of one architecture are as fast as each other: their latency is the median over all of them, so that
    recipes of equal widths meet at equal latency.

    Raises:
        HakdError: a column missing.
    """
    need(frame, NEEDED, "comparison")
    frame = with_late("summary", frame)
    fleets = frame["method"] == "fleet"
    names = frame["method"].where(~fleets, "fleet " + frame["target_device"].astype("string").fillna(""))
    if "arch" in frame.columns:
        same = frame.groupby(["network", "device", "arch"])["latency_ms"]
        frame = frame.assign(latency_ms=same.transform("median"))
    return frame.assign(method=names)[chosen_there(frame)]


class NoCandidates(HakdError):
    """A series that has no candidates."""


def select(frame: pd.DataFrame, spec: str) -> pd.DataFrame:
    """The rows of the one series that a specification names.

    Args:
        frame: as `on_their_devices` returns it.
        spec: `method[@budget][/recipe[/loss]]`; a fleet's method is `fleet NAME`.

    Raises:
        NoCandidates: none such.
        HakdError: several such series, or not a specification.
    """
    parts = spec.split("/")
    if not 1 <= len(parts) <= 3:
        raise HakdError("not method[@budget][/recipe[/loss]]", where="comparison", key=spec)
    method, at, budget = parts[0].partition("@")
    chosen = frame[frame["method"] == method]
    if at:
        chosen = chosen[chosen["budget"] == budget]
    for name, part in zip(("recipe", "loss"), parts[1:], strict=False):
        chosen = chosen[chosen[name] == part]
    series = chosen[list(KEY)].drop_duplicates()
    known = frame.assign(budget=several_budgets(frame))[list(KEY)].drop_duplicates()
    names = ", ".join(
        sorted(f"{series_name(k.method, None, k.budget)}/{k.recipe}/{k.loss}" for k in known.itertuples())
    )
    if series.empty:
        raise NoCandidates("no such candidates", where="comparison", key=spec, remedy=f"Use one of: {names}")
    if len(series) > 1:
        raise HakdError(
            "matches several series", where="comparison", key=spec, remedy=f"Name one of: {names}"
        )
    return chosen


def units(rows: pd.DataFrame) -> tuple[pd.Series, bool]:
    """What repeats the whole experiment, of each training of one configuration or series.

    That is its training seed; where several search seeds (of teacher, pruning and choice) are crossed with training
    seeds, it is the search seed, since trainings of one choice share its luck.

    Args:
        rows: with `seed` and `search_seed`.

    Returns:
        The unit of each row, and whether units are search seeds.
    """
    pairs = rows[["search_seed", "seed"]].drop_duplicates()
    searches, seeds = pairs["search_seed"].nunique(), pairs["seed"].nunique()
    nested = searches > 1 and not len(pairs) == searches == seeds
    return rows["search_seed" if nested else "seed"], nested


def read_series(rows: pd.DataFrame, tolerance: float, column: str = "latency_ms") -> Series:
    """One series of one network and device, without the levels that cost as much as a larger one.

    Odd widths can make a smaller network as slow as a larger one. Such a network has no use, and a line through both
    would be almost vertical. Levels are left out by their cost alone: leaving out by accuracy would flatter.

    Args:
        column: of the cost, see `COSTS`.

    Raises:
        HakdError: two candidates of one level and seed; no such column.
    """
    need(rows, [column], "comparison")
    unit, nested = units(rows)
    rows = rows.assign(unit=unit)
    double = rows.duplicated(["level", "unit", "seed"])
    if double.any():
        name = rows.loc[double, "candidate"].iloc[0]
        raise HakdError("two candidates of one level and seed", where="comparison", key=name)
    cost = rows.groupby("level")[column].median().sort_index(ascending=False)
    kept: list[float] = []
    for level, value in cost.items():
        if not kept or value < cost[kept[-1]] * (1 - tolerance):
            kept.append(level)
    cost = cost[kept[::-1]]
    table = rows.pivot(index=["unit", "seed"], columns="level", values=["accuracy", "candidate"])
    accuracy = table["accuracy"][cost.index].astype(float)
    return Series(cost, accuracy, table["candidate"][cost.index], nested)


def need(frame: pd.DataFrame, names: Iterable[str], where: str) -> None:
    """Refuse a table that lacks a column."""
    for name in names:
        if name not in frame.columns:
            raise HakdError("column missing", where=where, key=name)
