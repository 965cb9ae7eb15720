"""Kinds of ONNX ops by what they do to channels, and their attributes."""

from typing import Any

import onnx
from onnx import helper

ONNX_DOMAINS = ("", "ai.onnx")
LAYERS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
UNARY = frozenset((
    "Abs", "Cast", "Ceil", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus",
    "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
))  # fmt: skip
BINARY = frozenset(("Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum"))
GATES = frozenset(("Div", "Mul", "Pow"))
POOLS = frozenset(("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"))
NORMS = frozenset(("BatchNormalization", "InstanceNormalization"))
RESHAPES = frozenset(("Flatten", "Reshape", "Squeeze", "Unsqueeze"))
REDUCTIONS = frozenset((
    "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare",
))  # fmt: skip
SOFTMAX = frozenset(("LogSoftmax", "LpNormalization", "Softmax"))


def is_grouped(node: onnx.NodeProto) -> bool:
    """Whether a convolution is depthwise, or of groups otherwise."""
    return node.op_type == "Conv" and attribute(node, "group", 1) != 1


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default where the node does not have it."""
    for found in node.attribute:
        if found.name == name:
            return helper.get_attribute_value(found)
    return default


def bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs that a node has among its attributes."""
    found = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return found + [graph for attribute in node.attribute for graph in attribute.graphs]
