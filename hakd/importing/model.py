"""A user's ONNX file, made ready to be taken apart: batch fixed, constants folded, every shape and type known."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from hakd.importing.batches import fixed_input, rebatch
from hakd.importing.kinds import ONNX_DOMAINS, RESHAPES, bodies
from hakd.importing.reading import array_of, read_proto
from hakd.importing.remarks import weight_remarks
from hakd.importing.tidying import captured, constant_of, opset, tidied, with_sizes
from hakd.records.errors import HakdError

_PASSES = 8  # folding uncovers shapes, and shapes uncover constants; exporters need two
_SMALL = 1024  # values of a constant that shape inference is given; of larger ones it needs the shape alone
_EXPORT = "Export it again with fixed sizes"
_RESHAPED = RESHAPES | {"Cast", "Transpose"}
_RUN_TIME = frozenset(
    ("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear")
)  # engines do not fold them


@dataclass(frozen=True)
class Model:
    """The nodes that compute something, in order, with what they need.

    Attributes:
        nodes: none of them a constant or an identity; their names are the file's, made unique (`tidying`).
        constants: value by name.
        shapes: of activations by name, batch first; a name is missing where the shape is unknown.
        kinds: element types of activations by name, as `onnx.TensorProto` numbers them.
        source: name of the one input.
        outputs: names of the outputs that depend on the input.
        remarks: what the user should know about the file, a sentence each.
        origins: constants that are others in another shape, by name; the value is the name of the other.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, np.ndarray]
    shapes: Mapping[str, tuple[int, ...]]
    source: str
    outputs: tuple[str, ...]
    opsets: tuple[onnx.OperatorSetIdProto, ...]
    ir_version: int
    kinds: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """What goes into a node apart from constants, in order; a tensor that it takes twice is there twice."""
        return [name for name in (*node.input, *captured(node)) if name and name not in self.constants]


def load_model(
    path: str | os.PathLike,
    batch: int = 1,
    image: Sequence[int] | None = None,
    keep_dropout: bool = False,
) -> Model:
    """Read a model.

    Args:
        path: the ONNX file.
        batch: the batch size to fix, whatever the file says.
        image: shape of an input without its batch, for files that leave it open.
        keep_dropout: keep dropout layers, which engines leave out: for models that are to be trained, of whose weights
            nothing is remarked.

    Raises:
        HakdError: not ONNX, several inputs, an input that is not a tensor of numbers, or sizes that are left open.
    """
    return model_from(read_proto(path), path, batch, image, keep_dropout)


def model_from(
    proto: onnx.ModelProto,
    path: str | os.PathLike,
    batch: int = 1,
    image: Sequence[int] | None = None,
    keep_dropout: bool = False,
) -> Model:
    """`load_model` of what was read already, which is used up; `path` is what messages call it."""
    proto, remarks = tidied(proto, path)
    source, old_batch, sizes = _input(proto, path, image)
    graph = proto.graph
    constants = {tensor.name: array_of(tensor, path) for tensor in graph.initializer}
    del graph.initializer[:]  # shape inference copies the graph
    _take_constants(graph, constants)
    graph.input[0].CopyFrom(fixed_input(graph.input[0], (old_batch or batch, *sizes)))
    if old_batch not in (0, batch):
        shapes, _ = _inferred(proto, constants, path)
        rebatch(graph.node, constants, shapes, source, batch)
        graph.input[0].CopyFrom(fixed_input(graph.input[0], (batch, *sizes)))
        remarks.append(f"its batch of {old_batch} is replaced by the device's, {batch}")
    outputs, origins = [value.name for value in graph.output], dict[str, str]()
    shapes, kinds = _inferred(proto, constants, path)
    for _ in range(_PASSES):
        before = [node.op_type for node in graph.node]
        outputs = _fold(graph, constants, shapes, outputs, proto.opset_import, keep_dropout, origins)
        shapes, kinds = _inferred(proto, constants, path)
        if [node.op_type for node in graph.node] == before:
            break
    outputs = list(dict.fromkeys(name for name in outputs if name not in constants and name != source))
    _set_nodes(graph, _needed(graph.node, outputs))
    _size_splits(graph, constants, shapes, opset(proto.opset_import))
    return Model(
        tuple(graph.node),
        constants,
        shapes,
        source,
        tuple(outputs),
        tuple(proto.opset_import),
        proto.ir_version,
        kinds,
        (*remarks, *(() if keep_dropout else weight_remarks(graph.node, constants))),
        origins,
    )


