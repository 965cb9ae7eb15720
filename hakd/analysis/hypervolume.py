"""Hypervolumes of accuracy and costs, with intervals over seeds and test images.

The hypervolume of a set of points is the volume that they dominate up to a reference point (Zitzler and Thiele, IEEE
Transactions on Evolutionary Computation 3, 1999). That point is accuracy 0 and `BEYOND` times the largest cost of the
network and device, costs being fractions of it; beyond, so that the most expensive network counts too. The hypervolume
is then the accuracy to expect of a budget drawn at random: the mean, over budgets from 0 to that point, of the best
accuracy that fits.
"""

import numpy as np
import pandas as pd

from hakd.analysis.bootstrap import replicates
from hakd.analysis.fronts import repeats_of
from hakd.analysis.scores import Scores
from hakd.analysis.series import series_name, several_budgets
from hakd.analysis.summary import aggregate

METRICS = {"latency": "latency_ms", "memory": "memory_bytes", "size": "size_bytes"}
BEYOND = 1.1
ALL = "all methods"
COLUMNS = ("network", "device", "method", "metrics", "hypervolume", "low", "high", "networks")


def hypervolumes(frame: pd.DataFrame, scores: Scores, count: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Hypervolumes by network, device and method, and of all methods together.

    Args:
        frame: a `summary` table.
        scores: of all its candidates.
        count: bootstrap replicates of the accuracies (`hakd.analysis.bootstrap.replicates`).
        seed: of the bootstrap.

    Returns:
        Columns `COLUMNS`. `metrics`: of accuracy against one of `METRICS`, or against all at the same time. `low` and
        `high`: 95 % interval over other seeds and other test images, of costs as measured; the percentiles of the
        replicates. `networks`: how many averages over seeds have those costs; a method without any has no row.

    Raises:
        HakdError: as `aggregate`; a candidate without predictions.
    """
    averages = aggregate(frame)
    drawn = replicates(repeats_of(frame, averages, scores), scores.sizes, count, seed)
    budgets = several_budgets(averages)
    names = pd.Series(
        [
            series_name(*row)
            for row in zip(averages["method"], averages["target_device"], budgets, strict=True)
        ]
    )
    rows = []
    for (network, device), group in averages.groupby(["network", "device"], sort=True):
        for metrics in (*([one] for one in METRICS), list(METRICS)):
            columns = [METRICS[one] for one in metrics]
            known = group.dropna(subset=columns)
            if known.empty:
                continue
            costs = known[columns].to_numpy(dtype=float)
            costs = pd.DataFrame(costs / (BEYOND * costs.max(axis=0)), index=known.index)
            own = names[known.index]
            for method in (ALL, *dict.fromkeys(own)):
                index = known.index if method == ALL else known.index[own == method]
                volume = Dominated(costs.loc[index].to_numpy())
                found = volume.hypervolumes(averages.loc[index, "accuracy"].to_numpy(dtype=float)[None])[0]
                low, high = np.quantile(volume.hypervolumes(drawn[:, index]), (0.025, 0.975))
                about = (network, device, method, "+".join(metrics), found, low, high, len(index))
                rows.append(dict(zip(COLUMNS, about, strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


class Dominated:
    """Which points dominate which part of the unit cube of costs: the same for all accuracies of the points.

    The costs cut the cube into cells; in a cell every point is affordable or none of it is. Cells with the same
    affordable points are one part, with their volumes added.
    """

    def __init__(self, costs: np.ndarray) -> None:
        """Args: costs: (points, metrics), above 0 and at most 1."""
        edges = [np.unique(column) for column in costs.T]
        affordable = [costs[:, [axis]] <= edge for axis, edge in enumerate(edges)]  # (points, cells along it)
        sizes = [np.diff([*edge, 1.0]) for edge in edges]
        rest, rest_sizes = np.ones((len(costs), 1), dtype=bool), np.ones(1)
        for along, size in zip(affordable[1:], sizes[1:], strict=True):
            rest = (rest[:, :, None] & along[:, None, :]).reshape(len(costs), -1)
            rest_sizes = np.outer(rest_sizes, size).ravel()
        volumes: dict[bytes, float] = {}
        for slab, thickness in zip(affordable[0].T, sizes[0], strict=True):
            packed = np.packbits(rest & slab[:, None], axis=0).T
            parts, place = np.unique(packed, axis=0, return_inverse=True)
            for part, volume in zip(parts, np.bincount(place.ravel(), rest_sizes), strict=True):
                volumes[part.tobytes()] = volumes.get(part.tobytes(), 0.0) + thickness * volume
        bits = np.frombuffer(b"".join(volumes), dtype=np.uint8).reshape(len(volumes), -1)
        self.parts = np.unpackbits(bits, axis=1, count=len(costs)).astype(bool)
        self.volumes = np.array(list(volumes.values()))

    def hypervolumes(self, accuracies: np.ndarray) -> np.ndarray:
        """The hypervolume for each row of accuracies (sets, points), 0 to 1."""
        best = np.zeros((len(accuracies), len(self.parts)))
        for column in range(accuracies.shape[1]):
            np.maximum(best, np.where(self.parts[:, column], accuracies[:, [column]], 0.0), out=best)
        return best @ self.volumes
