"""The rows and weights that a reader of an ONNX graph writes, and what it knows of each tensor meanwhile."""

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx

from hakd.importing.kinds import NORMS
from hakd.importing.model import Model
from hakd.importing.rows import Row
from hakd.ops.kinds import KINDS
from hakd.ops.op import Op
from hakd.ops.tensors import Segment, Tensor

_WEIGHT = ".weight"
_ANY_RANK = ("flatten", "global_avg_pool")  # ops whose input has another rank than their output


class NotDescribed(ValueError):
    """A node that the description has no op for.

    Attributes:
        op: kind of the node, and what about it is not described.
    """

    def __init__(self, node: onnx.NodeProto, why: str = "") -> None:
        self.op = f"{node.op_type}{f' ({why})' if why else ''}"
        super().__init__(f"{node.op_type} ({node.name}){f': {why}' if why else ''}")


class RowWriter:
    """Writes rows for the nodes of a model.

    Attributes:
        model: that is read.
        shapes: of its activations.
        rows, weights: what was written.
        tensors: what the rows make, by their names.
        known: tensor of the model -> the row, or the input, that holds its values. Trailing axes of one pixel may
            differ: `take` puts them right.
        done: nodes that were read together with one before them, by what they make.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.shapes = model, dict(model.shapes)
        self.rows: list[Row] = []
        self.tensors: dict[str, Tensor] = {}
        self.weights: dict[str, np.ndarray] = {}
        self.known: dict[str, str] = {model.source: "input"}
        self.done: set[str] = set()
        self._users: dict[str, list[onnx.NodeProto]] = {}
        self._owners: dict[tuple[str, ...], str] = {}  # layers by the names of their weights
        weights = (
            model.origins.get(node.input[1], node.input[1]) for node in model.nodes if len(node.input) > 1
        )
        self._reserved = {_plain(name.removesuffix(_WEIGHT)) for name in weights if _is_kept(name)}
        for node in model.nodes:
            for name in node.input:
                self._users.setdefault(name, []).append(node)
        shape = model.shapes.get(model.source, ())
        if len(shape) not in (2, 4) or not model.nodes:
            raise NotDescribed(
                onnx.NodeProto(op_type="Input", name=model.source), f"its shape is {list(shape)}"
            )
        self.batch = shape[0]
        self.tensors["input"] = Tensor((Segment(None, shape[1]),), tuple(shape[2:]))

    def constant(self, node: onnx.NodeProto, place: int) -> np.ndarray | None:
        """The constant that is an input of a node; None where that is an activation, or left out."""
        return self.model.constants.get(node.input[place]) if len(node.input) > place else None

    def weight(self, node: onnx.NodeProto, place: int) -> np.ndarray:
        """A layer's weights, float32."""
        value = self.constant(node, place)
        if value is None:
            raise NotDescribed(node, "its weights are not constants")
        return np.asarray(value, dtype=np.float32)

    def _name(self, node: onnx.NodeProto, layer: bool = False) -> str:
        """A layer is called as its weights are, where the file kept that; another node by its scope and its op."""
        stem = self._origin(node.input[1]) if layer else ""
        stem = (
            _plain(stem.removesuffix(_WEIGHT) if _is_kept(stem) else _scoped(node, layer))
            or node.op_type.lower()
        )
        if not layer:
            return self._free(stem)
        weights = tuple(map(self._origin, node.input[1:] if node.op_type in NORMS else node.input[1:2]))
        if weights in self._owners:
            raise NotDescribed(node, f"it shares its weights with another layer, {self._owners[weights]}")
        self._reserved.discard(stem)
        name = self._owners[weights] = self._free(stem)
        return name

    def _origin(self, name: str) -> str:
        return self.model.origins.get(name, name)

    def _free(self, stem: str) -> str:
        """A name that no row has, and none that a layer is going to have for its weights' sake."""
        name, number = stem, 1
        while name in self.tensors or name in self._reserved:
            number += 1
            name = f"{stem}_{number}"
        return name

    def take(self, name: str) -> str:
        """The row that makes a tensor of the model, in the shape that the model has it in."""
        found, shape = self.known.get(name), self.shapes[name]
        if found is None:
            raise NotDescribed(
                onnx.NodeProto(op_type="Constant", name=name), "it takes the place of an activation"
            )
        size = self.tensors[found].size
        if len(shape) == 4 and not size:
            return self.row("unflatten", f"{found}.unflatten", [found], found)
        if len(shape) == 2 and size:
            return self.row("flatten", f"{found}.flatten", [found], found)
        return found

    def row(
        self,
        kind: str,
        name: str,
        inputs: Sequence[str],
        source: str,
        attributes: Mapping[str, Any] | None = None,
        made: int | None = None,
    ) -> str:
        """Write a row, once; its name may get a number.

        Raises:
            ValueError: inputs that the op cannot take.
        """
        same = next((row for row in self.rows if row.name == name), None)
        given = dict(attributes or {})
        if same is None or (same.kind, same.inputs, same.attributes) != (kind, tuple(inputs), given):
            name = self._free(name)
            ins = [self.tensors[one] for one in inputs]
            if kind in KINDS:
                op = Op(kind, name, tuple(inputs), name, "", given)
                segment = None if made is None else Segment(None, made)
                self.tensors[name] = KINDS[kind].out(op, ins, segment)
            else:
                self.tensors[name] = ins[0]
            self.rows.append(Row(kind, name, tuple(inputs), made, given, source=source))
        return name

    def add(
        self,
        node: onnx.NodeProto,
        kind: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        made: int | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
        place: int = 0,
    ) -> None:
        """Write the row of a node.

        Args:
            node: that is read.
            kind: of the row.
            inputs: tensors of the model.
            attributes: of the kind.
            made: the width that a layer makes.
            weights: its arrays, by the parameter's name.
            place: of the output.
        """
        rank = len(self.shapes[node.output[place]])
        ranks = {len(self.shapes[name]) for name in inputs}
        if rank not in (2, 4) or not (kind in _ANY_RANK or ranks == {rank}):
            raise NotDescribed(node, "it works on neither images nor flat vectors")
        try:
            name, ins = self._name(node, layer=bool(weights)), [self.take(one) for one in inputs]
            made_name = self.row(kind, name, ins, f"{node.op_type} {node.name}", attributes, made)
        except NotDescribed:
            raise
        except ValueError as error:
            raise NotDescribed(node, str(error).partition(": ")[2] or str(error)) from None
        wanted = self.shapes[node.output[place]]
        if prod(self.tensors[made_name].shape) != prod(wanted[1:]) or wanted[0] != self.batch:
            here = list(self.tensors[made_name].shape)
            raise NotDescribed(node, f"it makes {list(wanted)}, and not {here} for each image")
        self.known[node.output[place]] = made_name
        self.weights |= {f"{made_name}.{key}": np.asarray(value) for key, value in (weights or {}).items()}

    def only_user(self, name: str) -> onnx.NodeProto | None:
        """The one node that takes a tensor; None where there are several, or it is an output."""
        users = self._users.get(name, [])
        return users[0] if len(users) == 1 and name not in self.model.outputs else None


def _is_kept(name: str) -> bool:
    """Whether the name of a weight is that of a parameter."""
    return name.endswith(_WEIGHT) and "::" not in name


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".")


def _scoped(node: onnx.NodeProto, layer: bool) -> str:
    """A node's name in dots: `/layer1/layer1.0/relu/Relu` of torch's exporter is `layer1.0.relu.relu`.

    A layer is called as the module that it is: `/stem/Conv` is `stem`.
    """
    *scopes, last = [part for part in node.name.split("/") if part] or [node.op_type]
    path: list[str] = []
    for scope in scopes:
        if path and scope.startswith(f"{path[-1]}."):
            path.pop()
        path.append(scope)
    return ".".join(path if layer and path else [*path, last.lower()])
