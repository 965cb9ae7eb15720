"""What is timed in place of a model's constants: its own values where they decide on shapes, stand-ins elsewhere.

No value of a person's weights leaves this machine. Whole numbers that say sizes, axes or places stay, and so do up to
eight of them elsewhere, and what a node takes as a setting. Of everything else the shape and the sign are kept. A
single number stays if it is one that formulas are made of (a half, the 6 of a ReLU6, what is in a GELU), since engines
fuse by it; any other is rounded to one digit.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hakd.importing.kinds import LAYERS, NORMS, ONNX_DOMAINS, attribute, bodies
from hakd.importing.reading import is_float
from hakd.importing.tidying import constant_of
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
# Inputs that say sizes, axes or places in whole numbers.
_PLACES = {
    **dict.fromkeys(("ConstantOfShape",), (0,)),
    **dict.fromkeys(
        ("CumSum", "Expand", "Gather", "GatherElements", "GatherND", "Reshape", "ScatterElements", "ScatterND",
         "Split", "Squeeze", "Tile", "TopK", "Trilu", "Unsqueeze"), (1,),
    ),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), (4,)),
    "MaxUnpool": (2,),
    "OneHot": (0, 1),
    "RoiAlign": (2,),
    "Slice": (1, 2, 3, 4),
}  # fmt: skip
_FEW = 8  # whole numbers, as many as sizes have
_WORD = 16  # characters of a mode
# Ops whose inputs of whole numbers are weights or belong to weights, not sizes or places.
_QUANTISED = frozenset((
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
    "QuantizeLinear",
))  # fmt: skip
_FORMULAS = (
    *(1.6732632423543772, 1.0507009873554805),  # of a SELU
    *(math.sqrt(2), 1 / math.sqrt(2), math.sqrt(2 / math.pi), 0.044715, 1.702, math.pi, math.e, math.log(2)),
    *(number / 6 for number in range(1, 6)),
)
_CLOSE = 1e-6


def role_of(node: onnx.NodeProto, place: int, value: np.ndarray) -> str:
    """What a constant is to its node, which decides on its stand-in; empty where its own values are kept.

    `weightN`: N is the axis of a weight that its outputs lie along. `vector`: a bias or a scale. `variance`, never
    negative. `number`: one, rounded. `integer`: whole numbers that are no places. `text`. A `+` or `-` behind it: all
    have that sign.
    """
    if place in _SETTINGS.get(node.op_type, ()):
        return ""
    if value.dtype.kind in "OSU":
        return "text"
    if not is_float(value.dtype):
        if value.dtype.kind == "b" or (node.op_type not in _QUANTISED and _is_place(node, place, value)):
            return ""
        return "integer"
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


def _is_place(node: onnx.NodeProto, place: int, value: np.ndarray) -> bool:
    """Whether whole numbers are sizes, axes or places: by the op that takes them, or because they are few."""
    if value.dtype.kind not in "iu" or value.dtype.itemsize == 1:
        return False
    return place in _PLACES.get(node.op_type, ()) or node.op_type.startswith("Reduce") or value.size <= _FEW


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
    if role == "text":
        return np.full(shape, "0", dtype=object)
    if role == "integer" and value.dtype.itemsize > 1 and value.dtype.kind in "iu":
        return (stand_in(shape, "vector") > 0).astype(value.dtype)
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
    """Replace what a node holds in its attributes and their bodies: numbers, tensors, long texts, names."""
    own = node.domain in ONNX_DOMAINS
    for one in node.attribute:
        if one.type == onnx.AttributeProto.FLOAT:
            one.f = rounded(one.f)
        if one.floats and not (node.op_type == "Upsample" and one.name == "scales"):
            one.floats[:] = [rounded(number) for number in one.floats]
        if one.HasField("t"):
            one.t.CopyFrom(_hidden(one.t, node, -1))
        for tensor in one.tensors:
            tensor.CopyFrom(_hidden(tensor, node, -1))
        # The modes of ONNX's own ops are short words; what others keep in texts may be anything.
        if len(one.s) > _WORD:
            one.s = b""
        if one.strings and not (own and all(len(text) <= _WORD for text in one.strings)):
            one.strings[:] = [b"0"] * len(one.strings)
    for body in bodies(node):
        body.name, body.doc_string = "body", ""
        users = {name: (part, place) for part in body.node for place, name in enumerate(part.input)}
        for tensor in body.initializer:
            tensor.CopyFrom(_hidden(tensor, *users.get(tensor.name, (node, -1))))
        for part in body.node:
            part.name, part.doc_string = "", ""
            del part.metadata_props[:]
            value = constant_of(part)
            if value is None:
                hide_weights(part)
            else:
                shown = numpy_helper.from_array(np.asarray(value, order="C"))
                hidden = _hidden(shown, *users.get(part.output[0], (node, -1)))
                del part.attribute[:]
                part.attribute.append(helper.make_attribute("value", hidden))


def _hidden(tensor: TensorProto, node: onnx.NodeProto, place: int) -> TensorProto:
    value = numpy_helper.to_array(tensor)
    role = role_of(node, place, value)
    return numpy_helper.from_array(stand_in_for(value, value.shape, role), tensor.name) if role else tensor
