"""Zeros around an image, for windows that want more of them on one side than on the other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hakd.ops.litert import LiteRtModel
from hakd.ops.ncnn import Layer
from hakd.ops.op import Fused, Kind, Op, Placed
from hakd.ops.tensors import Segment, Tensor
from hakd.ops.windows import Edges


class Pad(Kind):
    """Zeros around an image. Attributes: edges, pixels ((above, below), (left, right))."""

    name = "pad"
    carries = True

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        size = (side + sum(edge) for side, edge in zip(ins[0].size, edges(op), strict=True))
        return Tensor(ins[0].channels, tuple(size))

    def torch(self, at: Placed) -> Callable[..., Any]:
        import torch.nn.functional as F

        (top, bottom), (left, right) = edges(at.op)
        return lambda x: F.pad(x, (left, right, top, bottom))

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        (top, bottom), (left, right) = edges(at.op)
        name, values = f"{at.op.output}.edges", [0, 0, top, left, 0, 0, bottom, right]
        return [
            helper.make_node("Constant", [], [name], name, value_ints=values),
            helper.make_node("Pad", [inputs[0], name], [at.op.output], at.op.name),
        ]

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        rows = model.constant(f"{at.op.output}.edges", [(0, 0), *edges(at.op), (0, 0)])
        model.operator("PAD", {}, [ins[0], rows], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        (top, bottom), (left, right) = edges(at.op)
        return [Layer("Padding", {0: top, 1: bottom, 2: left, 3: right})]


def edges(op: Op) -> Edges:
    """Pixels above and below, left and right."""
    (top, bottom), (left, right) = op.attributes["edges"]
    return (top, bottom), (left, right)
