"""An ONNX model in one plain form: functions inlined, nodes in order and uniquely named, training taken out.

Nothing that is computed changes. A change that the user should know about is a remark.
"""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper, shape_inference, version_converter

from hakd.importing.kinds import ONNX_DOMAINS, bodies
from hakd.records.errors import HakdError

_OLDEST = 7  # operator set that onnxruntime begins with
_MODERN = 8  # to which older files are brought
# Ops of which all outputs but the first may be left out.
_OPTIONAL = frozenset((
    "BatchNormalization", "Dropout", "GRU", "LSTM", "LayerNormalization", "MaxPool", "RNN",
))  # fmt: skip
_SLOPES = 1  # place of a PRelu's slopes


def tidied(proto: onnx.ModelProto, path: object) -> tuple[onnx.ModelProto, list[str]]:
    """The model in plain form, and remarks.

    Raises:
        HakdError: nodes that form a cycle, or an old operator set that cannot be brought forward.
    """
    remarks: list[str] = []
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    known = {domain.domain for domain in proto.opset_import}
    for domain in dict.fromkeys(node.domain for node in proto.graph.node):
        if domain not in known and domain not in ONNX_DOMAINS:
            proto.opset_import.append(helper.make_opsetid(domain, 1))
    version = opset(proto.opset_import)
    if version < _OLDEST:
        proto = _brought_forward(proto, version, path)
        remarks.append(f"its operator set {version} is older than engines take: timed as {_MODERN}")
    graph = proto.graph
    _put_sparse(graph)
    known_inputs = {tensor.name for tensor in graph.initializer}
    sources = [value for value in graph.input if value.name not in known_inputs]
    del graph.input[:]
    graph.input.extend(sources)
    proto.ir_version = max(proto.ir_version, 4)  # older ones want initializers among the inputs
    _sort(graph, path)
    remarks += _out_of_training(graph)
    _drop_unused_outputs(graph)
    _name_nodes(graph)
    return proto, remarks


