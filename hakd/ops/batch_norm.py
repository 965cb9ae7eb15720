"""Batch normalisation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hakd.ops.kernels import Step, step, window
from hakd.ops.litert import LiteRtModel, activation
from hakd.ops.ncnn import Layer, raw
from hakd.ops.op import Fused, Kind, Placed
from hakd.ops.tensors import Axis

EPSILON = 1e-5  # torch's default
STATISTICS = ("running_mean", "running_var")  # not trained


class BatchNorm(Kind):
    """Batch normalisation over the channels. Attributes: eps."""

    name = "batch_norm"
    fuses = ("litert", "kernels")

    def axes(self, at: Placed) -> dict[str, tuple[Axis, ...]]:
        return dict.fromkeys(("weight", "bias", *STATISTICS), (at.out.channels,))

    def torch(self, at: Placed) -> Callable[..., Any]:
        from torch import nn

        kind = nn.BatchNorm2d if at.out.size else nn.BatchNorm1d
        return kind(at.out.shape[0], eps=epsilon(at))

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        names = [*inputs, *weights]
        eps = epsilon(at)
        return [helper.make_node("BatchNormalization", names, [at.op.output], at.op.name, epsilon=eps)]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        op = at.op
        factor, summand = factor_and_summand(at, model.weights)
        scale = model.constant(f"{op.name}.scale", factor)
        shift = model.constant(f"{op.name}.shift", summand)
        scaled = model.tensor(f"{op.output}.scaled", model.shape(at.out))
        model.operator("MUL", {}, [ins[0], scale], scaled)
        model.operator("ADD", {0: activation(fused)}, [scaled, shift], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        arrays = [weights[f"{at.op.name}.{name}"] for name in ("weight", *STATISTICS, "bias")]
        return [Layer("BatchNorm", {0: at.out.shape[0], 1: epsilon(at)}, b"".join(map(raw, arrays)))]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        """A depthwise layer with windows of one pixel."""
        arrays = dict(zip(("weight", "bias"), factor_and_summand(at, weights), strict=True))
        return [step("depthwise", at, fused, (0,), arrays, **window(at))]


def factor_and_summand(at: Placed, weights: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """What each channel is multiplied with, and what is then added; computed in float64, to be rounded once."""
    weight, bias, mean, variance = (
        weights[f"{at.op.name}.{name}"].astype(np.float64) for name in ("weight", "bias", *STATISTICS)
    )
    factor = weight / np.sqrt(variance + epsilon(at))
    return factor, bias - mean * factor


def epsilon(at: Placed) -> float:
    """What is added to the variance."""
    return float(at.op.attributes.get("eps", EPSILON))
