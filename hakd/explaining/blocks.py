"""Decision blocks of a user's model: everything that a width shapes, cut out as an ONNX model, at any such width."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hakd.boards import Device, Point, Unmeasurable
from hakd.boards.device import INT8
from hakd.explaining.forms import in_form_of, int8_form
from hakd.explaining.stand_ins import hide_weights, role_of, stand_in_for
from hakd.importing.groups import Group, WidthGroups
from hakd.importing.kinds import bodies
from hakd.importing.model import Model, rename_inputs, rename_inside
from hakd.importing.signs import never_negative
from hakd.importing.tidying import captured
from hakd.importing.ties import ChannelTies
from hakd.networks.engine_model import ONNX_ENGINES
from hakd.networks.int8 import TOLERANCE
from hakd.records.sections import Section

# Ops that are not finite for every number.
_PARTIAL = frozenset(("Div", "Log", "Pow", "Reciprocal", "Sqrt"))
# Largest difference from the reference, of the largest value, for blocks of half precision.
_HALF = 0.02
_LARGEST = (1 << 31) - (1 << 20)  # bytes of weights in one file
_ENGINE_FAILS = ("onnxruntime.capi", "onnxruntime_pybind11_state")


@dataclass(frozen=True)
class _Parameter:
    """A constant of a block.

    Attributes:
        shape: at the block's widths.
        role: what its stand-in values are like (`stand_ins.role_of`); empty where the content counts.
        own: the model's values; at the block's widths where they count.
    """

    shape: tuple[int, ...]
    role: str
    own: np.ndarray

    def values(self) -> np.ndarray:
        """What is written into the block."""
        return stand_in_for(self.own, self.shape, self.role) if self.role else self.own

    def about(self) -> list[Any]:
        """What of it shapes the measurement, apart from content."""
        return [list(self.shape), self.role, str(self.own.dtype)]

    def content(self) -> bytes:
        """Values of the model that are in it."""
        kept = not self.role or self.role == "number"
        return np.asarray(self.values(), order="C").tobytes() if kept else b""


class Block:
    """A section of a model with some widths changed, as a separate ONNX model with stand-in weights.

    Nodes, tensors and constants get names of no meaning. So equal blocks, of which networks have many, are one point.

    Args:
        model: that it is cut out of.
        ties: of the model's widths.
        section: where to cut.
        changed: channels of the widths that are not as in the model, by the width's number.
    """

    def __init__(
        self,
        model: Model,
        ties: ChannelTies,
        section: Section,
        changed: Mapping[int, int],
        targets: Sequence[str] | None = None,
    ) -> None:
        self._model, self._ties, self._section, self._changed = model, ties, section, changed
        self._targets = [section.target] if targets is None else list(targets)
        self.input_shape = model.shapes[section.source]
        self._names = {section.source: "input", "": ""}  # of tensors: the model's -> the block's
        self._parameters: dict[str, _Parameter] = {}
        self._partial = any(model.nodes[index].op_type in _PARTIAL for index in section.nodes)
        self._nodes = self._entry() + [self._node(index) for index in section.nodes]

    @property
    def halves(self) -> bool:
        """Whether it computes in half precision."""
        names = (name for index in self._section.nodes for name in self._model.nodes[index].output)
        kinds = (self._model.kinds.get(name, TensorProto.FLOAT) for name in names)
        return any(kind in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for kind in kinds)

    def key(self) -> str:
        """Content hash of everything that shapes the measurement."""
        parameters = self._parameters.items()
        about = [
            list(self.input_shape),
            [[name, *parameter.about()] for name, parameter in parameters],
            [[opset.domain, opset.version] for opset in self._model.opsets],
        ]
        content = hashlib.sha256(json.dumps(about).encode())
        for node in self._nodes:
            content.update(node.SerializeToString(deterministic=True))
        for _, parameter in parameters:
            content.update(parameter.content())
        return f"onnx-{content.hexdigest()[:16]}"

    def model(self) -> bytes:
        """The block as an ONNX model: float32 `input`, one output or those of the whole model.

        Raises:
            Unmeasurable: it is too large for a file.
        """
        size = sum(prod(one.shape) * one.own.dtype.itemsize for one in self._parameters.values())
        if size > _LARGEST:
            raise Unmeasurable(f"its {size >> 20} MiB of weights do not fit an ONNX file")
        arrays = [
            numpy_helper.from_array(np.asarray(parameter.values(), order="C"), name)
            for name, parameter in self._parameters.items()
        ]
        source = helper.make_tensor_value_info("input", TensorProto.FLOAT, self.input_shape)
        targets = [
            helper.make_tensor_value_info(
                self._names[name],
                self._model.kinds.get(name, TensorProto.FLOAT),
                self._model.shapes.get(name) if not self._changed or len(self._targets) == 1 else None,
            )
            for name in self._targets
        ]
        graph = helper.make_graph(self._nodes, "block", [source], targets, arrays)
        opsets, version = self._model.opsets, self._model.ir_version
        return helper.make_model(graph, opset_imports=opsets, ir_version=version).SerializeToString()

    def output(self, images: np.ndarray) -> np.ndarray:
        """What onnxruntime makes of an input on this machine, every node computed as it stands.

        Raises:
            Unmeasurable: onnxruntime refuses it or fails, or what it makes is not finite.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # we report what fails
        model = self.model()
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            made = session.run(None, {"input": images})[0]
        except Exception as error:
            if not type(error).__module__.startswith(_ENGINE_FAILS):
                raise
            raise Unmeasurable(f"onnxruntime: {' '.join(str(error).split())[:200]}") from None
        if not np.isfinite(made.astype(np.float32)).all():
            raise Unmeasurable("what stand-in weights make in it is not finite")
        return made

    # --- nodes

    def _entry(self) -> list[onnx.NodeProto]:
        """What makes the block's own input of the float32 that it is fed with, where that would not do."""
        source, found = self._section.source, []
        if self._partial and source in never_negative(self._model):
            found.append(helper.make_node("Abs", [self._names[source]], ["positive"], name="e0"))
            self._names[source] = "positive"
        kind = self._model.kinds.get(source, TensorProto.FLOAT)
        if kind != TensorProto.FLOAT:
            found.append(helper.make_node("Cast", [self._names[source]], ["cast"], name="e1", to=kind))
            self._names[source] = "cast"
        return found

    def _node(self, index: int) -> onnx.NodeProto:
        """A node of the model under the block's names."""
        node = onnx.NodeProto()
        node.CopyFrom(self._model.nodes[index])
        # What exporters write beside the computation would keep equal blocks apart.
        node.name, node.doc_string = f"n{len(self._names)}", ""
        del node.metadata_props[:]
        for body in bodies(node):
            rename_inside(body, f"b{len(self._names)}_")
        inside = {name: self._captured(index, name) for name in captured(node)}
        inputs = [self._input(index, place) for place in range(len(node.input))]
        rename_inputs(node, inside)
        del node.input[:]
        node.input.extend(inputs)
        hide_weights(node)
        for place, name in enumerate(node.output):
            if name:
                node.output[place] = self._names.setdefault(name, f"t{len(self._names)}")
        for one in node.attribute:
            places = self._ties.contents.get((index, one.name), {})
            for place, channels in places.items():
                size = self._ties.extent(channels, self._changed)
                if one.name == "group":  # a depthwise convolution has as many as channels
                    one.i = size
                else:
                    one.ints[place] = size
        return node

    def _input(self, index: int, place: int) -> str:
        """The block's name of a node's input; a constant becomes its own parameter."""
        name = self._model.nodes[index].input[place]
        if name not in self._model.constants:
            return self._names[name]
        return self._added(self._parameter(index, place, self._model.constants[name]))

    def _captured(self, index: int, name: str) -> str:
        """The block's name of what the bodies of a node use from outside."""
        if name not in self._model.constants:
            return self._names[name]
        value = self._model.constants[name]
        role = self._role(index, -1, value)
        return self._added(_Parameter(value.shape, role, value))

    def _added(self, parameter: _Parameter) -> str:
        name = f"c{len(self._parameters)}"
        self._parameters[name] = parameter
        return name

    # --- constants

    def _parameter(self, index: int, place: int, value: np.ndarray) -> _Parameter:
        """A constant of a node at the block's widths: stand-ins by their shape, what decides on shapes as it is."""
        held = self._ties.contents.get((index, place))
        if held is not None:
            sizes = self._sizes(index, value)
            for at, channels in held.items():
                sizes[at] = self._ties.extent(channels, self._changed)
            return _Parameter(sizes.shape, "", sizes)
        shape = list(value.shape)
        for axis, channels in self._ties.parameters.get((index, place), {}).items():
            shape[axis] = self._ties.extent(channels, self._changed)
        role = self._role(index, place, value)
        return _Parameter(tuple(shape), role, value if role else _resized(value, shape))

    def _role(self, index: int, place: int, value: np.ndarray) -> str:
        """What a constant is (`role_of`); its sign counts only where some op is not finite for every number."""
        role = role_of(self._model.nodes[index], place, value)
        return role if self._partial else role.rstrip("+-")

    def _sizes(self, index: int, value: np.ndarray) -> np.ndarray:
        """A constant that holds numbers of channels; of a reshape all sizes, so that none depends on another."""
        node = self._model.nodes[index]
        if node.op_type == "Reshape":
            return np.array(self._model.shapes[node.output[0]], dtype=np.int64)
        return value.copy()


