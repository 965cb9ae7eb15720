"""Pooling: windows, the whole image, and windows that give a size asked for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hakd.ops.kernels import Step, step, window
from hakd.ops.litert import PADDING, LiteRtModel, across_down, padding
from hakd.ops.ncnn import Layer, Value, wide
from hakd.ops.op import Fused, Kind, NoForm, Op, Placed, Sides, sides, windowed
from hakd.ops.tensors import Segment, Tensor
from hakd.ops.windows import Edges, beyond


class _Windows(Kind):
    """A pool over windows."""

    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        return Tensor(ins[0].channels, windowed(op, ins[0].size, bool(op.attributes.get("ceil"))))


class MaxPool(_Windows):
    """Largest value of each window. Attributes: kernel, stride, padding, dilation, ceil."""

    name = "max_pool"

    def torch(self, at: Placed) -> Callable[..., Any]:
        import torch.nn.functional as F

        op, ceil = at.op, bool(at.op.attributes.get("ceil"))
        return lambda x: F.max_pool2d(x, op.kernel, op.stride, op.padding, op.dilation, ceil_mode=ceil)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        given = _onnx_window(at.op, beyond(at))
        if at.op.dilation != (1, 1):
            given["dilations"] = list(at.op.dilation)
        return [helper.make_node("MaxPool", list(inputs), [at.op.output], at.op.name, **given)]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        _refuse_dilation(at.op)
        mode, edges = padding(at)
        source = model.padded(at, ins[0], edges, low=float(np.finfo(np.float32).min))
        model.operator("MAX_POOL_2D", _litert_window(mode, at.op.kernel, at.op.stride), [source], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        _refuse_dilation(at.op)
        return [_ncnn_pooling(_MAXIMUM, at.op.kernel, at.op.stride, beyond(at))]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        return [step("pool", at, **window(at))]


class AvgPool(_Windows):
    """Mean of each window. Attributes: kernel, stride, padding, ceil, count_padding (default true, as in torch)."""

    name = "avg_pool"

    def torch(self, at: Placed) -> Callable[..., Any]:
        import torch.nn.functional as F

        op, ceil = at.op, bool(at.op.attributes.get("ceil"))
        counted = counts_padding(op)
        return lambda x: F.avg_pool2d(x, op.kernel, op.stride, op.padding, ceil, counted)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        op, (zeros, edges, counted) = at.op, _around(at)
        nodes, source = [], inputs[0]
        if zeros:
            source, sides = f"{op.output}.padded", f"{op.output}.edges"
            values = [0, 0, *op.padding, 0, 0, *op.padding]
            nodes = [
                helper.make_node("Constant", [], [sides], sides, value_ints=values),
                helper.make_node("Pad", [inputs[0], sides], [source], source),
            ]
        given = _onnx_window(op, edges) | ({"count_include_pad": 1} if counted else {})
        return [*nodes, helper.make_node("AveragePool", [source], [op.output], op.name, **given)]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        """SAME leaves the padding out of the means. Else zeros are put in, and means over fewer values put right."""
        op = at.op
        counts, mode, edges = window_counts(at, counts_padding(op)), *padding(at)
        if mode == "SAME" and not np.array_equal(counts, window_counts(at, False)):
            mode, edges = "VALID", beyond(at)
        factors = np.prod(op.kernel) / counts
        whole = mode == "SAME" or bool(np.all(factors == 1))
        if model.int8 and not whole:  # what a factor makes of a rounding is more than a step
            raise NoForm(op, "means over fewer values than its window has, in int8")
        made = out if whole else model.tensor(f"{op.output}.means", model.shape(at.out), like=ins[0])
        options = _litert_window(mode, op.kernel, op.stride)
        model.operator("AVERAGE_POOL_2D", options, [model.padded(at, ins[0], edges)], made)
        if not whole:
            factor = model.constant(f"{op.output}.factors", factors[None, :, :, None])
            model.operator("MUL", {}, [made, factor], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        op, (zeros, edges, counted) = at.op, _around(at)
        down, across = op.padding
        layers = [Layer("Padding", {0: down, 1: down, 2: across, 3: across})] if zeros else []
        return [*layers, _ncnn_pooling(_AVERAGE, op.kernel, op.stride, edges, {6: 1} if counted else {})]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        factors = 1 / window_counts(at, counts_padding(at.op))
        return [step("pool", at, arrays={"weight": factors}, **window(at))]


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

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        axes = model.constant(f"{at.op.name}.axes", [1, 2])
        model.operator("MEAN", {0: ("Bool", 1)} if at.op.attributes.get("keep") else {}, [ins[0], axes], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        """ncnn's own result is flat."""
        pooling = Layer("Pooling", {0: _AVERAGE, 4: 1})
        return [pooling, Layer("Reshape", {0: 1, 1: 1, 2: -1})] if at.op.attributes.get("keep") else [pooling]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        return [_kernels_means(at, at.ins[0].size)]


