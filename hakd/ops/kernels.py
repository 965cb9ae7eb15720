"""What op kinds write for the engines with kernels of hakd's own: steps of five kinds, which those kernels run.

`conv`, `depthwise`, `pool` (largest values, or means if it has factors), `add` (of one or two tensors), and `copy`
(channels into a larger tensor). Every step can keep its output between two limits, which is how rectifiers are fused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hakd.ops.op import Fused, Placed
from hakd.ops.tensors import Tensor

OWN = -1  # in `inputs`: what the op's step before made
RELU, RELU6 = 1, 2
_LIMITS: Mapping[int, dict[str, float]] = {RELU: {"low": 0.0}, RELU6: {"low": 0.0, "high": 6.0}}


@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        kind: of the five.
        inputs: which of the op's inputs it takes, one or two; `OWN`: the op's output so far.
        numbers: `ins`, `outs` (channels), `size`, `made` (pixels in and out), and those of its kind.
        arrays: `weight` (of `conv` one filter a row, (outs, ins / groups * height * width)), `bias`.
    """

    kind: str
    inputs: tuple[int, ...]
    numbers: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def step(
    kind: str,
    at: Placed,
    fused: Fused = (),
    inputs: tuple[int, ...] = (0,),
    arrays: Mapping[str, Any] | None = None,
    **more: Any,
) -> Step:
    """A step that takes inputs of an op and makes (a part of) its output."""
    source = at.out if inputs[0] == OWN else at.ins[inputs[0]]
    numbers = {
        "ins": source.shape[0],
        "outs": at.out.shape[0],
        "size": pixels(source),
        "made": pixels(at.out),
    }
    limits = _LIMITS[int(fused[0])] if fused else {}
    return Step(kind, inputs, {**numbers, **more, **limits}, arrays or {})


def pixels(tensor: Tensor) -> list[int]:
    """Height and width; a flat vector is an image of one pixel."""
    return list(tensor.size) or [1, 1]


def window(at: Placed, **more: Any) -> dict[str, Any]:
    """The numbers of an op's window."""
    op = at.op
    sides = {"kernel": op.kernel, "stride": op.stride, "padding": op.padding, "dilation": op.dilation}
    return {name: list(value) for name, value in sides.items()} | more


def parameters(at: Placed, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A layer's weights, one filter a row, and its bias."""
    name = at.op.name
    found = {"weight": weights[f"{name}.weight"].reshape(at.out.shape[0], -1)}
    return found | ({"bias": weights[f"{name}.bias"]} if at.op.bias else {})
