"""Linear layers."""

from collections.abc import Callable, Sequence
from typing import Any

from hakd.ops.op import Kind, Op, Placed, Rule
from hakd.ops.tensors import Axis, Segment, Tensor


class Linear(Kind):
    """Fully connected layer over a flat vector. Attributes: bias."""

    name = "linear"
    rule = Rule.MAKES

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        if ins[0].size or made is None:
            raise ValueError(f"{op.name}: a linear layer takes a flat vector and makes a width")
        return Tensor((made,), ())

    def axes(self, at: Placed) -> dict[str, tuple[Axis, ...]]:
        outs = at.out.channels
        found: dict[str, tuple[Axis, ...]] = {"weight": (outs, at.ins[0].channels)}
        return found | ({"bias": (outs,)} if at.op.bias else {})

    def macs(self, at: Placed) -> int:
        return at.out.shape[0] * at.ins[0].shape[0]

    def torch(self, at: Placed) -> Callable[..., Any]:
        from torch import nn

        layer = nn.Linear(at.ins[0].shape[0], at.out.shape[0], bias=at.op.bias)
        if at.op.bias:
            nn.init.zeros_(layer.bias)
        return layer

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        return [helper.make_node("Gemm", [*inputs, *weights], [at.op.output], at.op.name, transB=1)]
