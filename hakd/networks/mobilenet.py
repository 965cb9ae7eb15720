"""MobileNet v1 for small images: a stem and 13 depthwise-separable blocks.

The first convolution has stride 1; blocks 2, 4, 6 and 12 have stride 2 (the CIFAR form of Turner et al. 2018).
Width groups: the stem and each pointwise output; a depthwise convolution takes its input's group.
"""

from collections.abc import Mapping

from hakd.records.graph import Builder, Graph, Segment

_OUTPUTS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDE_2 = (2, 4, 6, 12)
OPTIONS = {"multiplier": 1.0}


def full_widths(multiplier: float = 1.0) -> dict[str, int]:
    """Widths of all groups at a width multiplier."""
    widths = {"stem": 32} | {f"block{i}": out for i, out in enumerate(_OUTPUTS, start=1)}
    return {group: max(1, int(channels * multiplier)) for group, channels in widths.items()}


def build(
    widths: Mapping[str, int], channels: int, size: int, num_classes: int, multiplier: float = 1.0
) -> Graph:
    """The network at `widths` for `channels` x `size` x `size` images."""
    b = Builder(channels, size)
    b.tile = "stem"
    x = _conv_bn_relu(b, b.input, "stem", Segment("stem", widths["stem"]), 3)
    for i in range(1, len(_OUTPUTS) + 1):
        b.tile = name = f"block{i}"
        x = b.depthwise(x, f"{name}.depthwise.conv", 3, stride=2 if i in _STRIDE_2 else 1)
        x = b.relu(b.batch_norm(x, f"{name}.depthwise.norm"), f"{name}.depthwise.relu")
        x = _conv_bn_relu(b, x, f"{name}.pointwise", Segment(name, widths[name]), 1)
    b.tile = "head"
    return b.graph(b.linear(b.global_avg_pool(x, "head.pool"), "head.linear", num_classes))


def _conv_bn_relu(b: Builder, x: str, name: str, out: Segment, kernel: int) -> str:
    return b.relu(b.batch_norm(b.conv(x, f"{name}.conv", out, kernel), f"{name}.norm"), f"{name}.relu")
