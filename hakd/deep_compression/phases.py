"""What all compressions share: phases of fine-tuning one after the other, and the end, where all is scored."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from hakd.deep_compression.pruning import Weights
from hakd.deep_compression.store import Compressed
from hakd.deep_compression.tensors import Tensor
from hakd.deep_compression.tuning import recalibrate, reduce_norms
from hakd.records.errors import HakdError
from hakd.training.captured import do_nothing
from hakd.training.loop import TrainingRun, evaluate, fit
from hakd.training.recipe import Recipe


class Hooks(Protocol):
    """What holds weights to their form while they are trained."""

    def after_backward(self, _module: nn.Module | None) -> None:
        """Between backward and the optimiser's step."""

    def after_step(self, _module: nn.Module | None) -> None:
        """After it."""


@dataclass
class Phases:
    """Runs phases of fine-tuning one after the other and keeps their history; see `compress` for the arguments.

    Args:
        context: whatever else decides the result.
        lr_key: key of the configuration that sets the learning rate.
    """

    module: nn.Module
    data: Any
    recipe: Recipe
    seed: int
    label: str
    directory: str | os.PathLike | None
    context: Any
    lr_key: str = "deep_compression.recipe.lr"
    history: list[dict[str, Any]] = field(default_factory=list)
    images: int = 0
    number: int = 0
    begun: float = field(default_factory=time.monotonic)

    def train(self, name: str, epochs: int, hooks: Hooks | None = None) -> None:
        """Fine-tune for `epochs` with the hooks of `hooks`."""
        self.number += 1
        if not epochs:
            return
        run = TrainingRun(
            epochs,
            self.recipe,
            self.seed * 1009 + self.number,
            after_backward=hooks.after_backward if hooks else do_nothing,
            after_step=hooks.after_step if hooks else do_nothing,
            label=f"{self.label} {name}".strip(),
            resume_path=Path(self.directory, f"phase-{self.number}.pt") if self.directory else None,
            context=[name, self.context],
            lr_key=self.lr_key,
        )
        rows = fit(self.module, self.data, run)
        self.history += [{"phase": name, **row} for row in rows]
        self.images += epochs * len(self.data.train)

    def settle(self, batch_norm: str) -> float:
        """Give batch norm the statistics and the form that are stored; the validation accuracy from then on."""
        recalibrate(self.module, self.data.train, self.recipe.batch_size)
        reduce_norms(self.module, batch_norm)
        return evaluate(self.module, self.data.validation)

    def compressed(self, tensors: Sequence[Tensor], weights: Weights, metrics: dict[str, Any]) -> Compressed:
        """The finished network: tensors, all other arrays, and the metrics that every compression has on top."""
        metrics = metrics | _counts(self.module, weights, tensors) | {"train_images": self.images}
        metrics["seconds"] = time.monotonic() - self.begun
        names = {tensor.name for tensor in tensors}
        return Compressed(tensors, others_of(self.module, names), metrics, self.history)


def others_of(module: nn.Module, names: set[str] | Weights) -> dict[str, np.ndarray]:
    """Every array of the state but `names`; counters (batch norm's number of batches) are of no use when finished.

    Raises:
        HakdError: an array that is not float32.
    """
    arrays = {}
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        if value.dtype != torch.float32:
            raise HakdError(f"is {value.dtype}, the format stores float32", where=name, remedy="Convert it")
        if name not in names:
            arrays[name] = value.detach().cpu().numpy().copy()
    return arrays


def _counts(module: nn.Module, weights: Weights, tensors: Sequence[Tensor]) -> dict[str, Any]:
    """How many weights and parameters are left; of a compressed tensor a weight counts that costs bytes."""
    total = sum(weight.numel() for weight in weights.values())
    compressed = sum(int(np.prod(tensor.shape, dtype=np.int64)) for tensor in tensors)
    left = total - compressed + sum(tensor.nonzero for tensor in tensors)
    params = sum(parameter.numel() for parameter in module.parameters())
    return {
        "density": left / total,
        "weights": total,
        "nonzero_weights": left,
        "nonzero_params": params - total + left,
    }
