"""Physical pruning: copy the surviving slices of the weights into a network of smaller widths."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from hakd.ops.tensors import Axis
from hakd.records.graph import Graph

Keep = Mapping[str, np.ndarray]
A = TypeVar("A")


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


def slice_weights(graph: Graph, arrays: Mapping[str, A], keep: Keep) -> dict[str, A]:
    """Slices of every weight-shaped array (weights, statistics, momentum) that survive pruning to `keep`, as copies.

    Args:
        graph: description of the network the arrays belong to.
        arrays: of numpy, or tensors of torch, which stay on their device; by `op.name + "." + parameter`. Arrays of
            other names are refused, missing ones are left out.
        keep: surviving channel indices for each pruned group; other groups stay whole.
    """
    sliced = {}
    for op in graph.ops:
        for name, axes in graph.parameter_axes(op).items():
            full_name = f"{op.name}.{name}"
            if full_name in arrays:
                sliced[full_name] = _sliced(arrays[full_name], axes, keep)
    unknown = set(arrays) - set(sliced)
    if unknown:
        raise ValueError(f"not weights of this network: {sorted(unknown)[:3]}")
    return sliced


def _sliced(array: Any, axes: Sequence[Axis], keep: Keep) -> Any:
    """One array, along the axes that lose channels."""
    taken = array
    for place, axis in enumerate(axes):
        if isinstance(axis, int) or all(segment.group not in keep for segment in axis):
            continue
        index = axis_index(axis, keep)
        if isinstance(array, np.ndarray):
            taken = taken.take(index, place)
        else:
            taken = taken.index_select(place, taken.new_tensor(index, dtype=int))
    if taken is array:
        return array.copy() if isinstance(array, np.ndarray) else array.clone()
    return taken
