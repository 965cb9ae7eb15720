"""Decision blocks of a user's model: everything that a width shapes, cut out as an ONNX model, at any such width."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hakd.boards import Device, Point
from hakd.explaining.model import Model
from hakd.explaining.sections import Sections
from hakd.explaining.widths import NORMS, TASK, UNARY, Channels, ChannelTies, attribute, trace
from hakd.networks.onnx_model import stand_in
from hakd.records.errors import HakdError

_ACTIVATIONS = UNARY | NORMS
LAYERS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
_VARIANCE = 4  # place of the running variance among a batch norm's inputs, never negative
_KEPT = 3  # names of tied layers in a group's own name


@dataclass(frozen=True)
class Group:
    """A width of the model: the layers that make it, what follows them, and the layers that use it up.

    `reason` says why it cannot be changed; its block is empty then. `nodes` are places in the model, `source` and
    `target` the tensors where the block begins and ends.
    """

    name: str
    width: int
    number: int
    producers: tuple[str, ...]
    depthwise: tuple[str, ...]
    consumers: tuple[str, ...]
    nodes: tuple[int, ...] = ()
    source: str = ""
    target: str = ""
    reason: str = ""


class WidthGroups:
    """A model taken apart into its width groups."""

    def __init__(self, model: Model) -> None:
        self.model, self.tied = model, trace(model)
        self._sections = Sections(model)
        self.groups = [self._group(width) for width in self._widths()]

    def _widths(self) -> list[int]:
        """Widths that some layer makes and the task leaves open, in the order of the model."""
        tied = self.tied
        found = [width for width in tied.made_by if tied.reasons.get(width) != TASK]
        return sorted(found, key=lambda width: min(tied.made_by[width]))

    def _group(self, width: int) -> Group:
        tied, nodes = self.tied, self.model.nodes
        makers = sorted(tied.made_by[width])
        touched = [index for index in range(len(nodes)) if self._touches(index, width)]
        layers = [index for index in touched if nodes[index].op_type in LAYERS and index not in makers]
        depthwise = [index for index in layers if _is_grouped(nodes[index])]
        others = [index for index in layers if index not in depthwise]
        about = Group(
            self._label(makers),
            tied.sizes[width],
            width,
            tuple(nodes[index].name for index in makers),
            tuple(nodes[index].name for index in depthwise),
            tuple(nodes[index].name for index in others),
        )
        if width in tied.reasons:
            return replace(about, reason=tied.reasons[width])
        section = self._sections.around(touched)
        if section is None:
            return replace(about, reason="it leads to several outputs of the model")
        members, target = self._with_activation(section[0], section[2])
        return replace(about, nodes=tuple(members), source=section[1], target=target)

    def _touches(self, index: int, width: int) -> bool:
        node, tied = self.model.nodes[index], self.tied
        return any(
            tied.has(tied.channels.get(name, ()), width) for name in (*node.input, *node.output) if name
        )

    def _label(self, makers: Sequence[int]) -> str:
        """What a person calls the first layer: as its weights are called where an exporter kept that, else its node."""
        node = self.model.nodes[makers[0]]
        weight = node.input[1]
        kept = weight.endswith(".weight") and "::" not in weight
        label = weight.removesuffix(".weight") if kept else node.name
        return label if len(makers) == 1 else f"{label} (+{len(makers) - 1} tied)"

    def _with_activation(self, members: list[int], target: str) -> tuple[list[int], str]:
        """With the batch norm and activation behind the block, which engines fuse into its last layer."""
        sections = self._sections
        while True:
            users = sections.users.get(target, [])
            if len(users) != 1 or target in sections.exits:
                return members, target
            node = self.model.nodes[users[0]]
            if node.op_type not in _ACTIVATIONS or len(sections.inputs[users[0]]) != 1:
                return members, target
            members, target = [*members, users[0]], node.output[0]

    # --- one block at one width

    def point(self, group: Group, channels: int, device: Device, curve: str = "") -> Point:
        """The block of a group at a width, to be timed; its output is checked against onnxruntime on this machine."""
        plan = _Plan(self, group, channels)

        def reference(x: np.ndarray) -> np.ndarray:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(plan.model(), options, providers=["CPUExecutionProvider"])
            return session.run(None, {"input": x})[0]

        return Point(
            plan.key(), f"{group.name} = {channels}", plan.model, reference, plan.input_shape, curve=curve
        )

    def neighbours(self, group: Group) -> dict[str, int]:
        """Widths of the other groups that shape a group's block."""
        channels = [
            segment
            for index in group.nodes
            for name in (*self.model.nodes[index].input, *self.model.nodes[index].output)
            for segment in self.tied.channels.get(name, ())
        ]
        numbers = {self.tied.find(segment.width) for segment in channels} - {group.number}
        return {other.name: other.width for other in self.groups if other.number in numbers}

    def whole(self) -> Group | None:
        """The whole model as a group of no width; None where it has several outputs."""
        if len(self.model.outputs) != 1:
            return None
        every = tuple(range(len(self.model.nodes)))
        return Group("the whole model", 1, -1, (), (), (), every, self.model.source, self.model.outputs[0])

    def block(self, group: Group, channels: int) -> bytes:
        """The block of a group at a width as an ONNX model: float32 `input`, one output, stand-in weights."""
        return _Plan(self, group, channels).model()


