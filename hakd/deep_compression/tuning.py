"""Training of shared weights: all members of a cluster move together (Han et al., section 3.3)."""

from typing import Any

import numpy as np
import torch
from torch import nn

from hakd.deep_compression.pruning import Weights
from hakd.deep_compression.sharing import tidy

Shared = dict[str, tuple[np.ndarray, np.ndarray]]  # codes and codebook of tensors by name


class _SharedTensor:
    """One weight tensor with its codes and the current values of its centroids."""

    def __init__(self, weight: nn.Parameter, codes: np.ndarray, codebook: np.ndarray, step: str) -> None:
        self.weight = weight
        self.codes = torch.from_numpy(codes.astype(np.int64)).to(weight.device)
        flat = self.codes.flatten()
        count = len(codebook)
        members = torch.bincount(flat, minlength=count).clamp(min=1)
        self.scale = (1.0 / members if step == "mean" else torch.ones_like(members)).to(weight.dtype)
        self.scale[0] = 0.0
        used, first = np.unique(codes, return_index=True)
        self.members_of_used = torch.from_numpy(used.astype(np.int64)).to(weight.device)
        self.first = torch.from_numpy(first).to(weight.device)
        self.codebook = torch.from_numpy(codebook).to(weight.device, weight.dtype)

    def share_gradient(self) -> None:
        """Replace each weight's gradient by its centroid's: the sum over the members, scaled."""
        if self.weight.grad is None:
            return
        gradient = self.weight.grad
        sums = torch.bincount(self.codes.flatten(), weights=gradient.flatten(), minlength=len(self.codebook))
        gradient.copy_((sums.to(gradient.dtype) * self.scale)[self.codes])

    def share_values(self) -> None:
        """Read the centroids off one member each and write them to all: equal bit for bit."""
        self.codebook[self.members_of_used] = self.weight.flatten()[self.first]
        self.codebook[0] = 0.0
        self.write()

    def write(self) -> None:
        """Put the quantised weights into the network."""
        self.weight.copy_(self.codebook[self.codes])


class Centroids:
    """Trains codebooks in place of weights.

    A centroid's gradient is the sum of its members' gradients (equation 3). With `step` = `sum` that is what
    the optimiser gets, and a cluster of thousands of weights needs a learning rate that much smaller than a
    cluster of a few. With `mean` it is divided by the number of members: gradient descent on the weights
    themselves, confined to those that share, so the learning rate and weight decay that suited the weights
    suit the centroids.

    Args:
        weights: the tensors of the network by name.
        shared: codes and codebook by name, see `sharing.share`.
        step: `mean` or `sum`.
    """

    @torch.no_grad()
    def __init__(self, weights: Weights, shared: Shared, step: str = "mean") -> None:
        self._tensors = {name: _SharedTensor(weights[name], *pair, step) for name, pair in shared.items()}
        for tensor in self._tensors.values():
            tensor.write()

    @torch.no_grad()
    def after_backward(self, _module: nn.Module | None) -> None:
        """Hook of the training loop."""
        for tensor in self._tensors.values():
            tensor.share_gradient()

    @torch.no_grad()
    def after_step(self, _module: nn.Module | None) -> None:
        """Hook of the training loop."""
        for tensor in self._tensors.values():
            tensor.share_values()

    @torch.no_grad()
    def finish(self) -> Shared:
        """Codes and ascending codebooks as they are now; the network's weights are exactly these."""
        shared = {}
        for name, tensor in self._tensors.items():
            codes = tensor.codes.cpu().numpy().astype(np.uint16)
            codes, codebook = tidy(codes, tensor.codebook.cpu().numpy().astype(np.float32))
            tensor.weight.copy_(torch.from_numpy(codebook[codes]))
            shared[name] = (codes, codebook)
        return shared


@torch.no_grad()
def recalibrate(module: nn.Module, split: Any, batch_size: int = 512) -> None:
    """Batch norm's running statistics over one pass of `split` with the weights as they are.

    While weights train, running statistics trail behind them; those that are stored belong to the weights
    that are stored. They are the average over the batches, without augmentation as in evaluation; a last
    batch of less than half the size would count too much and is left out. A network without batch norm is
    left alone.
    """
    norms = _norms(module)
    if not norms:
        return
    momenta = [layer.momentum for layer in norms]
    modes = {part: part.training for part in module.modules()}
    module.eval()
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average
        layer.train()
    batch_size = min(batch_size, len(split))
    for images, _ in split.batches(batch_size, 0, 0, augment=False, shuffle=False):
        if 2 * len(images) >= batch_size:
            module(images)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    for part, mode in modes.items():
        part.training = mode


@torch.no_grad()
def reduce_norms(module: nn.Module, how: str) -> None:
    """Batch norm of a finished network in fewer bytes, in place: a scale and a shift a channel, not four numbers.

    A channel's output is w (x - m) / sqrt(v + eps) + b, which is a scale and a shift. These go into w and b, while m
    becomes 0 and v becomes 1 everywhere, which a file says once (`codec.encode`). Weights that share values keep them,
    so that nothing is lost, as it would be if the scale went into each channel's weights before they are shared.

    Args:
        how: `whole` leaves all four; `single` rounds w and b to float32, `half` to half precision (relative error
            below 2^-11; arrays that do not fit stay float32).
    """
    for layer in _norms(module) if how != "whole" else []:
        if not layer.affine:
            continue
        scale = layer.weight.double() / (layer.running_var.double() + layer.eps).sqrt()
        shift = layer.bias.double() - layer.running_mean.double() * scale
        for parameter, exact in ((layer.weight, scale * (1 + layer.eps) ** 0.5), (layer.bias, shift)):
            half = exact.half()
            parameter.copy_(half if how == "half" and half.isfinite().all() else exact)
        layer.running_mean.zero_()
        layer.running_var.fill_(1.0)


def _norms(module: nn.Module) -> list[Any]:
    """The batch norms of a network that have running statistics."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    return [layer for layer in norms if layer.track_running_stats]
