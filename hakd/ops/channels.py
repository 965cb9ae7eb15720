"""Ops that move channels or pixels and compute nothing: concatenation, split, shuffle, flattening, dropout."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hakd.ops.kernels import Step, step
from hakd.ops.litert import LiteRtModel
from hakd.ops.ncnn import Layer
from hakd.ops.op import Fused, Kind, Op, Placed, Rule, flat
from hakd.ops.tensors import Segment, Tensor


class Concat(Kind):
    """Channels of several tensors laid side by side."""

    name = "concat"
    rule = Rule.JOINS
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        if len({tensor.size for tensor in ins}) > 1:
            raise ValueError(f"{op.name}: images of several sizes cannot be laid side by side")
        return Tensor(tuple(segment for tensor in ins for segment in tensor.channels), ins[0].size)

    def torch(self, at: Placed) -> Callable[..., Any]:
        import torch

        return lambda *xs: torch.cat(xs, dim=1)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        return [helper.make_node("Concat", list(inputs), [at.op.output], at.op.name, axis=1)]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        model.operator("CONCATENATION", {0: ("Int32", len(at.out.shape))}, ins, out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        return [Layer("Concat", {0: 0})]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        steps, offset = [], 0
        for number, tensor in enumerate(at.ins):
            steps.append(step("copy", at, inputs=(number,), offset=offset))
            offset += tensor.shape[0]
        return steps


class Split(Kind):
    """Some channels of a tensor, from `start` up to `stop`. It fixes the widths that it touches."""

    name = "split"
    rule = Rule.FIXES
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        start, stop = bounds(op)
        if not 0 <= start < stop <= ins[0].shape[0]:
            raise ValueError(f"{op.name}: there are no channels {start} to {stop} of {ins[0].shape[0]}")
        return Tensor((Segment(None, stop - start),), ins[0].size)

    def torch(self, at: Placed) -> Callable[..., Any]:
        start, stop = bounds(at.op)
        return lambda x: x[:, start:stop]

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        op, (start, stop) = at.op, bounds(at.op)
        numbers = {"start": start, "stop": stop, "axis": 1}
        nodes = [
            helper.make_node("Constant", [], [f"{op.output}.{key}"], f"{op.name}.{key}", value_ints=[value])
            for key, value in numbers.items()
        ]
        names = [inputs[0], *(f"{op.output}.{key}" for key in numbers)]
        return [*nodes, helper.make_node("Slice", names, [op.output], op.name)]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        model.cut(ins[0], [0] * len(at.out.shape) + [bounds(at.op)[0]], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        start, stop = bounds(at.op)
        return [Layer("Crop", {9: (start,), 10: (stop,), 11: (0,)})]  # starts, ends, axes


class Shuffle(Kind):
    """Channels dealt out in turns (ShuffleNet). Attributes: groups. It fixes the widths that it touches."""

    name = "shuffle"
    rule = Rule.FIXES
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        channels = ins[0].shape[0]
        if channels % op.attributes["groups"]:
            raise ValueError(
                f"{op.name}: {channels} channels cannot be dealt out to {op.attributes['groups']}"
            )
        return Tensor((Segment(None, channels),), ins[0].size)

    def torch(self, at: Placed) -> Callable[..., Any]:
        groups = at.op.attributes["groups"]

        def shuffle(x: Any) -> Any:
            n, channels, height, width = x.shape
            dealt = x.reshape(n, groups, channels // groups, height, width).transpose(1, 2)
            return dealt.reshape(n, channels, height, width)

        return shuffle

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        """In the batch axis 0 stands for the input's own."""
        from onnx import helper

        op, (channels, *size) = at.op, at.out.shape
        groups = op.attributes["groups"]
        first, second = f"{op.output}.groups", f"{op.output}.shape"
        dealt, turned = f"{op.output}.dealt", f"{op.output}.turned"
        return [
            helper.make_node(
                "Constant", [], [first], first, value_ints=[0, groups, channels // groups, *size]
            ),
            helper.make_node("Constant", [], [second], second, value_ints=[0, channels, *size]),
            helper.make_node("Reshape", [inputs[0], first], [dealt], dealt),
            helper.make_node("Transpose", [dealt], [turned], turned, perm=[0, 2, 1, 3, 4]),
            helper.make_node("Reshape", [turned, second], [op.output], op.name),
        ]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        *pixels, channels = model.shape(at.out)
        groups = at.op.attributes["groups"]
        dealt = model.tensor(f"{at.op.output}.dealt", (*pixels, groups, channels // groups), like=ins[0])
        model.reshaped(ins[0], dealt)
        model.reshaped(model.transposed(dealt, (0, 1, 2, 4, 3), f"{at.op.output}.turned"), out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        return [Layer("ShuffleChannel", {0: at.op.attributes["groups"]})]


class Flatten(Kind):
    """All values in one row: each channel becomes a run of pixels."""

    name = "flatten"
    rule = Rule.SPREADS
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        return Tensor(flat(ins[0].channels, ins[0].pixels), ())

    def torch(self, at: Placed) -> Callable[..., Any]:
        return lambda x: x.flatten(1)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        return [helper.make_node("Flatten", list(inputs), [at.op.output], at.op.name)]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        """In torch's order, so that the weights of a linear layer behind it stay as they are."""
        source = ins[0]
        if at.ins[0].pixels > 1:
            source = model.transposed(source, (0, 3, 1, 2), f"{at.op.output}.turned")
        model.reshaped(source, out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        return [Layer("Flatten", {})]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        return []


class Unflatten(Kind):
    """A flat vector as an image of one pixel, e.g. the gate that linear layers make."""

    name = "unflatten"
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        if ins[0].size or any(one.times != 1 for one in ins[0].channels):
            raise ValueError(f"{op.name}: only channels of one value each become an image of one pixel")
        return Tensor(ins[0].channels, (1, 1))

    def torch(self, at: Placed) -> Callable[..., Any]:
        return lambda x: x[:, :, None, None]

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        axes = f"{at.op.output}.axes"
        return [
            helper.make_node("Constant", [], [axes], axes, value_ints=[2, 3]),
            helper.make_node("Unsqueeze", [inputs[0], axes], [at.op.output], at.op.name),
        ]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        model.reshaped(ins[0], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        return [Layer("Reshape", {0: 1, 1: 1, 2: -1})]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        return []


class Dropout(Kind):
    """In training each value is left out with probability `p`; otherwise nothing.

    LiteRT and ncnn models leave it out, unless it is all there is.
    """

    name = "dropout"
    carries = True
    idle = True

    def torch(self, at: Placed) -> Callable[..., Any]:
        from torch import nn

        return nn.Dropout(float(at.op.attributes.get("p", 0.5)))

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        return [helper.make_node("Identity", list(inputs), [at.op.output], at.op.name)]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        model.reshaped(ins[0], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        return [Layer("Dropout", {})]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        return []


def bounds(op: Op) -> tuple[int, int]:
    """First channel of a split, and the one behind its last."""
    return int(op.attributes["start"]), int(op.attributes["stop"])
