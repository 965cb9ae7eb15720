"""What pruning recorded: which channel went when, with what score; and what follows from that order."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hakd.records.errors import HakdError, make_again
from hakd.records.files import atomic

COLUMNS = {
    "removal": "int64",
    "step": "int64",
    "group": "str",
    "channel": "int64",
    "score": "float64",
    "macs": "int64",
    "params": "int64",
    "val_accuracy": "float64",
}


def write_trajectory(path: str | os.PathLike, rows: list[dict]) -> None:
    """Write the removals as CSV: one row a removed channel, `channel` counted in the full network."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False)


def read_trajectory(path: str | os.PathLike) -> pd.DataFrame:
    """Read what `write_trajectory` wrote.

    Raises:
        HakdError: missing file or columns.
    """
    try:
        return pd.read_csv(path)[list(COLUMNS)].astype(COLUMNS)
    except FileNotFoundError:
        raise HakdError("no such trajectory", where=path, remedy=make_again(path)) from None
    except (KeyError, ValueError, pd.errors.ParserError) as error:
        raise HakdError(f"not a pruning trajectory ({error})", where=path, remedy=make_again(path)) from None


def ranking(trajectory: pd.DataFrame, kept: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Channels of each group from the most to the least worth keeping: those kept, then last removed first.

    Args:
        trajectory: of a level.
        kept: the channels that each group holds there, the one of the highest score first.
    """
    order = {}
    for group, channels in kept.items():
        removed = trajectory.loc[trajectory["group"] == group, "channel"].to_numpy(dtype=np.int64)
        order[group] = np.concatenate([np.asarray(channels, dtype=np.int64), removed[::-1]])
    return order


def regained_saliency(
    trajectory: pd.DataFrame, full: Mapping[str, int], group: str, low: int, high: int
) -> float:
    """Sum of the recorded scores of the channels that widening `group` from `low` to `high` brings back."""
    removed = trajectory.loc[trajectory["group"] == group, "score"].to_numpy()
    start = full[group] - high  # the channels removed while the width fell from `high` to `low`
    return float(removed[start : full[group] - low].sum())
