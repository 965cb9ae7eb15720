"""DenseNet-BC (Huang et al. 2017): dense blocks with bottlenecks, compression 0.5 at the transitions.

Three blocks of (depth - 4) / 6 layers, or `blocks` with the layers of each: DenseNet-121 is [6, 12, 24, 16] with growth
32. Width groups: the inner (bottleneck) width of each layer, full at 4 x growth; what a layer adds to the concatenation
stays at `growth`, so every other layer's input is untouched by pruning (Crowley et al. 2018 prune the same channels).
"""

from collections.abc import Sequence

from hakd.networks.layers import norm_act
from hakd.networks.layers import stem as first_tile
from hakd.ops.op import Sides
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder, Graph

OPTIONS = {"depth": 100, "growth": 12, "blocks": [], "stem": "small"}
_FIXED = "what goes into the concatenations of a DenseNet stays at its growth rate"


def layers_of(depth: int, blocks: Sequence[int]) -> tuple[int, ...]:
    """Layers of two convolutions in each block."""
    if blocks:
        if min(blocks) < 1:
            raise ValueError(f"a dense block of {min(blocks)} layers does not exist: give each at least one")
        return tuple(blocks)
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"a DenseNet-BC of depth {depth} does not exist: take 6 n + 4 with n >= 1")
    return ((depth - 4) // 6,) * 3


def build(
    channels: int, size: Sides, num_classes: int, depth: int, growth: int, blocks: Sequence[int], stem: str
) -> Graph:
    """The network at full width for images of `channels` x `size`."""
    b = Builder(channels, size)
    layers = layers_of(depth, blocks)
    x = first_tile(b, stem, Segment(None, 2 * growth), _FIXED)
    for block, count in enumerate(layers, start=1):
        for i in range(1, count + 1):
            x = _layer(b, x, f"block{block}.layer{i}", growth)
        if block < len(layers):
            x = _transition(b, x, f"transition{block}")
    b.tile = "head"
    return b.graph(b.head(norm_act(b, x, "head"), num_classes))


def _layer(b: Builder, x: str, name: str, growth: int) -> str:
    """BN, ReLU, 1x1 to the inner width, BN, ReLU, 3x3 to `growth` channels, concatenated to the input."""
    b.tile = name
    y = b.relu(b.batch_norm(x, f"{name}.norm1"), f"{name}.relu1")
    y = b.conv(y, f"{name}.conv1", Segment(name, 4 * growth), 1)
    y = b.relu(b.batch_norm(y, f"{name}.norm2"), f"{name}.relu2")
    y = b.conv(y, f"{name}.conv2", Segment(None, growth), 3, fixed=_FIXED)
    return b.concat((x, y), f"{name}.concat")


def _transition(b: Builder, x: str, name: str) -> str:
    """BN, ReLU, 1x1 to half the channels, 2x2 average pooling."""
    b.tile = name
    half = b.tensors[x].shape[0] // 2
    x = b.conv(norm_act(b, x, name), f"{name}.conv", Segment(None, half), 1, fixed=_FIXED)
    return b.avg_pool(x, f"{name}.pool")
