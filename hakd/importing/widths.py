"""Channels of an ONNX model that are tied together: which axes of which tensors share one width.

Every convolution and linear layer makes its own width. It is carried along by what keeps channels as they are
(batch norm, activations, pools, depthwise convolutions), tied to others where tensors are added or multiplied or two
layers share their weights, laid side by side by a concatenation, cut into several by a split or a slice, and used up by
the next convolution or linear layer. An op that mixes or reorders channels in another way fixes the widths it touches,
and says so. Channels lie along axis 1, or where a transpose has put them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx

from hakd.importing.batches import kept_axis
from hakd.importing.kinds import (
    BINARY,
    GATES,
    LAYERS,
    NORMS,
    ONNX_DOMAINS,
    POOLS,
    REDUCTIONS,
    RESHAPES,
    SOFTMAX,
    UNARY,
    attribute,
)
from hakd.importing.model import Model
from hakd.importing.ties import Channels, ChannelTies

_OLD_SLICE = ("starts", "ends", "axes")  # attributes, inputs since


def trace(model: Model) -> ChannelTies:
    """Follow the channels of a model from its input to its outputs."""
    return _Tracer(model).run()


class _Tracer:
    """Goes through the nodes in order; a handler says whether it could follow the channels through its node."""

    def __init__(self, model: Model) -> None:
        self.model, self.ties = model, ChannelTies()
        self.axes: dict[str, int] = {}  # where the channels of a tensor lie, if not along axis 1
        self.weights: dict[str, dict[int, Channels]] = {}  # of layers, by name: several may use one
        self.handlers: dict[str, Callable[[int, onnx.NodeProto], bool]] = {
            "Conv": self._conv,
            "ConvTranspose": self._conv_transpose,
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "PRelu": self._prelu,
            "Concat": self._concat,
            "Pad": self._pad,
            "Resize": self._resize,
            "Upsample": self._resize,
            "Split": self._split,
            "Slice": self._slice,
            "Gather": self._gather,
            "Transpose": self._transpose,
            "MaxUnpool": self._unpool,
            "LRN": self._windowed,
            "LayerNormalization": self._layer_norm,
            "GroupNormalization": self._group_norm,
            **dict.fromkeys(UNARY | SOFTMAX, self._pass),
            **dict.fromkeys(POOLS, self._windowed),
            **dict.fromkeys(REDUCTIONS, self._reduce),
            **dict.fromkeys(BINARY, self._elementwise),
            **dict.fromkeys(NORMS, self._norm),
            **dict.fromkeys(RESHAPES, self._reshape),
        }

    def run(self) -> ChannelTies:
        """The ties of the whole model; channels of its input and of its outputs belong to the task."""
        shape = self._shape(self.model.source)
        self.ties.start(self.model.source, shape[min(1, len(shape) - 1)])
        for index, node in enumerate(self.model.nodes):
            handler = self.handlers.get(node.op_type) if node.domain in ONNX_DOMAINS else None
            if not self._all_known(node) or handler is None or not handler(index, node):
                self._opaque(index, node)
        for name in (self.model.source, *self.model.outputs):
            self.ties.fix_by_task(self.ties.of(name))
        return self.ties

    # --- what handlers need

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.model.shapes.get(name, ())

    def _axis(self, name: str) -> int:
        """Along which axis the channels of a tensor lie."""
        return self.axes.get(name, 1)

    def _all_known(self, node: onnx.NodeProto) -> bool:
        return all(name in self.model.shapes for name in (*self.model.activations(node), *node.output[:1]))

    def _opaque(self, index: int, node: onnx.NodeProto) -> None:
        """An op that is not understood: the widths around it stay as they are."""
        weight = self._weight(node, 1)
        if not self._all_known(node):
            reason = f"the sizes around {node.op_type} ({node.name}) are unknown"
        elif node.op_type in LAYERS and weight is None:
            reason = f"the weights of {node.op_type} ({node.name}) are computed (quantised, or made from the input)"
        else:
            reason = f"{node.op_type} ({node.name}) does not keep channels apart in a way that is followed"
        made = {name: self._shape(name)[1] for name in node.output if len(self._shape(name)) > 1}
        self.ties.fix_between(self.model.activations(node), made, reason)
        if node.op_type in LAYERS and weight is not None and weight.ndim > 1:
            # It makes a width all the same, which is to be found among those that are not examined.
            axis = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
            groups = attribute(node, "group", 1) if node.op_type == "ConvTranspose" else 1
            out = self.ties.make(node.output[0], groups * weight.shape[axis], index)
            self.ties.fix(out, reason)

    def _along(self, name: str, axis: int) -> Channels | None:
        """Channels of a tensor along an axis; of fixed number where they were followed along another."""
        channels = self.ties.of(name)
        if not channels or self._axis(name) == axis:
            return channels or None
        self.ties.fix(channels, "a layer takes them along another axis")
        width = f"{name} along {axis}"
        self.ties.start(width, self._shape(name)[axis])
        self.ties.fix(self.ties.of(width), "what makes it is not followed")
        return self.ties.of(width)

    def _layer_input(self, node: onnx.NodeProto, axis: int = 1) -> Channels | None:
        """Channels of the one input of a layer, whose weights have to be constants."""
        constant = all(name in self.model.constants for name in node.input[1:] if name)
        return self._along(node.input[0], axis) if constant and node.input else None

    def _weight(self, node: onnx.NodeProto, place: int) -> np.ndarray | None:
        return self.model.constants.get(node.input[place]) if len(node.input) > place else None

    def _note(self, index: int, place: int, axes: dict[int, Channels]) -> None:
        self.ties.parameters[index, place] = axes

    def _keep(self, source: str, made: str, axis: int) -> bool:
        self.axes[made] = axis
        return self.ties.keep(source, made)

    def _numbers(self, node: onnx.NodeProto, place: int, name: str) -> list[int] | None:
        """Whole numbers that a node has as a constant input, or once had as an attribute."""
        value = self._weight(node, place)
        if value is not None:
            return [int(number) for number in value.reshape(-1)]
        return attribute(node, name, None) if len(node.input) <= place else None

    # --- ops

    def _pass(self, _index: int, node: onnx.NodeProto) -> bool:
        """Each tensor that comes out has the channels of what goes in."""
        source = node.input[0]
        axis, shape = self._axis(source), self._shape(source)
        for made in filter(None, node.output):
            after = self._shape(made)
            if len(after) != len(shape) or axis >= len(shape) or after[axis] != shape[axis]:
                return False
        return all(self._keep(source, made, axis) for made in filter(None, node.output))

    def _windowed(self, index: int, node: onnx.NodeProto) -> bool:
        return self._axis(node.input[0]) == 1 and self._pass(index, node)

    def _layer(
        self, index: int, node: onnx.NodeProto, out_axis: int, x: Channels | None, at: int = 1
    ) -> bool:
        """A layer that makes a width.

        Args:
            index, node: the layer.
            out_axis: of its weight's first two axes the one that has the outputs; the other has the inputs.
            x: channels that go in.
            at: the axis of what comes out that its channels lie along.
        """
        weight = self._weight(node, 1)
        if x is None or weight is None or weight.shape[1 - out_axis] != self.ties.extent(x):
            return False
        out = self.ties.make(node.output[0], weight.shape[out_axis], index)
        self.axes[node.output[0]] = at
        self._note(index, 1, {out_axis: out, 1 - out_axis: x})
        self._share(node, {out_axis: out, 1 - out_axis: x})
        bias = self._weight(node, 2)
        # A Gemm may have one value for all outputs, which belongs to no channel.
        if bias is not None and bias.ndim and bias.shape[-1] == weight.shape[out_axis]:
            self._note(index, 2, {bias.ndim - 1: out})
        return True

    def _share(self, node: onnx.NodeProto, axes: dict[int, Channels]) -> None:
        """Layers that use the same weights have the same widths."""
        first = self.weights.setdefault(node.input[1], axes)
        if first is not axes:
            for axis, channels in axes.items():
                if axis in first:
                    self.ties.tie(
                        first[axis], channels, f"{node.op_type} ({node.name}), whose weights are shared,"
                    )

    def _conv(self, index: int, node: onnx.NodeProto) -> bool:
        groups, x, weight = attribute(node, "group", 1), self._layer_input(node), self._weight(node, 1)
        if groups == 1:
            return self._layer(index, node, 0, x)
        source, made = node.input[0], node.output[0]
        if x is None or weight is None or weight.shape[1] * groups != self.ties.extent(x):
            return False
        if self._axis(source) != 1:
            return False
        if groups == self.ties.extent(x):  # depthwise: each channel makes one channel, or several
            times = weight.shape[0] // groups
            part, out = None, tuple(replace(run, times=run.times * times) for run in x)
            self.ties.contents[index, "group"] = {0: x}
        else:
            part = self.ties.alike(source, groups, f"grouped convolution {node.name} ({groups} groups)")
            if part is None:
                return False
            out = self.ties.make(made, weight.shape[0] // groups, index) * groups
        self.ties.channels[made] = out
        axes = {0: out} if part is None else {0: out, 1: part}
        self._note(index, 1, axes)
        self._share(node, axes)
        if self._weight(node, 2) is not None:
            self._note(index, 2, {0: out})
        return True

    def _conv_transpose(self, index: int, node: onnx.NodeProto) -> bool:
        groups, x, weight = attribute(node, "group", 1), self._layer_input(node), self._weight(node, 1)
        if groups == 1:
            return self._layer(index, node, 1, x)
        if x is None or weight is None or weight.shape[1] != 1 or groups != self.ties.extent(x):
            return False
        self.ties.contents[index, "group"] = {0: x}  # depthwise, as bilinear upsampling is written
        for place in range(1, len(node.input)):
            if node.input[place]:
                self._note(index, place, {0: x})
        return self._windowed(index, node)

    def _gemm(self, index: int, node: onnx.NodeProto) -> bool:
        axis = 0 if attribute(node, "transB", 0) else 1
        plain = not attribute(node, "transA", 0) and len(self._shape(node.input[0])) == 2
        return plain and self._layer(index, node, axis, self._layer_input(node))

    def _matmul(self, index: int, node: onnx.NodeProto) -> bool:
        """A linear layer, on vectors or on sequences of them."""
        weight, rank = self._weight(node, 1), len(self._shape(node.input[0]))
        plain = weight is not None and weight.ndim == 2 and rank > 1
        return plain and self._layer(index, node, 1, self._layer_input(node, rank - 1), rank - 1)

    def _norm(self, index: int, node: onnx.NodeProto) -> bool:
        source = node.input[0]
        if self._axis(source) != 1:  # the groups of a group norm lie along axis 1
            return node.op_type == "InstanceNormalization" and self._pass(index, node)
        x = self._layer_input(node)
        if x is None:
            return False
        for place in range(1, len(node.input)):
            self._note(index, place, {0: x})
        return self._pass(index, node)

    def _layer_norm(self, index: int, node: onnx.NodeProto) -> bool:
        """Over the last axis alone, where the channels may be."""
        rank = len(self._shape(node.input[0]))
        if attribute(node, "axis", -1) % rank != rank - 1 or not self._pass(index, node):
            return False
        if self._axis(node.input[0]) == rank - 1:
            for place in range(1, len(node.input)):
                if node.input[place]:
                    self._note(index, place, {0: self.ties.of(node.input[0])})
        return True

    def _group_norm(self, index: int, node: onnx.NodeProto) -> bool:
        """Groups stay of equal size; scales are one a channel, or in the first version of the op one a group."""
        source, x = node.input[0], self._layer_input(node)
        groups = attribute(node, "num_groups", 1)
        if x is None or self._axis(source) != 1:
            return False
        if self.ties.alike(source, groups, f"GroupNormalization ({node.name}) into {groups} parts") is None:
            return False
        for place in (1, 2):
            scale = self._weight(node, place)
            if scale is not None and scale.size == self.ties.extent(x):
                self._note(index, place, {0: x})
        return self._pass(index, node)

    def _prelu(self, index: int, node: onnx.NodeProto) -> bool:
        return self._weight(node, 1) is not None and self._elementwise(index, node)

    def _elementwise(self, index: int, node: onnx.NodeProto) -> bool:
        """Tie what is added or multiplied; a constant has a value for each channel, or one for all."""
        names, made = self.model.activations(node), node.output[0]
        shape = self._shape(made)
        axes = {self._axis(name) for name in names}
        if len(shape) < 2 or any(len(self._shape(name)) != len(shape) for name in names) or len(axes) > 1:
            return False
        (axis,) = axes
        what, summed = f"{node.op_type} ({node.name})", node.op_type not in GATES
        if axis >= len(shape) or not self.ties.tie_all(names, made, shape[axis], what, summed):
            return False
        self.axes[made] = axis
        channels = self.ties.of(made)
        for place in range(len(node.input)):
            constant = self._weight(node, place)
            if constant is not None:
                along = constant.ndim - (len(shape) - axis)  # shapes are lined up at their ends
                if along >= 0 and constant.shape[along] > 1:
                    self._note(index, place, {along: channels})
        return True

    def _concat(self, index: int, node: onnx.NodeProto) -> bool:
        made, shape = node.output[0], self._shape(node.output[0])
        places = {self._axis(name) for name in node.input}
        if len(places) != 1 or max(places) >= len(shape):
            return False
        (channel_axis,) = places
        axis = attribute(node, "axis", 0) % len(shape)
        self.axes[made] = channel_axis
        if axis == channel_axis:
            return self.ties.join(node.input, made)
        return self.ties.tie_all(node.input, made, shape[channel_axis], f"Concat ({node.name})")

    def _pad(self, index: int, node: onnx.NodeProto) -> bool:
        """By sizes that are constant, and none along the channels."""
        axis, rank = self._axis(node.input[0]), len(self._shape(node.input[0]))
        pads = self._numbers(node, 1, "pads")
        if pads is None or len(node.input) > 3 or len(pads) != 2 * rank or axis >= rank:
            return False
        return not (pads[axis] or pads[axis + rank]) and self._pass(index, node)

    def _reduce(self, index: int, node: onnx.NodeProto) -> bool:
        """A mean over other axes, with or without keeping them."""
        source, made = node.input[0], node.output[0]
        axis, rank = self._axis(source), len(self._shape(source))
        axes = self._numbers(node, 1, "axes")
        if not axes or any(number % rank == axis for number in axes):
            return False
        gone = 0 if attribute(node, "keepdims", 1) else sum(number % rank < axis for number in axes)
        return self._keep(source, made, axis - gone)

    def _resize(self, index: int, node: onnx.NodeProto) -> bool:
        """To sizes, which hold the number of channels, or by scales."""
        if len(node.input) > 3 and node.input[3]:
            if self._weight(node, 3) is None or not self._pass(index, node):
                return False
            axes = attribute(node, "axes", None)
            axis, rank = self._axis(node.input[0]), len(self._shape(node.input[0]))
            places = [number % rank for number in axes] if axes else list(range(rank))
            if axis in places:
                self.ties.contents[index, 3] = {places.index(axis): self.ties.of(node.input[0])}
            return True
        return all(name in self.model.constants for name in node.input[1:] if name) and self._pass(
            index, node
        )

    def _split(self, index: int, node: onnx.NodeProto) -> bool:
        source = node.input[0]
        axis, shape = self._axis(source), self._shape(source)
        sizes = self._numbers(node, 1, "split")
        if sizes is None or axis >= len(shape):
            return False
        self.axes.update(dict.fromkeys(node.output, axis))
        if attribute(node, "axis", 0) % len(shape) != axis:
            return all(self.ties.keep(source, made) for made in node.output)
        if not self.ties.cut(source, node.output, sizes):
            return False
        key: tuple[int, int | str] = (index, 1 if len(node.input) > 1 else "split")
        self.ties.contents[key] = {place: self.ties.of(made) for place, made in enumerate(node.output)}
        return True

    def _slice(self, index: int, node: onnx.NodeProto) -> bool:
        source, made = node.input[0], node.output[0]
        axis, shape, after = self._axis(source), self._shape(source), self._shape(made)
        starts, ends, axes = (
            self._numbers(node, place, name) for place, name in enumerate(_OLD_SLICE, start=1)
        )
        steps = self._numbers(node, 4, "steps") or [1] * len(starts or ())
        if starts is None or ends is None or axis >= len(shape):
            return False
        places = [number % len(shape) for number in axes] if axes else list(range(len(starts)))
        if axis not in places:
            return self._keep(source, made, axis)
        place, size = places.index(axis), shape[axis]
        if steps[place] != 1:
            return False
        if after[axis] == size:  # all channels, whatever their number
            self._note_slice(index, node, place, (), self.ties.of(source))
            return self._keep(source, made, axis)
        start, end = (min(n + size if n < 0 else n, size) for n in (starts[place], ends[place]))
        parts = [f"{made} before", made, f"{made} behind"]
        if not self.ties.cut(source, parts, [start, end - start, size - end]):
            return False
        self.axes[made] = axis
        before = self.ties.of(parts[0])
        self._note_slice(index, node, place, before, (*before, *self.ties.of(made)))
        return True

    def _note_slice(
        self, index: int, node: onnx.NodeProto, place: int, start: Channels, end: Channels
    ) -> None:
        new = len(node.input) > 1
        self.ties.contents[index, 1 if new else "starts"] = {place: start}
        self.ties.contents[index, 2 if new else "ends"] = {place: end}

    def _gather(self, index: int, node: onnx.NodeProto) -> bool:
        """Places along another axis; one number takes that axis away."""
        source, chosen = node.input[0], self._weight(node, 1)
        axis, rank = self._axis(source), len(self._shape(source))
        along = attribute(node, "axis", 0) % max(rank, 1)
        if chosen is None or source in self.model.constants or along == axis:
            return False
        return self._keep(source, node.output[0], axis + (chosen.ndim - 1 if along < axis else 0))

    def _transpose(self, index: int, node: onnx.NodeProto) -> bool:
        source = node.input[0]
        order = attribute(node, "perm", None) or list(range(len(self._shape(source))))[::-1]
        axis = self._axis(source)
        return axis < len(order) and self._keep(source, node.output[0], list(order).index(axis))

    def _unpool(self, index: int, node: onnx.NodeProto) -> bool:
        """What a pool took, put back where it was."""
        names, made = node.input[:2], node.output[0]
        size = self._shape(made)[1]
        if any(self._axis(name) != 1 for name in names):
            return False
        if not self.ties.tie_all(names, made, size, f"MaxUnpool ({node.name})", False):
            return False
        if self._weight(node, 2) is not None:
            self.ties.contents[index, 2] = {1: self.ties.of(made)}
        return len(node.input) < 3 or self._weight(node, 2) is not None

    def _reshape(self, index: int, node: onnx.NodeProto) -> bool:
        """Axes put together or taken apart, beside the channels or with them."""
        source, made = node.input[0], node.output[0]
        before, after, axis = self._shape(source), self._shape(made), self._axis(source)
        if axis >= len(before) or (node.op_type == "Reshape" and self._weight(node, 1) is None):
            return False
        found = self._reshaped(node, before, axis, after)
        if found is None:
            return False
        self.axes[made] = found
        if node.op_type == "Reshape":
            self.ties.contents[index, 1] = {found: self.ties.of(made)}
        return True

    def _reshaped(
        self, node: onnx.NodeProto, before: Sequence[int], axis: int, after: Sequence[int]
    ) -> int | None:
        """Follow the channels through a reshape; the axis that they lie along then."""
        source, made = node.input[0], node.output[0]
        found = kept_axis(before, axis, after)
        if found is not None:
            return found if self.ties.keep(source, made) else None
        outer = prod(before[:axis])
        for found, size in enumerate(after):
            if prod(after[:found]) == outer:
                # Channels and the pixels behind them on one axis.
                for last in range(axis + 2, len(before) + 1):
                    pixels = prod(before[axis + 1 : last])
                    if size == before[axis] * pixels:
                        return found if self.ties.spread(source, made, pixels) else None
                # Channels in parts of equal size: a shuffle, the groups of a norm.
                if 1 < size < before[axis] and before[axis] % size == 0 and found + 1 < len(after):
                    return (
                        found + 1
                        if self._parted(node, size, before[axis] // size, after[found + 1])
                        else None
                    )
            # The way back.
            for parts in (1, before[axis - 1] if axis else 1):
                if prod(after[:found]) * parts == outer and self._put_together(source, made, parts, size):
                    return found
        return None

    def _parted(self, node: onnx.NodeProto, count: int, channels: int, size: int) -> bool:
        """An axis for parts that stay alike, and behind it one for the channels of a part, maybe with pixels."""
        if size % channels:
            return False
        what = f"{node.op_type} ({node.name}) into {count} parts"
        part = self.ties.alike(node.input[0], count, what)
        if part is None:
            return False
        pixels = size // channels
        self.ties.channels[node.output[0]] = tuple(replace(run, times=run.times * pixels) for run in part)
        return True

    def _put_together(self, source: str, made: str, parts: int, size: int) -> bool:
        """Parts that lie on the axis before the channels', and pixels taken from the channels' own."""
        channels = self.ties.of(source)
        whole = parts * self.ties.extent(channels)
        if not channels or size < 1 or whole % size:
            return False
        pixels = whole // size
        if any(run.times % pixels for run in channels) or (parts == pixels == 1):
            return False
        self.ties.channels[made] = tuple(replace(run, times=run.times // pixels) for run in channels) * parts
        return True
