"""An operation of a network, and what every op kind says of itself."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from hakd.ops.tensors import Axis, Channels, Segment, Tensor

if TYPE_CHECKING:
    from hakd.ops.kernels import Step
    from hakd.ops.litert import LiteRtModel
    from hakd.ops.ncnn import Layer

Sides = tuple[int, int]  # along height and width
Fused = tuple[
    int | float, ...
]  # an activation that an engine computes with the op before it: its number, its settings


def sides(value: int | Sequence[int]) -> Sides:
    """One number for both sides, or both."""
    if isinstance(value, int):
        return (value, value)
    height, width = value
    return (int(height), int(width))


@dataclass(frozen=True)
class Op:
    """One operation: its kind, place in the network, and the attributes that its kind knows.

    Attributes:
        tile: the part of the network that it belongs to.
        attributes: of its kind; the properties below read those that several kinds have.
        fixed: why the width that it makes cannot be changed; empty where it can.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    tile: str
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    fixed: str = ""

    @property
    def kernel(self) -> Sides:
        """Height and width of its window."""
        return sides(self.attributes.get("kernel", 1))

    @property
    def stride(self) -> Sides:
        """Pixels between two windows, down and across."""
        return sides(self.attributes.get("stride", 1))

    @property
    def padding(self) -> Sides:
        """Pixels added above and below, left and right."""
        return sides(self.attributes.get("padding", 0))

    @property
    def dilation(self) -> Sides:
        """Pixels between two places of a window, down and across."""
        return sides(self.attributes.get("dilation", 1))

    @property
    def depthwise(self) -> bool:
        """Whether each channel is its own group, whatever their number."""
        return bool(self.attributes.get("depthwise"))

    @property
    def bias(self) -> bool:
        """Whether a layer adds a value to each channel."""
        return bool(self.attributes.get("bias"))


@dataclass(frozen=True)
class Placed:
    """An op with the activations around it."""

    op: Op
    ins: tuple[Tensor, ...]
    out: Tensor

    @property
    def groups(self) -> int:
        """Number of groups of a convolution."""
        return self.ins[0].shape[0] if self.op.depthwise else int(self.op.attributes.get("groups", 1))


class Rule(Enum):
    """How an op's output gets its channels."""

    MAKES = "a layer: it mixes all channels into new ones"
    KEEPS = "each channel stays itself"
    TIES = "inputs are put together channel by channel"
    JOINS = "inputs are laid side by side"
    SPREADS = "each channel becomes a run of pixels"
    FIXES = "channels are reordered, so that the widths stay as they are"


class TooSmall(ValueError):
    """An image too small for a window, or for a network's strides."""


class NoForm(ValueError):
    """An engine lacks an op, or an op of these attributes.

    Args:
        op: that it lacks.
        why: which attributes; empty where it lacks the kind.
    """

    def __init__(self, op: Op, why: str = "") -> None:
        super().__init__(f"{op.kind} ({op.name}{f': {why}' if why else ''})")


class Kind:
    """What is known of one op kind. A kind overrides what differs from an op that changes nothing.

    Attributes:
        name: as `Op.kind` has it.
        rule: how channels go through it.
        carries: a channel that is all zero stays so, and it has no other effect: pools, flattening, concatenation. What
            is put to zero before it need not be put to zero behind it.
        pointwise: it works on each value by itself and keeps the shape: such as rectifiers.
        idle: it does nothing but in training.
        fuses: engines in which it computes an activation on its output, if one follows.
    """

    name: str
    rule = Rule.KEEPS
    carries = False
    pointwise = False
    idle = False
    fuses: Collection[str] = ()

    def rule_of(self, op: Op) -> Rule:
        """How channels go through this op."""
        return self.rule

    def out(self, op: Op, ins: Sequence[Tensor], made: Segment | None) -> Tensor:
        """What it makes of its inputs; `made` is the width that a layer makes.

        Raises:
            ValueError: inputs that it cannot take, e.g. an image too small for its window.
        """
        return ins[0]

    def axes(self, at: Placed) -> dict[str, tuple[Axis, ...]]:
        """Axes of each weight array, by torch's name of the parameter."""
        return {}

    def macs(self, at: Placed) -> int:
        """Multiply-accumulates for one image; convolutions and linear layers only."""
        return 0

    def fused(self, at: Placed, engine: str) -> Fused:
        """How an engine computes it as part of the op before it; empty where it cannot."""
        return ()

    def torch(self, at: Placed) -> Callable[..., Any]:
        """A torch module, or a function, of its inputs."""
        raise NoForm(at.op)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        """ONNX nodes that make `at.op.output` from the named inputs; `weights` are its arrays' names."""
        raise NoForm(at.op)

    def litert(self, at: Placed, model: "LiteRtModel", ins: Sequence[int], out: int, fused: Fused) -> None:
        """Add LiteRT operators that make tensor `out` from the tensors `ins`, and compute `fused` on it."""
        raise NoForm(at.op)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> "list[Layer]":
        """The ncnn layers, one after the other; the first takes all inputs, the last computes `fused` too."""
        raise NoForm(at.op)

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> "list[Step]":
        """The steps of hakd's own kernels, one after the other, the last with `fused`; none: it passes its input on."""
        raise NoForm(at.op)


def windowed(op: Op, size: Sequence[int], ceil: bool = False) -> tuple[int, ...]:
    """Height and width after a window has gone over an image.

    Raises:
        TooSmall: the image has no place for a window.
    """
    found = []
    for side, kernel, stride, padding, dilation in zip(
        size, op.kernel, op.stride, op.padding, op.dilation, strict=True
    ):
        room = side + 2 * padding - dilation * (kernel - 1) - 1
        steps = -(-room // stride) if ceil else room // stride
        if ceil and steps * stride >= side + padding:  # a window must begin inside the image, as torch has it
            steps -= 1
        if room < 0:
            pixels, window = (" x ".join(map(str, both)) for both in (size, op.kernel))
            raise TooSmall(f"{pixels} pixels are too few for the window of {window} of {op.name}")
        found.append(steps + 1)
    return tuple(found)


def square(value: Sides) -> int | list[int]:
    """One number where both sides are alike."""
    return value[0] if value[0] == value[1] else list(value)


def flat(channels: Channels, pixels: int) -> Channels:
    """Channels as runs of pixels."""
    return tuple(Segment(one.group, one.size, one.times * pixels) for one in channels)
