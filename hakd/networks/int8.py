"""Static quantisation to eight bits: which tensors of a model are quantised, by what scales, and their ranges.

The scheme is that of Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (arXiv 1712.05877), sections 2.1 and 2.4, with a scale for each filter: a real value r is scale (q - zero).
Activations take the whole range that calibration saw; weights are symmetric, so their zero is 0; biases are int32 with
the product of both scales.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hakd.ops.activations import SIGMOID
from hakd.ops.batch_norm import epsilon
from hakd.ops.op import NoForm
from hakd.records.graph import Graph

Range = tuple[float, float]
Ranges = Mapping[str, Range]
Weights = Mapping[str, np.ndarray]
STEPS = 255  # between the lowest and the highest value of an activation
# Of an output, as a fraction of its largest value: four steps for a part and 32 for a whole network. A step is at most
# a 255th of a range of twice that value. Kernels round differently, so that a value next to the middle of a step falls
# to either side, in each layer: that made at most 1.7 steps in tiles, 5.0 in networks of up to 56 layers, and 10.3 in a
# MobileNet that had hardly been trained. A wrong scale or an overflow makes far more.
TOLERANCE, WHOLE_TOLERANCE = 4 * 2 / STEPS, 32 * 2 / STEPS
_PIXELS = 1 << 14  # of the images whose activations are held at once

LAYERS = frozenset(("Conv", "Gemm"))
# Kinds whose output holds values of their input: one scale for both, so that nothing is computed.
_KEPT = frozenset(
    (
        *(
            "MaxPool",
            "AveragePool",
            "Reshape",
            "Flatten",
            "Transpose",
            "Squeeze",
            "Unsqueeze",
            "Slice",
            "Pad",
        ),
        *("Concat", "Identity", "Dropout"),
    )
)
_COMPUTED = frozenset(("Add", "Mul", "Sigmoid", "LeakyRelu", "GlobalAveragePool", "Relu", "Clip"))
_LIMITS = {"Sigmoid": SIGMOID}  # LiteRT asks for this range
_RECTIFIERS = frozenset(("Relu", "Clip"))


def without_batch_norms(graph: Graph, weights: Weights) -> tuple[Graph, dict[str, np.ndarray]]:
    """A folded graph whose remaining batch norms are depthwise convolutions of one pixel, which engines have in int8.

    Raises:
        NoForm: a layer that engines do not have in int8.
    """
    ops, arrays = [], dict(weights)
    for op in graph.ops:
        if op.kind == "conv_transpose":
            raise NoForm(op, "in int8")
        if op.kind == "batch_norm" and not graph.tensors[op.output].size:
            raise NoForm(op, "of a flat vector in int8")
        if op.kind == "batch_norm":
            names = ("weight", "bias", "running_mean", "running_var")
            gain, shift, mean, variance = (arrays.pop(f"{op.name}.{n}").astype(np.float64) for n in names)
            factor = gain / np.sqrt(variance + epsilon(graph.placed(op)))
            arrays[f"{op.name}.weight"] = factor.astype(np.float32)[:, None, None, None]
            arrays[f"{op.name}.bias"] = (shift - mean * factor).astype(np.float32)
            op = replace(op, kind="conv", attributes={"kernel": 1, "depthwise": True, "bias": True})
        ops.append(op)
    return replace(graph, ops=tuple(ops)), arrays


@dataclass(frozen=True)
class Plan:
    """What is quantised of a float model.

    Attributes:
        nodes: without rectifiers that a quantised output replaces: what lies below its range is cut off anyway.
        tensors: activations with a scale, in order.
        same: by tensor, the tensor whose scale it shares.
        limits: ranges that do not depend on the images.
        cut: by tensor that a rectifier would have made, the largest value that it lets through.
    """

    nodes: Sequence[onnx.NodeProto]
    tensors: Sequence[str]
    same: Mapping[str, str]
    limits: Ranges
    cut: Mapping[str, float]


def plan(model: onnx.ModelProto) -> Plan:
    """What of a float ONNX model is quantised: the inputs and outputs of its layers and of what is computed in int8."""
    constants = constants_of(model)
    nodes, cut = _without_rectifiers(model, constants)
    tensors: dict[str, None] = {}
    same: dict[str, str] = {}
    limits = {}

    def root(name: str) -> str:
        while name in same:
            name = same[name]
        return name

    for node in nodes:
        if not is_quantised(node, constants):
            continue
        data = [name for name in node.input if name and name not in constants]
        if node.op_type in _KEPT and node.op_type != "Concat":
            data = data[:1]
        if node.op_type in LAYERS:
            data = data[:1]
        tensors.update(dict.fromkeys((*data, node.output[0])))
        if node.op_type in _KEPT:
            for name in data:
                if root(name) != root(node.output[0]):
                    same[root(node.output[0])] = root(name)
        if node.op_type in _LIMITS:
            limits[node.output[0]] = _LIMITS[node.op_type]
    ends = [value.name for value in (*model.graph.input, *model.graph.output) if value.name not in constants]
    tensors.update(dict.fromkeys(ends))
    return Plan(nodes, tuple(tensors), {name: root(name) for name in tensors}, limits, cut)


def constants_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Initialisers and constants of a model, by name."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = helper.get_attribute_value(node.attribute[0])
            found[node.output[0]] = (
                numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
            )
    return found


def is_quantised(node: onnx.NodeProto, constants: Mapping[str, np.ndarray]) -> bool:
    """Whether a node is computed in int8; others take and give float32."""
    if node.op_type in LAYERS:
        scaled = any(
            one.name in ("alpha", "beta", "transA") and (one.f not in (0, 1) or one.i)
            for one in node.attribute
        )
        return not scaled and all(name in constants for name in node.input[1:] if name)
    if node.op_type in _COMPUTED:
        return node.op_type in _RECTIFIERS or not any(name in constants for name in node.input)
    return node.op_type in _KEPT


def _without_rectifiers(
    model: onnx.ModelProto, constants: Mapping[str, np.ndarray]
) -> tuple[list[onnx.NodeProto], dict[str, float]]:
    """The nodes without rectifiers that alone consume what is computed in int8, and what these let through, by tensor:
    a quantised output is cut off as they do.
    """
    consumers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers[name] = consumers.get(name, 0) + 1
    outputs = {value.name for value in model.graph.output}
    makers: dict[str, onnx.NodeProto] = {}
    found: list[onnx.NodeProto] = []
    cut: dict[str, float] = {}
    for node in model.graph.node:
        maker = makers.get(node.input[0]) if node.op_type in _RECTIFIERS else None
        alone = maker is not None and consumers[node.input[0]] == 1 and node.input[0] not in outputs
        most = _lets_through(node, constants) if alone else None
        if maker is not None and most is not None and maker.op_type in (*LAYERS, "Add", "Mul"):
            cut[node.output[0]] = min(most, cut.pop(maker.output[0], most))
            maker.output[0] = node.output[0]
            makers[node.output[0]] = maker
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        found.append(copy)
        if is_quantised(node, constants):
            makers[node.output[0]] = copy
    return found, cut


def _lets_through(node: onnx.NodeProto, constants: Mapping[str, np.ndarray]) -> float | None:
    """The largest output of a rectifier whose lowest is 0; None for one with other or unknown limits."""
    if node.op_type == "Relu":
        return np.inf
    low, high = [*node.input[1:], "", ""][:2]
    if low not in constants or constants[low].size != 1 or float(constants[low].item()) != 0.0:
        return None
    if not high:
        return np.inf
    return float(constants[high].item()) if high in constants and constants[high].size == 1 else None


def calibrate(
    model: onnx.ModelProto, batches: Iterable[np.ndarray], more: Iterable[str] = ()
) -> dict[str, Range]:
    """The lowest and highest value of each tensor that is quantised, over batches of float32 images.

    Tensors that share a scale share a range. What is not float32 has none. `more`: names of others that are wanted.
    """
    import onnxruntime

    planned = plan(model)
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    ends = {value.name for value in model.graph.input}
    same = {name: name for name in more} | dict(planned.same)
    made = [name for name in same if name not in ends]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (source,) = (value.name for value in session.get_inputs())
    found: dict[str, Range] = {}
    for images in batches:
        for part in _parts(images, model):
            for name, values in zip((source, *made), (part, *session.run(made, {source: part})), strict=True):
                if values.dtype == np.float32:
                    own = planned.limits.get(name) or (float(values.min()), float(values.max()))
                    _widen(found, same[name], own)
    return {name: found[root] for name, root in same.items() if root in found}


def _parts(images: np.ndarray, model: onnx.ModelProto) -> Iterable[np.ndarray]:
    """Images in parts, so that their activations fit in memory; a model of a fixed batch takes all at once."""
    if model.graph.input[0].type.tensor_type.shape.dim[0].dim_value:
        return [images]
    size = max(1, _PIXELS // int(np.prod(images.shape[2:])))
    return [images[i : i + size] for i in range(0, len(images), size)]


def _widen(found: dict[str, Range], name: str, own: Range) -> None:
    low, high = found.get(name, (0.0, 0.0))
    found[name] = (min(low, own[0]), max(high, own[1]))


def activation(limits: Range) -> tuple[np.float32, int]:
    """Scale and zero (0 to 255) of an activation of a range, which 0 is made part of."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = np.float32((high - low) / STEPS) if high > low else np.float32(1)
    if scale == 0:  # of denormal values
        scale = np.float32(1)
    return scale, int(np.clip(round(-low / float(scale)), 0, STEPS))


def quantised_weights(
    weight: np.ndarray, axis: int, bits: int, source: np.float32, bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """A layer's weights as int8 of these `bits`, the scale of each filter, and its bias as int32.

    Args:
        weight: of any layer; `axis`: its filters'.
        axis: along which each filter lies.
        bits: 8, or 7: two products of 8 bits by 7 fit 16 bits, which some x86 processors add them in.
        source: scale of the layer's input.
        bias: of each filter.
    """
    most = (1 << (bits - 1)) - 1
    rest = tuple(place for place in range(weight.ndim) if place != axis)
    scales = np.abs(weight).max(axis=rest).astype(np.float64) / most
    if bias is not None:  # a filter without weights must not make its bias too large for int32
        scales = np.maximum(scales, np.abs(bias) / (float(source) * (1 << 30)))
    scales = np.where(scales > 1e-30, scales, 1.0).astype(np.float32)
    shape = [-1 if place == axis else 1 for place in range(weight.ndim)]
    values = np.clip(np.round(weight / scales.reshape(shape)), -most, most).astype(np.int8)
    if bias is None:
        return values, scales, None
    return values, scales, np.round(bias / (np.float64(source) * scales)).astype(np.int32)
