"""From an op-level description and weights to ncnn's text description and weight file, in one blob for the wire.

No tracing, about 1 ms for a block; see the method `ncnn` of each kind in `hakd.ops`. ncnn has no batch axis here:
batch 1 only.
"""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from hakd.networks.fusing import fuse
from hakd.ops.kinds import KINDS
from hakd.ops.ncnn import Layer, Value
from hakd.records.graph import Graph

INPUT, OUTPUT = "in0", "out0"
_MAGIC = 7767517
_ARRAY = -23300  # less its number: the key of a setting that is an array
Weights = Mapping[str, np.ndarray]


def to_ncnn(graph: Graph, weights: Weights) -> bytes:
    """A (folded) graph for ncnn: length of the text (uint32, little endian), text, weights.

    The blobs of input and output are named `in0` and `out0`.
    """
    text, content = param_and_bin(graph, weights)
    encoded = text.encode("ascii")
    return struct.pack("<I", len(encoded)) + encoded + content


def param_and_bin(graph: Graph, weights: Weights) -> tuple[str, bytes]:
    """What ncnn's tools call `.param` and `.bin`."""
    graph, fused = fuse(graph, "ncnn")
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
            lines.append(_line(Layer("Split", {}), f"split_{blob}", [blob], waiting[name]))

    lines.append(_line(Layer("Input", {}), "input", [], [INPUT]))
    made(source, INPUT)
    parts = []
    for number, op in enumerate(graph.ops):
        blobs = [waiting[name].pop(0) for name in op.inputs]
        *first, last = KINDS[op.kind].ncnn(graph.placed(op), weights, fused.get(op.name, ()))
        for step, layer in enumerate(first):
            lines.append(_line(layer, f"l{number}_{step}", blobs, [f"l{number}_{step}"]))
            blobs = [f"l{number}_{step}"]
        blob = OUTPUT if op.output == graph.output else f"b{number}"
        lines.append(_line(last, f"l{number}", blobs, [blob]))
        parts += [layer.content for layer in (*first, last)]
        made(op.output, blob)
    count = sum(int(line.split()[3]) for line in lines)
    return "\n".join([str(_MAGIC), f"{len(lines)} {count}", *lines, ""]), b"".join(parts)


def _line(layer: Layer, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> str:
    """A layer: type, name, number of inputs and outputs, their blobs, settings by number."""
    settings = [_setting(key, value) for key, value in layer.settings.items()]
    return " ".join([layer.kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, *settings])


def _setting(key: int, value: Value) -> str:
    if isinstance(value, tuple):
        return f"{_ARRAY - key}={','.join(map(str, (len(value), *value)))}"
    return f"{key}={value}"
