"""From an op-level description and weights to a LiteRT (TFLite) model: no TensorFlow, about 1 ms for a block.

Activations are NHWC. Ops take the forms that TensorFlow's own converter gives them: a batch norm that could not be
folded is MUL and ADD, global average pooling is MEAN, and a rectifier is fused into the op before it.
"""

from collections.abc import Mapping

import numpy as np

from hakd.networks.fusing import fuse_relu
from hakd.networks.onnx_model import EPSILON
from hakd.networks.tflite_file import ACTIVATION, PADDING, Fields, TfliteModel
from hakd.records.graph import Graph, Op

Weights = Mapping[str, np.ndarray]


def to_tflite(graph: Graph, weights: Weights, batch: int = 1) -> bytes:
    """A (folded) graph for LiteRT: float32 input (batch, S, S, C), or (batch, C) where it is flat; one output."""
    graph, rectified = fuse_relu(graph, ("conv", "linear", "batch_norm"))
    writer = _Writer(graph, weights, batch)
    for op in graph.ops:
        writer.write(op, ACTIVATION["RELU" if op.name in rectified else "NONE"])
    (source,) = graph.inputs
    return writer.model.finish(writer.index[source], writer.index[graph.output])


class _Writer:
    """Adds one op after the other to a model."""

    def __init__(self, graph: Graph, weights: Weights, batch: int) -> None:
        self.graph, self.weights, self.batch = graph, weights, batch
        self.model = TfliteModel()
        self.index = {name: self.model.tensor(name, self._shape(name)) for name in graph.inputs}

    def _shape(self, name: str) -> tuple[int, ...]:
        channels, *size = self.graph.tensors[name].shape
        return (self.batch, *size, channels)

    def write(self, op: Op, activation: int) -> None:
        """Add an op as one operator or two."""
        ins = [self.index[name] for name in op.inputs]
        out = self.index[op.output] = self.model.tensor(op.output, self._shape(op.output))
        fused: Fields = {0: ("Int8", activation)}
        if op.kind == "conv":
            self._conv(op, ins[0], out, activation)
        elif op.kind == "linear":
            weight = self.model.constant(f"{op.name}.weight", self.weights[f"{op.name}.weight"])
            self.model.operator("FULLY_CONNECTED", fused, [ins[0], weight, self._bias(op)], out)
        elif op.kind == "batch_norm":
            scale, shift = self._scale_and_shift(op)
            scaled = self.model.tensor(f"{op.output}.scaled", self._shape(op.output))
            self.model.operator("MUL", {}, [ins[0], scale], scaled)
            self.model.operator("ADD", fused, [scaled, shift], out)
        elif op.kind == "relu":
            self.model.operator("RELU", {}, ins, out)
        elif op.kind == "concat":
            self.model.operator("CONCATENATION", {0: ("Int32", len(self._shape(op.output)) - 1)}, ins, out)
        elif op.kind == "avg_pool":
            sides = dict.fromkeys((1, 2), ("Int32", op.stride)) | dict.fromkeys((3, 4), ("Int32", op.kernel))
            self.model.operator("AVERAGE_POOL_2D", {0: ("Int8", PADDING["VALID"]), **sides}, ins, out)
        elif op.kind == "global_avg_pool":
            axes = self.model.constant(f"{op.name}.axes", np.array([1, 2], dtype=np.int32))
            self.model.operator("MEAN", {}, [ins[0], axes], out)
        else:
            raise ValueError(f"no LiteRT form for {op.kind}")

    def _conv(self, op: Op, source: int, out: int, activation: int) -> None:
        weight = self.weights[f"{op.name}.weight"]
        order = (1, 2, 3, 0) if op.depthwise else (0, 2, 3, 1)  # from (out, in / groups, height, width)
        filters = self.model.constant(f"{op.name}.weight", weight.transpose(order))
        size, made = self.graph.tensors[op.inputs[0]].size, self.graph.tensors[op.output].size
        padding = "VALID"
        if op.padding and _same_padding(size, made, op) == op.padding:
            padding = "SAME"
        elif op.padding:
            source = self._padded(op, source)
        # Places: padding, strides (2), depth multiplier of depthwise ones, activation, dilations (2).
        rest = [("Int8", activation), ("Int32", 1), ("Int32", 1)]
        fields = [("Int8", PADDING[padding]), ("Int32", op.stride), ("Int32", op.stride)]
        fields += [("Int32", 1), *rest] if op.depthwise else rest
        kind = "DEPTHWISE_CONV_2D" if op.depthwise else "CONV_2D"
        self.model.operator(kind, dict(enumerate(fields)), [source, filters, self._bias(op)], out)

    def _padded(self, op: Op, source: int) -> int:
        """Zeros all around, as torch pads: SAME would put fewer before the first pixel."""
        batch, height, width, channels = self._shape(op.inputs[0])
        edges = np.array([[0, 0], [op.padding] * 2, [op.padding] * 2, [0, 0]], dtype=np.int32)
        wider = (batch, height + 2 * op.padding, width + 2 * op.padding, channels)
        padded = self.model.tensor(f"{op.name}.padded", wider)
        self.model.operator("PAD", {}, [source, self.model.constant(f"{op.name}.edges", edges)], padded)
        return padded

    def _bias(self, op: Op) -> int:
        """The bias, or the zeros that converters write where there is none."""
        channels = self.graph.tensors[op.output].shape[0]
        values = self.weights[f"{op.name}.bias"] if op.bias else np.zeros(channels, np.float32)
        return self.model.constant(f"{op.name}.bias", values)

    def _scale_and_shift(self, op: Op) -> tuple[int, int]:
        """A batch norm as a factor and a summand per channel; computed in float64 and rounded once."""
        weight, bias, mean, variance = (
            self.weights[f"{op.name}.{name}"].astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + EPSILON)
        shift = bias - mean * scale
        constant = self.model.constant
        return constant(f"{op.name}.scale", scale), constant(f"{op.name}.shift", shift)


def _same_padding(size: int, made: int, op: Op) -> int:
    """Zeros that SAME puts before the first pixel; what it puts behind the last one follows from the output's size."""
    return max((made - 1) * op.stride + op.kernel - size, 0) // 2
