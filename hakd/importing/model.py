"""A user's ONNX file, made ready to be taken apart: batch fixed, constants folded, every shape known."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from hakd.records.errors import HakdError

_PASSES = 4  # folding uncovers shapes, and shapes uncover constants; exporters need two
_EXPORT = "Export it again with fixed sizes"


@dataclass(frozen=True)
class Model:
    """The nodes that compute something, in order, with what they need.

    Attributes:
        nodes: none of them a constant or an identity; their names are the file's (or, where it gives none, their
            output's).
        constants: value by name.
        shapes: of activations by name, batch first; a name is missing where the shape cannot be told.
        source: name of the one input.
        outputs: names of the outputs.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, np.ndarray]
    shapes: Mapping[str, tuple[int, ...]]
    source: str
    outputs: tuple[str, ...]
    opsets: tuple[onnx.OperatorSetIdProto, ...]
    ir_version: int

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """What goes into a node apart from constants, in order; a tensor that it takes twice is there twice."""
        return [name for name in node.input if name and name not in self.constants]


def load_model(path: str | os.PathLike, batch: int = 1, image: Sequence[int] | None = None) -> Model:
    """Read a model.

    Args:
        path: the ONNX file.
        batch: the batch size to fix, whatever the file says.
        image: shape of an input without its batch, for files that leave it open.

    Raises:
        HakdError: no ONNX, several inputs, an input that is not float32, or sizes that are left open.
    """
    try:
        proto = onnx.load(os.fspath(path))
    except OSError as error:
        reason = getattr(error, "strerror", None) or "unreadable"
        raise HakdError(f"cannot read ({reason})", where=path, remedy="Give another path") from None
    except Exception:  # protobuf and onnx have many ways to say that it is none
        proto = onnx.ModelProto()
    if not proto.graph.node or not proto.opset_import:
        raise HakdError("no ONNX model", where=path, remedy="Give a file that an exporter wrote")
    source, old_batch = _fix_input(proto, path, batch, image)
    if old_batch not in (0, batch):
        _rebatch(proto.graph, old_batch, batch)
    _name_nodes(proto.graph)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    outputs = [value.name for value in proto.graph.output]
    shapes = _shapes(proto, path)
    for _ in range(_PASSES):
        before = len(proto.graph.node)
        outputs = _fold(proto.graph, constants, shapes, outputs, proto.opset_import)
        shapes = _shapes(proto, path)
        if len(proto.graph.node) == before:
            break
    return Model(
        tuple(proto.graph.node),
        constants,
        shapes,
        source,
        tuple(outputs),
        tuple(proto.opset_import),
        proto.ir_version,
    )


def _fix_input(
    proto: onnx.ModelProto, path: object, batch: int, image: Sequence[int] | None
) -> tuple[str, int]:
    """Give the one input a fixed shape; its name, and the batch that the file says, 0 where it leaves that open."""
    known = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in known]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise HakdError(
            f"a model needs one input, this has {len(inputs)} ({names})",
            where=path,
            remedy="Export it with one",
        )
    kind = inputs[0].type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        raise HakdError(
            "the input is not float32", where=path, key=inputs[0].name, remedy="Export it in float32"
        )
    sizes = [axis.dim_value for axis in kind.shape.dim][1:]
    if image is not None:
        if len(sizes) != len(image) or any(a > 0 and a != b for a, b in zip(sizes, image, strict=True)):
            given = ",".join(map(str, image))
            told = ",".join(str(size or "?") for size in sizes)
            problem = f"an input of {given} does not fit the model's {told}"
            raise HakdError(problem, where=path, key="--input", remedy="Give the sizes without the batch")
        sizes = list(image)
    if not sizes or any(size < 1 for size in sizes):
        remedy = f"{_EXPORT}, or give them: --input 3,224,224"
        raise HakdError("the input's sizes are left open", where=path, key=inputs[0].name, remedy=remedy)
    old_batch = kind.shape.dim[0].dim_value
    for axis, size in zip(kind.shape.dim, [batch, *sizes], strict=True):
        axis.dim_value = size
    return inputs[0].name, old_batch


def _rebatch(graph: onnx.GraphProto, old: int, new: int) -> None:
    """Exporters write a fixed batch into the shapes of reshapes, where it comes first."""
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            arrays.update((node.output[0], found.t) for found in node.attribute if found.name == "value")
    for name in dict.fromkeys(node.input[1] for node in graph.node if node.op_type == "Reshape"):
        if name in arrays:
            shape = numpy_helper.to_array(arrays[name]).copy()
            if shape.ndim == 1 and shape.size > 1 and shape[0] == old:
                shape[0] = new
                arrays[name].CopyFrom(numpy_helper.from_array(shape, arrays[name].name))


def _name_nodes(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        node.name = node.name or (node.output[0] if node.output else node.op_type)


def _shapes(proto: onnx.ModelProto, path: object) -> dict[str, tuple[int, ...]]:
    """Every shape that can be inferred with this input; what the file says of them is not taken."""
    graph = proto.graph
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        found = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        remedy = "Check it with onnx.checker; a batch or a size may be written into a Reshape"
        raise HakdError(f"its shapes do not fit together ({reason})", where=path, remedy=remedy) from None
    shapes = {}
    for value in (*found.input, *found.value_info, *found.output):
        axes = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(axis.dim_value > 0 for axis in axes):
            shapes[value.name] = tuple(axis.dim_value for axis in axes)
    return shapes


def _fold(
    graph: onnx.GraphProto,
    constants: dict[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    outputs: Sequence[str],
    opsets: Sequence[onnx.OperatorSetIdProto],
) -> list[str]:
    """Take constants, identities and what follows from constants and shapes out of the graph; the outputs' names."""
    same: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)
        if _passes_through(node, constants):
            same[node.output[0]] = node.input[0]
            continue
        value = _value(node, constants, shapes, opsets)
        if value is None:
            kept.append(node)
        else:
            constants[node.output[0]] = value
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    found = [same.get(name, name) for name in outputs]
    for value, name in zip(graph.output, found, strict=True):
        value.name = name
    return found


def _passes_through(node: onnx.NodeProto, constants: Mapping[str, np.ndarray]) -> bool:
    if node.op_type == "Dropout" and len([name for name in node.output if name]) == 1:
        training = node.input[2] if len(node.input) > 2 else ""
        return not training or (training in constants and not constants[training].any())
    return node.op_type == "Identity" and node.domain in ("", "ai.onnx")


def _value(
    node: onnx.NodeProto,
    constants: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    opsets: Sequence[onnx.OperatorSetIdProto],
) -> np.ndarray | None:
    """The value of a node that has one output which depends on no input of the model."""
    if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    if node.op_type == "Shape" and node.input[0] in shapes:
        bounds = {attribute.name: attribute.i for attribute in node.attribute}
        shape = shapes[node.input[0]]
        return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], dtype=np.int64)
    subgraphs = any(attribute.HasField("g") for attribute in node.attribute)
    if subgraphs or not all(name in constants for name in node.input if name):
        return None
    if not node.input and node.op_type != "Constant":
        return None  # random numbers
    used = {name: constants[name] for name in node.input if name}
    arrays = [numpy_helper.from_array(value, name) for name, value in used.items()]
    target = helper.make_empty_tensor_value_info(node.output[0])
    body = helper.make_graph([node], "constant", [], [target], arrays)
    try:
        (value,) = ReferenceEvaluator(helper.make_model(body, opset_imports=opsets)).run(None, {})
    except Exception:
        return None  # an op that the evaluator lacks stays as it is
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None
