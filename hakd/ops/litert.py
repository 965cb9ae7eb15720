"""What op kinds write for LiteRT: tensors, constants and operators, with the numbers of TensorFlow Lite's schema.

Activations are NHWC. A test compares the numbers with the schema that ai-edge-litert carries;
`hakd.networks.tflite_file` writes the file.
"""

from collections.abc import Mapping, Sequence
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
    "HARD_SWISH": (117, 91, "HardSwishOptions"),
    "GELU": (150, 116, "GeluOptions"),
}
# Fields of a table by their place: the writer of the flatbuffers library, and the value
Fields = dict[int, tuple[str, int | float]]
PADDING = {"SAME": 0, "VALID": 1}
ACTIVATION = {"NONE": 0, "RELU": 1, "RELU6": 3}
TYPE = {"FLOAT32": 0, "INT32": 2}


class LiteRtModel:
    """The tensors, constants and operators of a model.

    Args:
        weights: arrays by `op.name + "." + parameter`.
        batch: images in one input.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], batch: int) -> None:
        self.weights, self.batch = weights, batch
        self.tensors: list[tuple[str, tuple[int, ...], str, int]] = []  # name, shape, type, buffer
        self.buffers: list[np.ndarray] = []  # the file's buffer 0, which is empty, is left out here
        self.operators: list[tuple[str, Fields, list[int], int]] = []

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Shape of an activation, NHWC."""
        channels, *size = tensor.shape
        return (self.batch, *size, channels)

    def tensor(self, name: str, shape: Sequence[int], kind: str = "FLOAT32", buffer: int = 0) -> int:
        """Add a tensor; buffer 0 means that it is computed. Returns its index."""
        self.tensors.append((name, tuple(shape), kind, buffer))
        return len(self.tensors) - 1

    def constant(self, name: str, values: Any) -> int:
        """Add a constant, int32 where the values are whole numbers, else float32; returns its tensor's index."""
        values = np.asarray(values)
        kind = "INT32" if values.dtype.kind == "i" else "FLOAT32"
        values = np.ascontiguousarray(values, dtype="<i4" if kind == "INT32" else "<f4")
        self.buffers.append(values)
        return self.tensor(name, values.shape, kind, len(self.buffers))

    def operator(self, kind: str, options: Fields, inputs: Sequence[int], output: int) -> None:
        """Add an operator with the fields of its options."""
        self.operators.append((kind, options, list(inputs), output))

    def bias(self, at: Placed) -> int:
        """The bias of a layer, or the zeros that converters write where there is none."""
        name, channels = f"{at.op.name}.bias", at.out.shape[0]
        return self.constant(name, self.weights[name] if at.op.bias else np.zeros(channels, np.float32))

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
        out = self.tensor(name, [shape[axis] for axis in order])
        self.operator("TRANSPOSE", {}, [source, self.constant(f"{name}.order", order)], out)
        return out

    def padded(self, at: Placed, source: int, edges: Edges, low: float | None = None) -> int:
        """Zeros all around an image, or the value `low`; the image itself where there are no edges."""
        if not any(map(any, edges)):
            return source
        batch, *size, channels = self.shape(at.ins[0])
        wider = [side + before + behind for side, (before, behind) in zip(size, edges, strict=True)]
        out = self.tensor(f"{at.op.name}.padded", (batch, *wider, channels))
        ins = [source, self.constant(f"{at.op.name}.edges", [(0, 0), *edges, (0, 0)])]
        if low is None:
            self.operator("PAD", {}, ins, out)
        else:
            self.operator("PADV2", {}, [*ins, self.constant(f"{at.op.name}.low", [low])], out)
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
