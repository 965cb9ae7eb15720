"""The network that pruning trains, at widths that may still hold channels which are gone.

On the CPU a removal shrinks it immediately, and later steps get cheaper. On CUDA, cuDNN sets up every new shape again,
which costs more than many steps: there removed channels stay, multiplied by zero behind every site of
`hakd.pruning.fisher.mask_sites`, the step is recorded once, and the network shrinks when its MACs have halved.

What is left has the weights, statistics and scores of the shrunk network, up to rounding: batch norms work on each
channel alone, and a zero behind each site is a channel that is not there. The weights of removed channels only decay.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hakd.networks.families import build_graph
from hakd.networks.module import network_with, weights_of
from hakd.networks.slicing import slice_weights
from hakd.pruning.criteria import CRITERIA
from hakd.pruning.fisher import mask_sites
from hakd.pruning.settings import PruneJob
from hakd.pruning.state import State
from hakd.records.errors import HakdError
from hakd.training.captured import Step


class Trainee(nn.Module):
    """A network on its way down, its optimiser and its scores. As a module it is the network without what is gone.

    Args:
        state: to continue from; `keep` writes back what was trained.
        job: its settings; `masks` says whether removed channels stay for a while.
        device: to train on.
    """

    def __init__(self, state: State, job: PruneJob, device: torch.device) -> None:
        super().__init__()
        self._job = job
        self.masked = device.type == "cuda" if job.masks is None else job.masks
        self.network = network_with(build_graph(state.architecture), state.weights).to(device)
        self._settle(state.momentum)

    def _settle(self, momentum: Mapping[str, np.ndarray | torch.Tensor]) -> None:
        """Set up everything that depends on the shapes: nothing is masked, each channel is left."""
        graph, settings = self.network.graph, self._job.settings
        self.left = {group: np.arange(width) for group, width in graph.groups().items()}
        self._held_macs = graph.macs()
        self._scores = CRITERIA[self._job.criterion](self.network, self._job.seed, 0)
        self._masks = self._whole_masks() if self.masked else {}
        self.step = Step(
            self.network,
            self._loss,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            after_backward=lambda _: self._scores.add(self._batch),
            fixed=self.masked,
        )
        for name, parameter in self.network.named_parameters():
            if name in momentum:
                value = torch.empty_like(parameter).copy_(torch.as_tensor(momentum[name]))
                self.step.optimiser.state[parameter]["momentum_buffer"] = value

    def _whole_masks(self) -> dict[str, torch.Tensor]:
        """A factor of one for each channel of each site."""
        graph, like = self.network.graph, next(self.network.parameters())
        sites = {name: graph.tensors[name] for name in mask_sites(graph)}
        return {name: like.new_ones(1, one.shape[0], *[1] * len(one.size)) for name, one in sites.items()}

    def _tap(self, name: str, value: torch.Tensor) -> torch.Tensor:
        mask = self._masks.get(name)
        return self._scores.tap(name, value if mask is None else value * mask)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of the network that lacks what is gone."""
        logits: torch.Tensor = self.network(images, self._tap)
        return logits

    def _loss(self, _network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self._batch = len(labels)
        self._scores.drop()
        return F.cross_entropy(self(images), labels)

    def train_cycle(self, batches: Iterator, state: State, macs: int) -> None:
        """`settings.steps` steps of SGD in train mode, scores accumulating over them; their scores go into the state.

        Args:
            batches: of images and labels.
            state: counts steps, images and multiply-accumulates, three forward passes an image.
            macs: of the network that lacks what is gone.

        Raises:
            HakdError: a loss is not finite.
        """
        settings, losses = self._job.settings, []
        self.network.train()
        self._scores.begin(state.removals)
        for _ in range(settings.steps):
            images, labels = next(batches)
            losses.append(self.step(images, labels, settings.lr))
            state.step += 1
            state.images += len(labels)
            state.macs_spent += 3 * len(labels) * macs
        for before, loss in enumerate(torch.stack(losses).tolist(), state.step - len(losses)):
            if not math.isfinite(loss):
                raise HakdError(
                    f"pruning diverged at step {before + 1}, learning rate {settings.lr:.4g}",
                    where="config",
                    key="prune.lr",
                    remedy="Lower it",
                )
        scores = self._scores.scores(self.left if self.masked else None)
        state.scores = {group: values.numpy() for group, values in scores.items()}

    def remove(self, keep: Mapping[str, np.ndarray], macs: int) -> None:
        """Lose channels.

        Args:
            keep: of groups that lose some, which of the channels that were left stay.
            macs: of the network without the others.
        """
        self.left |= {group: self.left[group][places] for group, places in keep.items()}
        if not self.masked or macs <= self._held_macs / 2:
            self._shrink({group: self.left[group] for group in (self.left if self.masked else keep)})
            return
        graph = self.network.graph
        for name, sites in mask_sites(graph).items():
            whole = np.ones(graph.tensors[name].shape[0], np.float32)
            for group, segment, start in sites:
                places = whole[start : start + segment.size * segment.times].reshape(
                    segment.size, segment.times
                )
                places[np.setdiff1d(np.arange(segment.size), self.left[group])] = 0
            self._masks[name].copy_(torch.from_numpy(whole).reshape(self._masks[name].shape))

    def _shrink(self, keep: Mapping[str, np.ndarray]) -> None:
        """Copy what is left of weights, statistics and momentum into smaller arrays."""
        momentum = slice_weights(self.network.graph, self._momentum(), keep)
        self.network.narrow(keep)
        self._settle(momentum)

    def _momentum(self) -> dict[str, torch.Tensor]:
        held = self.step.optimiser.state
        found = {name: held[one].get("momentum_buffer") for name, one in self.network.named_parameters()}
        return {name: value for name, value in found.items() if value is not None}

    def keep(self, state: State) -> None:
        """Write weights, statistics and momentum of what is left into the state."""
        graph, left = self.network.graph, self.left if self.masked else {}
        momentum = {name: value.cpu().numpy() for name, value in self._momentum().items()}
        state.weights = slice_weights(graph, weights_of(self.network), left)
        state.momentum = slice_weights(graph, momentum, left)
