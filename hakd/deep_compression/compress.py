"""The whole method: prune and fine-tune in rounds, share weights, fine-tune the centroids."""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hakd.deep_compression.codec import MAX_BITS, QuantisedTensor
from hakd.deep_compression.pruning import RULES, Masks, Weights, prunable, scores, select
from hakd.deep_compression.sharing import share
from hakd.deep_compression.store import Compressed
from hakd.deep_compression.tuning import STEPS, Centroids, recalibrate
from hakd.records.errors import HakdError
from hakd.training.loop import TrainingRun, evaluate, fit
from hakd.training.recipe import Recipe

Shared = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class CompressionSettings:
    """How to compress.

    Args:
        rounds: prunings on the way to the density; each leaves the same fraction of what the one before left.
        epochs: fine-tuning after each.
        sharing_epochs: fine-tuning of the centroids.
        conv_bits, linear_bits: bits of a code; 2 ** bits - 1 shared weights and the filler's zero.
        conv_index_bits, linear_index_bits: bits of an index difference.
        threshold: how weights of different layers compare, `lamp`, `std` or `global`; `pruning.scores`.
        members_per_cluster: weights a cluster has at least, on average; 1 is the paper, see
            `sharing.usable_clusters`.
        centroid_step: `mean` or `sum`, see `tuning.Centroids`.

    Raises:
        HakdError: a value out of its range.
    """

    rounds: int = 3
    epochs: int = 2
    sharing_epochs: int = 2
    conv_bits: int = 8
    linear_bits: int = 5
    conv_index_bits: int = 8
    linear_index_bits: int = 5
    threshold: str = "lamp"
    members_per_cluster: int = 4
    centroid_step: str = "mean"

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            allowed = {"threshold": RULES, "centroid_step": STEPS}.get(name)
            if allowed:
                if value not in allowed:
                    problem = f"{value!r} is not one of {list(allowed)}"
                    raise HakdError(problem, key=name, remedy="Choose one of them")
                continue
            lowest = 0 if name.endswith("epochs") else 1
            highest = MAX_BITS if name.endswith("_bits") else 10**6
            if type(value) is not int or not lowest <= value <= highest:
                problem = f"{value!r} is not a whole number from {lowest} to {highest}"
                raise HakdError(problem, key=name, remedy="Change it in the configuration")

    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> "CompressionSettings":
        """From the configuration's mapping; unknown keys are an error."""
        unknown = sorted(set(settings) - {setting.name for setting in fields(cls)})
        if unknown:
            raise HakdError("unknown setting", key=unknown[0], remedy="See config/README.md")
        return cls(**settings)

    def bits(self, kind: str) -> tuple[int, int]:
        """Bits of a code and of an index difference for `conv` or `linear`."""
        if kind == "linear":
            return self.linear_bits, self.linear_index_bits
        return self.conv_bits, self.conv_index_bits


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
    if not 0 < density <= 1:
        raise HakdError(f"{density} is not within (0, 1]", key="level", remedy="Give the fraction to keep")
    begun = time.monotonic()
    weights, kinds = prunable(module)
    _others(module, weights)  # refuses what the file could not hold before hours of training
    phases = _Phases(module, data, recipe, seed, label, resume_directory, [asdict(settings), density])
    masks, factor = _prune(phases, weights, density, settings)
    metrics = {"val_accuracy_pruned": evaluate(module, data.validation)}
    shared: Shared = {}
    for name, weight in weights.items():
        bits = settings.bits(kinds[name])[0]
        values, kept = weight.detach().cpu().numpy(), masks[name].cpu().numpy()
        shared[name] = share(values, kept, bits, settings.members_per_cluster)
    centroids = Centroids(weights, shared, settings.centroid_step)
    metrics["val_accuracy_shared"] = evaluate(module, data.validation)
    phases.train("centroids", settings.sharing_epochs, centroids)
    shared = centroids.finish()
    recalibrate(module, data.train, recipe.batch_size)
    metrics["val_accuracy"] = evaluate(module, data.validation)
    tensors = [
        QuantisedTensor(name, *shared[name], kinds[name], settings.bits(kinds[name])[1]) for name in weights
    ]
    others = _others(module, weights)
    metrics |= _counts(module, tensors) | {"quality_factor": factor, "train_images": phases.images}
    metrics["seconds"] = time.monotonic() - begun
    return Compressed(tensors, others, metrics, phases.history)


def _prune(
    phases: "_Phases", weights: Weights, density: float, settings: CompressionSettings
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


@dataclass
class _Phases:
    """Runs phases of fine-tuning one after the other and keeps their history; see `compress` for the arguments."""

    module: nn.Module
    data: Any
    recipe: Recipe
    seed: int
    label: str
    directory: str | os.PathLike | None
    context: Any
    history: list[dict[str, Any]] = field(default_factory=list)
    images: int = 0
    number: int = 0

    def train(self, name: str, epochs: int, hooks: Masks | Centroids) -> None:
        """Fine-tune for `epochs` with the hooks of `hooks`."""
        self.number += 1
        if not epochs:
            return
        run = TrainingRun(
            epochs,
            self.recipe,
            self.seed * 1009 + self.number,
            after_backward=hooks.after_backward,
            after_step=hooks.after_step,
            label=f"{self.label} {name}".strip(),
            resume_path=Path(self.directory, f"phase-{self.number}.pt") if self.directory else None,
            context=[name, self.context],
            lr_key="deep_compression.recipe.lr",
        )
        rows = fit(self.module, self.data, run)
        self.history += [{"phase": name, **row} for row in rows]
        self.images += epochs * len(self.data.train)


def _others(module: nn.Module, weights: Weights) -> dict[str, np.ndarray]:
    """Every other array of the state; counters (batch norm's number of batches) are of no use to a finished network."""
    arrays = {}
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        if value.dtype != torch.float32:
            raise HakdError(f"is {value.dtype}, the format stores float32", where=name, remedy="Convert it")
        if name not in weights:
            arrays[name] = value.detach().cpu().numpy().copy()
    return arrays


def _counts(module: nn.Module, tensors: list[QuantisedTensor]) -> dict[str, Any]:
    """How many weights and parameters are left; a weight counts by its code, as it costs bytes."""
    total = sum(tensor.codes.size for tensor in tensors)
    left = sum(int(np.count_nonzero(tensor.codes)) for tensor in tensors)
    params = sum(parameter.numel() for parameter in module.parameters())
    return {
        "density": left / total,
        "weights": total,
        "nonzero_weights": left,
        "nonzero_params": params - total + left,
    }
