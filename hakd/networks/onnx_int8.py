"""A float ONNX model as a quantised one: pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses.

One writer serves exported candidates, tiles, decision blocks and blocks of a user's own model. Weights have 7 of their
8 bits: one file serves all devices, and x86 processors without VNNI add pairs of products in 16 bits, where full ones
do not fit. Activations are uint8, the form that ONNX Runtime's x86 kernels want; those for ARM take it too.
"""

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hakd.boards.engines import INT8_DOORS
from hakd.networks.int8 import (
    LAYERS,
    Range,
    Ranges,
    activation,
    constants_of,
    is_quantised,
    plan,
    quantised_weights,
)

WEIGHT_BITS = 7


def to_int8(
    model: onnx.ModelProto, ranges: Ranges, bits: int = WEIGHT_BITS, part: bool = False
) -> onnx.ModelProto:
    """The quantised model of a float one.

    Args:
        model: float32 input and output.
        ranges: of its activations (`hakd.networks.int8.calibrate`).
        bits: of the weights.
        part: whether it is a part of a network: its input and output are then uint8, as they are between parts. Those
            of a model with several outputs, or with ones that are not float32, stay as they are.
    """
    part = part and len(model.graph.output) == 1 and model.graph.output[0].name in ranges
    writer = _Writer(model, ranges, bits, part)
    for node in writer.plan.nodes:
        writer.node(node)
    ends = [[writer.end(value) for value in values] for values in (writer.inputs, model.graph.output)]
    graph = helper.make_graph(writer.nodes, model.graph.name, ends[0], ends[1], writer.used())
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    made.metadata_props.extend(model.metadata_props)
    if part:
        doors = [writer.scales[one.name] for (one,) in ends]
        helper.set_model_props(
            made, {INT8_DOORS: json.dumps([[float(scale), zero] for scale, zero in doors])}
        )
    return made


class _Writer:
    """Nodes and constants of the quantised model.

    An activation keeps its name where it is float32: what a node makes gets the ending `.f`, and is quantised to `.q`.
    """

    def __init__(self, model: onnx.ModelProto, ranges: Ranges, bits: int, part: bool) -> None:
        self.plan, self.bits, self.part = plan(model), bits, part
        self.constants = constants_of(model)
        self.inputs = [value for value in model.graph.input if value.name not in self.constants]
        self.outputs = frozenset(value.name for value in model.graph.output)
        self.scales = {
            name: activation(self._limits(name, ranges[name])) for name in self.plan.tensors if name in ranges
        }
        self.nodes: list[onnx.NodeProto] = []
        self.arrays = {tensor.name: tensor for tensor in model.graph.initializer}
        self.read_as: dict[str, str] = {}  # float32 forms that have another name
        for value in self.inputs:
            self._input(value.name)

    def _limits(self, name: str, limits: Range) -> Range:
        """The range of a tensor; where a rectifier was left out no more than it lets through."""
        most = self.plan.cut.get(name)
        return limits if most is None else (0.0, min(limits[1], most))

    def _input(self, name: str) -> None:
        if name not in self.scales:
            return
        self.read_as[name] = f"{name}.f"
        if self.part:
            self._node("DequantizeLinear", [name, *self._scale(name)], f"{name}.f")
        else:
            self._node("QuantizeLinear", [name, *self._scale(name)], f"{name}.q")
            self._node("DequantizeLinear", [f"{name}.q", *self._scale(name)], f"{name}.f")

    def end(self, value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
        """An input or output of the model; of a part it is quantised."""
        made = onnx.ValueInfoProto()
        made.CopyFrom(value)
        if self.part and value.name in self.scales:
            made.type.tensor_type.elem_type = TensorProto.UINT8
        return made

    def node(self, node: onnx.NodeProto) -> None:
        """A node of the float model, between what makes floats of its inputs and what quantises its output."""
        inputs = [self.read_as.get(name, name) for name in node.input]
        if node.op_type in LAYERS and is_quantised(node, self.constants) and node.input[0] in self.scales:
            inputs[1:] = self._layer(node)
        made = onnx.NodeProto()
        made.CopyFrom(node)
        del made.input[:]
        made.input.extend(inputs)
        self.nodes.append(made)
        name = node.output[0] if node.output else ""
        # The last product of a network gives float32 at no cost.
        plain = name in self.outputs and node.op_type == "Gemm" and not self.part
        if name in self.scales and (not plain or name in self.plan.cut):
            made.output[0] = f"{name}.f"
            self._output(name)

    def _output(self, name: str) -> None:
        ends = self.part and name in self.outputs
        quantised = name if ends else f"{name}.q"
        self._node("QuantizeLinear", [f"{name}.f", *self._scale(name)], quantised)
        if ends:
            self.read_as[name] = f"{name}.dq"
        if not ends or any(name in node.input for node in self.plan.nodes):
            self._node("DequantizeLinear", [quantised, *self._scale(name)], self.read_as.get(name, name))

    def _layer(self, node: onnx.NodeProto) -> list[str]:
        """Weights and bias of a layer, quantised."""
        weight = self.constants[node.input[1]]
        turned = any(one.name == "transB" and one.i for one in node.attribute)
        axis = 0 if node.op_type == "Conv" or turned else 1
        bias = self.constants[node.input[2]] if len(node.input) > 2 else None
        source = self.scales[node.input[0]][0]
        values, scales, shifts = quantised_weights(weight, axis, self.bits, source, bias)
        zeros = np.zeros(len(scales), np.int8)
        found = [self._constant(node.output[0] + ".weight", axis, values, scales, zeros)]
        if shifts is not None:
            found.append(self._constant(node.output[0] + ".bias", 0, shifts, source * scales))
        return found

    def _constant(self, name: str, axis: int, *arrays: np.ndarray) -> str:
        """A quantised constant as float32; `arrays`: its values, its scales, and their zeros unless they are int32."""
        names = [
            self._array(name + ending, one)
            for ending, one in zip((".int8", ".scale", ".zero"), arrays, strict=False)
        ]
        self._node("DequantizeLinear", names, f"{name}.dq", axis=axis)
        return f"{name}.dq"

    def _scale(self, name: str) -> list[str]:
        """Names of an activation's scale and zero."""
        scale, zero = self.scales[name]
        return [self._array(f"{name}.scale", scale), self._array(f"{name}.zero", np.uint8(zero))]

    def _array(self, name: str, values: object) -> str:
        self.arrays[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], f"{output}.{kind}", **attributes))

    def used(self) -> list[onnx.TensorProto]:
        """The constants that some node reads."""
        names = {name for node in self.nodes for name in node.input}
        return [tensor for name, tensor in self.arrays.items() if name in names]
