"""Tensors put together channel by channel: residual sums and gates."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from hakd.ops.op import Kind, Op, Placed, Rule
from hakd.ops.tensors import Segment, Tensor


class Add(Kind):
    """Sum of two and more tensors of one shape."""

    name = "add"
    rule = Rule.TIES

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        if len({tensor.shape for tensor in ins}) > 1:
            shapes = " and ".join(str(tensor.shape) for tensor in ins)
            raise ValueError(f"{op.name}: tensors of shapes {shapes} cannot be added")
        return ins[0]

    def torch(self, at: Placed) -> Callable[..., Any]:
        return lambda *xs: reduce(lambda a, b: a + b, xs)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        kind = "Add" if len(inputs) == 2 else "Sum"
        return [helper.make_node(kind, list(inputs), [at.op.output], at.op.name)]


class Mul(Kind):
    """A tensor times a gate: of the same shape, or one value for each channel (squeeze and excitation)."""

    name = "mul"
    rule = Rule.TIES

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        x, gate = sorted(ins, key=lambda tensor: -tensor.pixels)
        if gate.shape not in (x.shape, (x.shape[0], 1, 1)):
            raise ValueError(f"{op.name}: {gate.shape} is no gate of {x.shape}")
        return x

    def torch(self, at: Placed) -> Callable[..., Any]:
        return lambda a, b: a * b

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        return [helper.make_node("Mul", list(inputs), [at.op.output], at.op.name)]
