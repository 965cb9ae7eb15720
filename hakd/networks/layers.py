"""Parts that several families share."""

from hakd.ops.op import Sides
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder

STEMS = ("small", "imagenet")


def conv_norm(
    b: Builder, x: str, name: str, out: Segment | int, kernel: int | Sides, stride: int = 1, act: str = "relu"
) -> str:
    """Convolution, batch norm and activation (none for an empty `act`), named `{name}.conv`, `.norm` and `.{act}`."""
    return norm_act(b, b.conv(x, f"{name}.conv", out, kernel, stride), name, act)


def norm_act(b: Builder, x: str, name: str, act: str = "relu") -> str:
    """Batch norm and activation: `{name}.norm`, `{name}.{act}`."""
    x = b.batch_norm(x, f"{name}.norm")
    return b.add(act, f"{name}.{act}", x) if act else x


def stem(b: Builder, kind: str, out: Segment, fixed: str = "") -> str:
    """The first tile: for small images 3 x 3 alone; for large ones 7 x 7 with stride 2, norm, rectifier and a pool."""
    b.tile = "stem"
    if kind == "small":
        return b.conv(b.input, "stem.conv", out, 3, fixed=fixed)
    x = b.conv(b.input, "stem.conv", out, 7, 2, fixed=fixed)
    return b.max_pool(norm_act(b, x, "stem"), "stem.pool", 3, 2, 1)


def scaled(channels: int, multiplier: float) -> int:
    """A width times a multiplier, at least one channel."""
    return max(1, int(channels * multiplier))
