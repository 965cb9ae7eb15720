"""What the user should know about a model's weights, since stand-ins are timed in their place."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from hakd.importing.kinds import LAYERS
from hakd.importing.reading import is_float

_DENORMAL = 0.01  # share of a layer's weights from which on they are spoken of
_ZERO = 0.5  # share of all weights
_SHOWN = 3
_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "QLinear", "ConvInteger", "MatMulInteger")


def weight_remarks(nodes: Iterable[onnx.NodeProto], constants: Mapping[str, np.ndarray]) -> list[str]:
    """Denormal and mostly-zero weights, quantised and half-precision layers: a sentence each."""
    nodes = list(nodes)
    used = {name for node in nodes for name in node.input[1:]}
    floats = {name: value for name, value in constants.items() if name in used and is_float(value.dtype)}
    weights = {node.input[1] for node in nodes if node.op_type in LAYERS and len(node.input) > 1}
    remarks = []
    denormal = {name: share for name, value in floats.items() if (share := _denormal(value)) >= _DENORMAL}
    if denormal:
        worst = sorted(denormal, key=lambda name: -denormal[name])
        named = ", ".join(f"{name} ({denormal[name]:.0%})" for name in worst[:_SHOWN])
        rest = f" and {len(worst) - _SHOWN} more" if len(worst) > _SHOWN else ""
        remarks.append(
            f"weights that are denormal numbers (below 1.2e-38): {named}{rest}. x86 CPUs can be many times slower "
            "with them. The times here do not show that: stand-ins are timed. Set such weights to zero, or the session "
            "option `session.set_denormal_as_zero` of onnxruntime to 1"
        )
    layers = [constants[name] for name in weights if name in floats]
    total = sum(value.size for value in layers)
    zeros = sum(_zeros(value) for value in layers)
    if total and zeros / total > _ZERO:
        remarks.append(
            f"{zeros / total:.0%} of its layers' weights are zeros. Engines multiply by them all the same, and "
            "stand-ins without zeros are timed: to gain time, remove whole channels"
        )
    quantised = sorted({node.op_type for node in nodes if any(word in node.op_type for word in _QUANTISED)})
    if quantised:
        remarks.append(
            f"it is quantised ({', '.join(quantised)}): those layers are timed as they are, their widths not examined"
        )
    halves = sorted({value.dtype.name for value in floats.values() if value.dtype.itemsize == 2})
    if halves:
        remarks.append(f"{' and '.join(halves)} inside: timed as such")
    return remarks


def _denormal(value: np.ndarray) -> float:
    if value.dtype != np.float32 or not value.size:
        return 0.0
    size = np.abs(value)
    return float(np.mean((size > 0) & (size < np.finfo(np.float32).tiny)))


def _zeros(value: np.ndarray) -> int:
    if value.strides and not any(value.strides):  # one number in all places: no weights, but a structure
        return 0
    return value.size - int(np.count_nonzero(value))
