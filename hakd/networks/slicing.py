"""Physical pruning: copy the surviving slices of the weights into a network of smaller widths."""

from collections.abc import Mapping

import numpy as np

from hakd.ops.tensors import Axis
from hakd.records.graph import Graph

Keep = Mapping[str, np.ndarray]


def axis_index(axis: Axis, keep: Keep) -> np.ndarray:
    """Indices that survive along one labelled axis; `keep` maps group -> surviving channels of that group."""
    if isinstance(axis, int):
        return np.arange(axis)
    parts, offset = [], 0
    for segment in axis:
        kept = keep.get(segment.group) if segment.group is not None else None
        channels = np.arange(segment.size) if kept is None else np.asarray(kept)
        places = channels[:, None] * segment.times + np.arange(segment.times)
        parts.append(offset + places.reshape(-1))
        offset += segment.size * segment.times
    return np.concatenate(parts)


def slice_weights(graph: Graph, arrays: Mapping[str, np.ndarray], keep: Keep) -> dict[str, np.ndarray]:
    """Slices of every weight-shaped array (weights, statistics, momentum) that survive pruning to `keep`.

    Args:
        graph: description of the network the arrays belong to.
        arrays: by `op.name + "." + parameter`; arrays of other names are refused, missing ones are left out.
        keep: surviving channel indices for each pruned group; other groups stay whole.
    """
    sliced = {}
    for op in graph.ops:
        for name, axes in graph.parameter_axes(op).items():
            full_name = f"{op.name}.{name}"
            if full_name in arrays:
                index = np.ix_(*(axis_index(axis, keep) for axis in axes))
                sliced[full_name] = np.ascontiguousarray(np.asarray(arrays[full_name])[index])
    unknown = set(arrays) - set(sliced)
    if unknown:
        raise ValueError(f"not weights of this network: {sorted(unknown)[:3]}")
    return sliced
