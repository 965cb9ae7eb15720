"""The torch form of an op-level description: parameters with torch's names, one op after the other."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from hakd.ops.kinds import KINDS
from hakd.records.graph import Graph

Tap = Callable[[str, torch.Tensor], torch.Tensor]


class Network(nn.Module):
    """Runs a graph. `forward(x, tap)` hands every activation to `tap(tensor name, value)`, which may replace it."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._calls: dict[str, Callable[..., torch.Tensor]] = {}  # by op name, without the walk over the dots
        for op in graph.ops:
            call = self._calls[op.name] = KINDS[op.kind].torch(graph.placed(op))
            if isinstance(call, nn.Module):
                _attach(self, op.name.split("."), call)
        self.to(memory_format=torch.channels_last)  # a training step takes 0.7-0.8 of the time (benchmarks/)

    def forward(self, x: torch.Tensor, tap: Tap | None = None) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        values = {self.graph.inputs[0]: x}
        last_use = {name: op.name for op in self.graph.ops for name in op.inputs}
        for op in self.graph.ops:
            out = self._calls[op.name](*[values[name] for name in op.inputs])
            values[op.output] = out if tap is None else tap(op.output, out)
            for name in op.inputs:
                if last_use[name] == op.name:
                    values.pop(name, None)
        return values[self.graph.output]


def _attach(parent: nn.Module, path: list[str], layer: nn.Module) -> None:
    """Register `layer` under a dotted path, making the containers on the way."""
    for part in path[:-1]:
        if not hasattr(parent, part):
            parent.add_module(part, nn.Module())
        parent = getattr(parent, part)
    parent.add_module(path[-1], layer)


def new_network(graph: Graph, seed: int) -> Network:
    """A freshly initialised network; the same seed gives the same weights whatever ran before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(graph)


def weights_of(module: nn.Module) -> dict[str, np.ndarray]:
    """Weight arrays and batch-norm statistics by name (float32; batch counters left out), as copies of their own."""
    return {
        name: value.detach().cpu().numpy().copy()
        for name, value in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def network_with(graph: Graph, weights: Mapping[str, np.ndarray]) -> Network:
    """A network holding the given weights; every array of the graph must be there with its shape."""
    module = Network(graph)
    state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    missing, unexpected = module.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"weights do not fit the graph: {(missing + unexpected)[:3]}")
    return module