class _Plan:
    """What a block consists of at a width: nodes with names of no meaning, and the shapes of their parameters.

    Names are left out so that equal blocks, of which networks have many, are one point.
    """

    def __init__(self, taken: WidthGroups, group: Group, channels: int) -> None:
        self.taken, self.group, self.channels = taken, group, channels
        model = taken.model
        self.input_shape = model.shapes[group.source]
        self.output_shape = model.shapes[group.target]
        self.names = {group.source: "input", "": ""}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.roles: dict[str, str] = {}
        self.kept: dict[str, np.ndarray] = {}
        self.nodes = [self._node(index) for index in group.nodes]

    def _node(self, index: int) -> onnx.NodeProto:
        model = self.taken.model
        node = onnx.NodeProto()
        node.CopyFrom(model.nodes[index])
        node.name = f"n{len(self.names)}"
        node.doc_string = ""
        del node.metadata_props[:]
        names = [
            self._constant(index, place) if name in model.constants else self.names[name]
            for place, name in enumerate(node.input)
        ]
        del node.input[:]
        node.input.extend(names)
        for place, name in enumerate(node.output):
            if name:
                node.output[place] = self.names.setdefault(name, f"t{len(self.names)}")
        if _is_grouped(node):
            self._set_groups(node, index)
        return node

    def _set_groups(self, node: onnx.NodeProto, index: int) -> None:
        """A depthwise convolution has as many groups as channels."""
        axes = self.taken.tied.parameters.get((index, 1))
        for found in node.attribute:
            if found.name == "group" and axes is not None:
                found.i = self._extent(axes[0])

    def _extent(self, channels: Channels) -> int:
        tied: ChannelTies = self.taken.tied
        return sum(
            (self.channels if tied.find(s.width) == self.group.number else tied.sizes[s.width]) * s.times
            for s in channels
        )

    def _constant(self, index: int, place: int) -> str:
        """Name of a parameter in the block; notes its shape, and its content where that is no stand-in."""
        model, node = self.taken.model, self.taken.model.nodes[index]
        value = model.constants[node.input[place]]
        name = f"c{len(self.shapes)}"
        axes = self.taken.tied.parameters.get((index, place), {})
        shape = list(value.shape)
        for axis, channels in axes.items():
            shape[axis] = self._extent(channels)
        self.shapes[name], self.roles[name] = tuple(shape), ""
        if node.op_type == "Reshape" and place == 1:
            after = list(model.shapes[node.output[0]])
            # With the batch in it, -1 can stand for the channels, whatever they are.
            keeps = (index, 1) in self.taken.tied.parameters
            self.kept[name] = np.array([after[0], -1, *after[2:]] if keeps else value, dtype=np.int64)
            self.shapes[name] = self.kept[name].shape
        elif node.op_type in LAYERS or (node.op_type in NORMS and value.ndim == 1):
            variance = node.op_type == "BatchNormalization" and place == _VARIANCE
            self.roles[name] = "variance" if variance else _role(node, value, place)
        else:
            self.kept[name] = _resized(value, shape)
        return name

    def key(self) -> str:
        """Content hash of everything that shapes the measurement."""
        model = self.taken.model
        content = hashlib.sha256()
        about = [
            list(self.input_shape),
            [[name, list(shape), self.roles[name]] for name, shape in self.shapes.items()],
            [[opset.domain, opset.version] for opset in model.opsets],
        ]
        content.update(json.dumps(about).encode())
        for node in self.nodes:
            content.update(node.SerializeToString(deterministic=True))
        for value in self.kept.values():
            content.update(value.tobytes())
        return f"onnx-{content.hexdigest()[:16]}"

    def model(self) -> bytes:
        """The block with stand-in weights."""
        arrays = []
        for name, shape in self.shapes.items():
            value = self.kept[name] if name in self.kept else stand_in(shape, self.roles[name])
            arrays.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        source = helper.make_tensor_value_info("input", TensorProto.FLOAT, self.input_shape)
        target = helper.make_tensor_value_info(
            self.names[self.group.target], TensorProto.FLOAT, self.output_shape
        )
        graph = helper.make_graph(self.nodes, "block", [source], [target], arrays)
        model = self.taken.model
        return helper.make_model(
            graph, opset_imports=model.opsets, ir_version=model.ir_version
        ).SerializeToString()


def _is_grouped(node: onnx.NodeProto) -> bool:
    """Whether a convolution is depthwise, or of groups otherwise."""
    return node.op_type == "Conv" and attribute(node, "group", 1) != 1


def _role(node: onnx.NodeProto, value: np.ndarray, place: int) -> str:
    """`vector`, or `weightN`: N is the axis of a weight that its outputs lie along."""
    if place != 1 or value.ndim < 2:
        return "vector"
    along = node.op_type in ("ConvTranspose", "MatMul")
    along = along or (node.op_type == "Gemm" and not attribute(node, "transB", 0))
    return f"weight{int(along)}"


def _resized(value: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A constant with a value for each channel at another number of channels: cut, or begun again."""
    for axis, size in enumerate(shape):
        if value.shape[axis] != size:
            value = np.take(value, np.arange(size) % value.shape[axis], axis=axis)
    return value


def take_apart(model: Model, where: object) -> WidthGroups:
    """The model's width groups.

    Raises:
        HakdError: it has no width that could be changed.
    """
    taken = WidthGroups(model)
    if not any(not group.reason for group in taken.groups):
        reasons = dict.fromkeys(group.reason for group in taken.groups)
        told = "; ".join(list(reasons)[:_KEPT]) or "it has no hidden convolution or linear layer"
        raise HakdError(f"no width of it can be changed ({told})", where=where, remedy="Give another model")
    return taken
