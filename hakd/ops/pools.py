"""Pooling: windows, the whole image, and windows that give a size asked for."""

from collections.abc import Callable, Sequence
from typing import Any

from hakd.ops.op import Kind, NoForm, Op, Placed, Sides, sides, windowed
from hakd.ops.tensors import Segment, Tensor


class MaxPool(Kind):
    """Largest value of each window. Attributes: kernel, stride, padding, dilation, ceil."""

    name = "max_pool"
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        return Tensor(ins[0].channels, windowed(op, ins[0].size, bool(op.attributes.get("ceil"))))

    def torch(self, at: Placed) -> Callable[..., Any]:
        import torch.nn.functional as F

        op, ceil = at.op, bool(at.op.attributes.get("ceil"))
        return lambda x: F.max_pool2d(x, op.kernel, op.stride, op.padding, op.dilation, ceil_mode=ceil)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        given = _onnx_window(at.op)
        if at.op.dilation != (1, 1):
            given["dilations"] = list(at.op.dilation)
        return [helper.make_node("MaxPool", list(inputs), [at.op.output], at.op.name, **given)]


class AvgPool(Kind):
    """Mean of each window. Attributes: kernel, stride, padding, ceil, count_padding (default true, as in torch)."""

    name = "avg_pool"
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        return Tensor(ins[0].channels, windowed(op, ins[0].size, bool(op.attributes.get("ceil"))))

    def torch(self, at: Placed) -> Callable[..., Any]:
        import torch.nn.functional as F

        op, ceil = at.op, bool(at.op.attributes.get("ceil"))
        counted = counts_padding(op)
        return lambda x: F.avg_pool2d(x, op.kernel, op.stride, op.padding, ceil, counted)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        given = _onnx_window(at.op)
        if at.op.padding != (0, 0):
            given["count_include_pad"] = int(counts_padding(at.op))
        return [helper.make_node("AveragePool", list(inputs), [at.op.output], at.op.name, **given)]


class GlobalAvgPool(Kind):
    """Mean over all pixels. Attributes: keep (the axes of the pixels, at one pixel; else the result is flat)."""

    name = "global_avg_pool"
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        return Tensor(ins[0].channels, (1, 1) if op.attributes.get("keep") else ())

    def torch(self, at: Placed) -> Callable[..., Any]:
        keep = bool(at.op.attributes.get("keep"))
        return lambda x: x.mean(dim=(2, 3), keepdim=keep)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        op = at.op
        if op.attributes.get("keep"):
            return [helper.make_node("GlobalAveragePool", list(inputs), [op.output], op.name)]
        mean = f"{op.name}.mean"
        return [
            helper.make_node("GlobalAveragePool", list(inputs), [mean], mean),
            helper.make_node("Flatten", [mean], [op.output], op.name),
        ]


class AdaptiveAvgPool(Kind):
    """Means over windows that give an image of a size asked for. Attributes: size.

    Engines take it where that size divides the image's: then all windows are alike.
    """

    name = "adaptive_avg_pool"
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        return Tensor(ins[0].channels, sides(op.attributes["size"]))

    def torch(self, at: Placed) -> Callable[..., Any]:
        import torch.nn.functional as F

        size = sides(at.op.attributes["size"])
        return lambda x: F.adaptive_avg_pool2d(x, size)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        window = list(even_window(at))
        given: dict[str, Any] = {"kernel_shape": window, "strides": window}
        return [helper.make_node("AveragePool", list(inputs), [at.op.output], at.op.name, **given)]


def even_window(at: Placed) -> Sides:
    """The one window of an adaptive pooling.

    Raises:
        NoForm: windows of several sizes.
    """
    before, after = at.ins[0].size, at.out.size
    if any(b % a for b, a in zip(before, after, strict=True)):
        words = f"{at.op.name}: windows of several sizes ({before[0]} x {before[1]} to {after[0]} x {after[1]} pixels)"
        raise NoForm(words)
    return (before[0] // after[0], before[1] // after[1])


def counts_padding(op: Op) -> bool:
    """Whether a mean counts the padding as zeros."""
    return bool(op.attributes.get("count_padding", True))


def _onnx_window(op: Op) -> dict[str, Any]:
    found: dict[str, Any] = {"kernel_shape": list(op.kernel), "strides": list(op.stride)}
    if op.padding != (0, 0):
        found["pads"] = list(op.padding) * 2
    if op.attributes.get("ceil"):
        found["ceil_mode"] = 1
    return found
