"""Which test images each candidate has right, summed over the images that show one original."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hakd.analysis.series import need
from hakd.records.errors import HakdError


@dataclass(frozen=True)
class Scores:
    """Of some candidates, all on the same test images.

    Attributes:
        right: by candidate, the number of images that it has right of each original.
        sizes: the number of images of each original.
    """

    right: Mapping[str, np.ndarray]
    sizes: np.ndarray

    def weighted(self, candidates: Sequence[str], weights: np.ndarray) -> np.ndarray:
        """The weighted sum of right images of each original.

        Raises:
            HakdError: no predictions of a candidate.
        """
        absent = [name for name in candidates if name not in self.right]
        if absent:
            raise HakdError("no predictions of this candidate", where="comparison", key=absent[0])
        return np.sum(
            [weight * self.right[name] for name, weight in zip(candidates, weights, strict=True)], axis=0
        )


def read_scores(tables: Iterable[pd.DataFrame]) -> Scores:
    """Of `predictions` tables, e.g. those of several devices.

    Without the column `original`, or where it is empty, each image counts as its own original.

    Raises:
        HakdError: a column missing, no tables, candidates on different test images.
    """
    right: dict[str, np.ndarray] = {}
    sizes: np.ndarray | None = None
    first: tuple[np.ndarray, np.ndarray] | None = None
    for table in tables:
        need(table, ("candidate", "image", "label", "prediction"), "comparison")
        ordered = table.sort_values("image", kind="stable")
        hits = (ordered["label"] == ordered["prediction"]).to_numpy(dtype=float)
        images = ordered["image"].to_numpy()
        originals = _originals(ordered)
        for name, places in ordered.groupby("candidate", observed=True).indices.items():
            if first is None:
                first = images[places], np.unique(originals[places], return_inverse=True)[1]
                sizes = np.bincount(first[1])
            if not np.array_equal(images[places], first[0]):
                raise HakdError("scored on different test images", where="comparison", key=str(name))
            right[str(name)] = np.bincount(first[1], hits[places], len(sizes))  # type: ignore[arg-type]
    if sizes is None:
        raise HakdError("no predictions", where="comparison")
    return Scores(right, sizes)


def _originals(table: pd.DataFrame) -> np.ndarray:
    known = "original" in table.columns and table["original"].notna().all()
    return table["original" if known else "image"].to_numpy(dtype=np.int64)
