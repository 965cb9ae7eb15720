"""What op kinds write for ncnn: layers with their settings by number and their weights.

Written from ncnn's documentation of its layers and of its weight file ("operators" and "param and model file
structure" in its wiki).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hakd.ops.op import Fused, Placed, Sides

Value = int | float | tuple[int | float, ...]  # a setting: a number, or an array
_TAG = struct.pack("<I", 0)  # in front of float32 weights, but not of biases and slopes


@dataclass(frozen=True)
class Layer:
    """One ncnn layer: type, settings by number, and its part of the weight file."""

    kind: str
    settings: Mapping[int, Value]
    content: bytes = b""


def raw(values: Any) -> bytes:
    """An array as float32."""
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def filters(at: Placed, weights: Mapping[str, np.ndarray], weight: Any) -> bytes:
    """Content of a layer: its weight array in ncnn's order, and its bias."""
    return _TAG + raw(weight) + (raw(weights[f"{at.op.name}.bias"]) if at.op.bias else b"")


def wide(across: int, down: int, value: Sides, default: int | None = None) -> dict[int, Value]:
    """The settings of a pair (height, width): number `down` takes after `across` unless it is given."""
    height, width = value
    found: dict[int, Value] = {} if value == (default, default) else {across: width}
    return found | ({} if height == width else {down: height})


def activation(fused: Fused) -> dict[int, Value]:
    """The settings of an activation that a layer computes on its output."""
    kind, *numbers = fused or (0,)
    return {9: kind} | ({10: tuple(numbers)} if numbers else {})
