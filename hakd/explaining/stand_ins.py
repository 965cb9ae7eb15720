"""What is timed in place of a model's constants: its own values where they decide on shapes, stand-ins elsewhere.

No value of a person's weights leaves this machine. A constant of whole numbers that says sizes, axes or places stays,
and so does what a node takes as a setting. Of everything else the shape and the sign are kept. A single number stays if
it is one that formulas are made of (a half, the 6 of a ReLU6, what is in a GELU), since engines fuse by it; any other
is rounded to one digit.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from hakd.importing.reading import is_float
from hakd.importing.tidying import bodies
from hakd.importing.widths import LAYERS, NORMS, attribute
from hakd.networks.onnx_model import stand_in

_VARIANCE = 4  # place of the running variance among a batch norm's inputs, never negative
# Inputs that are settings of an op, by place: sizes, bounds and scales of pixels.
_SETTINGS = {
    "Dropout": (1, 2),
    "NonMaxSuppression": (2, 3, 4),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "RoiAlign": (2,),
    "Upsample": (1,),
}
# Ops whose inputs of whole numbers are weights or belong to weights, not sizes or places.
_QUANTISED = frozenset((
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
    "QuantizeLinear",
))  # fmt: skip
_FORMULAS = (
    *(math.sqrt(2), 1 / math.sqrt(2), math.sqrt(2 / math.pi), 0.044715, 1.702, math.pi, math.e, math.log(2)),
    *(number / 6 for number in range(1, 6)),
)
_CLOSE = 1e-6


def role_of(node: onnx.NodeProto, place: int, value: np.ndarray) -> str:
    """What a constant is to its node, which decides on its stand-in; empty where its own values are kept.

    `weightN`: N is the axis of a weight that its outputs lie along. `vector`: a bias or a scale. `variance`, never
    negative. `number`: one, rounded. `integer`: of quantised weights. A `+` or `-` behind it: all have that sign.
    """
    if place in _SETTINGS.get(node.op_type, ()):
        return ""
    if not is_float(value.dtype):
        narrow = value.dtype.itemsize == 1 and value.dtype.kind in "iu"
        return "integer" if narrow or node.op_type in _QUANTISED or value.dtype.kind not in "iub" else ""
    if node.op_type == "BatchNormalization" and place == _VARIANCE:
        return "variance"
    if node.op_type in LAYERS and place == 1 and value.ndim > 1:
        along = node.op_type in ("ConvTranspose", "MatMul")
        along = along or (node.op_type == "Gemm" and not attribute(node, "transB", 0))
        return f"weight{int(along)}" + _sign(value)
    if node.op_type in NORMS and value.ndim == 1:
        return "vector"
    if value.size == 1 and node.op_type not in LAYERS:
        return "number"
    return ("weight0" if value.ndim > 1 and node.op_type not in LAYERS else "vector") + _sign(value)


def _sign(value: np.ndarray) -> str:
    """Whether all values have one sign; a weight of zeros alone has none."""
    if not value.size or not np.any(value):
        return ""
    if np.all(value >= 0):
        return "+"
    return "-" if np.all(value <= 0) else ""


def stand_in_for(value: np.ndarray, shape: Sequence[int], role: str) -> np.ndarray:
    """An array for timing, in the type of the model's own.

    Args:
        value: the model's own; of it the type, and of a `number` what is left by rounding.
        shape: at the widths of the block.
        role: `role_of`; not empty.
    """
    if role == "number":
        return np.full(shape, rounded(float(value.reshape(-1)[0]))).astype(value.dtype)
    if role == "integer":
        pattern = stand_in(shape, "vector")
        signed = value.dtype.kind != "u" and "uint" not in value.dtype.name
        small = (
            np.clip(np.rint(pattern * 2), -7, 7) if signed else np.clip(np.rint(np.abs(pattern) * 2), 0, 7)
        )
        return small.astype(value.dtype)
    made = stand_in(shape, role.rstrip("+-"))
    if role.endswith(("+", "-")):
        # Away from zero: what is divided by it, or what a logarithm is taken of, stays finite.
        least = np.float32(0.5) if role.startswith("vector") else np.float32(0)
        made = (np.abs(made) + least) * np.float32(1 if role.endswith("+") else -1)
    return made.astype(value.dtype)


def rounded(number: float) -> float:
    """A number of formulas as it is, any other with one digit."""
    if not math.isfinite(number) or number == 0:
        return number
    size = abs(number)
    formula = next((one for one in _FORMULAS if math.isclose(size, one, rel_tol=_CLOSE)), None)
    whole = size * 8
    if formula is not None or (whole == round(whole) and size <= 64):
        return number
    return float(f"{number:.0e}")


def hide_weights(node: onnx.NodeProto) -> None:
    """Replace what a node holds in its attributes: lists of floats, tensors, and the constants of its bodies."""
    for one in node.attribute:
        if one.floats and not (node.op_type == "Upsample" and one.name == "scales"):
            one.floats[:] = [rounded(number) for number in one.floats]
        if one.HasField("t"):
            one.t.CopyFrom(_hidden(one.t, node, -1))
    for body in bodies(node):
        users = {name: (part, place) for part in body.node for place, name in enumerate(part.input)}
        for tensor in body.initializer:
            tensor.CopyFrom(_hidden(tensor, *users.get(tensor.name, (node, -1))))
        for part in body.node:
            if part.op_type == "Constant" and part.output[0] in users:
                for one in part.attribute:
                    if one.HasField("t"):
                        one.t.CopyFrom(_hidden(one.t, *users[part.output[0]]))
            else:
                hide_weights(part)


def _hidden(tensor: TensorProto, node: onnx.NodeProto, place: int) -> TensorProto:
    value = numpy_helper.to_array(tensor)
    role = role_of(node, place, value)
    return numpy_helper.from_array(stand_in_for(value, value.shape, role), tensor.name) if role else tensor
