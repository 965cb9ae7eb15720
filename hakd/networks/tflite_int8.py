"""From an op-level description, weights and ranges to a LiteRT model in int8.

Scales and zeros are those that LiteRT's 8-bit specification allows (ai.google.dev/edge/litert, "8-bit quantization
specification"): weights symmetric with a scale for each filter, activations with any zero, biases int32.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hakd.networks.int8 import Range, Ranges, activation, quantised_weights
from hakd.networks.tflite_file import written
from hakd.networks.tflite_model import computed
from hakd.ops.litert import LiteRtModel, Quantised
from hakd.ops.op import Placed
from hakd.records.graph import Graph

WEIGHT_BITS = 8  # XNNPACK's kernels add products in 32 bits
_INT8_ZERO = -128  # of what is 0 as uint8


def to_int8_tflite(
    graph: Graph, weights: Mapping[str, np.ndarray], ranges: Ranges, batch: int = 1, part: bool = False
) -> bytes:
    """A (folded) graph without batch norms for LiteRT in int8.

    Args:
        graph: of `hakd.networks.int8.without_batch_norms`, as its weights.
        weights: arrays by `op.name + "." + parameter`.
        ranges: of all its activations, by name; that of its input as `input`.
        batch: images in one input.
        part: whether it is a part of a network, with int8 input and output; else both are float32.
    """
    (source,) = graph.inputs
    model = Int8LiteRtModel(weights, batch, {**ranges, source: ranges["input"]})
    first, last = computed(model, graph)
    if not part:
        ends = [model.floats(f"{name}.f", index) for name, index in (("input", first), ("output", last))]
        model.operators.insert(0, ("QUANTIZE", {}, [ends[0]], first))
        model.operator("DEQUANTIZE", {}, [last], ends[1])
        first, last = ends
    return written(model, first, last)


class Int8LiteRtModel(LiteRtModel):
    """The tensors, constants and operators of a model in int8; see `to_int8_tflite` for its arguments."""

    int8 = True

    def __init__(self, weights: Mapping[str, np.ndarray], batch: int, ranges: Ranges) -> None:
        super().__init__(weights, batch)
        self.ranges = dict(ranges)

    def floats(self, name: str, index: int) -> int:
        """Add a float32 tensor of the shape of another."""
        return self._added(name, self.tensors[index][1], "FLOAT32")

    def tensor(
        self, name: str, shape: Sequence[int], like: int | None = None, limits: Range | None = None
    ) -> int:
        if like is not None:
            quantised = self.tensors[like][4]
            self.ranges[name] = self.ranges[self.tensors[like][0]]
        else:
            self.ranges[name] = limits or self.ranges[name]
            quantised = _scaled(self.ranges[name])
        return self._added(name, shape, "INT8", quantised=quantised)

    def constant(self, name: str, values: Any, like: int | None = None) -> int:
        values = np.asarray(values)
        if values.dtype.kind == "i":
            return super().constant(name, values)
        quantised = self.tensors[like][4] if like is not None else None
        if quantised is None:
            quantised = _scaled((float(values.min()), float(values.max())))
        found = np.clip(np.round(values / quantised.scales[0]) + quantised.zero, -128, 127).astype(np.int8)
        return self._stored(name, found, quantised)

    def layer(self, at: Placed, source: int, weight: np.ndarray, axis: int) -> tuple[int, int]:
        given = self.tensors[source][4]
        assert given is not None
        scale = np.float32(given.scales[0])
        values, scales, shifts = quantised_weights(weight, axis, WEIGHT_BITS, scale, self.bias(at))
        assert shifts is not None
        filters = Quantised(tuple(map(float, scales)), 0, axis)
        product = Quantised(tuple(map(float, scale * scales)), 0)
        name = at.op.name
        array = self._stored(f"{name}.weight", np.ascontiguousarray(values), filters)
        return array, self._stored(f"{name}.bias", shifts.astype("<i4"), product)

    def sum(self, name: str, first: int, second: int) -> int:
        low, high = (
            a + b for a, b in zip(*(self.ranges[self.tensors[i][0]] for i in (first, second)), strict=True)
        )
        return self.tensor(name, self.tensors[first][1], limits=(low, high))


def _scaled(limits: Range) -> Quantised:
    scale, zero = activation(limits)
    return Quantised((float(scale),), zero + _INT8_ZERO)
