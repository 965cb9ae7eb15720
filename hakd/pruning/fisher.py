"""Fisher scores of channels (Theis et al. 2018, arXiv 1801.05787; BlockSwap eq. 2).

Put a mask m = 1 on channel k of a width group, after the last batch norm and rectifier of every member the channel
passes. With g_nk = -dL_n/dm_k for the loss L_n of ONE example, summed over those sites, the score is
Delta_k = 1/(2N) sum_n g_nk^2. A mask before a batch norm would not be removal: its bias would survive.
"""

import torch

from hakd.ops.kinds import KINDS
from hakd.ops.op import Rule
from hakd.ops.tensors import Segment
from hakd.records.graph import Graph


def mask_sites(graph: Graph) -> dict[str, list[tuple[str, Segment, int]]]:
    """Where masks sit: tensor name -> [(group, its segment, first place)] for every tensor that feeds a layer.

    Pools, flattening and concatenations hand zeros on, so the site is before them. A residual sum is a site where a
    layer takes it, not its summands; a batch norm is none, for its bias survives a mask before it. With all sites of a
    channel at zero the network is the one that lacks the channel.
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

    dL/dm_nk = sum over pixels of a_nk * dL/da_nk, so hooks on the activations give it without any mask.
    """

    def __init__(self, graph: Graph) -> None:
        self._sites = mask_sites(graph)
        self._gradients: dict[str, torch.Tensor] = {}
        self._sums = {group: torch.zeros(width) for group, width in graph.groups().items()}
        self.examples = 0

    def tap(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """Hook the activations of mask sites; hand back the value unchanged."""
        if name in self._sites and value.requires_grad:
            activation = value.detach()
            value.register_hook(lambda gradient: self._site(name, activation, gradient))
        return value

    def _site(self, name: str, activation: torch.Tensor, gradient: torch.Tensor) -> None:
        for group, segment, start in self._sites[name]:
            end = start + segment.size * segment.times
            product = (activation[:, start:end] * gradient[:, start:end]).flatten(1)
            part = product.reshape(len(product), segment.size, -1).sum(dim=2)
            self._gradients[group] = self._gradients[group] + part if group in self._gradients else part

    def add(self, batch_size: int, reduction: str = "mean") -> None:
        """Take in the batch whose backward pass has just run.

        With a batch-mean loss the gradients carry 1/N; that is undone before squaring.
        """
        factor = batch_size if reduction == "mean" else 1
        for group, gradient in self._gradients.items():
            self._sums[group] = self._sums[group].to(gradient.device) + (gradient * factor).square().sum(
                dim=0
            )
        self._gradients.clear()
        self.examples += batch_size

    def scores(self) -> dict[str, torch.Tensor]:
        """Delta_k per group and channel."""
        return {group: total / (2 * max(self.examples, 1)) for group, total in self._sums.items()}
