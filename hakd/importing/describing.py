"""From an ONNX graph to the op-level description of a classifier and its weights.

A node that the description has no op for is refused by its name; nothing is left out or fixed in silence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx

from hakd.importing.kinds import ONNX_DOMAINS, RESHAPES, attribute
from hakd.importing.model import Model
from hakd.importing.rewriting import rewritten
from hakd.importing.rows import Rows, graph_of
from hakd.importing.writing import NotDescribed, RowWriter
from hakd.ops.batch_norm import EPSILON
from hakd.ops.kinds import KINDS
from hakd.ops.op import Op, Placed, Sides, TooSmall, windowed
from hakd.ops.pools import adaptive_means
from hakd.ops.tensors import Tensor
from hakd.ops.windows import beyond
from hakd.records.errors import HakdError
from hakd.records.graph import Graph

_SIMPLE = {"Relu": "relu", "Sigmoid": "sigmoid", "HardSwish": "hardswish"}
_LIMITS = {(0.0, 6.0): "relu6", (0.0, np.inf): "relu"}
_SOFTMAX = ("Softmax", "LogSoftmax")
_SIXTH = 1e-4  # how near to 1 / 6 and a half the numbers of a hard sigmoid are
_DEFAULT = {"stride": (1, 1), "dilation": (1, 1), "padding": (0, 0)}
_REMEDY = "Write the network without it (docs/networks.md, Doors); `hakd explain` times an ONNX file with it"


@dataclass(frozen=True)
class Description:
    """What was read.

    Attributes:
        rows: the ops, in order, in their tiles.
        weights: arrays by `op name + "." + parameter`, float32.
        classes: values that it gives for an image.
        softmax: the op at the original's end that turns logits into probabilities, which the rows leave out.
    """

    rows: Rows
    weights: Mapping[str, np.ndarray]
    classes: int
    softmax: str = ""

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
        remedy = "Give a network that returns its logits alone"
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


class _Reader(RowWriter):
    """Goes through the nodes in order; a handler writes rows and weights, or raises `NotDescribed`."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.softmax = ""
        self.handlers: Mapping[str, Callable[[onnx.NodeProto], None]] = {
            "Conv": self._conv,
            "ConvTranspose": self._conv_transpose,
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "BatchNormalization": self._batch_norm,
            **dict.fromkeys(_SIMPLE, self._simple),
            "LeakyRelu": self._leaky_relu,
            "HardSigmoid": self._hard_sigmoid,
            "Gelu": self._gelu,
            "Erf": lambda node: self.add(node, "_erf", node.input[:1]),
            "Clip": self._clip,
            "PRelu": self._prelu,
            "MaxPool": self._pool,
            "AveragePool": self._pool,
            "GlobalAveragePool": self._mean,
            "ReduceMean": self._mean,
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
                raise NotDescribed(node, "the sizes around it cannot be told")
            handler(node)
        rows = rewritten(Rows(self.rows, self._last()))
        for row in rows.rows:
            if row.kind not in KINDS:
                op, _, name = row.source.partition(" ")
                raise NotDescribed(onnx.NodeProto(op_type=op, name=name), _PSEUDO.get(row.kind, ""))
        classes = prod(self.shapes[self.model.outputs[0]][1:])
        return Description(rows, self.weights, classes, self.softmax)

    def _last(self) -> str:
        (name,) = self.model.outputs
        if name not in self.known:
            raise NotDescribed(onnx.NodeProto(op_type="Output", name=name), "no node makes it")
        return self.take(name)

    # --- layers

    def _window(self, node: onnx.NodeProto) -> tuple[dict[str, Sides], tuple[int, ...]]:
        """Kernel, stride and dilation of a node, and its padding: above, on the left, below, on the right."""
        kernel = attribute(node, "kernel_shape", None) or list(self.weight(node, 1).shape[2:])
        if len(kernel) != 2:
            raise NotDescribed(node, f"it works on {len(kernel)}-dimensional data")
        pairs = {
            "stride": attribute(node, "strides", [1, 1]),
            "dilation": attribute(node, "dilations", [1, 1]),
        }
        found = {"kernel": tuple(kernel), **{key: tuple(pair) for key, pair in pairs.items()}}
        pads = attribute(node, "pads", [0] * 4)
        mode = attribute(node, "auto_pad", b"NOTSET").decode()
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            pads = self._same(node, found, mode == "SAME_UPPER")
        return found, tuple(pads)

    def _same(self, node: onnx.NodeProto, window: Mapping[str, Sides], behind: bool) -> list[int]:
        """The padding that keeps an image's size, but for the stride."""
        lows, highs = [], []
        sizes = self.shapes[node.input[0]][2:]
        windows = (window[key] for key in ("kernel", "stride", "dilation"))
        for side, k, s, d in zip(sizes, *windows, strict=True):
            whole = max((-(-side // s) - 1) * s + d * (k - 1) + 1 - side, 0)
            low = whole // 2 if behind else -(-whole // 2)
            lows.append(low)
            highs.append(whole - low)
        return [*lows, *highs]

    def _padded_input(
        self, node: onnx.NodeProto, pads: Sequence[int], always: bool = False
    ) -> tuple[str, Sides]:
        """What a window goes over, and the padding of its own: zeros that differ between the sides are put in first."""
        top, left, bottom, right = pads
        source = node.input[0]
        if (top, left) == (bottom, right) and not always:
            return source, (top, left)
        name = f"{node.output[0]} padded"
        before = self.take(source)
        edges = ((top, bottom), (left, right))
        self.known[name] = self.row("pad", f"{self._name(node)}.pad", [before], node.name, {"edges": edges})
        batch, channels, *_ = self.shapes[source]
        self.shapes[name] = (batch, channels, *self.tensors[self.known[name]].size)
        return name, (0, 0)

    def _bias(self, node: onnx.NodeProto, outputs: int) -> np.ndarray | None:
        """A layer's bias: its own, or a constant for each channel that is added to it and to nothing else."""
        if len(node.input) > 2 and node.input[2]:
            value = self.weight(node, 2)
            if value.size not in (1, outputs):
                raise NotDescribed(node, "its bias is not one value for each channel")
            return np.broadcast_to(value.reshape(-1), (outputs,))
        user = self.only_user(node.output[0])
        if user is None or user.op_type != "Add":
            return None
        (other,) = [name for name in user.input if name != node.output[0]] or [""]
        added = self.model.constants.get(other)
        rank = len(self.shapes[node.output[0]])
        channels = (1, outputs, *[1] * (rank - 2))
        if added is None or added.size != outputs or added.ndim > rank:
            return None
        if (1,) * (rank - added.ndim) + added.shape != channels:  # shapes are lined up at their ends
            return None
        self.done.add(user.output[0])
        return np.asarray(added, dtype=np.float32).reshape(-1)

    def _layer(
        self,
        node: onnx.NodeProto,
        kind: str,
        source: str,
        weight: np.ndarray,
        made: int | None,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        outputs = self.shapes[node.output[0]][1]
        bias = self._bias(node, outputs)
        arrays = {"weight": weight} | ({} if bias is None else {"bias": bias})
        attributes = {key: value for key, value in (given or {}).items() if value != _DEFAULT.get(key)}
        if bias is not None:
            attributes["bias"] = True
        self.add(node, kind, [source], attributes, made, arrays)
        user = self.only_user(node.output[0])
        if user is not None and user.output[0] in self.done:
            self.known[user.output[0]] = self.known[node.output[0]]

    def _conv(self, node: onnx.NodeProto) -> None:
        weight, groups = self.weight(node, 1), attribute(node, "group", 1)
        window, pads = self._window(node)
        source, padding = self._padded_input(node, pads)
        channels, outputs = self.shapes[source][1], weight.shape[0]
        depthwise = groups == channels == outputs and groups > 1
        more: dict[str, Any] = {"depthwise": True} if depthwise else {"groups": groups} if groups > 1 else {}
        made = None if depthwise else outputs
        self._layer(node, "conv", source, weight, made, {**window, "padding": padding, **more})

    def _conv_transpose(self, node: onnx.NodeProto) -> None:
        weight = self.weight(node, 1)
        window, (top, left, bottom, right) = self._window(node)
        plain = not any(attribute(node, "output_padding", [0])) and attribute(node, "group", 1) == 1
        if not plain or (top, left) != (bottom, right) or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET":
            raise NotDescribed(node, "groups, output padding, or a padding that differs between the sides")
        self._layer(
            node, "conv_transpose", node.input[0], weight, weight.shape[1], {**window, "padding": (top, left)}
        )

    def _gemm(self, node: onnx.NodeProto) -> None:
        weight = self.weight(node, 1) * np.float32(attribute(node, "alpha", 1.0))
        if attribute(node, "transA", 0) or attribute(node, "beta", 1.0) != 1.0:
            raise NotDescribed(node, "transA or beta")
        weight = weight if attribute(node, "transB", 0) else weight.T
        self._layer(node, "linear", node.input[0], weight, weight.shape[0])

    def _matmul(self, node: onnx.NodeProto) -> None:
        if self._adaptive(node):
            return
        weight = self.weight(node, 1)
        if weight.ndim != 2 or len(self.shapes[node.input[0]]) != 2:
            raise NotDescribed(node, "it works on sequences")
        self._layer(node, "linear", node.input[0], weight.T, weight.shape[1])

    def _adaptive(self, node: onnx.NodeProto) -> bool:
        """An adaptive pool in two products: rows of means from the left, columns from the right."""
        other = self.only_user(node.output[0])
        if other is None or other.op_type != "MatMul" or self.constant(node, 0) is None:
            return False
        down, across = self.constant(node, 0), self.constant(other, 1)
        shape = self.shapes.get(node.input[1], ())
        if across is None or down is None or len(shape) != 4 or down.ndim != 2 or across.ndim != 2:
            return False
        size = (down.shape[0], across.shape[1])
        wanted = [adaptive_means(side, made) for side, made in zip(shape[2:], size, strict=True)]
        if not all(np.array_equal(a, b) for a, b in zip(wanted, (down, across.T), strict=True)):
            return False
        self.done.add(other.output[0])
        self.add(other, "adaptive_avg_pool", [node.input[1]], {"size": size})
        return True

    def _batch_norm(self, node: onnx.NodeProto) -> None:
        keys = ("weight", "bias", "running_mean", "running_var")
        arrays = {key: self.weight(node, place) for place, key in enumerate(keys, start=1)}
        eps = attribute(node, "epsilon", EPSILON)
        given = {} if abs(eps / EPSILON - 1) < 1e-6 else {"eps": float(f"{eps:.6g}")}
        self.add(node, "batch_norm", node.input[:1], given, weights=arrays)

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

    # --- pools

    def _pool(self, node: onnx.NodeProto) -> None:
        window, pads = self._window(node)
        maximum = node.op_type == "MaxPool"
        source, counted = node.input[0], bool(attribute(node, "count_include_pad", 0))
        narrow = all(2 * pad <= side for pad, side in zip(pads, window["kernel"] * 2, strict=True))
        if not maximum and counted and (pads[:2] != pads[2:] or not narrow):
            source, (down, across) = self._padded_input(node, pads, always=True)
            pads, narrow = (down, across) * 2, True
        ceil_mode = bool(attribute(node, "ceil_mode", 0))
        given: dict[str, Any] = {key: value for key, value in window.items() if value != _DEFAULT.get(key)}
        given |= {"padding": pads[:2]}
        if not maximum and any(pads[:2]):
            given["count_padding"] = counted
        before, after = (tuple(self.shapes[name][2:]) for name in (source, node.output[0]))
        for more in (given, given | {"ceil": True}) if narrow else ():
            op = Op("max_pool" if maximum else "avg_pool", node.name, (), "", "", more)
            if not _fits(op, before, after):
                continue
            edges = beyond(Placed(op, (Tensor((), before),), Tensor((), after)))
            same = edges == tuple(zip(pads[:2], pads[2:], strict=True))
            if same or (ceil_mode and pads[:2] == pads[2:]):
                return self.add(node, op.kind, [source], more)
        raise NotDescribed(node, f"padding {list(pads)}")

    def _mean(self, node: onnx.NodeProto) -> None:
        before, after = self.shapes[node.input[0]], self.shapes[node.output[0]]
        axes = self.constant(node, 1) if node.op_type == "ReduceMean" else np.array([2, 3])
        given = attribute(node, "axes", None) if axes is None else [int(one) for one in axes.reshape(-1)]
        if len(before) != 4 or given is None or sorted(axis % 4 for axis in given) != [2, 3]:
            raise NotDescribed(node, "a mean over other axes than height and width")
        keep = {"keep": True} if len(after) == 4 else {}
        self.add(node, "global_avg_pool", node.input[:1], keep)

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
            words = f"it makes {list(after)} of {list(before)}: the batch is no axis of its own any more"
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


def _fits(op: Op, before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether a window over an image of one size gives the other."""
    try:
        return windowed(op, before, bool(op.attributes.get("ceil"))) == after
    except TooSmall:
        return False


_PSEUDO = {
    "_scale": "a number that everything is multiplied by",
    "_shift": "a number that is added to everything",
}
