"""Decision blocks of a user's model: everything that a width shapes, cut out as an ONNX model, at any such width."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hakd.boards import Point
from hakd.importing.groups import Group, WidthGroups
from hakd.importing.model import Model
from hakd.importing.ties import ChannelTies
from hakd.importing.widths import LAYERS, NORMS, attribute, is_grouped
from hakd.networks.onnx_model import stand_in
from hakd.records.sections import Section

_VARIANCE = 4  # place of the running variance among a batch norm's inputs, never negative


@dataclass(frozen=True)
class _Parameter:
    """A constant of a block.

    Attributes:
        shape: at the block's widths.
        role: what its stand-in values are like (`_role`); empty where the content counts.
        content: its own values; None where stand-ins do.
    """

    shape: tuple[int, ...]
    role: str
    content: np.ndarray | None = None

    def values(self) -> np.ndarray:
        """What is written into the block."""
        return stand_in(self.shape, self.role) if self.content is None else self.content


class Block:
    """A section of a model with some widths changed, as an ONNX model of its own with stand-in weights.

    Nodes, tensors and constants get names of no meaning. So equal blocks, of which networks have many, are one point.

    Args:
        model: that it is cut out of.
        ties: of the model's widths.
        section: where to cut.
        changed: channels of the widths that are not as in the model, by the width's number.
    """

    def __init__(self, model: Model, ties: ChannelTies, section: Section, changed: Mapping[int, int]) -> None:
        self._model, self._ties, self._section, self._changed = model, ties, section, changed
        self.input_shape = model.shapes[section.source]
        self._names = {section.source: "input", "": ""}  # of tensors: the model's -> the block's
        self._parameters: dict[str, _Parameter] = {}
        self._nodes = [self._node(index) for index in section.nodes]

    def key(self) -> str:
        """Content hash of everything that shapes the measurement."""
        parameters = self._parameters.items()
        about = [
            list(self.input_shape),
            [[name, list(parameter.shape), parameter.role] for name, parameter in parameters],
            [[opset.domain, opset.version] for opset in self._model.opsets],
        ]
        content = hashlib.sha256(json.dumps(about).encode())
        for node in self._nodes:
            content.update(node.SerializeToString(deterministic=True))
        for _, parameter in parameters:
            if parameter.content is not None:
                content.update(parameter.content.tobytes())
        return f"onnx-{content.hexdigest()[:16]}"

    def model(self) -> bytes:
        """The block as an ONNX model: float32 `input`, one output."""
        arrays = [
            numpy_helper.from_array(np.ascontiguousarray(parameter.values()), name)
            for name, parameter in self._parameters.items()
        ]
        end = self._section.target
        source = helper.make_tensor_value_info("input", TensorProto.FLOAT, self.input_shape)
        target = helper.make_tensor_value_info(self._names[end], TensorProto.FLOAT, self._model.shapes[end])
        graph = helper.make_graph(self._nodes, "block", [source], [target], arrays)
        opsets, version = self._model.opsets, self._model.ir_version
        return helper.make_model(graph, opset_imports=opsets, ir_version=version).SerializeToString()

    def output(self, images: np.ndarray) -> np.ndarray:
        """What onnxruntime makes of an input on this machine, every node computed as it stands."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(self.model(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"input": images})[0]

    # --- nodes

    def _node(self, index: int) -> onnx.NodeProto:
        """A node of the model under the block's names."""
        node = onnx.NodeProto()
        node.CopyFrom(self._model.nodes[index])
        # What exporters write beside the computation would keep equal blocks apart.
        node.name, node.doc_string = f"n{len(self._names)}", ""
        del node.metadata_props[:]
        inputs = [self._input(index, place) for place in range(len(node.input))]
        del node.input[:]
        node.input.extend(inputs)
        for place, name in enumerate(node.output):
            if name:
                node.output[place] = self._names.setdefault(name, f"t{len(self._names)}")
        if is_grouped(node):
            self._set_groups(node, index)
        return node

    def _input(self, index: int, place: int) -> str:
        """The block's name of a node's input; a constant becomes a parameter of its own."""
        name = self._model.nodes[index].input[place]
        if name not in self._model.constants:
            return self._names[name]
        parameter = f"c{len(self._parameters)}"
        self._parameters[parameter] = self._parameter(index, place, self._model.constants[name])
        return parameter

    def _set_groups(self, node: onnx.NodeProto, index: int) -> None:
        """A depthwise convolution has as many groups as channels."""
        axes = self._ties.parameters.get((index, 1))
        for found in node.attribute:
            if found.name == "group" and axes is not None:
                found.i = self._ties.extent(axes[0], self._changed)

    # --- constants

    def _parameter(self, index: int, place: int, value: np.ndarray) -> _Parameter:
        """A constant of a node at the block's widths: stand-in weights by their shape, anything else as it is."""
        node = self._model.nodes[index]
        if node.op_type == "Reshape" and place == 1:
            sizes = self._reshaped(index, value)
            return _Parameter(sizes.shape, "", sizes)
        shape = list(value.shape)
        for axis, channels in self._ties.parameters.get((index, place), {}).items():
            shape[axis] = self._ties.extent(channels, self._changed)
        role = _role(node, place, value)
        return _Parameter(tuple(shape), role, None if role else _resized(value, shape))

    def _reshaped(self, index: int, value: np.ndarray) -> np.ndarray:
        """The sizes that a reshape asks for, without the number of channels where a width goes through it."""
        if (index, 1) not in self._ties.parameters:
            return value.astype(np.int64)
        after = self._model.shapes[self._model.nodes[index].output[0]]
        # With the batch in it, -1 can stand for the channels, whatever they are.
        return np.array([after[0], -1, *after[2:]], dtype=np.int64)


def block_of(width_groups: WidthGroups, group: Group, channels: int) -> Block:
    """The decision block of a group at a width."""
    assert group.section is not None, group.reason
    return Block(width_groups.model, width_groups.ties, group.section, {group.number: channels})


def block_point(width_groups: WidthGroups, group: Group, channels: int, curve: str = "") -> Point:
    """The block of a group at a width, to be timed; its output is checked against onnxruntime on this machine."""
    block, label = block_of(width_groups, group, channels), f"{group.name} = {channels}"
    return Point(block.key(), label, block.model, block.output, block.input_shape, curve=curve)


def _role(node: onnx.NodeProto, place: int, value: np.ndarray) -> str:
    """What a constant is to its node, which decides on its stand-in values; empty where its content counts.

    `variance`, `vector` (a bias, a scale), or `weightN`: N is the axis of a weight that its outputs lie along.
    """
    if node.op_type not in LAYERS and not (node.op_type in NORMS and value.ndim == 1):
        return ""
    if node.op_type == "BatchNormalization" and place == _VARIANCE:
        return "variance"
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
