"""Features of a decision block at each of its widths: sizes, shares, and the loss to padding at several moduli.

The moduli are candidates: the weights of their features are learned from tables, and may turn out to be zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hakd.records.graph import Graph

OUT_MODULI = (2, 4, 8, 16, 32, 64)  # outputs padded up to their multiples
IN_MODULI = (4, 8, 16)  # inputs padded up to their multiples
OFF_IN = (2, 4, 8)  # inputs that are not a multiple of them cost more
OFF_OUT = (4, 8, 16)  # outputs that are not a multiple of them cost more
HIDING = (
    0.0,
    3e5,
)  # a call's overhead in multiply-accumulates: it hides the steps of small blocks
OVERHEADS = (0.0, 3e4, 1e5, 3e5, 1e6, 3e6)  # and bends the slope
STEPS = len(HIDING) * (len(OUT_MODULI) + len(IN_MODULI) + len(OFF_IN) + len(OFF_OUT))
SMOOTH = len(OVERHEADS) + 8  # features that change without a step
FEATURES = STEPS + SMOOTH


@dataclass(frozen=True)
class LayerShape:
    """A convolution or linear layer whose channels are affine in the block's width w.

    Attributes:
        cout, cin: channels at width 0, and what each further channel of the width adds.
        area: kernel area x pixels of the output.
        depthwise: each channel alone.
    """

    cout: tuple[int, int]
    cin: tuple[int, int]
    area: int
    depthwise: bool = False


@dataclass(frozen=True)
class BlockShape:
    """The layers of a width's decision block, up to `full` channels; `group` names it in messages."""

    group: str
    full: int
    layers: tuple[LayerShape, ...]


def block_shape(group: str, full: int, graph: Callable[[int], Graph]) -> BlockShape:
    """The layers of a block, from its graphs at two widths.

    Args:
        group: its name.
        full: its widest width, channels.
        graph: the block at a width, channels.
    """
    high = max(full, 2)
    wide, narrow = _sizes(graph(high)), _sizes(graph(high - 1))
    layers = []
    for (cout, cin, area, depthwise), (cout_before, cin_before, _, _) in zip(wide, narrow, strict=True):
        steps = (cout - cout_before, cin - cin_before)
        layers.append(
            LayerShape((cout - steps[0] * high, steps[0]), (cin - steps[1] * high, steps[1]), area, depthwise)
        )
    return BlockShape(group, full, tuple(layers))


def plain_shape(group: str, full: int, kernel: int = 3, size: int = 16, side: str = "both") -> BlockShape:
    """For a curve of an unknown network: a convolution over output channels (`out`), input channels (`in`) or both."""
    area, out, into = kernel**2 * size**2, ((0, 1), (64, 0)), ((64, 0), (0, 1))
    sides = {"out": (out,), "in": (into,), "both": (out, into)}[side]
    return BlockShape(group, full, tuple(LayerShape(cout, cin, area) for cout, cin in sides))


def _sizes(graph: Graph) -> list[tuple[int, int, int, bool]]:
    """Output and input channels, area, whether depthwise, of each layer that multiplies."""
    found = []
    for op in graph.ops:
        at = graph.placed(op)
        if macs := graph.op_macs(op):
            cout, cin = at.out.shape[0], at.ins[0].shape[0] // (1 if op.depthwise else at.groups)
            found.append((cout, cin, macs // (cout * (1 if op.depthwise else cin)), op.depthwise))
    return found


def features(shape: BlockShape, widths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Features of a block at some widths.

    The first `STEPS` columns: the logarithm of what the block's multiply-accumulates grow by when the outputs of its
    dense layers are padded to a multiple (`OUT_MODULI`), or their inputs (`IN_MODULI`); then the share of the
    multiply-accumulates in layers whose inputs (`OFF_IN`) or outputs (`OFF_OUT`) are not a multiple; all of these for
    each overhead of `HIDING`. Then the smooth ones: log multiply-accumulates with each overhead of `OVERHEADS`, log
    width and its square, shares of depthwise layers, of layers over the input and over the output, logarithms of the
    largest width, of the mean kernel-and-pixel area, of the weights read.

    Returns:
        An array of (number of widths, `FEATURES`).
    """
    w = np.asarray(widths, dtype=float)
    dense = [layer for layer in shape.layers if not layer.depthwise]
    cout = _rows([layer.cout[0] + layer.cout[1] * w for layer in dense], len(w))
    cin = _rows([layer.cin[0] + layer.cin[1] * w for layer in dense], len(w))
    macs = cout * cin * _rows([np.full(len(w), float(layer.area)) for layer in dense], len(w))
    alone = np.zeros(len(w))
    for layer in shape.layers:
        if layer.depthwise:
            alone += (layer.cout[0] + layer.cout[1] * w) * layer.area
    total = macs.sum(axis=0) + alone
    over_in = sum((m for m, layer in zip(macs, dense, strict=True) if layer.cin[1]), np.zeros(len(w)))
    over_out = sum((m for m, layer in zip(macs, dense, strict=True) if layer.cout[1]), np.zeros(len(w)))
    area = sum(layer.area for layer in shape.layers) / max(1, len(shape.layers))
    columns = _steps(macs, cout, cin, alone)
    columns += [np.log(total + overhead) for overhead in OVERHEADS]
    columns += [np.log(w), np.log(w) ** 2, alone / total, over_in / total, over_out / total]
    columns += [np.full(len(w), np.log(shape.full)), np.full(len(w), np.log(max(1.0, area)))]
    columns += [np.log((cout * cin).sum(axis=0) + 1)]
    return np.stack(columns, axis=1)


def _rows(values: list[np.ndarray], columns: int) -> np.ndarray:
    return np.array(values).reshape(len(values), columns)


def _steps(macs: np.ndarray, cout: np.ndarray, cin: np.ndarray, alone: np.ndarray) -> list[np.ndarray]:
    """The columns that step; macs, cout, cin: (dense layers, widths), alone: those of depthwise layers (widths,)."""
    columns = []
    for hidden in HIDING:
        beside = alone + hidden
        whole = macs.sum(axis=0) + beside
        for channels, moduli in ((cout, OUT_MODULI), (cin, IN_MODULI)):
            columns += [np.log(((macs * _padded(channels, m)).sum(axis=0) + beside) / whole) for m in moduli]
        for channels, moduli in ((cin, OFF_IN), (cout, OFF_OUT)):
            columns += [(macs * (channels % m != 0)).sum(axis=0) / whole for m in moduli]
    return columns


def _padded(channels: np.ndarray, modulus: int) -> np.ndarray:
    """Channels padded up to a multiple, over the channels."""
    return np.ceil(channels / modulus) * modulus / channels
