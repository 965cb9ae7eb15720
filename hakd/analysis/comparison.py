"""Which series is more accurate at equal measured latency or equal size, by how much, with intervals.

Accuracies are read off each series' own lines (`hakd.analysis.series`), so that a difference is a weighted sum of
accuracies of trained networks, the same for every seed and every test image. This allows paired intervals over both.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hakd.analysis.scores import Scores, read_scores
from hakd.analysis.series import COSTS, Series, on_their_devices, read_series, select
from hakd.analysis.spread import Spread, crossed_spread, images_spread, seeds_spread

TOLERANCE = 0.02


@dataclass(frozen=True)
class Difference:
    """Accuracy of one series minus another's at one cost, or at the mean over several.

    Attributes:
        place: network, device, scope (`at`, `mean` or `within`), cost, levels that were measured there.
        accuracies: of both.
        units: number of seeds, the smaller where they are not paired.
        seeds: other seeds, the same images.
        images: the same seeds, other images; None without predictions.
        both: other seeds and other images; None without predictions.
    """

    place: dict[str, Any]
    accuracies: tuple[float, float]
    units: int
    seeds: Spread
    images: Spread | None
    both: Spread | None

    @property
    def value(self) -> float:
        """The difference."""
        return self.accuracies[0] - self.accuracies[1]


def compare(
    frame: pd.DataFrame,
    a: str,
    b: str,
    *,
    tolerance: float = TOLERANCE,
    predictions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Accuracy of `a` minus accuracy of `b` at equal measured latency, by network and device.

    Args:
        frame: a `summary` table, a row per candidate and device. Networks that were chosen for another device
            than the one they were timed on are left out; those of a fleet are timed on its devices only.
        a: a method, `method/recipe` or `method/recipe/loss`, e.g. `hakd/distilled/at+logits`, of a fleet
            `fleet pis/distilled/logits`, of one of several budgets `joint@round16`; as much of it as names one.
        b: the other series, likewise.
        tolerance: latencies within this fraction of each other count as equal where lines cannot be read off.
        predictions: a `predictions` table; with it come intervals over test images.

    Returns:
        A row for every measured latency of `a` or `b` at which both have an accuracy (levels no faster than a
        larger level of their method are left out), and one `scope` "mean" row over them for each network and
        device: `network, device, scope` (at | mean)`, latency_ms, level_a, level_b` (the level whose network
        was measured there; NaN: read off a line)`, accuracy_a, accuracy_b, difference, seeds, low_seeds,
        high_seeds` (95 %, paired over seeds) and, with predictions, `low_images, high_images` (these trained
        networks, other test images) and `low, high` (other seeds and other images). Where search seeds are crossed
        with training seeds, a seed is a search seed with its trainings (`hakd.analysis.series.units`). Latency is the
        median over all trainings of an architecture; its noise is not in the intervals. Empty when the methods share no
        latency.

    Raises:
        HakdError: a column missing, a method that is absent or names several series.
    """
    scores = None if predictions is None else read_scores([predictions])
    rows: list[dict[str, Any]] = []
    pairs = shared_places(frame, a, b)
    for found in (
        one for _, parts in pairs for one in differences(*parts, tolerance=tolerance, scores=scores)
    ):
        row = found.place | {"accuracy_a": found.accuracies[0], "accuracy_b": found.accuracies[1]}
        row |= {"difference": found.value, "seeds": found.units}
        spreads = {"_seeds": found.seeds, "_images": found.images, "": found.both}
        for name, spread in spreads.items():
            if spread is not None:
                half = spread.half_width()
                row |= {f"low{name}": found.value - half, f"high{name}": found.value + half}
        rows.append(row)
    columns = ["network", "device", "scope", "latency_ms", "level_a", "level_b", "accuracy_a", "accuracy_b"]
    columns += ["difference", "seeds", "low_seeds", "high_seeds"]
    columns += ["low_images", "high_images", "low", "high"] if scores is not None else []
    return pd.DataFrame(rows, columns=columns)


def shared_places(
    frame: pd.DataFrame, a: str, b: str
) -> list[tuple[tuple[str, str], tuple[pd.DataFrame, pd.DataFrame]]]:
    """The networks and devices where both series are, with their rows.

    Raises:
        HakdError: as `compare`.
    """
    frame = on_their_devices(frame)
    parts = [dict(tuple(select(frame, spec).groupby(["network", "device"], sort=False))) for spec in (a, b)]
    return [(place, (rows, parts[1][place])) for place, rows in parts[0].items() if place in parts[1]]