def _input(
    proto: onnx.ModelProto, path: object, image: Sequence[int] | None
) -> tuple[str, int, tuple[int, ...]]:
    """The one input: its name, the batch that the file says (0 where it leaves that open), the sizes behind it."""
    inputs = list(proto.graph.input)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise HakdError(
            f"a model needs one input, this has {len(inputs)} ({names})",
            where=path,
            remedy="Export it with one",
        )
    name, kind = inputs[0].name, inputs[0].type.tensor_type
    numbers = kind.elem_type not in (TensorProto.UNDEFINED, TensorProto.STRING)
    if not inputs[0].type.HasField("tensor_type") or not numbers:
        remedy = "Export the part that takes an image"
        raise HakdError("the input is not a tensor of numbers", where=path, key=name, remedy=remedy)
    if not kind.HasField("shape") or not kind.shape.dim:
        words = "the input's rank is left open" if not kind.HasField("shape") else "the input is one number"
        raise HakdError(words, where=path, key=name, remedy=_EXPORT)
    sizes = [axis.dim_value for axis in kind.shape.dim][1:]
    if image is not None:
        if len(sizes) != len(image) or any(a > 0 and a != b for a, b in zip(sizes, image, strict=True)):
            given = ",".join(map(str, image))
            wanted = ",".join(str(size if size > 0 else "?") for size in sizes)
            problem = f"an input of {given} does not fit the model's {wanted}"
            raise HakdError(problem, where=path, key="--input", remedy="Give the sizes without the batch")
        sizes = list(image)
    if any(size < 1 for size in sizes):
        remedy = f"{_EXPORT}, or give them: --input 3,224,224"
        raise HakdError("the input's sizes are left open", where=path, key=name, remedy=remedy)
    return name, max(kind.shape.dim[0].dim_value, 0), tuple(sizes)


def _take_constants(graph: onnx.GraphProto, constants: dict[str, np.ndarray]) -> None:
    """Values of `Constant` nodes, which then are no nodes any more."""
    kept = []
    for node in graph.node:
        value = constant_of(node)
        if value is None:
            kept.append(node)
        else:
            constants[node.output[0]] = value
    _set_nodes(graph, kept)