def opset(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    """Version of ONNX's own operators."""
    return max((one.version for one in imports if one.domain in ONNX_DOMAINS), default=1)


def captured(node: onnx.NodeProto) -> list[str]:
    """Tensors from outside that the bodies of a node (an If, a Loop) use."""
    found: dict[str, None] = {}
    for body in bodies(node):
        inside = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        for part in body.node:
            for name in (*part.input, *captured(part)):
                if name and name not in inside:
                    found[name] = None
            inside.update(part.output)
        found.update((value.name, None) for value in body.output if value.name not in inside)
    return list(found)


def constant_of(node: onnx.NodeProto) -> np.ndarray | None:
    """The value of a `Constant` node of numbers; None of any other."""
    if node.op_type != "Constant" or node.domain not in ONNX_DOMAINS:
        return None
    for one in node.attribute:
        if one.name == "value":
            return numpy_helper.to_array(one.t)
        if one.name == "sparse_value":
            return numpy_helper.to_array(_dense(one.sparse_tensor))
        if one.name in ("value_float", "value_floats", "value_int", "value_ints"):
            kind = np.float32 if "float" in one.name else np.int64
            return np.array(helper.get_attribute_value(one), kind)
    return None


def _brought_forward(proto: onnx.ModelProto, version: int, path: object) -> onnx.ModelProto:
    try:
        inferred = shape_inference.infer_shapes(proto)
        ranks = {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in (*inferred.graph.input, *inferred.graph.value_info)
        }
        slopes = {
            node.input[_SLOPES]: ranks.get(node.input[0], 0)
            for node in proto.graph.node
            if node.op_type == "PRelu"
        }
        converted = version_converter.convert_version(proto, _MODERN)
    except Exception as error:  # whatever the converter does not know
        words = f"its operator set {version} is too old ({' '.join(str(error).split())[:200]})"
        raise HakdError(words, where=path, remedy="Export it again, with opset 13 or newer") from None
    for tensor in converted.graph.initializer:
        # Then a slope belonged to a channel; now shapes are lined up at their ends. The converter leaves it as it is.
        if len(tensor.dims) == 1 and tensor.dims[0] > 1 and slopes.get(tensor.name, 0) > 2:
            tensor.dims.extend([1] * (slopes[tensor.name] - 2))
            for value in converted.graph.input:
                if value.name == tensor.name:
                    value.CopyFrom(helper.make_tensor_value_info(value.name, tensor.data_type, tensor.dims))
    return converted


def _put_sparse(graph: onnx.GraphProto) -> None:
    """Sparse initializers become dense, as engines make them."""
    graph.initializer.extend(_dense(sparse) for sparse in graph.sparse_initializer)
    del graph.sparse_initializer[:]
    for node in graph.node:
        for body in bodies(node):
            _put_sparse(body)


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    where = np.ravel_multi_index(tuple(places.T), dense.shape) if places.ndim == 2 else places
    dense.reshape(-1)[where] = values
    return numpy_helper.from_array(dense, sparse.values.name)


def _sort(graph: onnx.GraphProto, path: object) -> None:
    """Each node behind those that it needs; a file that has them so stays as it is."""
    made = {name for node in graph.node for name in node.output if name}
    maker = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    before = {
        index: {maker[name] for name in (*node.input, *captured(node)) if name in made}
        for index, node in enumerate(graph.node)
    }
    if all(index > other for index, others in before.items() for other in others):
        return
    try:
        ordered = [graph.node[index] for index in TopologicalSorter(before).static_order()]
    except CycleError as error:
        first = graph.node[error.args[1][0]]
        words = f"its nodes form a cycle ({first.op_type} {first.name})"
        raise HakdError(words, where=path, remedy="Export it again") from None
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(kept)


def _out_of_training(graph: onnx.GraphProto) -> list[str]:
    """Batch norm and dropout as inference has them; a remark where the file has them otherwise."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    found = 0
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            modes = [one for one in node.attribute if one.name == "training_mode"]
            found += any(one.i for one in modes)
            if any(one.i for one in modes) or len(node.output) > 1:
                for one in modes:
                    node.attribute.remove(one)
                del node.output[1:]
        elif node.op_type == "Dropout" and len(node.input) > 2:
            mode = constants.get(node.input[2])
            found += mode is not None and bool(numpy_helper.to_array(mode).any())
            if mode is not None:
                del node.input[2:]
    if not found:
        return []
    return ["it was exported in training mode: timed as in inference; export it after `model.eval()`"]


def _drop_unused_outputs(graph: onnx.GraphProto) -> None:
    """Drop outputs that no node uses, such as the mask of a dropout: no engine has to make them."""
    used = {name for node in graph.node for name in (*node.input, *captured(node))}
    used |= {value.name for value in graph.output}
    for node in graph.node:
        while node.op_type in _OPTIONAL and len(node.output) > 1 and node.output[-1] not in used:
            del node.output[-1]


def _name_nodes(graph: onnx.GraphProto) -> None:
    """A name for each node, made unique by what it makes where the file gives several one name, or none."""
    given = [node.name for node in graph.node]
    for node in graph.node:
        made = next(filter(None, node.output), node.op_type)
        if not node.name:
            node.name = made
        elif given.count(node.name) > 1:
            node.name = f"{node.name} ({made})"


def with_sizes(node: onnx.NodeProto, sizes: Sequence[int], version: int) -> np.ndarray | None:
    """Write the sizes of its parts into a Split that leaves them to be equal.

    Returns:
        The constant that becomes its second input; None where the operator set has them as an attribute.
    """
    for one in [one for one in node.attribute if one.name in ("split", "num_outputs")]:
        node.attribute.remove(one)
    if version < 13:
        node.attribute.append(helper.make_attribute("split", list(sizes)))
        return None
    return np.array(sizes, np.int64)
