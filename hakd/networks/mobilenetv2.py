"""MobileNet v2 (Sandler et al. 2018): inverted residual blocks with linear outputs, as torchvision builds it.

For small images the stem and the first two strided stages have stride 1. Width groups: the stem, each expanded width,
the outputs of each stage (tied by its residual sums), and the last convolution.
"""

from hakd.networks.layers import conv_norm, norm_act
from hakd.ops.op import Sides
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder, Graph

# Expansion, output channels, blocks, stride of the first block.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_LAST = 1280
OPTIONS = {"multiplier": 1.0, "stem": "small"}


def build(channels: int, size: Sides, num_classes: int, multiplier: float, stem: str) -> Graph:
    """The network at full width for images of `channels` x `size`."""
    b = Builder(channels, size)
    b.tile = "stem"
    small = stem == "small"
    x = conv_norm(
        b, b.input, "stem", Segment("stem", _divisible(32 * multiplier)), 3, 1 if small else 2, "relu6"
    )
    for number, (expansion, out, blocks, stride) in enumerate(_STAGES, start=1):
        made = Segment(f"stage{number}", _divisible(out * multiplier))
        for i in range(1, blocks + 1):
            first = stride if i == 1 and not (small and number == 2) else 1
            x = _block(b, x, f"stage{number}.block{i}", made, expansion, first)
    b.tile = "last"
    x = conv_norm(b, x, "last", Segment("last", _divisible(_LAST * max(1.0, multiplier))), 1, 1, "relu6")
    return b.graph(b.head(x, num_classes))


def _block(b: Builder, x: str, name: str, out: Segment, expansion: int, stride: int) -> str:
    """1 x 1 to the expanded width, depthwise, 1 x 1 to `out` without an activation; added to the input if it fits."""
    b.tile = name
    ins, y = b.tensors[x].shape[0], x
    if expansion > 1:
        y = conv_norm(b, x, f"{name}.expand", Segment(name, ins * expansion), 1, 1, "relu6")
    y = norm_act(b, b.depthwise(y, f"{name}.depthwise.conv", 3, stride), f"{name}.depthwise", "relu6")
    y = conv_norm(b, y, f"{name}.project", out, 1, 1, "")
    return b.add("add", f"{name}.add", (x, y)) if stride == 1 and ins == out.size else y


def _divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple, not more than a tenth below."""
    found = max(by, int(channels + by / 2) // by * by)
    return found + by if found < 0.9 * channels else found
