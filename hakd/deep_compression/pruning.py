"""Magnitude pruning: which weights of which tensors stay (Han et al., section 2)."""

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from hakd.deep_compression.settings import RULES
from hakd.records.errors import HakdError

Weights = dict[str, nn.Parameter]


def prunable(module: nn.Module) -> tuple[Weights, dict[str, str]]:
    """Weights of all convolutions (depthwise ones too) and linear layers by state name, and the kind of each.

    Raises:
        HakdError: two layers share a weight, or there is none.
    """
    weights: Weights = {}
    kinds: dict[str, str] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            key = f"{name}.weight" if name else "weight"
            weights[key] = cast(nn.Parameter, layer.weight)
            kinds[key] = "linear" if isinstance(layer, nn.Linear) else "conv"
    shared = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    if len(shared) > len(list(module.parameters())):
        raise HakdError(
            "layers share a parameter, which the format cannot store", where=type(module).__name__
        )
    if not weights:
        raise HakdError("has no convolution and no linear layer", where=type(module).__name__)
    return weights, kinds


def scores(weights: Weights, rule: str) -> dict[str, torch.Tensor]:
    """How weights of different layers are ranked; within a layer it is always by magnitude.

    The paper sets each layer's threshold by hand, after its sensitivity; batch norm makes the scale of a
    layer arbitrary, so the bare magnitude cannot do that across layers. Rules without a sensitivity scan:

    - `lamp`: the square over the sum of those squares in the layer that are no smaller, the share of what is
      left that goes with the weight (Lee et al. 2021, layer-adaptive magnitude). Small layers keep more of
      their weights, which spares depthwise and first convolutions.
    - `std`: the magnitude over the layer's standard deviation: one quality factor times that deviation is
      every layer's threshold (the code of Han et al. 2015). Every layer gets about the same density.
    - `global`: the bare magnitude.

    Returns:
        Float64 scores in the shapes of the weights; the highest are the last to go.
    """
    if rule not in RULES:
        raise HakdError(f"{rule!r} is not one of {list(RULES)}", key="threshold", remedy="Choose one of them")
    return {name: _RANK[rule](weight.detach().double()) for name, weight in weights.items()}


def _lamp(weight: torch.Tensor) -> torch.Tensor:
    """Squares divided by the sum of all squares in the layer that are no smaller."""
    squares = weight.flatten() ** 2
    order = torch.argsort(squares, descending=True, stable=True)
    ranked = squares[order]
    score = torch.zeros_like(squares)
    score[order] = ranked / ranked.cumsum(0).clamp(min=torch.finfo(ranked.dtype).tiny)
    return score.view_as(weight)


def _in_deviations(weight: torch.Tensor) -> torch.Tensor:
    """Magnitudes in standard deviations of the layer's weights that are not pruned yet."""
    alive = weight[weight != 0]
    scale = alive.std(correction=0) if alive.numel() else weight.new_zeros(())
    return weight.abs() / scale if scale > 0 else weight.abs()


_RANK: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "lamp": _lamp,
    "std": _in_deviations,
    "global": torch.abs,
}


def select(ranked: dict[str, torch.Tensor], density: float) -> dict[str, torch.Tensor]:
    """Masks (bool) that keep the fraction `density` of all weights: the highest scores, exactly that many.

    The highest score of each layer is kept whatever the others are, so no layer is cut through.
    """
    total = sum(score.numel() for score in ranked.values())
    keep = max(len(ranked), round(density * total))
    flat = torch.cat([score.flatten() for score in ranked.values()]).clone()
    start = 0
    for score in ranked.values():
        flat[start + int(score.argmax())] = torch.inf
        start += score.numel()
    chosen = torch.zeros(total, dtype=torch.bool, device=flat.device)
    chosen[torch.argsort(flat, descending=True, stable=True)[:keep]] = True
    parts = chosen.split([score.numel() for score in ranked.values()])
    return {name: part.view_as(score) for part, (name, score) in zip(parts, ranked.items(), strict=True)}


class Masks:
    """Keeps pruned weights at exactly zero while the survivors are trained.

    Their gradient is zeroed before each step, so a new optimiser never gathers momentum for
    them, and they are zeroed again after it, whatever the optimiser did.
    """

    def __init__(self, weights: Weights, masks: dict[str, torch.Tensor]) -> None:
        self._pairs = [(weights[name], mask) for name, mask in masks.items()]
        self.after_step(None)

    @torch.no_grad()
    def after_backward(self, _module: nn.Module | None) -> None:
        """Hook of the training loop: no gradient for pruned weights."""
        for weight, mask in self._pairs:
            if weight.grad is not None:
                weight.grad.masked_fill_(~mask, 0.0)

    @torch.no_grad()
    def after_step(self, _module: nn.Module | None) -> None:
        """Hook of the training loop: pruned weights are zero."""
        for weight, mask in self._pairs:
            weight.masked_fill_(~mask, 0.0)
