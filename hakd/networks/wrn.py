"""Wide ResNet (Zagoruyko and Komodakis 2016): pre-activation blocks, `multiplier` times 16, 32 and 64 channels.

A 1 x 1 convolution is the shortcut where shapes change; it shares the first rectifier of its block. Width groups: the
outputs of each stage, tied by its sums (with the stem's where no convolution is between), and each inner width.
"""

from hakd.networks.layers import norm_act, scaled
from hakd.networks.layers import stem as first_tile
from hakd.ops.op import Sides
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder, Graph

_STAGES = (16, 32, 64)
OPTIONS = {"depth": 40, "multiplier": 2.0}


def build(channels: int, size: Sides, num_classes: int, depth: int, multiplier: float) -> Graph:
    """The network at full width for images of `channels` x `size`."""
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"a WRN of depth {depth} does not exist: take 6 n + 4 with n >= 1")
    b = Builder(channels, size)
    widths = [scaled(width, multiplier) for width in _STAGES]
    x = first_tile(b, "small", Segment("stage1" if widths[0] == 16 else "stem", 16))
    for number, width in enumerate(widths, start=1):
        for i in range(1, (depth - 4) // 6 + 1):
            stride = 2 if i == 1 and number > 1 else 1
            x = _block(b, x, f"stage{number}.block{i}", Segment(f"stage{number}", width), stride)
    b.tile = "head"
    return b.graph(b.head(norm_act(b, x, "head"), num_classes))


def _block(b: Builder, x: str, name: str, out: Segment, stride: int) -> str:
    b.tile = name
    y = norm_act(b, x, f"{name}.first")
    if stride > 1 or b.tensors[x].shape[0] != out.size:
        x = b.conv(y, f"{name}.shortcut.conv", out, 1, stride)
    y = b.conv(y, f"{name}.inner.conv", Segment(name, out.size), 3, stride)
    y = b.conv(norm_act(b, y, f"{name}.inner"), f"{name}.outer.conv", out, 3)
    return b.add("add", f"{name}.add", (x, y))
