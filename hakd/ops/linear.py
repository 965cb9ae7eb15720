"""Linear layers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hakd.ops.kernels import Step, parameters, step, window
from hakd.ops.litert import LiteRtModel
from hakd.ops.litert import activation as litert_activation
from hakd.ops.ncnn import Layer, filters
from hakd.ops.ncnn import activation as ncnn_activation
from hakd.ops.op import Fused, Kind, Op, Placed, Rule
from hakd.ops.tensors import Axis, Segment, Tensor


class Linear(Kind):
    """Fully connected layer over a flat vector. Attributes: bias."""

    name = "linear"
    rule = Rule.MAKES
    fuses = ("litert", "ncnn", "kernels")

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

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        weight = model.weights[f"{at.op.name}.weight"]
        inputs = [ins[0], *model.layer(at, ins[0], weight, 0)]
        model.operator("FULLY_CONNECTED", {0: litert_activation(fused)}, inputs, out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        weight = weights[f"{at.op.name}.weight"]
        settings = {0: at.out.shape[0], 1: int(at.op.bias), 2: weight.size, **ncnn_activation(fused)}
        return [Layer("InnerProduct", settings, filters(at, weights, weight))]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        """A convolution of an image of one pixel."""
        return [step("conv", at, fused, (0,), parameters(at, weights), **window(at, groups=1))]