def block_of(width_groups: WidthGroups, group: Group, channels: int) -> Block:
    """The decision block of a group at a width."""
    assert group.section is not None, group.reason
    return Block(width_groups.model, width_groups.ties, group.section, {group.number: channels})


def block_point(
    width_groups: WidthGroups, group: Group, channels: int, curve: str = "", device: Device | None = None
) -> Point:
    """The block of a group at a width, to be timed on a device, or (None) on one that takes ONNX.

    Its output is checked against onnxruntime on this machine.
    """
    return _point(block_of(width_groups, group, channels), f"{group.name} = {channels}", curve, device)


def whole_point(
    width_groups: WidthGroups, widths: Mapping[Group, int], label: str, device: Device | None = None
) -> Point:
    """The whole model, with other widths where some are given; as `block_point`, but not checked.

    Its output may be anything.
    """
    model, section = width_groups.model, width_groups.whole().section
    assert section is not None
    changed = {group.number: channels for group, channels in widths.items()}
    block = Block(model, width_groups.ties, section, changed, model.outputs)
    return replace(_point(block, label, "", device), reference=None)


def _point(block: Block, label: str, curve: str, device: Device | None) -> Point:
    tolerance = _HALF if block.halves else None
    model: Callable[[], bytes] = block.model
    output: Callable[[np.ndarray], np.ndarray] = block.output
    if device is not None and device.precision == INT8:
        model, output = int8_form(block, device.engine)
        tolerance = TOLERANCE
    elif device is not None and device.engine not in ONNX_ENGINES and device.transport != "virtual":
        model = partial(in_form_of, device.engine, block)
    return Point(block.key(), label, model, output, block.input_shape, curve, tolerance)


def _resized(value: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A constant with a value for each channel at another number of channels: cut, or begun again."""
    for axis, size in enumerate(shape):
        if value.shape[axis] != size:
            value = np.take(value, np.arange(size) % value.shape[axis], axis=axis)
    return value
