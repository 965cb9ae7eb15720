"""Criteria: what a channel is worth to the pruning loop. Training is the same for all; the lowest score goes first.

fisher: the loss that its removal costs, to second order (`hakd.pruning.fisher`).
l1: the mean absolute weight of its filter, summed over the layers that make its group (Li et al. 2017, arXiv
1608.08710). The mean makes layers of different fan-in comparable.
random_order: a random number, drawn again for each removal.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch

from hakd.networks.module import Network
from hakd.networks.prunable import makers
from hakd.networks.slicing import Keep, slice_weights
from hakd.ops.op import Op
from hakd.pruning.fisher import FisherScores, on_host
from hakd.records.graph import Graph


class Scores(Protocol):
    """Scores of a cycle: `begin`, for each batch `network(x, tap)`, a backward pass and `add`, at the end `scores`."""

    def begin(self, removal: int) -> None:
        """Start a cycle, after as many removals."""

    def tap(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """See an activation and hand it back."""

    def add(self, batch_size: int) -> None:
        """Take in the batch whose backward pass has just run."""

    def drop(self) -> None:
        """Forget a backward pass that no `add` followed."""

    def scores(self, left: Keep | None = None) -> dict[str, torch.Tensor]:
        """One number per group and channel, on the CPU.

        Args:
            left: positions of the channels that are left, by group, where the module holds others that are masked: the
                scores are those of the network that lacks them.
        """


class _Blind:
    """Scores that need no batch."""

    def begin(self, removal: int) -> None:
        pass

    def tap(self, name: str, value: torch.Tensor) -> torch.Tensor:
        return value

    def add(self, batch_size: int) -> None:
        pass

    def drop(self) -> None:
        pass


class WeightNorms(_Blind):
    """Mean absolute weight of each channel's filters, of the weights as they are when asked."""

    def __init__(self, module: Network) -> None:
        self._module = module

    def scores(self, left: Keep | None = None) -> dict[str, torch.Tensor]:
        """Summed over the layers that make the group."""
        graph = self._module.graph
        made_by = makers(graph)
        names = {f"{op.name}.weight" for made in made_by.values() for op in made}
        weights = {name: one.detach() for name, one in self._module.named_parameters() if name in names}
        if left is not None:
            weights = slice_weights(graph, weights, left)
        found: dict[str, torch.Tensor] = {}
        for group, made in made_by.items():
            filters = [_filters(op, weights[f"{op.name}.weight"]) for op in made]
            found[group] = torch.stack([one.abs().flatten(1).mean(dim=1) for one in filters]).sum(dim=0)
        return on_host(found)


def _filters(op: Op, weight: torch.Tensor) -> torch.Tensor:
    """Weights of a layer, the axis of its outputs first."""
    return weight.transpose(0, 1) if op.kind == "conv_transpose" else weight


class RandomOrder(_Blind):
    """Uniform random numbers: a function of the graph's groups, the seed and the number of removals so far."""

    def __init__(self, graph: Graph, seed: int, removal: int) -> None:
        self._widths, self._seed, self._removal = graph.groups(), seed, removal

    def begin(self, removal: int) -> None:
        """Draw others from now on."""
        self._removal = removal

    def scores(self, left: Keep | None = None) -> dict[str, torch.Tensor]:
        """The same at every call of a cycle."""
        rng = np.random.default_rng((self._seed, self._removal))
        widths = self._widths if left is None else {group: len(left[group]) for group in self._widths}
        return {group: torch.from_numpy(rng.random(width)) for group, width in widths.items()}


CRITERIA: Mapping[str, Callable[[Network, int, int], Scores]] = {
    "fisher": lambda module, seed, removal: FisherScores(module.graph),
    "l1": lambda module, seed, removal: WeightNorms(module),
    "random_order": lambda module, seed, removal: RandomOrder(module.graph, seed, removal),
}
