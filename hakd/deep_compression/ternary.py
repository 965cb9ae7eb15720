"""Trained ternary quantisation (Zhu et al., arXiv 1612.01064): each layer's weights are one of +Wp, 0 and -Wn."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from hakd.deep_compression.phases import Phases, others_of
from hakd.deep_compression.pruning import Weights, prunable
from hakd.deep_compression.settings import CompressionSettings, check_choice
from hakd.deep_compression.sharing import tidy
from hakd.deep_compression.store import Compressed
from hakd.deep_compression.tensors import QuantisedTensor
from hakd.records.errors import HakdError
from hakd.training.loop import evaluate
from hakd.training.recipe import Recipe

DEPTHWISE = ("float", "ternary")


@dataclass(frozen=True)
class TernarySettings:
    """How to make a network ternary.

    Args:
        epochs: of training.
        threshold: t: weights whose magnitude is at most t times the layer's largest are zero. The paper's is 0.05.
        sparsity: instead of it, the fraction of each layer's weights that is zero; 0 means that it is not used.
        depthwise: whether depthwise convolutions stay `float` or become `ternary`.
        batch_norm: how it is stored, see `tuning.reduce_norms`.

    Raises:
        HakdError: a value out of its range.
    """

    epochs: int = 5
    threshold: float = 0.05
    sparsity: float = 0.0
    depthwise: str = "float"
    batch_norm: str = "half"

    def __post_init__(self) -> None:
        check_choice("depthwise", self.depthwise, DEPTHWISE)
        for name in ("threshold", "sparsity"):
            if not 0 <= getattr(self, name) < 1:
                problem = f"{getattr(self, name)!r} is not within [0, 1)"
                raise HakdError(problem, key=name, remedy="Change it in the configuration")

    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> "TernarySettings":
        """From the configuration's mapping, which the schema has checked."""
        return cls(**settings)


class _Ternarise(torch.autograd.Function):
    """The ternary weights of latent ones, and the gradients of section 3 of the paper."""

    @staticmethod
    def forward(
        ctx: Any, latent: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, limit: torch.Tensor
    ) -> torch.Tensor:
        above, below = latent > limit, latent < -limit
        ctx.save_for_backward(above, below, positive, negative)
        zero = torch.zeros((), dtype=latent.dtype, device=latent.device)
        return torch.where(above, positive, torch.where(below, -negative, zero))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        above, below, positive, negative = ctx.saved_tensors
        scaled = torch.where(above, positive * gradient, torch.where(below, negative * gradient, gradient))
        return scaled, (gradient * above).sum(), -(gradient * below).sum(), None


