"""From an op-level description and weights to ONNX, by `onnx.helper` (about 1 ms for a block; no tracing).

One writer serves whole candidates, tiles and decision blocks, so that what is timed in parts is what runs as a whole.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hakd.ops.batch_norm import epsilon
from hakd.ops.kinds import KINDS
from hakd.records.graph import Graph, fold_batch_norm

OPSET = 17
IR_VERSION = 8
Weights = Mapping[str, np.ndarray]


def fold_weights(graph: Graph, weights: Weights) -> tuple[Graph, dict[str, np.ndarray]]:
    """Fold batch norms into the convolutions before them: the graph and the weights an engine would run.

    Computed in float64 and rounded once.
    """
    folded, pairs = fold_batch_norm(graph)
    norms = {op.name: op for op in graph.ops if op.kind == "batch_norm"}
    before = {op.name: op for op in graph.ops}
    out = {}
    for op in folded.ops:
        for name, axes in folded.parameter_axes(op).items():
            key = f"{op.name}.{name}"
            if op.name not in pairs:
                out[key] = np.asarray(weights[key], dtype=np.float32)
                continue
            norm = {p: weights[f"{pairs[op.name]}.{p}"].astype(np.float64) for p in _NORM}
            eps = epsilon(graph.placed(norms[pairs[op.name]]))
            scale = norm["weight"] / np.sqrt(norm["running_var"] + eps)
            if name == "weight":
                out[key] = (weights[key] * scale.reshape(-1, *[1] * (len(axes) - 1))).astype(np.float32)
            else:
                own = weights[key].astype(np.float64) if before[op.name].bias else 0.0
                out[key] = (norm["bias"] + (own - norm["running_mean"]) * scale).astype(np.float32)
    return folded, out


_NORM = ("weight", "bias", "running_mean", "running_var")
_PATTERN = np.random.default_rng(0).standard_normal(4093).astype(np.float32)


def stand_in(shape: Sequence[int], role: str) -> np.ndarray:
    """An array for timing: seeded, of the usual magnitude, and repetitive so that it compresses on the wire.

    Args:
        shape: of the array.
        role: `vector`; `variance`, never negative; or `weightN`, where N is the axis that the outputs lie along.
    """
    values = np.resize(_PATTERN, shape)
    if role == "variance":
        return np.abs(values) + np.float32(0.5)
    if role.startswith("weight"):
        fan_in = np.prod(shape) / shape[int(role[-1])]
        return values * np.float32((2.0 / fan_in) ** 0.5)
    return values


def stand_in_weights(graph: Graph, density: float = 1.0) -> dict[str, np.ndarray]:
    """Stand-ins for all weights of a graph, for timing its shapes.

    `density`: the share of each weight array that is not zero, at places drawn with a fixed seed; vectors stay whole.
    """
    arrays = {}
    for name, shape in graph.parameter_shapes().items():
        role = "variance" if name.endswith("running_var") else "weight0" if len(shape) > 1 else "vector"
        arrays[name] = stand_in(shape, role)
        if density < 1 and len(shape) > 1:
            kept = np.random.default_rng(0).permutation(arrays[name].size) < density * arrays[name].size
            arrays[name] = arrays[name] * kept.reshape(shape)
    return arrays


def to_onnx(graph: Graph, weights: Weights, batch: int | str = 1) -> onnx.ModelProto:
    """ONNX model of a (folded) graph: float32 `input` (batch, C, S, S), one output; node names are op names.

    `batch` may be a name for a dynamic batch axis.
    """
    (source,) = graph.inputs
    nodes, names = [], {source: "input"}
    for op in graph.ops:
        ins = [names.get(name, name) for name in op.inputs]
        parameters = [f"{op.name}.{name}" for name in graph.parameter_axes(op)]
        nodes.extend(KINDS[op.kind].onnx(graph.placed(op), ins, parameters))
    shapes = [
        helper.make_tensor_value_info(
            names.get(name, name), TensorProto.FLOAT, (batch, *graph.tensors[name].shape)
        )
        for name in (source, graph.output)
    ]
    arrays = [
        numpy_helper.from_array(np.ascontiguousarray(weights[name], dtype=np.float32), name)
        for name in graph.parameter_shapes()
    ]
    body = helper.make_graph(nodes, "hakd", shapes[:1], shapes[1:], arrays)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
