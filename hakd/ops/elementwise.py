"""Tensors put together channel by channel: residual sums and gates."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

from hakd.ops.kernels import OWN, Step, step
from hakd.ops.litert import LiteRtModel, activation
from hakd.ops.ncnn import Layer
from hakd.ops.op import Fused, Kind, Op, Placed, Rule
from hakd.ops.tensors import Segment, Tensor


class Add(Kind):
    """Sum of two and more tensors of one shape."""

    name = "add"
    rule = Rule.TIES
    fuses = ("litert", "kernels")

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

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        total, *rest, last = ins
        for number, other in enumerate(rest):
            partial = model.sum(f"{at.op.output}.{number}", total, other)
            model.operator("ADD", {}, [total, other], partial)
            total = partial
        model.operator("ADD", {0: activation(fused)}, [total, last], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        return [Layer("BinaryOp", {0: 0}) if len(at.ins) == 2 else Layer("Eltwise", {0: 1})]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        pairs = [(0, 1), *((OWN, number) for number in range(2, len(at.ins)))]
        return [step("add", at, fused if pair is pairs[-1] else (), pair) for pair in pairs]


class Mul(Kind):
    """A tensor times a gate: of the same shape, or one value for each channel (squeeze and excitation)."""

    name = "mul"
    rule = Rule.TIES
    fuses = ("litert",)

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        x, gate = sorted(ins, key=lambda tensor: -tensor.pixels)
        if gate.shape not in (x.shape, (x.shape[0], 1, 1)):
            raise ValueError(f"{op.name}: a gate of shape {gate.shape} does not fit {x.shape}")
        return x

    def torch(self, at: Placed) -> Callable[..., Any]:
        return lambda a, b: a * b

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        return [helper.make_node("Mul", list(inputs), [at.op.output], at.op.name)]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        model.operator("MUL", {0: activation(fused)}, ins, out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        return [Layer("BinaryOp", {0: 2})]