class Ternary(nn.Module):
    """Makes a layer's weight ternary: a parametrisation whose latent weights, Wp and Wn are trained.

    The weight that the layer sees is Wp where the latent weight is above D, -Wn where it is below -D, else 0, with
    D = t max|w|, or the quantile of |w| that the sparsity asks for. Wp and Wn start as the means of |w| over the two
    sets, so that training starts from the nearest ternary network.

    The gradient of Wp is a sum over thousands of weights, for which a learning rate that suits the weights is too large
    by that number. So the trained parameters are Wp and Wn times the root of the members that their sets have at first:
    the step of Wp is then that of its members' mean gradient, whatever the layer's size (as with the centroids of Deep
    Compression, `tuning.Centroids`), while the gradients with respect to Wp and Wn are the paper's.

    Args:
        weight: of the trained layer.
        threshold, sparsity: see `TernarySettings`.
    """

    def __init__(self, weight: torch.Tensor, threshold: float, sparsity: float = 0.0) -> None:
        super().__init__()
        self._threshold, self._sparsity = threshold, sparsity
        with torch.no_grad():
            above, below = self._sets(weight)
            everywhere = weight.abs()[above | below].mean() if (above | below).any() else weight.new_ones(())
            self._roots, starts = [], []
            for part in (above, below):
                members = int(part.sum())
                self._roots.append(max(1, members) ** 0.5)
                starts.append(self._roots[-1] * (weight.abs()[part].mean() if members else everywhere))
        self.scaled = nn.Parameter(torch.stack(starts))

    @property
    def values(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Wp and Wn."""
        return self.scaled[0] / self._roots[0], self.scaled[1] / self._roots[1]

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """The ternary weights, in the shape of the latent ones."""
        weights: torch.Tensor = _Ternarise.apply(latent, *self.values, self._limit(latent))
        return weights

    @torch.no_grad()
    def shared(self, latent: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Codes and codebook of the ternary weights."""
        above, below = self._sets(latent)
        codes = (below.to(torch.uint8) + 2 * above.to(torch.uint8)).cpu().numpy().astype(np.uint16)
        positive, negative = self.values
        return tidy(codes, np.array([0.0, -float(negative), float(positive)], np.float32))

    def _limit(self, latent: torch.Tensor) -> torch.Tensor:
        """D, a scalar."""
        magnitudes = latent.detach().abs()
        if not self._sparsity:
            return self._threshold * magnitudes.max()
        place = round(self._sparsity * magnitudes.numel())
        return magnitudes.flatten().kthvalue(place).values if place else magnitudes.new_zeros(())

    def _sets(self, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where weights are +Wp, and where -Wn."""
        limit = self._limit(latent)
        return latent > limit, latent < -limit


def ternarise(
    module: nn.Module,
    data: Any,
    *,
    settings: TernarySettings,
    recipe: Recipe,
    seed: int,
    label: str = "",
    resume_directory: str | os.PathLike | None = None,
) -> Compressed:
    """Make a trained network ternary in place, by training with the gradients of the paper.

    The first and the last layer stay float32, as in the paper, and depthwise convolutions unless the settings say
    otherwise: with one filter a channel, one pair of values a layer has to serve channels of different scales. Every
    other convolution or linear layer becomes ternary, however small: its pair takes 8 bytes.

    Arguments, metrics and errors are those of `compress.compress`, without those of pruning and sharing;
    `val_accuracy_ternary` is that before training, `zeros` the fraction of zeros in the ternary layers.

    Raises:
        HakdError: no layer is left to make ternary.
    """
    weights, kinds = prunable(module)
    others_of(module, weights)
    names = _inner(module, weights, settings)
    phases = Phases(
        module, data, recipe, seed, label, resume_directory, asdict(settings), "ternary.recipe.lr"
    )
    layers = {name: module.get_submodule(name.removesuffix(".weight")) for name in names}
    for layer in layers.values():
        made = Ternary(cast(torch.Tensor, layer.weight), settings.threshold, settings.sparsity)
        parametrize.register_parametrization(layer, "weight", made)
    metrics = {"val_accuracy_ternary": evaluate(module, data.validation)}
    phases.train("ternary", settings.epochs)
    tensors = []
    for name, layer in layers.items():
        parts = cast(Any, layer).parametrizations.weight
        codes, codebook = parts[0].shared(parts.original)
        # Taken off first: what is left is one tensor of weights, and it is made of what the file holds.
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        with torch.no_grad():
            cast(torch.Tensor, layer.weight).copy_(torch.from_numpy(codebook[codes]))
        tensors.append(QuantisedTensor(name, codes, codebook, kinds[name], _INDEX_BITS.bits(kinds[name])[1]))
    metrics["val_accuracy"] = phases.settle(settings.batch_norm)
    sizes = sum(tensor.codes.size for tensor in tensors)
    metrics["zeros"] = 1 - sum(tensor.nonzero for tensor in tensors) / sizes
    return phases.compressed(tensors, prunable(module)[0], metrics)


_INDEX_BITS = CompressionSettings()


def _inner(module: nn.Module, weights: Weights, settings: TernarySettings) -> list[str]:
    """The weights that become ternary: in the order in which layers run where the module knows it."""
    graph = getattr(module, "graph", None)
    order = [f"{op.name}.weight" for op in graph.ops] if graph is not None else list(weights)
    names = [name for name in order if name in weights][1:-1]
    if settings.depthwise == "float":
        layers = {name: module.get_submodule(name.removesuffix(".weight")) for name in names}
        names = [name for name, layer in layers.items() if not _is_depthwise(layer)]
    if not names:
        raise HakdError(
            "no layer to make ternary between the first and the last",
            where=type(module).__name__,
            remedy="Set `ternary.depthwise` to `ternary`, or leave `ternary` out",
        )
    return names


def _is_depthwise(layer: Any) -> bool:
    """Whether each channel has filters of its own."""
    return getattr(layer, "groups", 1) > 1 and layer.groups == layer.in_channels
