"""Convolutions: dense, grouped, depthwise, and transposed."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hakd.ops.kernels import Step, parameters, step, window
from hakd.ops.litert import PADDING, LiteRtModel, across_down, padding, pads_itself
from hakd.ops.litert import activation as litert_activation
from hakd.ops.ncnn import Layer, Value, filters, wide
from hakd.ops.ncnn import activation as ncnn_activation
from hakd.ops.op import Fused, Kind, NoForm, Op, Placed, Rule, windowed
from hakd.ops.tensors import Axis, Channels, Segment, Tensor, width


class Conv(Kind):
    """Convolution. Attributes: kernel, stride, padding, dilation, groups, depthwise, bias.

    Each filter of a depthwise one sees its own channel, so channels stay what they are. Grouped ones between the two
    fix the widths on both sides.
    """

    name = "conv"
    rule = Rule.MAKES
    fuses: Collection[str] = ("litert", "ncnn", "kernels")

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
        spaced = op.stride != (1, 1) and op.kernel == (1, 1) and op.padding == (0, 0)
        layer = nn.Conv2d(
            at.ins[0].shape[0],
            at.out.shape[0],
            op.kernel,
            1 if spaced else op.stride,
            op.padding,
            op.dilation,
            at.groups,
            op.bias,
        )
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if spaced:
            layer.register_forward_pre_hook(_pixels_read(*op.stride))
        return layer

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        return [helper.make_node("Conv", [*inputs, *weights], [at.op.output], at.op.name, **_onnx_window(at))]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        op = at.op
        order = (1, 2, 3, 0) if op.depthwise else (0, 2, 3, 1)  # from (out, in / groups, height, width)
        weight, axis = model.weights[f"{op.name}.weight"].transpose(order), 3 if op.depthwise else 0
        mode, edges = padding(at)
        source = model.padded(at, ins[0], edges)
        inputs = [source, *model.layer(at, source, weight, axis)]
        multiplier = [("Int32", 1)] if op.depthwise else []
        options = [("Int8", PADDING[mode]), *across_down(op.stride), *multiplier, litert_activation(fused)]
        options += across_down(op.dilation)
        kind = "DEPTHWISE_CONV_2D" if op.depthwise else "CONV_2D"
        model.operator(kind, dict(enumerate(options)), inputs, out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        weight = weights[f"{at.op.name}.weight"]
        settings, content = _ncnn_settings(at, weight, fused), filters(at, weights, weight)
        if not at.op.depthwise and at.groups == 1:
            return [Layer("Convolution", settings, content)]
        return [Layer("ConvolutionDepthWise", settings | {7: at.groups}, content)]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        kind = "depthwise" if at.op.depthwise else "conv"
        return [step(kind, at, fused, (0,), parameters(at, weights), **window(at, groups=at.groups))]


class ConvTranspose(Conv):
    """Transposed convolution of one group. Attributes: kernel, stride, padding, dilation, bias."""

    name = "conv_transpose"
    fuses = ("ncnn",)

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

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        """Padding takes pixels away: SAME does so where it takes the same number, otherwise they are cut off."""
        op = at.op
        if op.dilation != (1, 1):
            raise NoForm(op, "dilation")
        batch, *size, channels = model.shape(at.out)
        valid = not any(op.padding) or not pads_itself(op, at.out.size, at.ins[0].size)
        whole = [side + 2 * cut for side, cut in zip(size, op.padding, strict=True)] if valid else size
        shape = (batch, *whole, channels)
        weight = model.weights[f"{op.name}.weight"].transpose(1, 2, 3, 0)
        array, bias = model.layer(at, ins[0], weight, 0)
        given = [model.constant(f"{op.name}.shape", shape), array]
        made = model.tensor(f"{op.output}.whole", shape) if whole != size else out
        options = [("Int8", PADDING["VALID" if valid else "SAME"]), *across_down(op.stride)]
        inputs = [*given, ins[0], bias]
        model.operator("TRANSPOSE_CONV", dict(enumerate(options)), inputs, made)
        if made != out:
            model.cut(made, (0, *op.padding, 0), out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        weight = weights[f"{at.op.name}.weight"].transpose(1, 0, 2, 3)
        return [Layer("Deconvolution", _ncnn_settings(at, weight, fused), filters(at, weights, weight))]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        raise NoForm(at.op)


def _pixels_read(down: int, across: int) -> Callable[..., Any]:
    """A hook that gives a 1 x 1 convolution only the pixels that its stride lets it read.

    The same numbers, by a way around oneDNN's kernel: with 2 to 7 input channels in `channels_last` its gradient of the
    weights writes past its memory on processors with AVX2 (oneDNN 3.13.3 of torch 2.15; the process ends in "double
    free or corruption"). Shortcuts of narrow residual networks have such shapes.
    """
    return lambda _, inputs: (inputs[0][:, :, ::down, ::across],)


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


def _ncnn_settings(at: Placed, weight: Any, fused: Fused) -> dict[int, Value]:
    op = at.op
    settings = {0: at.out.shape[0], **wide(1, 11, op.kernel), **wide(2, 12, op.dilation, 1)}
    settings |= {**wide(3, 13, op.stride), **wide(4, 14, op.padding), 5: int(op.bias), 6: weight.size}
    return settings | ncnn_activation(fused)
