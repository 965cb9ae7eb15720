"""What op kinds write for LiteRT: tensors, constants and operators, with the numbers of TensorFlow Lite's schema.

Activations are NHWC. A test compares the numbers with the schema that ai-edge-litert carries;
`hakd.networks.tflite_file` writes the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hakd.ops.op import Fused, Op, Placed
from hakd.ops.tensors import Tensor
from hakd.ops.windows import Edges, beyond, reach

# BuiltinOperator, and the BuiltinOptions of each with its name in the schema
OPERATORS = {
    "ADD": (0, 11, "AddOptions"),
    "AVERAGE_POOL_2D": (1, 5, "Pool2DOptions"),
    "CONCATENATION": (2, 10, "ConcatenationOptions"),
    "CONV_2D": (3, 1, "Conv2DOptions"),
    "DEPTHWISE_CONV_2D": (4, 2, "DepthwiseConv2DOptions"),
    "DEQUANTIZE": (6, 38, "DequantizeOptions"),
    "FULLY_CONNECTED": (9, 8, "FullyConnectedOptions"),
    "LOGISTIC": (14, 0, "NONE"),
    "MAX_POOL_2D": (17, 5, "Pool2DOptions"),
    "MUL": (18, 21, "MulOptions"),
    "RELU": (19, 0, "NONE"),
    "RELU6": (21, 0, "NONE"),
    "RESHAPE": (22, 17, "ReshapeOptions"),
    "PAD": (34, 22, "PadOptions"),
    "TRANSPOSE": (39, 26, "TransposeOptions"),
    "MEAN": (40, 27, "ReducerOptions"),
    "PRELU": (54, 0, "NONE"),
    "PADV2": (60, 43, "PadV2Options"),
    "SLICE": (65, 48, "SliceOptions"),
    "TRANSPOSE_CONV": (67, 49, "TransposeConvOptions"),
    "LEAKY_RELU": (98, 75, "LeakyReluOptions"),
    "QUANTIZE": (114, 89, "QuantizeOptions"),
    "HARD_SWISH": (117, 91, "HardSwishOptions"),
    "GELU": (150, 116, "GeluOptions"),
}
# Fields of a table by their place: the writer of the flatbuffers library, and the value
Fields = dict[int, tuple[str, int | float]]
PADDING = {"SAME": 0, "VALID": 1}
ACTIVATION = {"NONE": 0, "RELU": 1, "RELU6": 3}
TYPE = {"FLOAT32": 0, "INT32": 2, "INT8": 9}


@dataclass(frozen=True)
class Quantised:
    """How numbers q of a tensor stand for values: scale (q - zero), by one scale or one for each place of `axis`."""

    scales: tuple[float, ...]
    zero: int
    axis: int = 0


class LiteRtModel:
    """The tensors, constants and operators of a model in float32.

    What op kinds say of a tensor beyond its shape, and that a constant is a layer's weight, is for models in int8.

    Attributes:
        int8: whether it is one of those.

    Args:
        weights: arrays by `op.name + "." + parameter`.
        batch: images in one input.
    """

    int8 = False

    def __init__(self, weights: Mapping[str, np.ndarray], batch: int) -> None:
        self.weights, self.batch = weights, batch
        # name, shape, type, buffer, quantisation
        self.tensors: list[tuple[str, tuple[int, ...], str, int, Quantised | None]] = []
        self.buffers: list[np.ndarray] = []  # the file's buffer 0, which is empty, is left out here
        self.operators: list[tuple[str, Fields, list[int], int]] = []

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Shape of an activation, NHWC."""
        channels, *size = tensor.shape
        return (self.batch, *size, channels)

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        like: int | None = None,
        limits: tuple[float, float] | None = None,
    ) -> int:
        """Add a tensor that is computed; returns its index.

        Args:
            name: of the tensor.
            shape: NHWC.
            like: a tensor whose values it holds.
            limits: of its values.
        """
        return self._added(name, shape, "FLOAT32")

    def constant(self, name: str, values: Any, like: int | None = None) -> int:
        """Add a constant, int32 where the values are whole numbers, else float32; returns its tensor's index."""
        values = np.asarray(values)
        whole = values.dtype.kind == "i"
        return self._stored(name, np.ascontiguousarray(values, dtype="<i4" if whole else "<f4"))

    def _stored(self, name: str, values: np.ndarray, quantised: Quantised | None = None) -> int:
        self.buffers.append(values)
        kind = {"f": "FLOAT32", "i": "INT32" if values.dtype.itemsize == 4 else "INT8"}[values.dtype.kind]
        return self._added(name, values.shape, kind, len(self.buffers), quantised)

    def _added(
        self,
        name: str,
        shape: Sequence[int],
        kind: str,
        buffer: int = 0,
        quantised: Quantised | None = None,
    ) -> int:
        """Add a tensor; buffer 0 means that it is computed."""
        self.tensors.append((name, tuple(shape), kind, buffer, quantised))
        return len(self.tensors) - 1

    def operator(self, kind: str, options: Fields, inputs: Sequence[int], output: int) -> None:
        """Add an operator with the fields of its options."""
        self.operators.append((kind, options, list(inputs), output))

    def layer(self, at: Placed, source: int, weight: np.ndarray, axis: int) -> tuple[int, int]:
        """Add the weights of a layer with filters along `axis`, and its bias; returns both indices."""
        return self.constant(f"{at.op.name}.weight", weight), self.constant(
            f"{at.op.name}.bias", self.bias(at)
        )

    def bias(self, at: Placed) -> np.ndarray:
        """The bias of a layer, or the zeros that converters write where there is none."""
        return self.weights[f"{at.op.name}.bias"] if at.op.bias else np.zeros(at.out.shape[0], np.float32)

    def sum(self, name: str, first: int, second: int) -> int:
        """Add a tensor for the sum of two of its shape."""
        return self.tensor(name, self.tensors[first][1])

    def cut(self, source: int, start: Sequence[int], out: int) -> None:
        """The part of a tensor that begins at `start` and fills `out`."""
        name, shape, *_ = self.tensors[out]
        ends = [self.constant(f"{name}.start", start), self.constant(f"{name}.size", shape)]
        self.operator("SLICE", {}, [source, *ends], out)

    def reshaped(self, source: int, out: int) -> None:
        """The values of a tensor in the shape of `out`."""
        name, shape, *_ = self.tensors[out]
        self.operator("RESHAPE", {}, [source, self.constant(f"{name}.shape", shape)], out)

    def transposed(self, source: int, order: Sequence[int], name: str) -> int:
        """A tensor with its axes in another order."""
        shape = self.tensors[source][1]
        out = self.tensor(name, [shape[axis] for axis in order], like=source)
        self.operator("TRANSPOSE", {}, [source, self.constant(f"{name}.order", order)], out)
        return out

    def padded(self, at: Placed, source: int, edges: Edges, low: float | None = None) -> int:
        """Zeros all around an image, or the value `low`; the image itself where there are no edges."""
        if not any(map(any, edges)):
            return source
        batch, *size, channels = self.shape(at.ins[0])
        wider = [side + before + behind for side, (before, behind) in zip(size, edges, strict=True)]
        out = self.tensor(f"{at.op.name}.padded", (batch, *wider, channels), like=source)
        ins = [source, self.constant(f"{at.op.name}.edges", [(0, 0), *edges, (0, 0)])]
        if low is None:
            self.operator("PAD", {}, ins, out)
        else:
            self.operator("PADV2", {}, [*ins, self.constant(f"{at.op.name}.low", [low], like=source)], out)
        return out


def activation(fused: Fused) -> tuple[str, int]:
    """The option that holds an activation."""
    return ("Int8", int(fused[0]) if fused else 0)


def across_down(*pairs: Sequence[int]) -> list[tuple[str, int]]:
    """Options for pairs of (height, width), which LiteRT wants the other way round."""
    return [("Int32", side) for pair in pairs for side in reversed(pair)]


def pads_itself(op: Op, size: Sequence[int], made: Sequence[int]) -> bool:
    """Whether the padding SAME puts the same number of pixels on each side of an image of `size` as the op."""
    sides = zip(size, made, op.padding, op.stride, reach(op), strict=True)
    return all(
        count == -(-side // stride) and before == max((count - 1) * stride + window - side, 0) // 2
        for side, count, before, stride, window in sides
    )


def padding(at: Placed) -> tuple[str, Edges]:
    """How to pad: by SAME, or VALID with these pixels in front of and behind each side, which may be none."""
    edges = beyond(at)
    if any(map(any, edges)) and pads_itself(at.op, at.ins[0].size, at.out.size):
        return "SAME", ((0, 0), (0, 0))
    return "VALID", edges
