"""Another batch size for a model that fixes one: which numbers in it are the batch, found by following its axis."""

from collections.abc import Mapping, MutableMapping, Sequence
from math import prod

import numpy as np
import onnx
from onnx import helper

from hakd.importing.kinds import RESHAPES

_SIZES = {"Reshape": 1, "Expand": 1, "Resize": 3, "MaxUnpool": 2}  # place of the sizes that a node takes
_RECURRENT = frozenset(("GRU", "LSTM", "RNN"))
Shape = tuple[int, ...]


def rebatch(
    nodes: Sequence[onnx.NodeProto],
    constants: MutableMapping[str, np.ndarray],
    shapes: Mapping[str, Shape],
    source: str,
    new: int,
) -> None:
    """Write a batch size into the sizes that nodes take, where the batch axis of what they take leads to them.

    A leading 1 or -1 by itself says nothing: the axis is followed from the model's input.

    Args:
        nodes: in order; one whose sizes change gets its own constant.
        constants: value by name.
        shapes: of activations, at the batch that the file says.
        source: name of the input.
        new: the batch to write.
    """
    old = shapes[source][0]
    axes = {source: 0}
    for node in nodes:
        name = next((name for name in node.input if name in axes), None)
        if name is None or name not in shapes:
            continue
        axis = axes[name]
        for place, made in enumerate(node.output):
            found = _axis_behind(node, place, axis, shapes[name], shapes.get(made, ()), old)
            if found is not None:
                axes[made] = found
        where = _SIZES.get(node.op_type)
        axis_made = axes.get(node.output[0])
        if where is None or axis_made is None or len(node.input) <= where:
            continue
        sizes = constants.get(node.input[where])
        if sizes is not None and axis_made < sizes.size and sizes.ndim == 1 and sizes[axis_made] == old:
            sizes = sizes.copy()
            sizes[axis_made] = new
            node.input[where] = f"{node.input[where]} ({node.output[0]})"
            constants[node.input[where]] = sizes


def _axis_behind(
    node: onnx.NodeProto, place: int, axis: int, before: Shape, after: Shape, batch: int
) -> int | None:
    """Where the batch axis is in what a node makes; None where that is unknown."""
    if node.op_type == "Transpose":
        perm = next((list(one.ints) for one in node.attribute if one.name == "perm"), None)
        return (perm or list(range(len(before)))[::-1]).index(axis)
    if node.op_type in _RECURRENT:
        return {0: 2, 1: 1, 2: 1}.get(place) if axis == 1 else None
    if node.op_type in RESHAPES:
        return kept_axis(before, axis, after)
    if len(before) == len(after) or axis == 0:
        return axis if axis < len(after) and after[axis] == batch else None
    return None


def kept_axis(before: Sequence[int], axis: int, after: Sequence[int]) -> int | None:
    """The axis that a reshape makes of an axis which it leaves alone; None where it does not.

    What lies before it, in the order of memory, has to be as much as before.
    """
    for found, size in enumerate(after):
        if size == before[axis] and prod(after[:found]) == prod(before[:axis]):
            return found
    return None


def fixed_input(value: onnx.ValueInfoProto, shape: Shape) -> onnx.ValueInfoProto:
    """The model's input with this shape."""
    return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape)
