"""MobileNet v1 (Howard et al. 2017): a stem and 13 depthwise-separable blocks.

The stem has stride 1 for small images (the CIFAR form of Turner et al. 2018) and 2 for large ones; blocks 2, 4, 6 and
12 have stride 2. Width groups: the stem and each pointwise output; a depthwise convolution takes its input's group.
"""

from hakd.networks.layers import conv_norm, norm_act, scaled
from hakd.ops.op import Sides
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder, Graph

_OUTPUTS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDE_2 = (2, 4, 6, 12)
OPTIONS = {"multiplier": 1.0, "stem": "small"}


def build(channels: int, size: Sides, num_classes: int, multiplier: float, stem: str) -> Graph:
    """The network at full width for images of `channels` x `size`."""
    b = Builder(channels, size)
    b.tile = "stem"
    x = conv_norm(b, b.input, "stem", Segment("stem", scaled(32, multiplier)), 3, 1 if stem == "small" else 2)
    for i, out in enumerate(_OUTPUTS, start=1):
        b.tile = name = f"block{i}"
        x = b.depthwise(x, f"{name}.depthwise.conv", 3, stride=2 if i in _STRIDE_2 else 1)
        x = norm_act(b, x, f"{name}.depthwise")
        x = conv_norm(b, x, f"{name}.pointwise", Segment(name, scaled(out, multiplier)), 1)
    return b.graph(b.head(x, num_classes))
