"""From an ONNX graph to the op-level description of a classifier and its weights.

A node that the description has no op for is refused by its name; nothing is left out or fixed silently.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx

from hakd.importing.kinds import ONNX_DOMAINS, RESHAPES, attribute
from hakd.importing.layers import LayerReader
from hakd.importing.model import Model
from hakd.importing.rewriting import rewritten
from hakd.importing.rows import Row, Rows, graph_of
from hakd.importing.writing import NotDescribed
from hakd.ops.kinds import KINDS
from hakd.records.errors import HakdError
from hakd.records.graph import Graph

_SIMPLE = {"Relu": "relu", "Sigmoid": "sigmoid", "HardSwish": "hardswish"}
_LIMITS = {(0.0, 6.0): "relu6", (0.0, np.inf): "relu"}
_SOFTMAX = ("Softmax", "LogSoftmax")
_SIXTH = 1e-4  # how near to 1 / 6 and a half the numbers of a hard sigmoid are
_REMEDY = "Write the network without it (docs/networks.md); `hakd explain` times an ONNX file with it"


@dataclass(frozen=True)
class Description:
    """What was read.

    Attributes:
        rows: the ops, in order, in their tiles.
        weights: arrays by `op name + "." + parameter`, float32.
        classes: values that it gives for an image.
        one_pixel: whether that is an image of one pixel, with as many channels.
        softmax: the op at the original's end that turns logits into probabilities, which the rows leave out.
    """

    rows: Rows
    weights: Mapping[str, np.ndarray]
    classes: int
    softmax: str = ""
    one_pixel: bool = False

    def flat(self) -> "Description":
        """The same with a flat vector at its end, where that is an image of one pixel."""
        last = self.rows.by_name[self.rows.output]
        if not self.one_pixel:
            return self
        row = Row("flatten", f"{last.name}.flatten", (last.name,))
        return replace(self, rows=rewritten(Rows([*self.rows.rows, row], row.name)), one_pixel=False)

    def graph(self, channels: int, size: Sequence[int]) -> Graph:
        """The ops over an image."""
        return graph_of(self.rows.rows, channels, size)


def describe(model: Model, where: object) -> Description:
    """The description of a model with one input and one output.

    Args:
        model: read with batch 1.
        where: the file or function, for messages.

    Raises:
        HakdError: several outputs, or a node that the description has no op for.
    """
    if len(model.outputs) != 1:
        names = ", ".join(model.outputs) or "none"
        remedy = "Give a network that returns only its logits"
        raise HakdError(
            f"a network needs one output, this has {len(model.outputs)} ({names})", where=where, remedy=remedy
        )
    try:
        return read(model)
    except NotDescribed as error:
        raise HakdError(f"the description has no op for {error}", where=where, remedy=_REMEDY) from None


def read(model: Model) -> Description:
    """`describe` of a model with one output.

    Raises:
        NotDescribed: a node that the description has no op for.
    """
    return _Reader(model).read()


class _Reader(LayerReader):
    """Goes through the nodes in order; a handler writes rows and weights, or raises `NotDescribed`."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.softmax = ""
        self.handlers: Mapping[str, Callable[[onnx.NodeProto], None]] = {
            "Conv": self.conv,
            "ConvTranspose": self.conv_transpose,
            "Gemm": self.gemm,
            "MatMul": self.matmul,
            "BatchNormalization": self.batch_norm,
            **dict.fromkeys(_SIMPLE, self._simple),
            "LeakyRelu": self._leaky_relu,
            "HardSigmoid": self._hard_sigmoid,
            "Gelu": self._gelu,
            "Erf": lambda node: self.add(node, "_erf", node.input[:1]),
            "Clip": self._clip,
            "PRelu": self._prelu,
            "MaxPool": self.pool,
            "AveragePool": self.pool,
            "GlobalAveragePool": self.mean,
            "ReduceMean": self.mean,
            **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Sum"), self._elementwise),
            "Concat": self._concat,
            "Split": self._split,
            "Slice": self._slice,
            "Pad": self._pad,
            "Dropout": self._dropout,
            "Transpose": self._refused_transpose,
            **dict.fromkeys(RESHAPES, self._reshape),
        }

    def read(self) -> Description:
        """The whole model."""
        for node in self.model.nodes:
            if node.output[0] in self.done:
                continue
            handler = self.handlers.get(node.op_type) if node.domain in ONNX_DOMAINS else None
            if node.op_type in _SOFTMAX and node.output[0] == self.model.outputs[0]:
                self.known[node.output[0]] = self.known[node.input[0]]
                self.softmax = node.op_type
                continue
            if handler is None:
                raise NotDescribed(node)
            if any(name not in self.shapes for name in (*self.model.activations(node), node.output[0])):
                raise NotDescribed(node, "the sizes around it are unknown")
            handler(node)
        rows = rewritten(Rows(self.rows, self._last()))
        for row in rows.rows:
            if row.kind not in KINDS:
                op, _, name = row.source.partition(" ")
                raise NotDescribed(onnx.NodeProto(op_type=op, name=name), _PSEUDO.get(row.kind, ""))
        classes = prod(self.shapes[self.model.outputs[0]][1:])
        one_pixel = self.tensors[rows.output].size == (1, 1)
        return Description(rows, self.weights, classes, self.softmax, one_pixel)

    def _last(self) -> str:
        (name,) = self.model.outputs
        if self.known.get(name, "input") == "input":
            raise NotDescribed(onnx.NodeProto(op_type="Output", name=name), "no layer makes it")
        return self.take(name)

    # --- activations

    def _simple(self, node: onnx.NodeProto) -> None:
        self.add(node, _SIMPLE[node.op_type], node.input)

    def _leaky_relu(self, node: onnx.NodeProto) -> None:
        slope = float(f"{attribute(node, 'alpha', 0.01):.6g}")
        self.add(node, "leaky_relu", node.input, {"negative_slope": slope})

    def _hard_sigmoid(self, node: onnx.NodeProto) -> None:
        alpha, beta = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
        if abs(alpha - 1 / 6) > _SIXTH or abs(beta - 0.5) > _SIXTH:
            raise NotDescribed(node, f"alpha {alpha:g} and beta {beta:g}, not 1/6 and 0.5")
        self.add(node, "hardsigmoid", node.input)

    def _gelu(self, node: onnx.NodeProto) -> None:
        if attribute(node, "approximate", b"none") != b"none":
            raise NotDescribed(node, "approximated by tanh")
        self.add(node, "gelu", node.input)

    def _clip(self, node: onnx.NodeProto) -> None:
        limits = []
        for place, (key, default) in enumerate((("min", -np.inf), ("max", np.inf)), start=1):
            value = self.constant(node, place)
            limits.append(float(attribute(node, key, default) if value is None else value.reshape(-1)[0]))
        low, high = (limit if abs(limit) < 1e38 else np.copysign(np.inf, limit) for limit in limits)
        if (low, high) not in _LIMITS:
            raise NotDescribed(node, f"to {low:g} and {high:g}")
        self.add(node, _LIMITS[low, high], node.input[:1])

    def _prelu(self, node: onnx.NodeProto) -> None:
        slopes, (_, channels, *pixels) = self.weight(node, 1), self.shapes[node.input[0]]
        if slopes.size not in (1, channels) or (slopes.ndim > 1 and slopes.shape[-1] != 1 and pixels):
            raise NotDescribed(node, "its slopes are not one for each channel")
        slopes = np.broadcast_to(slopes.reshape(-1), (channels,))
        self.add(node, "prelu", node.input[:1], weights={"weight": slopes})

    # --- several tensors, or parts of one

    def _elementwise(self, node: onnx.NodeProto) -> None:
        constants = [name for name in node.input if name in self.model.constants]
        if constants:
            return self._with_number(node)
        if node.op_type in ("Sub", "Div") or (node.op_type == "Mul" and len(node.input) != 2):
            raise NotDescribed(node)
        if node.op_type == "Mul":
            return self.add(node, "mul", node.input)
        shapes = {self.shapes[name] for name in node.input}
        if len(shapes) > 1:
            words = " and ".join(str(list(shape[1:])) for shape in sorted(shapes))
            raise NotDescribed(node, f"tensors of shapes {words} are added")
        self.add(node, "add", node.input)

    def _with_number(self, node: onnx.NodeProto) -> None:
        """A number that is multiplied or added; such rows have to become part of an activation."""
        activations = self.model.activations(node)
        number = next(self.model.constants[name] for name in node.input if name in self.model.constants)
        if len(activations) != 1 or len(node.input) != 2:
            raise NotDescribed(node)
        if number.size != 1:
            raise NotDescribed(node, "a constant for each channel or pixel")
        value, second = float(number.reshape(-1)[0]), node.input[1] in self.model.constants
        if node.op_type in ("Sub", "Div") and not second:
            raise NotDescribed(node, "a constant comes first")
        if node.op_type in ("Mul", "Div"):
            value = 1 / value if node.op_type == "Div" and value else value
            return self.add(node, "_scale", activations, {"value": value})
        return self.add(node, "_shift", activations, {"value": -value if node.op_type == "Sub" else value})

    def _concat(self, node: onnx.NodeProto) -> None:
        rank = len(self.shapes[node.output[0]])
        if attribute(node, "axis", 1) % rank != 1:
            raise NotDescribed(node, "along another axis than the channels")
        if any(name in self.model.constants for name in node.input):
            raise NotDescribed(node, "constants among its parts")
        self.add(node, "concat", node.input)

    def _split(self, node: onnx.NodeProto) -> None:
        if attribute(node, "axis", 0) % len(self.shapes[node.input[0]]) != 1:
            raise NotDescribed(node, "along another axis than the channels")
        start = 0
        for place, name in enumerate(node.output):
            stop = start + self.shapes[name][1]
            if name not in self._users and name not in self.model.outputs:
                start = stop
                continue
            self.add(node, "split", node.input[:1], {"start": start, "stop": stop}, place=place)
            start = stop

    def _slice(self, node: onnx.NodeProto) -> None:
        numbers = []
        for place, key in enumerate(("starts", "ends", "axes", "steps"), start=1):
            value = self.constant(node, place)
            numbers.append(attribute(node, key, None) if value is None else value.reshape(-1).tolist())
        starts, _, axes, steps = numbers
        rank = len(self.shapes[node.input[0]])
        if (
            starts is None
            or axes is None
            or [axis % rank for axis in axes] != [1]
            or steps not in (None, [1])
        ):
            raise NotDescribed(node, "other than a run of channels")
        channels, taken = self.shapes[node.input[0]][1], self.shapes[node.output[0]][1]
        start = max(0, min(channels, starts[0] + channels if starts[0] < 0 else starts[0]))
        self.add(node, "split", node.input[:1], {"start": start, "stop": start + taken})

    def _pad(self, node: onnx.NodeProto) -> None:
        given, value, axes = (self.constant(node, place) for place in (1, 2, 3))
        pads = attribute(node, "pads", []) if given is None else [int(one) for one in given.reshape(-1)]
        number = attribute(node, "value", 0.0) if value is None else float(value.reshape(-1)[0])
        plain = attribute(node, "mode", b"constant") == b"constant" and number == 0 and axes is None
        if not plain or len(pads) != 8 or any(pads[:2]) or any(pads[4:6]) or min(pads) < 0:
            raise NotDescribed(node, "other than zeros around the image")
        if not any(pads):
            self.known[node.output[0]] = self.take(node.input[0])
            return
        edges = ((pads[2], pads[6]), (pads[3], pads[7]))
        self.add(node, "pad", node.input[:1], {"edges": edges})

    # --- what moves nothing, or channels

    def _dropout(self, node: onnx.NodeProto) -> None:
        ratio = self.constant(node, 1)
        p = attribute(node, "ratio", 0.5) if ratio is None else float(ratio)
        self.add(node, "dropout", node.input[:1], {"p": float(f"{p:.6g}")})

    def _reshape(self, node: onnx.NodeProto) -> None:
        source, made = node.input[0], node.output[0]
        before, after = self.shapes[source], self.shapes[made]
        if before[0] != after[0]:
            words = f"it makes {list(after)} of {list(before)}: the batch is no longer a separate axis"
            raise NotDescribed(node, words)
        alike = before[1:2] == after[1:2] and prod(before[2:]) == prod(after[2:]) == 1
        if before == after or alike:
            self.known[made] = self.known[source]
        elif len(before) == 4 and len(after) == 2:
            self.add(node, "flatten", [source])
        elif not self._shuffle(node):
            raise NotDescribed(node, f"it makes {list(after)} of {list(before)}")

    def _shuffle(self, node: onnx.NodeProto) -> bool:
        """Channels dealt out: (N, groups, C / groups, H, W) with two axes swapped, and back again."""
        before, dealt = self.shapes[node.input[0]], self.shapes[node.output[0]]
        turn = self.only_user(node.output[0])
        if len(before) != 4 or len(dealt) != 5 or dealt[3:] != before[2:] or turn is None:
            return False
        back = self.only_user(turn.output[0])
        swapped = turn.op_type == "Transpose" and attribute(turn, "perm", []) == [0, 2, 1, 3, 4]
        if (
            not swapped
            or back is None
            or back.op_type not in RESHAPES
            or self.shapes[back.output[0]] != before
        ):
            return False
        self.done |= {turn.output[0], back.output[0]}
        self.add(back, "shuffle", [node.input[0]], {"groups": dealt[1]})
        return True

    def _refused_transpose(self, node: onnx.NodeProto) -> None:
        raise NotDescribed(node, "it moves the channels to another axis")


_PSEUDO = {
    "_scale": "a number that everything is multiplied by",
    "_shift": "a number that is added to everything",
}