def differences(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    tolerance: float = TOLERANCE,
    scores: Scores | None = None,
    at: str = "latency",
    within: bool = False,
) -> list[Difference]:
    """Of the rows of two series of one network on one device.

    Args:
        at: what is equal, a key of `COSTS`.
        within: where they share no such cost, compare within the budget of the one that costs more throughout; else
            the list is empty.
    """
    sides = [read_series(part, tolerance, COSTS[at]) for part in (a, b)]
    places = _places(sides, tolerance, COSTS[at])
    if within and not places:
        places = [_within(sides, at)]
    where = {"network": a["network"].iloc[0], "device": a["device"].iloc[0]}
    found = (_difference(where | place, sides, weights, scores) for place, weights in places)
    return [one for one in found if one is not None]


Place = tuple[dict[str, Any], list[np.ndarray]]  # what it is, and the weights of both series' levels


def _places(sides: list[Series], tolerance: float, column: str) -> list[Place]:
    """Where both have an accuracy: at each cost, and their mean."""
    places: list[Place] = []
    for cost in sorted({*sides[0].cost, *sides[1].cost}):
        weights = [w for side in sides if (w := side.weights(cost, tolerance)) is not None]
        if len(weights) == len(sides):
            levels = {f"level_{name}": side.measured(cost) for name, side in zip("ab", sides, strict=True)}
            places.append(({"scope": "at", column: cost, **levels}, weights))
    if places:
        middle = float(np.mean([place[column] for place, _ in places]))
        mean = {"scope": "mean", column: middle, "level_a": float("nan"), "level_b": float("nan")}
        places.append((mean, [np.mean([weights[i] for _, weights in places], axis=0) for i in (0, 1)]))
    return places


def _within(sides: list[Series], at: str) -> Place:
    """Where two series share no cost: the cheaper one's most expensive network against the other's cheapest."""
    cheap = int(sides[1].cost.iloc[0] < sides[0].cost.iloc[0])
    ends = [-1 if i == cheap else 0 for i in (0, 1)]
    weights = [np.zeros(len(side.cost)) for side in sides]
    for weight, end in zip(weights, ends, strict=True):
        weight[end] = 1
    less, most = {"latency": ("faster", "slowest"), "size": ("smaller", "largest")}[at]
    reason = f"{'ab'[cheap]} is {less} throughout: its {most} network within {'ba'[cheap]}'s {at}"
    levels = {f"level_{'ab'[i]}": float(sides[i].cost.index[ends[i]]) for i in (0, 1)}
    budget = float(sides[1 - cheap].cost.iloc[0])
    return {"scope": "within", COSTS[at]: budget, **levels, "reason": reason}, weights


def _difference(
    place: dict[str, Any], sides: list[Series], weights: list[np.ndarray], scores: Scores | None
) -> Difference | None:
    """One weighted difference with its spreads; None when no seed has all the networks it needs."""
    used = [w > 0 for w in weights]
    accuracies = [side.accuracy.loc[:, u].dropna() for side, u in zip(sides, used, strict=True)]
    paired = sides[0].nested == sides[1].nested
    if paired:
        common = accuracies[0].index.intersection(accuracies[1].index)
        accuracies = [accuracy.loc[common] for accuracy in accuracies]
    if any(accuracy.empty for accuracy in accuracies):
        return None
    units = [_means_by_unit(accuracy.index) for accuracy in accuracies]
    by_unit = [m @ a.to_numpy() @ w[u] for m, a, w, u in zip(units, accuracies, weights, used, strict=True)]
    groups = _paired(by_unit, paired)
    images = both = None
    seeds = seeds_spread(groups)
    if scores is not None:
        right = []
        for side, accuracy, m, w, u in zip(sides, accuracies, units, weights, used, strict=True):
            names = side.candidate.loc[accuracy.index, u].to_numpy()
            right.append(m @ np.array([scores.weighted(row, w[u]) for row in names]))
        by_original = _paired(right, paired)
        images = images_spread(by_original, scores.sizes)
        both = crossed_spread(by_original, scores.sizes)
    means = (float(by_unit[0].mean()), float(by_unit[1].mean()))
    return Difference(place, means, min(map(len, groups)), seeds, images, both)


def _means_by_unit(trainings: pd.MultiIndex) -> np.ndarray:
    """The matrix that makes means over the trainings of each unit (rows) of values by training."""
    unit, inverse = np.unique(trainings.get_level_values("unit"), return_inverse=True)
    inside = inverse == np.arange(len(unit))[:, None]
    return inside / inside.sum(axis=1, keepdims=True)


def _paired(sides: list[np.ndarray], paired: bool) -> list[np.ndarray]:
    """Independent groups whose means add up to the difference: one of paired units, or one of each side's own."""
    return [sides[0] - sides[1]] if paired else [sides[0], -sides[1]]
