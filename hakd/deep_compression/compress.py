"""Deep Compression: prune and fine-tune in rounds, share weights, fine-tune the centroids; and pruning alone."""

import os
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from hakd.deep_compression.phases import Phases, others_of
from hakd.deep_compression.pruning import Masks, Weights, prunable, scores, select
from hakd.deep_compression.settings import CompressionSettings as CompressionSettings  # a caller needs both
from hakd.deep_compression.sharing import share
from hakd.deep_compression.store import Compressed
from hakd.deep_compression.tensors import QuantisedTensor, SparseTensor
from hakd.deep_compression.tuning import Centroids, Shared
from hakd.records.errors import HakdError
from hakd.training.loop import evaluate
from hakd.training.recipe import Recipe


def compress(
    module: nn.Module,
    data: Any,
    *,
    density: float,
    settings: CompressionSettings,
    recipe: Recipe,
    seed: int,
    label: str = "",
    resume_directory: str | os.PathLike | None = None,
) -> Compressed:
    """Compress a trained network in place.

    Args:
        module: convolutions and linear layers are compressed, everything else is kept as float32; on the
            data's device. Afterwards its weights are exactly what the file decodes to.
        data: has `train` and `validation` splits; nothing else is read.
        density: fraction of the convolution and linear weights left, in (0, 1]. With 1 there are no rounds:
            sharing comes first.
        recipe: of all fine-tuning; its schedule spans each phase.
        seed: fixes the order of the images, another one in each phase.
        resume_directory: state of unfinished fine-tuning is kept here; the caller deletes it once the result
            is safe.

    Returns:
        Tensors and other arrays to write, and as metrics: `density` (as reached), `weights`,
        `nonzero_weights`, `nonzero_params` (with biases and batch norm's scale and shift), `val_accuracy`
        and, before sharing and before the centroids were trained, `val_accuracy_pruned` and
        `val_accuracy_shared`; `quality_factor` (threshold by standard deviation, of the last round; `std`
        rule only); `train_images`, `seconds`.

    Raises:
        HakdError: a density outside (0, 1], shared parameters, arrays that are not float32, or training that
            diverges.
    """
    weights, kinds, phases = _begin(
        module, data, density, recipe, seed, label, resume_directory, [asdict(settings), density]
    )
    masks, factor = _prune(phases, weights, density, settings)
    metrics: dict[str, Any] = {"val_accuracy_pruned": evaluate(module, data.validation)}
    shared: Shared = {}
    for name, weight in weights.items():
        bits = settings.bits(kinds[name])[0]
        values, kept = weight.detach().cpu().numpy(), masks[name].cpu().numpy()
        shared[name] = share(values, kept, bits, settings.members_per_cluster)
    centroids = Centroids(weights, shared, settings.centroid_step)
    metrics["val_accuracy_shared"] = evaluate(module, data.validation)
    phases.train("centroids", settings.sharing_epochs, centroids)
    shared = centroids.finish()
    metrics |= {"val_accuracy": phases.settle(settings.batch_norm), "quality_factor": factor}
    tensors = [
        QuantisedTensor(name, *shared[name], kinds[name], settings.bits(kinds[name])[1]) for name in weights
    ]
    return phases.compressed(tensors, weights, metrics)


def prune_weights(
    module: nn.Module,
    data: Any,
    *,
    density: float,
    settings: CompressionSettings,
    recipe: Recipe,
    seed: int,
    label: str = "",
    resume_directory: str | os.PathLike | None = None,
) -> Compressed:
    """Only prune a trained network in place: the first part of `compress`, with the same steps in the same order.

    Arguments and errors are those of `compress`. Weights keep their own values, so that the file holds a float32 and an
    index difference for each that is left (the paper's stage P).
    """
    weights, kinds, phases = _begin(
        module, data, density, recipe, seed, label, resume_directory, [asdict(settings), density]
    )
    _, factor = _prune(phases, weights, density, settings)
    metrics = {"val_accuracy_pruned": evaluate(module, data.validation), "quality_factor": factor}
    metrics["val_accuracy"] = phases.settle(settings.batch_norm)
    tensors = [
        SparseTensor(name, weight.detach().cpu().numpy().copy(), kinds[name], settings.bits(kinds[name])[1])
        for name, weight in weights.items()
    ]
    return phases.compressed(tensors, weights, metrics)


def _begin(
    module: nn.Module,
    data: Any,
    density: float,
    recipe: Recipe,
    seed: int,
    label: str,
    directory: str | os.PathLike | None,
    context: Any,
) -> tuple[Weights, dict[str, str], Phases]:
    """Weights to prune, the kind of each, and the phases; refuses what could not be stored before hours of training."""
    if not 0 < density <= 1:
        raise HakdError(f"{density} is not within (0, 1]", key="level", remedy="Give the fraction to keep")
    weights, kinds = prunable(module)
    others_of(module, weights)
    return weights, kinds, Phases(module, data, recipe, seed, label, directory, context)


def _prune(
    phases: Phases, weights: Weights, density: float, settings: CompressionSettings
) -> tuple[dict[str, torch.Tensor], float | None]:
    """Prune to density ** (r / rounds) in round r and fine-tune; the last masks and quality factor."""
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    factor = None
    for number in range(1, settings.rounds + 1 if density < 1 else 1):
        ranked = scores(weights, settings.threshold)
        masks = select(ranked, density ** (number / settings.rounds))
        if settings.threshold == "std":
            factor = max(float(ranked[name].masked_fill(mask, 0.0).max()) for name, mask in masks.items())
        phases.train(f"prune {number}/{settings.rounds}", settings.epochs, Masks(weights, masks))
    return masks, factor
