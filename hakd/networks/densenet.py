"""DenseNet-BC (Huang et al. 2017): three dense blocks with bottlenecks, compression 0.5 at the transitions.

Width groups: the inner (bottleneck) width of each layer, full at 4 x growth; what a layer adds to the concatenation
stays at `growth`, so every other layer's input is untouched by pruning (Crowley et al. 2018 prune the same channels).
"""

from collections.abc import Mapping

from hakd.records.graph import Builder, Graph, Segment
from hakd.records.graph import width as channel_count

OPTIONS = {"depth": 100, "growth": 12}
_BLOCKS = (1, 2, 3)


def layers_per_block(depth: int) -> int:
    """(depth - 4) / 6 layers of two convolutions in each of three blocks."""
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"a DenseNet-BC of depth {depth} does not exist: take 6 n + 4 with n >= 1")
    return (depth - 4) // 6


def full_widths(depth: int = 100, growth: int = 12) -> dict[str, int]:
    """Bottleneck widths of all layers."""
    layers = range(1, layers_per_block(depth) + 1)
    return {f"block{b}.layer{i}": 4 * growth for b in _BLOCKS for i in layers}


def build(
    widths: Mapping[str, int], channels: int, size: int, num_classes: int, depth: int = 100, growth: int = 12
) -> Graph:
    """The network at `widths` for `channels` x `size` x `size` images."""
    b = Builder(channels, size)
    b.tile = "stem"
    x = b.conv(b.input, "stem.conv", Segment(None, 2 * growth), 3)
    for block in _BLOCKS:
        for i in range(1, layers_per_block(depth) + 1):
            x = _layer(b, x, f"block{block}.layer{i}", widths[f"block{block}.layer{i}"], growth)
        if block < _BLOCKS[-1]:
            x = _transition(b, x, f"transition{block}")
    b.tile = "head"
    x = b.relu(b.batch_norm(x, "head.norm"), "head.relu")
    return b.graph(b.linear(b.global_avg_pool(x, "head.pool"), "head.linear", num_classes))


def _layer(b: Builder, x: str, name: str, inner: int, growth: int) -> str:
    """BN, ReLU, 1x1 to the inner width, BN, ReLU, 3x3 to `growth` channels, concatenated to the input."""
    b.tile = name
    y = b.relu(b.batch_norm(x, f"{name}.norm1"), f"{name}.relu1")
    y = b.conv(y, f"{name}.conv1", Segment(name, inner), 1)
    y = b.relu(b.batch_norm(y, f"{name}.norm2"), f"{name}.relu2")
    y = b.conv(y, f"{name}.conv2", Segment(None, growth), 3)
    return b.concat((x, y), f"{name}.concat")


def _transition(b: Builder, x: str, name: str) -> str:
    """BN, ReLU, 1x1 to half the channels, 2x2 average pooling."""
    b.tile = name
    half = channel_count(b.tensors[x].channels) // 2
    x = b.relu(b.batch_norm(x, f"{name}.norm"), f"{name}.relu")
    return b.avg_pool(b.conv(x, f"{name}.conv", Segment(None, half), 1), f"{name}.pool")
