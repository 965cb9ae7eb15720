"""Fisher scores of channels (Theis et al. 2018, arXiv 1801.05787; BlockSwap eq. 2).

Put a mask m = 1 on channel k of a width group, after the last batch norm and rectifier of every member the channel
passes. With g_nk = -dL_n/dm_k for the loss L_n of ONE example, summed over those sites, the score is
Delta_k = 1/(2N) sum_n g_nk^2. A mask before a batch norm would not be removal: its bias would survive.
"""

import torch

from hakd.networks.slicing import Keep
from hakd.ops.kinds import KINDS
from hakd.ops.op import Rule
from hakd.ops.tensors import Segment
from hakd.records.graph import Graph


def mask_sites(graph: Graph) -> dict[str, list[tuple[str, Segment, int]]]:
    """Where masks sit: tensor name -> [(group, its segment, first place)] for every tensor that feeds a layer.

    Pools, flattening and concatenations hand zeros on, so the site is before them. A residual sum is a site where a
    layer takes it, not its summands; a batch norm is not a site, because its bias survives a mask before it. With
    all sites of a channel at zero the network is the one that lacks the channel.
    """
    feeding = _feeding(graph)
    sites: dict[str, list[tuple[str, Segment, int]]] = {}
    for op in graph.ops:
        if op.output not in feeding or KINDS[op.kind].carries:
            continue
        offset = 0
        for segment in graph.tensors[op.output].channels:
            if segment.group is not None:
                sites.setdefault(op.output, []).append((segment.group, segment, offset))
            offset += segment.size * segment.times
    return sites


def _feeding(graph: Graph) -> set[str]:
    """Tensors that a layer takes, itself or behind ops that only carry them there."""
    found: set[str] = set()
    for op in reversed(graph.ops):
        kind = KINDS[op.kind]
        # A depthwise convolution counts too, though it keeps channels: the bias of the norm behind it survives.
        if kind.rule is Rule.MAKES or (kind.carries and op.output in found):
            found.update(op.inputs)
    return found


class FisherScores:
    """Accumulates scores over batches: `network(x, scores.tap)`, backward, `scores.add(batch_size)`.

    dL/dm_nk = sum over pixels of a_nk * dL/da_nk, so hooks on the activations give it without any mask. Sums stay where
    the activations are, in the same memory from the second batch on, so that CUDA can record what adds to them.
    """

    def __init__(self, graph: Graph) -> None:
        self._sites, self._groups = mask_sites(graph), graph.groups()
        self._gradients: dict[str, torch.Tensor] = {}
        self._sums: dict[str, torch.Tensor] = {}
        self._examples: torch.Tensor | None = None

    def begin(self, removal: int) -> None:
        """Forget all batches."""
        for total in self._sums.values():
            total.zero_()
        if self._examples is not None:
            self._examples.zero_()

    def tap(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """Hook the activations of mask sites; hand back the value unchanged."""
        if name in self._sites and value.requires_grad:
            activation = value.detach()
            value.register_hook(lambda gradient: self._site(name, activation, gradient))
        return value

    def _site(self, name: str, activation: torch.Tensor, gradient: torch.Tensor) -> None:
        product = activation * gradient
        summed = product.sum(dim=tuple(range(2, product.dim()))) if product.dim() > 2 else product
        for group, segment, start in self._sites[name]:
            part = summed[:, start : start + segment.size * segment.times]
            if segment.times > 1:
                part = part.reshape(len(part), segment.size, segment.times).sum(dim=2)
            self._gradients[group] = self._gradients[group] + part if group in self._gradients else part

    def drop(self) -> None:
        """Forget a backward pass that no `add` followed."""
        self._gradients.clear()

    def add(self, batch_size: int, reduction: str = "mean") -> None:
        """Take in the batch whose backward pass has just run.

        With a batch-mean loss the gradients carry 1/N; that is undone before squaring.
        """
        factor = batch_size if reduction == "mean" else 1
        for group, gradient in self._gradients.items():
            squares = (gradient * factor).square().sum(dim=0)
            if group in self._sums:
                self._sums[group].add_(squares)
            else:
                self._sums[group] = squares
            if self._examples is None:
                self._examples = squares.new_zeros(())
        if self._examples is not None:
            self._examples.add_(batch_size)
        self._gradients.clear()

    def scores(self, left: Keep | None = None) -> dict[str, torch.Tensor]:
        """Delta_k per group and channel, on the CPU; of the channels `left`, where positions are given."""
        if self._examples is None:
            found = {group: torch.zeros(width) for group, width in self._groups.items()}
        else:
            nothing = self._examples.new_zeros
            sums = {group: self._sums.get(group, nothing(width)) for group, width in self._groups.items()}
            found = on_host({group: total / (2 * self._examples) for group, total in sums.items()})
        return found if left is None else {group: found[group][channels] for group, channels in left.items()}


def on_host(vectors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Vectors of one type on the CPU, by one copy, which waits for the device once."""
    together = torch.cat(list(vectors.values())).cpu()
    return dict(zip(vectors, together.split([len(vector) for vector in vectors.values()]), strict=True))
