"""From an op-level description and weights to a LiteRT (TFLite) model: no TensorFlow, about 1 ms for a block.

Ops take the forms that TensorFlow's own converter gives them; see the method `litert` of each kind in `hakd.ops`.
"""

from collections.abc import Mapping

import numpy as np

from hakd.networks.fusing import fuse
from hakd.networks.tflite_file import written
from hakd.ops.kinds import KINDS
from hakd.ops.litert import LiteRtModel
from hakd.records.graph import Graph


def to_tflite(graph: Graph, weights: Mapping[str, np.ndarray], batch: int = 1) -> bytes:
    """A (folded) graph for LiteRT: float32 input (batch, H, W, C), or (batch, C) where it is flat; one output."""
    model = LiteRtModel(weights, batch)
    return written(model, *computed(model, graph))


def computed(model: LiteRtModel, graph: Graph) -> tuple[int, int]:
    """Write what a graph computes into an empty model; returns the indices of its input and its output."""
    graph, fused = fuse(graph, "litert")
    index = {name: model.tensor(name, model.shape(graph.tensors[name])) for name in graph.inputs}
    for op in graph.ops:
        at = graph.placed(op)
        out = index[op.output] = model.tensor(op.output, model.shape(at.out))
        ins = [index[name] for name in op.inputs]
        KINDS[op.kind].litert(at, model, ins, out, fused.get(op.name, ()))
    (source,) = graph.inputs
    return index[source], index[graph.output]
