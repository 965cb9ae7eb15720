"""Channels of an ONNX model that are tied together: which axes of which tensors share one width.

Every convolution and linear layer makes a width of its own. It is carried along by what keeps channels as they are
(batch norm, activations, pools, depthwise convolutions), tied to others where tensors are added or multiplied, laid
side by side by a concatenation, and used up by the next convolution or linear layer. An op that mixes or reorders
channels in another way fixes the widths it touches, and says so.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from hakd.importing.model import Model
from hakd.importing.ties import Channels, ChannelTies

LAYERS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
UNARY = frozenset((
    "Abs", "Celu", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Neg",
    "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
))  # fmt: skip
BINARY = frozenset(("Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum"))
GATES = frozenset(("Div", "Mul", "Pow"))
POOLS = frozenset(("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"))
NORMS = frozenset(("BatchNormalization", "InstanceNormalization"))
RESHAPES = frozenset(("Flatten", "Reshape", "Squeeze", "Unsqueeze"))
REDUCTIONS = frozenset(("ReduceMean", "ReduceMax", "ReduceSum"))
SOFTMAX = frozenset(("Softmax", "LogSoftmax"))


def trace(model: Model) -> ChannelTies:
    """Follow the channels of a model from its input to its outputs."""
    return _Tracer(model).run()


class _Tracer:
    """Goes through the nodes in order; a handler says whether it could follow the channels through its node."""

    def __init__(self, model: Model) -> None:
        self.model, self.ties = model, ChannelTies()
        self.handlers: dict[str, Callable[[int, onnx.NodeProto], bool]] = {
            "Conv": self._conv,
            "ConvTranspose": self._conv_transpose,
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "PRelu": self._prelu,
            "Concat": self._concat,
            "Pad": self._pad,
            "Resize": self._resize,
            **dict.fromkeys(UNARY | POOLS | SOFTMAX, self._pass),
            **dict.fromkeys(REDUCTIONS, self._reduce),
            **dict.fromkeys(BINARY, self._elementwise),
            **dict.fromkeys(NORMS, self._norm),
            **dict.fromkeys(RESHAPES, self._reshape),
        }

    def run(self) -> ChannelTies:
        """The ties of the whole model; channels of its input and of its outputs belong to the task."""
        self.ties.start(self.model.source, self.model.shapes[self.model.source][1])
        for index, node in enumerate(self.model.nodes):
            handler = self.handlers.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            known = all(self._shape(name) for name in (*self.model.activations(node), *node.output[:1]))
            if not known or handler is None or not handler(index, node):
                self._opaque(node)
        for name in (self.model.source, *self.model.outputs):
            self.ties.fix_by_task(self.ties.channels.get(name, ()))
        return self.ties

    # --- what handlers need

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.model.shapes.get(name, ())

    def _opaque(self, node: onnx.NodeProto) -> None:
        """An op that is not understood: the widths around it stay as they are."""
        reason = f"{node.op_type} ({node.name}) does not keep channels apart in a way that is followed"
        made = {name: self._shape(name)[1] for name in node.output if len(self._shape(name)) > 1}
        self.ties.fix_between(self.model.activations(node), made, reason)

    def _input(self, node: onnx.NodeProto) -> Channels | None:
        return self.ties.channels.get(node.input[0]) if node.input else None

    def _layer_input(self, node: onnx.NodeProto) -> Channels | None:
        """Channels of the one input of a layer, whose weights have to be constants."""
        constant = all(name in self.model.constants for name in node.input[1:] if name)
        return self._input(node) if constant else None

    def _weight(self, node: onnx.NodeProto, place: int) -> np.ndarray | None:
        return self.model.constants.get(node.input[place]) if len(node.input) > place else None

    def _note(self, index: int, place: int, axes: dict[int, Channels]) -> None:
        self.ties.parameters[index, place] = axes

    # --- ops

    def _pass(self, index: int, node: onnx.NodeProto) -> bool:
        source, made = node.input[0], node.output[0]
        return self._shape(source)[:2] == self._shape(made)[:2] and self.ties.keep(source, made)

    def _layer(self, index: int, node: onnx.NodeProto, axis: int) -> bool:
        """A layer that makes a width: of its weight's first two axes `axis` has the outputs, the other the inputs."""
        x, weight = self._layer_input(node), self._weight(node, 1)
        if x is None or weight is None or weight.shape[1 - axis] != self.ties.extent(x):
            return False
        out = self.ties.make(node.output[0], weight.shape[axis], index)
        self._note(index, 1, {axis: out, 1 - axis: x})
        bias = self._weight(node, 2)
        # A Gemm may have one value for all outputs, which is none of a channel.
        if bias is not None and bias.ndim and bias.shape[-1] == weight.shape[axis]:
            self._note(index, 2, {bias.ndim - 1: out})
        return True

    def _conv(self, index: int, node: onnx.NodeProto) -> bool:
        groups = attribute(node, "group", 1)
        if groups == 1:
            return self._layer(index, node, 0)
        x, weight = self._layer_input(node), self._weight(node, 1)
        if x is None or weight is None or weight.shape[1] * groups != self.ties.extent(x):
            return False
        if groups == weight.shape[0] == self.ties.extent(x):  # depthwise: channels stay what they are
            for place in range(1, len(node.input)):
                self._note(index, place, {0: x})
            return self._pass(index, node)
        reason = f"grouped convolution {node.name} ({groups} groups)"
        self.ties.fix((*x, *self.ties.make(node.output[0], weight.shape[0], index)), reason)
        return True

    def _conv_transpose(self, index: int, node: onnx.NodeProto) -> bool:
        return attribute(node, "group", 1) == 1 and self._layer(index, node, 1)

    def _gemm(self, index: int, node: onnx.NodeProto) -> bool:
        axis = 0 if attribute(node, "transB", 0) else 1
        return not attribute(node, "transA", 0) and self._layer(index, node, axis)

    def _matmul(self, index: int, node: onnx.NodeProto) -> bool:
        weight = self._weight(node, 1)
        plain = weight is not None and weight.ndim == len(self._shape(node.input[0])) == 2
        return plain and self._layer(index, node, 1)

    def _norm(self, index: int, node: onnx.NodeProto) -> bool:
        x = self._layer_input(node)
        if x is None:
            return False
        for place in range(1, len(node.input)):
            self._note(index, place, {0: x})
        return self._pass(index, node)

    def _prelu(self, index: int, node: onnx.NodeProto) -> bool:
        return self._weight(node, 1) is not None and self._elementwise(index, node)

    def _elementwise(self, index: int, node: onnx.NodeProto) -> bool:
        """Tie what is added or multiplied; a constant has a value for each channel, or one for all."""
        names, shape = self.model.activations(node), self._shape(node.output[0])
        if len(shape) < 2 or any(len(self._shape(name)) != len(shape) for name in names):
            return False
        what, summed = f"{node.op_type} ({node.name})", node.op_type not in GATES
        if not self.ties.tie_all(names, node.output[0], shape[1], what, summed):
            return False
        channels = self.ties.channels[node.output[0]]
        for place in range(len(node.input)):
            constant = self._weight(node, place)
            if constant is not None:
                axis = constant.ndim - (len(shape) - 1)  # shapes are lined up at their ends
                if axis >= 0 and constant.shape[axis] > 1:
                    self._note(index, place, {axis: channels})
        return True

    def _concat(self, index: int, node: onnx.NodeProto) -> bool:
        made, shape = node.output[0], self._shape(node.output[0])
        axis = attribute(node, "axis", 0) % len(shape)
        if axis == 1:
            return self.ties.join(node.input, made)
        return axis != 0 and self.ties.tie_all(node.input, made, shape[1], f"Concat ({node.name})")

    def _pad(self, index: int, node: onnx.NodeProto) -> bool:
        return self._weight(node, 1) is not None and len(node.input) < 4 and self._pass(index, node)

    def _reduce(self, index: int, node: onnx.NodeProto) -> bool:
        """A mean over the pixels, with or without keeping their axes."""
        axes = attribute(node, "axes", None)
        if axes is None and (given := self._weight(node, 1)) is not None:
            axes = [int(axis) for axis in given]
        rank = len(self._shape(node.input[0]))
        if axes is None or any(axis % rank < 2 for axis in axes):
            return False
        return self._pass(index, node)

    def _resize(self, index: int, node: onnx.NodeProto) -> bool:
        """By scales alone: sizes would hold the number of channels."""
        by_size = len(node.input) > 3 and node.input[3] != ""
        return not by_size and self._pass(index, node)

    def _reshape(self, index: int, node: onnx.NodeProto) -> bool:
        """Images of any size to one axis, or axes of one pixel added and taken away."""
        source, made = node.input[0], node.output[0]
        before, after = self._shape(source), self._shape(made)
        if len(before) < 2 or len(after) < 2 or before[0] != after[0]:
            return False
        pixels = int(np.prod(before[2:]))
        if before[1] == after[1] and (pixels == int(np.prod(after[2:])) == 1 or before == after):
            followed = self.ties.keep(source, made)
        elif len(after) == 2 and after[1] == before[1] * pixels:
            followed = self.ties.spread(source, made, pixels)
        else:
            return False
        if followed and node.op_type == "Reshape":
            self._note(index, 1, {})  # its constant names the number of channels, and is written anew
        return followed


def is_grouped(node: onnx.NodeProto) -> bool:
    """Whether a convolution is depthwise, or of groups otherwise."""
    return node.op_type == "Conv" and attribute(node, "group", 1) != 1


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default where the node does not have it."""
    for found in node.attribute:
        if found.name == name:
            return helper.get_attribute_value(found)
    return default
