"""ResNet with basic blocks (He et al. 2016), 1 x 1 convolutions with batch norm as shortcuts where shapes change.

Depths 18 and 34 have four stages from 64 channels, 20, 32, 44, 56 and other 6 n + 2 three from 16. Width groups: the
outputs of each stage, tied by its sums (the first stage's with the stem), and the inner width of each block.
"""

from hakd.networks.layers import conv_norm, norm_act, scaled
from hakd.networks.layers import stem as first_tile
from hakd.ops.op import Sides
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder, Graph

_LARGE = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
OPTIONS = {"depth": 18, "multiplier": 1.0, "stem": "small"}


def blocks_of(depth: int) -> tuple[tuple[int, ...], int]:
    """Blocks in each stage, and the width of the first."""
    if depth in _LARGE:
        return _LARGE[depth], 64
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"a ResNet of depth {depth} does not exist: take 18, 34 or 6 n + 2 with n >= 1")
    return ((depth - 2) // 6,) * 3, 16


def build(channels: int, size: Sides, num_classes: int, depth: int, multiplier: float, stem: str) -> Graph:
    """The network at full width for images of `channels` x `size`."""
    b = Builder(channels, size)
    stages, width = blocks_of(depth)
    x = first_tile(b, stem, Segment("stage1", scaled(width, multiplier)))
    if stem == "small":
        x = norm_act(b, x, "stem")
    for number, blocks in enumerate(stages, start=1):
        out = Segment(f"stage{number}", scaled(width * 2 ** (number - 1), multiplier))
        for i in range(1, blocks + 1):
            x = _block(b, x, f"stage{number}.block{i}", out, 2 if i == 1 and number > 1 else 1)
    return b.graph(b.head(x, num_classes))


def _block(b: Builder, x: str, name: str, out: Segment, stride: int) -> str:
    b.tile = name
    y = conv_norm(b, x, f"{name}.inner", Segment(name, out.size), 3, stride)
    y = conv_norm(b, y, f"{name}.outer", out, 3, 1, "")
    if stride > 1 or b.tensors[x].shape[0] != out.size:
        x = conv_norm(b, x, f"{name}.shortcut", out, 1, stride, "")
    return b.relu(b.add("add", f"{name}.add", (x, y)), f"{name}.relu")
