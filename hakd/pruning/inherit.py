"""Start weights for the recipe `tuned`: what pruning left, and the teacher's channels where they come back."""

from collections.abc import Mapping

import numpy as np

from hakd.networks.slicing import axis_index, slice_weights
from hakd.records.graph import Graph


def kept_channels(ranking: Mapping[str, np.ndarray], widths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The channels (of the full network, ascending) that each group keeps at `widths`, best ranked first."""
    return {group: np.sort(ranking[group][:channels]) for group, channels in widths.items()}


def inherit(
    full: Graph,
    teacher: Mapping[str, np.ndarray],
    pruned: Mapping[str, np.ndarray],
    pruned_keep: Mapping[str, np.ndarray],
    keep: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Weights for the channels `keep`, from the pruned network where it still has them, else from the teacher.

    Args:
        full: description of the full network.
        teacher: its weights.
        pruned: weights of the pruned and fine-tuned network.
        pruned_keep: the channels it holds, by group, ascending.
        keep: the channels wanted, by group, ascending.
    """
    merged = {name: np.array(value) for name, value in teacher.items()}
    for op in full.ops:
        for name, axes in full.parameter_axes(op).items():
            index = np.ix_(*(axis_index(axis, pruned_keep) for axis in axes))
            merged[f"{op.name}.{name}"][index] = pruned[f"{op.name}.{name}"]
    return slice_weights(full, merged, keep)