class AdaptiveAvgPool(Kind):
    """Means over windows that give an image of a size asked for. Attributes: size.

    Where that size divides the image's, all windows are alike. Else ONNX gets two products, with the means along each
    side; LiteRT and ncnn lack it.
    """

    name = "adaptive_avg_pool"
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        return Tensor(ins[0].channels, sides(op.attributes["size"]))

    def torch(self, at: Placed) -> Callable[..., Any]:
        import torch.nn.functional as F

        size = sides(at.out.size)
        return lambda x: F.adaptive_avg_pool2d(x, size)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper, numpy_helper

        if _is_even(at):
            window = list(even_window(at))
            given: dict[str, Any] = {"kernel_shape": window, "strides": window}
            return [helper.make_node("AveragePool", list(inputs), [at.op.output], at.op.name, **given)]
        out = at.op.output
        down, across, made = f"{out}.down", f"{out}.across", f"{out}.rows"
        means = [adaptive_means(*sides) for sides in zip(at.ins[0].size, at.out.size, strict=True)]
        values = ((down, means[0]), (across, np.ascontiguousarray(means[1].T)))
        return [
            *(
                helper.make_node("Constant", [], [name], name, value=numpy_helper.from_array(value))
                for name, value in values
            ),
            helper.make_node("MatMul", [down, inputs[0]], [made], made),
            helper.make_node("MatMul", [made, across], [out], at.op.name),
        ]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        window = even_window(at)
        model.operator("AVERAGE_POOL_2D", _litert_window("VALID", window, window), ins, out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        window = even_window(at)
        return [_ncnn_pooling(_AVERAGE, window, window, ())]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        return [_kernels_means(at, even_window(at))]


def _kernels_means(at: Placed, window: Sequence[int]) -> Step:
    """Means over windows that lie side by side and cover the image."""
    factors = np.full(at.out.pixels, 1 / np.prod(window))
    return step("pool", at, arrays={"weight": factors}, kernel=list(window), stride=list(window))


def even_window(at: Placed) -> Sides:
    """The one window of an adaptive pooling.

    Raises:
        NoForm: windows of several sizes.
    """
    before, after = at.ins[0].size, at.out.size
    if not _is_even(at):
        words = f"windows of several sizes, {before[0]} x {before[1]} to {after[0]} x {after[1]} pixels"
        raise NoForm(at.op, words)
    return (before[0] // after[0], before[1] // after[1])


def _is_even(at: Placed) -> bool:
    return not any(b % a for b, a in zip(at.ins[0].size, at.out.size, strict=True))


def adaptive_means(side: int, made: int) -> np.ndarray:
    """The means of an adaptive pool along one side, (made, side): window i is floor(i s / m) to ceil((i + 1) s / m)."""
    found = np.zeros((made, side), np.float32)
    for i in range(made):
        first, last = i * side // made, -(-(i + 1) * side // made)
        found[i, first:last] = np.float32(1) / np.float32(last - first)
    return found


def counts_padding(op: Op) -> bool:
    """Whether a mean counts the padding as zeros."""
    return bool(op.attributes.get("count_padding", True))


def _around(at: Placed) -> tuple[bool, Edges, bool]:
    """How to get the means of a pool from an engine whose means count all the pixels that it adds, or none of them.

    Returns whether the op's padding has to be put in first, as zeros; the pixels that the engine adds; and whether its
    means count them.
    """
    op, edges, counts = at.op, beyond(at), window_counts(at, counts_padding(at.op))
    if np.array_equal(counts, window_counts(at, False)):
        return False, edges, False
    if np.all(counts == np.prod(op.kernel)):
        return False, edges, True
    more = zip(edges, op.padding, strict=True)
    return True, tuple((0, behind - padding) for (_, behind), padding in more), False


def _onnx_window(op: Op, edges: Edges) -> dict[str, Any]:
    """Sizes that are rounded up are written as pixels behind the image: readers disagree on `ceil_mode`."""
    found: dict[str, Any] = {"kernel_shape": list(op.kernel), "strides": list(op.stride)}
    if any(map(any, edges)):
        found["pads"] = [one for both in zip(*edges, strict=True) for one in both]
    return found


def window_counts(at: Placed, counted: bool) -> np.ndarray:
    """Over how many values each mean goes, height x width; `counted`: those of the padding among them."""
    op, lengths = at.op, []
    sides = zip(at.ins[0].size, at.out.size, op.padding, op.stride, op.kernel, strict=True)
    for side, made, around, stride, kernel in sides:
        first = np.arange(made) * stride - around
        last = np.minimum(first + kernel, side + (around if counted else 0))
        lengths.append(last - (first if counted else np.maximum(first, 0)))
    return np.outer(*lengths)


def _refuse_dilation(op: Op) -> None:
    if op.dilation != (1, 1):
        raise NoForm(op, "dilation")


def _litert_window(mode: str, kernel: Sides, stride: Sides) -> dict[int, tuple[str, int | float]]:
    return dict(enumerate([("Int8", PADDING[mode]), *across_down(stride, kernel)]))


_MAXIMUM, _AVERAGE = 0, 1  # ncnn's numbers
_VALID = 1  # a mode that rounds sizes down, as the padding is written out


def _ncnn_pooling(
    kind: int, kernel: Sides, stride: Sides, edges: Edges, more: Mapping[int, Value] | None = None
) -> Layer:
    settings = {0: kind, **wide(1, 11, kernel), **wide(2, 12, stride), 5: _VALID, **(more or {})}
    if any(map(any, edges)):
        (top, bottom), (left, right) = edges
        settings |= {3: left, 13: top, 14: right, 15: bottom}
    return Layer("Pooling", settings)
