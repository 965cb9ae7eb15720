"""VGG-16 (Simonyan and Zisserman 2015): 13 convolutions in five stages, each with a pool behind it.

For small images, with batch norm, one hidden linear layer of 512 (XS, arXiv 1809.07196); for large ones torchvision's
form: means over 7 x 7 windows and two hidden layers of 4096. Every width but the classes is a group.
"""

from hakd.networks.layers import norm_act, scaled
from hakd.ops.op import Sides
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder, Graph

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions
_HIDDEN = {"small": (512,), "imagenet": (4096, 4096)}
_POOLED = 7
OPTIONS = {"multiplier": 1.0, "stem": "small", "norm": True}


def build(channels: int, size: Sides, num_classes: int, multiplier: float, stem: str, norm: bool) -> Graph:
    """The network at full width for images of `channels` x `size`; `norm`: with batch norm."""
    b = Builder(channels, size)
    x, number = b.input, 0
    bias = stem == "imagenet" or not norm
    for width, convolutions in _STAGES:
        for _ in range(convolutions):
            number += 1
            b.tile = name = f"conv{number}"
            x = b.conv(x, f"{name}.conv", Segment(name, scaled(width, multiplier)), 3, bias=bias)
            x = norm_act(b, x, name) if norm else b.relu(x, f"{name}.relu")
        x = b.max_pool(x, f"{name}.pool")
    return b.graph(_classifier(b, x, num_classes, multiplier, stem))


def _classifier(b: Builder, x: str, num_classes: int, multiplier: float, stem: str) -> str:
    b.tile = "fc1"
    if stem == "imagenet":
        x = b.add("adaptive_avg_pool", "fc1.pool", x, size=_POOLED)
    x = b.add("flatten", "fc1.flatten", x)
    for i, width in enumerate(_HIDDEN[stem], start=1):
        b.tile = name = f"fc{i}"
        x = b.linear(x, f"{name}.linear", Segment(name, scaled(width, multiplier)))
        x = b.relu(x, f"{name}.relu")
    b.tile = "head"
    return b.linear(x, "head.linear", Segment(None, num_classes))
