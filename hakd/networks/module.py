"""The torch form of an op-level description: parameters with torch's names, one op after the other."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from hakd.networks.slicing import Keep, slice_weights
from hakd.ops.kinds import KINDS
from hakd.ops.op import Placed
from hakd.records.graph import Graph

Tap = Callable[[str, torch.Tensor], torch.Tensor]
# What an op computes, its inputs and its output, and the inputs that nothing needs afterwards.
_Call = tuple[Callable[..., torch.Tensor], Sequence[str], str, Sequence[str]]


class Network(nn.Module):
    """Runs a graph. `forward(x, tap)` hands every activation to `tap(tensor name, value)`, which may replace it."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        last_use = {name: op.name for op in graph.ops for name in op.inputs}
        self._calls: list[_Call] = []  # without the walk over the dots
        self._layers: dict[str, nn.Module] = {}
        for op in graph.ops:
            call = KINDS[op.kind].torch(graph.placed(op))
            ended = [name for name in dict.fromkeys(op.inputs) if last_use[name] == op.name]
            self._calls.append((call, op.inputs, op.output, ended))
            if isinstance(call, nn.Module):
                self._layers[op.name] = call
                _attach(self, op.name.split("."), call)
        self.to(memory_format=torch.channels_last)  # a training step takes 0.7-0.8 of the time (benchmarks/)

    def forward(self, x: torch.Tensor, tap: Tap | None = None) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        values = {self.graph.inputs[0]: x}
        for call, inputs, output, ended in self._calls:
            out = call(*[values[name] for name in inputs])
            values[output] = out if tap is None else tap(output, out)
            for name in ended:
                del values[name]
        return values[self.graph.output]

    @torch.no_grad()
    def narrow(self, keep: Keep) -> None:
        """Lose all channels but `keep` (positions by group; other groups stay whole); parameters are the same objects.

        Gradients are dropped. In a new network most of the time would go into initial weights that are not needed.
        """
        self.zero_grad(set_to_none=True)
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        held = {name: tensors[name] for name in self.graph.parameter_shapes()}
        sliced = slice_weights(self.graph, held, keep)
        self.graph = self.graph.at({group: len(channels) for group, channels in keep.items()})
        for name, value in sliced.items():
            tensors[name].data = value
        self.to(memory_format=torch.channels_last)
        for op in self.graph.ops:
            if self.graph.parameter_axes(op):
                _resize(self._layers[op.name], self.graph.placed(op))


def _resize(layer: nn.Module, at: Placed) -> None:
    """Set the channels that a layer has now. Torch computes with `groups` alone; the others are shown."""
    ins, out = at.ins[0].shape[0], at.out.shape[0]
    sizes = {"in_channels": ins, "out_channels": out, "groups": at.groups, "num_features": out}
    for name, value in (sizes | {"in_features": ins, "out_features": out, "num_parameters": out}).items():
        if hasattr(layer, name):
            setattr(layer, name, value)


def _attach(parent: nn.Module, path: list[str], layer: nn.Module) -> None:
    """Register `layer` under a dotted path, making the containers on the way.

    Past `add_module`, which refuses what torch's own attributes are called; people's layers may be called so.
    """
    for part in path[:-1]:
        parent = parent._modules.setdefault(part, nn.Module())  # type: ignore[assignment]
    before = parent._modules.get(path[-1])
    if before is not None:  # a layer that has layers, which came first
        layer._modules.update(before._modules)
    parent._modules[path[-1]] = layer


def new_network(graph: Graph, seed: int) -> Network:
    """A freshly initialised network; the same seed gives the same weights whatever ran before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(graph)


def weights_of(module: nn.Module) -> dict[str, np.ndarray]:
    """Weight arrays and batch-norm statistics by name (float32; batch counters left out), as copies."""
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
