"""Channels of an ONNX model that are tied together: which axes of which tensors share one width.

Every convolution and linear layer makes a width of its own. It is carried along by what keeps channels as they are
(batch norm, activations, pools, depthwise convolutions), tied to others where tensors are added or multiplied, laid
side by side by a concatenation, and used up by the next convolution or linear layer. An op that mixes or reorders
channels in another way fixes the widths it touches, and says so.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from hakd.explaining.model import Model

UNARY = frozenset(
    (
        "Abs",
        "Celu",
        "Clip",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Reciprocal",
        "Relu",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tanh",
        "ThresholdedRelu",
    )
)
BINARY = frozenset(("Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum"))
POOLS = frozenset(("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"))
NORMS = frozenset(("BatchNormalization", "InstanceNormalization"))
RESHAPES = frozenset(("Flatten", "Reshape", "Squeeze", "Unsqueeze"))
TASK = ""  # the reason of widths that the task gives: image channels, classes


@dataclass(frozen=True)
class ChannelRun:
    """A run of channels: the number of a width, and how many places of the axis each of its channels takes.

    More than one after a `Flatten` of an image: then a channel is a run of pixels.
    """

    width: int
    times: int = 1


Channels = tuple[ChannelRun, ...]


@dataclass
class ChannelTies:
    """Which axes carry which widths; widths are numbers, `find` gives the one that stands for all tied ones.

    Attributes:
        sizes: of each width, in channels.
        channels: of each activation, where they are known.
        parameters: {(node, input): {axis: channels}} of constants whose shape depends on widths.
        made_by: width -> nodes that make it (convolutions and linear layers).
        reasons: width -> why it is fixed; `TASK` where that is as it should be.
    """

    sizes: list[int] = field(default_factory=list)
    channels: dict[str, Channels] = field(default_factory=dict)
    parameters: dict[tuple[int, int], dict[int, Channels]] = field(default_factory=dict)
    made_by: dict[int, list[int]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    _parents: list[int] = field(default_factory=list)

    def new(self, size: int) -> int:
        """A width that is tied to no other."""
        self.sizes.append(size)
        self._parents.append(len(self._parents))
        return len(self._parents) - 1

    def find(self, width: int) -> int:
        """The width that stands for all that are tied to it."""
        while self._parents[width] != width:
            self._parents[width] = self._parents[self._parents[width]]
            width = self._parents[width]
        return width

    def tie(self, a: Channels, b: Channels, what: str) -> None:
        """Channels that have to stay alike; where they are put together differently, both are fixed."""
        if [(s.times, self.sizes[s.width]) for s in a] != [(s.times, self.sizes[s.width]) for s in b]:
            self.fix((*a, *b), f"{what} meets a concatenation of other widths")
            return
        for one, other in zip(a, b, strict=True):
            first, second = sorted((self.find(one.width), self.find(other.width)))
            if first == second:
                continue
            self._parents[second] = first
            self.made_by.setdefault(first, []).extend(self.made_by.pop(second, []))
            if second in self.reasons:
                self._note(first, self.reasons.pop(second))

    def fix(self, channels: Channels, reason: str) -> None:
        """Widths that cannot be changed, and why."""
        for segment in channels:
            self._note(self.find(segment.width), reason)

    def _note(self, width: int, reason: str) -> None:
        if self.reasons.get(width) != TASK:
            self.reasons[width] = reason if reason == TASK else self.reasons.get(width, reason)

    def extent(self, channels: Channels) -> int:
        """Length of the axis."""
        return sum(self.sizes[segment.width] * segment.times for segment in channels)

    def has(self, channels: Channels, width: int) -> bool:
        """Whether a width is among them."""
        return any(self.find(segment.width) == width for segment in channels)


def trace(model: Model) -> ChannelTies:
    """Follow the channels of a model from its input to its outputs."""
    return _Tracer(model).run()


class _Tracer:
    def __init__(self, model: Model) -> None:
        self.model, self.tied = model, ChannelTies()
        self.handlers: dict[str, Callable[[int, onnx.NodeProto], bool]] = {
            "Conv": self._conv,
            "ConvTranspose": self._conv_transpose,
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "PRelu": self._prelu,
            "Concat": self._concat,
            "Pad": self._pad,
            "ReduceMean": self._reduce,
            "ReduceMax": self._reduce,
            "ReduceSum": self._reduce,
            "Resize": self._resize,
            "Softmax": self._pass,
            "LogSoftmax": self._pass,
            **dict.fromkeys(UNARY | POOLS, self._pass),
            **dict.fromkeys(BINARY, self._elementwise),
            **dict.fromkeys(NORMS, self._norm),
            **dict.fromkeys(RESHAPES, self._reshape),
        }

    def run(self) -> ChannelTies:
        shape = self.model.shapes[self.model.source]
        self.tied.channels[self.model.source] = self._fixed(shape[1], TASK)
        for index, node in enumerate(self.model.nodes):
            handler = self.handlers.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            known = all(self._shape(name) for name in (*self._activations(node), *node.output[:1]))
            if not known or handler is None or not handler(index, node):
                self._opaque(node)
        for name in self.model.outputs:
            self.tied.fix(self.tied.channels.get(name, ()), TASK)
        return self.tied

    # --- what handlers need

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.model.shapes.get(name, ())

    def _activations(self, node: onnx.NodeProto) -> list[str]:
        return [name for name in node.input if name and name not in self.model.constants]

    def _fixed(self, size: int, reason: str) -> Channels:
        made = (ChannelRun(self.tied.new(size)),)
        self.tied.fix(made, reason)
        return made

    def _made(self, index: int, size: int) -> Channels:
        """The new width that a layer makes."""
        width = self.tied.new(size)
        self.tied.made_by[width] = [index]
        return (ChannelRun(width),)

    def _opaque(self, node: onnx.NodeProto) -> None:
        """An op that is not understood: the widths around it stay as they are."""
        reason = f"{node.op_type} ({node.name}) does not keep channels apart in a way that is followed"
        for name in self._activations(node):
            self.tied.fix(self.tied.channels.get(name, ()), reason)
        for name in node.output:
            shape = self._shape(name)
            if len(shape) > 1:
                self.tied.channels[name] = self._fixed(shape[1], reason)

    def _input(self, node: onnx.NodeProto) -> Channels | None:
        return self.tied.channels.get(node.input[0]) if len(node.input) else None

    def _weight(self, node: onnx.NodeProto, place: int) -> np.ndarray | None:
        return self.model.constants.get(node.input[place]) if len(node.input) > place else None

    def _note(self, index: int, place: int, axes: dict[int, Channels]) -> None:
        self.tied.parameters[index, place] = axes

    # --- ops

    def _pass(self, index: int, node: onnx.NodeProto) -> bool:
        found, shapes = self._input(node), [self._shape(name) for name in (node.input[0], node.output[0])]
        if found is None or shapes[0][:2] != shapes[1][:2]:
            return False
        self.tied.channels[node.output[0]] = found
        return True

    def _conv(self, index: int, node: onnx.NodeProto) -> bool:
        x, weight = self._input(node), self._weight(node, 1)
        if x is None or weight is None or any(name not in self.model.constants for name in node.input[1:]):
            return False
        groups = attribute(node, "group", 1)
        if weight.shape[1] * groups != self.tied.extent(x):
            return False
        if groups == 1:
            out = self._made(index, weight.shape[0])
            self._note(index, 1, {0: out, 1: x})
        elif groups == self.tied.extent(x) == weight.shape[0]:
            out = x
            self._note(index, 1, {0: out})
        else:
            reason = f"grouped convolution {node.name} ({groups} groups)"
            self.tied.fix(x, reason)
            self.tied.channels[node.output[0]] = out = self._made(index, weight.shape[0])
            self.tied.fix(out, reason)
            return True
        if len(node.input) > 2 and node.input[2]:
            self._note(index, 2, {0: out})
        self.tied.channels[node.output[0]] = out
        return True

    def _conv_transpose(self, index: int, node: onnx.NodeProto) -> bool:
        x, weight = self._input(node), self._weight(node, 1)
        plain = attribute(node, "group", 1) == 1
        if (
            x is None
            or weight is None
            or not plain
            or any(n not in self.model.constants for n in node.input[1:])
        ):
            return False
        out = self._made(index, weight.shape[1])
        self._note(index, 1, {0: x, 1: out})
        if len(node.input) > 2 and node.input[2]:
            self._note(index, 2, {0: out})
        self.tied.channels[node.output[0]] = out
        return True

    def _gemm(self, index: int, node: onnx.NodeProto) -> bool:
        x, weight = self._input(node), self._weight(node, 1)
        if x is None or weight is None or attribute(node, "transA", 0):
            return False
        axis = 0 if attribute(node, "transB", 0) else 1
        if weight.shape[1 - axis] != self.tied.extent(x):
            return False
        out = self._made(index, weight.shape[axis])
        if len(node.input) > 2 and node.input[2]:
            bias = self._weight(node, 2)
            if bias is None:
                return False
            if bias.ndim and bias.shape[-1] == weight.shape[axis] and bias.shape[-1] > 1:
                self._note(index, 2, {bias.ndim - 1: out})
        self._note(index, 1, {axis: out, 1 - axis: x})
        self.tied.channels[node.output[0]] = out
        return True

    def _matmul(self, index: int, node: onnx.NodeProto) -> bool:
        x, weight = self._input(node), self._weight(node, 1)
        if x is None or weight is None or weight.ndim != 2 or len(self._shape(node.input[0])) != 2:
            return False
        if weight.shape[0] != self.tied.extent(x):
            return False
        out = self._made(index, weight.shape[1])
        self._note(index, 1, {0: x, 1: out})
        self.tied.channels[node.output[0]] = out
        return True

    def _norm(self, index: int, node: onnx.NodeProto) -> bool:
        x = self._input(node)
        if x is None or any(name not in self.model.constants for name in node.input[1:]):
            return False
        for place in range(1, len(node.input)):
            self._note(index, place, {0: x})
        return self._pass(index, node)

    def _prelu(self, index: int, node: onnx.NodeProto) -> bool:
        return self._weight(node, 1) is not None and self._elementwise(index, node)

    def _elementwise(self, index: int, node: onnx.NodeProto) -> bool:
        """Tie what is added or multiplied; a constant has a value for each channel, or one for all."""
        shape = self._shape(node.output[0])
        found = [self.tied.channels.get(name) for name in self._activations(node)]
        if len(shape) < 2 or not found or any(one is None for one in found):
            return False
        wide = [one for one in found if one is not None and self.tied.extent(one) == shape[1]]
        if not wide or any(len(self._shape(name)) != len(shape) for name in self._activations(node)):
            return False
        for one in found:
            assert one is not None
            if self.tied.extent(one) == shape[1]:
                self.tied.tie(wide[0], one, f"{node.op_type} ({node.name})")
            else:  # one channel for all
                self.tied.fix(one, f"{node.op_type} ({node.name}) spreads one channel over all")
        for place, name in enumerate(node.input):
            axis = self._weight(node, place)
            if name in self.model.constants and axis is not None:
                at = axis.ndim - (len(shape) - 1)
                if at >= 0 and axis.shape[at] > 1:
                    self._note(index, place, {at: wide[0]})
        self.tied.channels[node.output[0]] = wide[0]
        return True

    def _concat(self, index: int, node: onnx.NodeProto) -> bool:
        rank = len(self._shape(node.output[0]))
        axis = attribute(node, "axis", 0) % rank
        found = [self.tied.channels.get(name) for name in node.input]
        if any(one is None for one in found) or axis == 0:
            return False
        parts = [one for one in found if one is not None]
        if axis != 1:
            for one in parts[1:]:
                self.tied.tie(parts[0], one, f"Concat ({node.name})")
            parts = parts[:1]
        self.tied.channels[node.output[0]] = tuple(segment for one in parts for segment in one)
        return True

    def _pad(self, index: int, node: onnx.NodeProto) -> bool:
        pads = self._weight(node, 1)
        plain = pads is not None and len(node.input) < 4
        return plain and self._pass(index, node)

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
        x, before, after = self._input(node), self._shape(node.input[0]), self._shape(node.output[0])
        if x is None or len(before) < 2 or len(after) < 2 or before[0] != after[0]:
            return False
        pixels = int(np.prod(before[2:]))
        if before[1] == after[1] and (pixels == int(np.prod(after[2:])) == 1 or before == after):
            out = x
        elif len(after) == 2 and after[1] == before[1] * pixels:
            out = tuple(ChannelRun(segment.width, segment.times * pixels) for segment in x)
        else:
            return False
        if node.op_type == "Reshape":
            self._note(index, 1, {})  # its constant names the number of channels, and is written anew
        self.tied.channels[node.output[0]] = out
        return True


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default where the node does not have it."""
    for found in node.attribute:
        if found.name == name:
            return helper.get_attribute_value(found)
    return default
