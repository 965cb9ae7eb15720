"""From an op-level description and weights to ncnn's text description and weight file, in one blob for the wire.

Written from ncnn's documentation of its layers and of its weight file ("operators", "param and model file structure"
in its wiki); no tracing, about 1 ms for a block. ncnn has no batch axis here: batch 1 only.
"""

import struct
from collections.abc import Mapping

import numpy as np

from hakd.networks.fusing import fuse_relu
from hakd.networks.onnx_model import EPSILON
from hakd.records.graph import Graph, Op, width

INPUT, OUTPUT = "in0", "out0"
_MAGIC = 7767517
_RAW = struct.pack("<I", 0)  # the tag in front of float32 weights
_AVERAGE, _VALID = 1, 1  # pooling type; padding mode that rounds sizes down, as torch does
Weights = Mapping[str, np.ndarray]


def to_ncnn(graph: Graph, weights: Weights) -> bytes:
    """A (folded) graph for ncnn: length of the text (uint32, little endian), text, weights.

    Rectifiers right after a convolution or linear layer are fused into it, as ncnn's own optimiser does. The blobs of
    input and output are named `in0` and `out0`.
    """
    text, content = param_and_bin(graph, weights)
    encoded = text.encode("ascii")
    return struct.pack("<I", len(encoded)) + encoded + content


def param_and_bin(graph: Graph, weights: Weights) -> tuple[str, bytes]:
    """What ncnn's tools call `.param` and `.bin`."""
    graph, rectified = fuse_relu(graph, ("conv", "linear"))
    (source,) = graph.inputs
    uses: dict[str, int] = {}
    for op in graph.ops:
        for name in op.inputs:
            uses[name] = uses.get(name, 0) + 1
    lines: list[str] = []
    waiting: dict[str, list[str]] = {}  # blobs of a tensor that no op has taken yet

    def made(name: str, blob: str) -> None:
        """A blob has one consumer in ncnn: what is used more often passes through a Split."""
        count = uses.get(name, 0)
        waiting[name] = [blob] if count < 2 else [f"{blob}_{copy}" for copy in range(count)]
        if count > 1:
            lines.append(_line("Split", f"split_{blob}", [blob], waiting[name]))

    lines.append(_line("Input", "input", [], [INPUT]))
    made(source, INPUT)
    parts = []
    for number, op in enumerate(graph.ops):
        kind, settings, arrays = _layer(graph, op, weights, op.name in rectified)
        blob = OUTPUT if op.output == graph.output else f"b{number}"
        lines.append(
            _line(kind, f"l{number}", [waiting[name].pop(0) for name in op.inputs], [blob], settings)
        )
        parts += arrays
        made(op.output, blob)
    blobs = sum(int(line.split()[3]) for line in lines)
    return "\n".join([str(_MAGIC), f"{len(lines)} {blobs}", *lines, ""]), b"".join(parts)


def _line(
    kind: str,
    name: str,
    inputs: list[str],
    outputs: list[str],
    settings: Mapping[int, int | float] | None = None,
) -> str:
    """A layer: type, name, number of inputs and outputs, their blobs, settings by number."""
    numbers = [f"{key}={value}" for key, value in (settings or {}).items()]
    return " ".join([kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, *numbers])


def _layer(
    graph: Graph, op: Op, weights: Weights, rectified: bool
) -> tuple[str, dict[int, int | float], list[bytes]]:
    """Type, settings and weights of an op. The numbers of the settings are ncnn's."""
    channels = width(graph.tensors[op.output].channels)

    def raw(parameter: str) -> bytes:
        return np.ascontiguousarray(weights[f"{op.name}.{parameter}"], dtype="<f4").tobytes()

    if op.kind in ("conv", "linear"):
        size = int(np.prod(graph.parameter_shapes()[f"{op.name}.weight"]))
        arrays = [_RAW, raw("weight")] + ([raw("bias")] if op.bias else [])
        if op.kind == "linear":
            return "InnerProduct", {0: channels, 1: int(op.bias), 2: size, 9: int(rectified)}, arrays
        settings: dict[int, int | float] = {0: channels, 1: op.kernel, 3: op.stride, 4: op.padding}
        settings |= {5: int(op.bias), 6: size, 9: int(rectified)}
        if op.depthwise:
            return "ConvolutionDepthWise", settings | {7: channels}, arrays
        return "Convolution", settings, arrays
    if op.kind == "batch_norm":
        arrays = [raw(name) for name in ("weight", "running_mean", "running_var", "bias")]
        return "BatchNorm", {0: channels, 1: EPSILON}, arrays
    if op.kind == "relu":
        return "ReLU", {}, []
    if op.kind == "concat":
        return "Concat", {0: 0}, []
    if op.kind == "avg_pool":
        return "Pooling", {0: _AVERAGE, 1: op.kernel, 2: op.stride, 5: _VALID}, []
    if op.kind == "global_avg_pool":
        return "Pooling", {0: _AVERAGE, 4: 1}, []
    raise ValueError(f"no ncnn form for {op.kind}")
