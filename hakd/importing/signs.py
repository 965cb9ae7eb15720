"""Which tensors of a model are never negative, whatever goes in: what a logarithm or a square root may be fed with."""

from collections.abc import Callable

import numpy as np
import onnx

from hakd.importing.kinds import LAYERS, POOLS, RESHAPES, attribute
from hakd.importing.model import Model

_ALWAYS = frozenset((
    "Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Relu", "Sigmoid", "Softmax", "Softplus",
    "Sqrt",
))  # fmt: skip
# Not negative where nothing that goes in is: sums, products and weighted sums among them.
_IF_ALL = LAYERS | POOLS | RESHAPES | frozenset((
    "Add", "Cast", "Ceil", "Clip", "Concat", "Div", "Floor", "Gather", "Max", "Mean", "Min", "Mul", "Pad", "Pow",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reciprocal", "Resize", "Round", "Slice",
    "Split", "Squeeze", "Sum", "Tanh", "Transpose", "Upsample",
))  # fmt: skip


def never_negative(model: Model) -> set[str]:
    """Names of activations."""
    found = set[str]()

    def positive(name: str) -> bool:
        constant = model.constants.get(name)
        if constant is None:
            return name in found
        return constant.dtype.kind in "iub" or bool(np.all(constant >= 0))

    for node in model.nodes:
        if _is_positive(node, positive):
            found.update(filter(None, node.output))
    return found


def _is_positive(node: onnx.NodeProto, positive: Callable[[str], bool]) -> bool:
    names = [name for name in node.input if name]
    if node.op_type in _ALWAYS or (node.op_type == "Mul" and len(set(names)) == 1):
        return True
    if node.op_type == "Clip":
        least = node.input[1] if len(node.input) > 1 else ""
        if attribute(node, "min", -1.0) >= 0 or (least and positive(least)):
            return True
        return positive(node.input[0]) and all(positive(name) for name in names)
    return node.op_type in _IF_ALL and all(positive(name) for name in names)
