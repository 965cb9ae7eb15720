"""Convolutions: dense, grouped, depthwise, and transposed."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from hakd.ops.op import Kind, Op, Placed, Rule, windowed
from hakd.ops.tensors import Axis, Channels, Segment, Tensor, width


class Conv(Kind):
    """Convolution. Attributes: kernel, stride, padding, dilation, groups, depthwise, bias.

    Each filter of a depthwise one sees its own channel, so channels stay what they are. Grouped ones between the two
    fix the widths on both sides.
    """

    name = "conv"
    rule = Rule.MAKES

    def rule_of(self, op: Op) -> Rule:
        return Rule.KEEPS if op.depthwise else Rule.MAKES

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        channels: Channels = ins[0].channels if made is None else (made,)
        return Tensor(channels, self._size(op, ins[0].size))

    def _size(self, op: Op, size: tuple[int, ...]) -> tuple[int, ...]:
        return windowed(op, size)

    def axes(self, at: Placed) -> dict[str, tuple[Axis, ...]]:
        outs = at.out.channels
        found: dict[str, tuple[Axis, ...]] = {"weight": (outs, _fan_in(at), *at.op.kernel)}
        return found | ({"bias": (outs,)} if at.op.bias else {})

    def macs(self, at: Placed) -> int:
        fan_in = at.ins[0].shape[0] // at.groups
        return at.out.shape[0] * fan_in * math.prod(at.op.kernel) * at.out.pixels

    def torch(self, at: Placed) -> Callable[..., Any]:
        from torch import nn

        op = at.op
        layer = nn.Conv2d(
            at.ins[0].shape[0],
            at.out.shape[0],
            op.kernel,
            op.stride,
            op.padding,
            op.dilation,
            at.groups,
            op.bias,
        )
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return layer

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        return [helper.make_node("Conv", [*inputs, *weights], [at.op.output], at.op.name, **_onnx_window(at))]


class ConvTranspose(Conv):
    """Transposed convolution of one group. Attributes: kernel, stride, padding, dilation, bias."""

    name = "conv_transpose"

    def _size(self, op: Op, size: tuple[int, ...]) -> tuple[int, ...]:
        sides = zip(size, op.kernel, op.stride, op.padding, op.dilation, strict=True)
        return tuple((side - 1) * s - 2 * p + d * (k - 1) + 1 for side, k, s, p, d in sides)

    def axes(self, at: Placed) -> dict[str, tuple[Axis, ...]]:
        ins, outs = at.ins[0].channels, at.out.channels
        found: dict[str, tuple[Axis, ...]] = {"weight": (ins, outs, *at.op.kernel)}
        return found | ({"bias": (outs,)} if at.op.bias else {})

    def macs(self, at: Placed) -> int:
        return at.ins[0].shape[0] * at.out.shape[0] * math.prod(at.op.kernel) * at.ins[0].pixels

    def torch(self, at: Placed) -> Callable[..., Any]:
        from torch import nn

        op = at.op
        return nn.ConvTranspose2d(
            at.ins[0].shape[0],
            at.out.shape[0],
            op.kernel,
            op.stride,
            op.padding,
            bias=op.bias,
            dilation=op.dilation,
        )

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        names = [*inputs, *weights]
        return [helper.make_node("ConvTranspose", names, [at.op.output], at.op.name, **_onnx_window(at))]


def _fan_in(at: Placed) -> Axis:
    """Channels that one filter sees."""
    ins = at.ins[0].channels
    if at.op.depthwise:
        return 1
    return ins if at.groups == 1 else width(ins) // at.groups


def _onnx_window(at: Placed) -> dict[str, Any]:
    op = at.op
    found: dict[str, Any] = {
        "kernel_shape": list(op.kernel),
        "strides": list(op.stride),
        "pads": list(op.padding) * 2,
        "group": at.groups,
    }
    return found | ({"dilations": list(op.dilation)} if op.dilation != (1, 1) else {})
