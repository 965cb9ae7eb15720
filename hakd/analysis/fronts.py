"""How probably each candidate is on the Pareto front of accuracy and latency under other seeds and test images."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from hakd.analysis.bootstrap import Repeats, replicates
from hakd.analysis.scores import Scores
from hakd.analysis.series import units
from hakd.analysis.summary import CONFIGURATION, aggregate, on_front, pareto_front
from hakd.records.tables import with_late

_DIGITS = 12  # equal candidates are equal, whatever the order in which their images are summed
COLUMNS = (
    "network",
    "device",
    "method",
    "budget",
    "recipe",
    "loss",
    "level",
    "target_device",
    "seeds",
    "latency_ms",
    "accuracy",
    "on_front",
    "probability",
)


def fronts(frame: pd.DataFrame, scores: Scores, count: int = 4000, seed: int = 0) -> pd.DataFrame:
    """The averages over seeds (`aggregate`), and their places on the front of their network and device.

    Args:
        frame: a `summary` table.
        scores: of all its candidates.
        count: bootstrap replicates of the accuracies (`hakd.analysis.bootstrap.replicates`).
        seed: of the bootstrap.

    Returns:
        Columns `COLUMNS`, by latency. `on_front`: of the averages; `probability`: the share of replicates. Latencies
        are those that were measured; their noise is not in it.

    Raises:
        HakdError: as `aggregate`; a candidate without predictions.
    """
    averages = aggregate(frame)
    order = repeats_of(frame, averages, scores)
    accuracies = np.round(replicates(order, scores.sizes, count, seed), _DIGITS)
    parts = []
    for _, group in averages.groupby(["network", "device"], sort=True):
        latency = group["latency_ms"].to_numpy(dtype=float)
        share = np.mean([on_front(latency, drawn) for drawn in accuracies[:, group.index]], axis=0)
        parts.append(group.assign(on_front=pareto_front(group), probability=share).sort_values("latency_ms"))
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def repeats_of(frame: pd.DataFrame, averages: pd.DataFrame, scores: Scores) -> list[Repeats]:
    """The trainings that each average of a `summary` table is of, in the order of the averages (`aggregate`)."""
    groups = with_late("summary", frame).groupby(list(CONFIGURATION), dropna=False, sort=False)
    found = {_known(key): _repeats(rows, scores) for key, rows in groups}
    return [found[_known(key)] for key in averages[list(CONFIGURATION)].itertuples(index=False)]


def _known(key: Iterable[Any]) -> tuple:
    """A key that equals itself: NaN does not."""
    return tuple(None if pd.isna(part) else part for part in key)


def _repeats(rows: pd.DataFrame, scores: Scores) -> Repeats:
    """The trainings of one configuration by unit."""
    unit, nested = units(rows)
    names, right = [], []
    for name, candidates in rows.groupby(unit)["candidate"]:
        names.append((nested, name))
        right.append(scores.weighted(list(candidates), np.full(len(candidates), 1 / len(candidates))))
    return Repeats(names, np.array(right))
