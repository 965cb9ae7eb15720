"""Batch normalisation."""

from collections.abc import Callable, Sequence
from typing import Any

from hakd.ops.op import Kind, Placed
from hakd.ops.tensors import Axis

EPSILON = 1e-5  # torch's default
STATISTICS = ("running_mean", "running_var")  # not trained


class BatchNorm(Kind):
    """Batch normalisation over the channels. Attributes: eps."""

    name = "batch_norm"

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


def epsilon(at: Placed) -> float:
    """What is added to the variance."""
    return float(at.op.attributes.get("eps", EPSILON))