def _set_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _inferred(
    proto: onnx.ModelProto, constants: Mapping[str, np.ndarray], path: object
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Every shape and type that can be inferred with this input; what the file says of them is not taken."""
    graph = onnx.GraphProto()
    graph.CopyFrom(proto.graph)
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    outputs = {value.name: value for value in graph.output if value.name != graph.input[0].name}
    kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in outputs.values()]
    del graph.output[:]
    graph.output.extend(kept)
    for name, array in constants.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        if array.size <= _SMALL:
            graph.initializer.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        else:
            graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
    for node in graph.node:
        # Inference does not look into the sizes that this op is given.
        if node.op_type == "MaxUnpool" and len(node.input) > 2 and node.input[2] in constants:
            sizes = [int(size) for size in constants[node.input[2]]]
            graph.value_info.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, sizes))
        elif node.op_type == "GroupNormalization":  # nor has it a rule for this one, which keeps the shape
            node.op_type = "Identity"
            del node.input[1:], node.attribute[:]
    light = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    try:
        found = onnx.shape_inference.infer_shapes(light, strict_mode=True, data_prop=True).graph
    except Exception as error:
        if all(_is_known(node, proto.opset_import) for node in graph.node):
            reason = " ".join(str(error).split())[:200]
            remedy = "See what that node takes: a size in the file may not fit this input or this batch"
            raise HakdError(f"its shapes do not fit together ({reason})", where=path, remedy=remedy) from None
        found = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    shapes, kinds = {}, {}
    for value in (*found.input, *found.value_info, *found.output):
        tensor = value.type.tensor_type
        if value.name in constants:
            continue
        if tensor.elem_type:
            kinds[value.name] = tensor.elem_type
        if tensor.HasField("shape") and all(axis.dim_value > 0 for axis in tensor.shape.dim):
            shapes[value.name] = tuple(axis.dim_value for axis in tensor.shape.dim)
    return shapes, kinds


def _is_known(node: onnx.NodeProto, opsets: Sequence[onnx.OperatorSetIdProto]) -> bool:
    """Whether ONNX defines the op."""
    return node.domain in ONNX_DOMAINS and onnx.defs.has(node.op_type, opset(opsets), "")


def _fold(
    graph: onnx.GraphProto,
    constants: dict[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    outputs: Sequence[str],
    opsets: Sequence[onnx.OperatorSetIdProto],
    keep_dropout: bool,
    origins: dict[str, str],
) -> list[str]:
    """Take identities, decided branches and what follows from constants and shapes out; the outputs' names."""
    same: dict[str, str] = {}
    kept = []
    for node in graph.node:
        rename_inputs(node, same)
        if _passes_through(node) and not (keep_dropout and node.op_type == "Dropout"):
            same[node.output[0]] = node.input[0]
            continue
        if node.op_type == "If" and node.input[0] in constants:
            kept += _branch_taken(node, constants)
            continue
        value = _value(node, constants, shapes, opsets)
        if value is None:
            kept.append(node)
        else:
            constants[node.output[0]] = value
            if node.op_type in _RESHAPED:
                origins[node.output[0]] = origins.get(node.input[0], node.input[0])
    _set_nodes(graph, kept)
    found = [same.get(name, name) for name in outputs]
    for value, name in zip(graph.output, found, strict=True):
        value.name = name
    return found


def rename_inputs(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Give a node its inputs under other names, in the bodies that it has as well."""
    for i, name in enumerate(node.input):
        node.input[i] = names.get(name, name)
    for body in bodies(node):
        for part in body.node:
            rename_inputs(part, names)
        for value in body.output:
            value.name = names.get(value.name, value.name)


def rename_inside(body: onnx.GraphProto, stem: str) -> None:
    """Give what a body makes itself names that begin with a stem, in the bodies inside it as well."""
    made = [value.name for value in body.input] + [tensor.name for tensor in body.initializer]
    made += [name for part in body.node for name in part.output if name]
    names = {name: f"{stem}{number}" for number, name in enumerate(made)}
    for value in (*body.input, *body.output):
        value.name = names.get(value.name, value.name)
    for tensor in body.initializer:
        tensor.name = names[tensor.name]
    del body.value_info[:]
    for number, part in enumerate(body.node):
        for inner in bodies(part):
            rename_inside(inner, f"{stem}{number}_")
        rename_inputs(part, names)
        for i, name in enumerate(part.output):
            part.output[i] = names.get(name, name)


def _branch_taken(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """The nodes of the branch that a constant condition takes, under unique names."""
    wanted = "then_branch" if bool(np.all(constants[node.input[0]])) else "else_branch"
    body = next(one.g for one in node.attribute if one.name == wanted)
    stem = f"{node.output[0]}/"
    inside = {name for part in body.node for name in part.output if name}
    inside |= {tensor.name for tensor in body.initializer}
    names = {name: stem + name for name in inside}
    for tensor in body.initializer:
        constants[names[tensor.name]] = numpy_helper.to_array(tensor)
    found = []
    for part in body.node:
        rename_inputs(part, names)
        for i, name in enumerate(part.output):
            part.output[i] = names.get(name, name)
        value = constant_of(part)
        if value is None:
            found.append(part)
        else:
            constants[part.output[0]] = value
    for value, made in zip(body.output, node.output, strict=True):
        given = names.get(value.name, value.name)
        found.append(helper.make_node("Identity", [given], [made], name=f"{node.name} {made}"))
    return found


def _passes_through(node: onnx.NodeProto) -> bool:
    """Whether a node gives what it takes: an identity, a dropout in inference of which no mask is used."""
    if node.domain not in ONNX_DOMAINS:
        return False
    return node.op_type == "Identity" or (
        node.op_type == "Dropout" and len(node.output) == 1 and len(node.input) < 3
    )


def _value(
    node: onnx.NodeProto,
    constants: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    opsets: Sequence[onnx.OperatorSetIdProto],
) -> np.ndarray | None:
    """The value of a node that has one output which depends on no input of the model."""
    if node.domain not in ONNX_DOMAINS or len(node.output) != 1 or node.op_type in _RUN_TIME:
        return None
    if node.op_type == "Shape" and node.input[0] in shapes:
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        shape = shapes[node.input[0]]
        return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], dtype=np.int64)
    if node.op_type == "Size" and node.input[0] in shapes:
        return np.array(np.prod(shapes[node.input[0]]), dtype=np.int64)
    if bodies(node) or not node.input or not all(name in constants for name in node.input if name):
        return None  # without inputs: random numbers
    if node.op_type == "ConstantOfShape":
        # Of one number, whatever its size: light models make all their weights so.
        given = [numpy_helper.to_array(one.t) for one in node.attribute if one.name == "value"]
        number = given[0].reshape(()) if given else np.zeros((), np.float32)
        return np.broadcast_to(number, tuple(int(size) for size in constants[node.input[0]]))
    used = {name: constants[name] for name in node.input if name}
    arrays = [numpy_helper.from_array(np.asarray(value, order="C"), name) for name, value in used.items()]
    target = helper.make_empty_tensor_value_info(node.output[0])
    body = helper.make_graph([node], "constant", [], [target], arrays)
    try:
        (value,) = ReferenceEvaluator(helper.make_model(body, opset_imports=opsets)).run(None, {})
    except Exception:
        return None  # an op that the evaluator lacks stays as it is
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes from which some output follows."""
    wanted, found = set(outputs), []
    for node in reversed(nodes):
        if wanted & {*node.output}:
            found.append(node)
            wanted.update((*node.input, *captured(node)))
    return found[::-1]


def _size_splits(
    graph: onnx.GraphProto,
    constants: dict[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    version: int,
) -> None:
    """Write the sizes of their parts into splits that leave them equal: a part may get another width."""
    for node in graph.node:
        given = (len(node.input) > 1 and node.input[1]) or any(one.name == "split" for one in node.attribute)
        if node.op_type != "Split" or given or any(name not in shapes for name in node.output):
            continue
        axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
        sizes = with_sizes(node, [shapes[name][axis] for name in node.output], version)
        if sizes is not None:
            del node.input[1:]
            node.input.append(f"sizes ({node.output[0]})")
            constants[node.input[1]] = sizes
