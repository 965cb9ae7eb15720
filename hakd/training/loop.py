"""One training loop for teachers, students, baselines and fine-tuning.

Everything random is a function of (seed, epoch), so a run that was killed and resumed equals one that was not.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from hakd.data.split import Batch
from hakd.networks.module import weights_of
from hakd.records.errors import HakdError
from hakd.training.optimiser import SGD
from hakd.training.recipe import Recipe
from hakd.training.states import KeptState

Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
Hook = Callable[[nn.Module], None]


def cross_entropy(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of a batch."""
    return F.cross_entropy(module(images), labels)


@torch.no_grad()
def evaluate(module: nn.Module, split: Any, batch_size: int = 512) -> float:
    """Share of a split classified right (0 to 1), in eval mode; restores the mode."""
    was_training = module.training
    module.eval()
    right = 0
    for images, labels in split.batches(batch_size, 0, 0, augment=False, shuffle=False):
        right += int((module(images).argmax(1) == labels).sum())
    module.train(was_training)
    return right / len(split)


def do_nothing(module: nn.Module) -> None:
    """The hook of a run that needs none."""


@dataclass(frozen=True)
class TrainingRun:
    """What one run of the loop is.

    Args:
        epochs: passes over the training split; the schedule spans them.
        recipe: optimiser and schedule.
        seed: fixes the order and augmentation of the images.
        loss: scalar loss of (module, images, labels).
        after_backward: called between backward and the optimiser's step (masks, shared gradients).
        after_step: called after the step.
        label: what the progress bar calls this run.
        resume_path: state is kept here after every epoch, and a run that finds it goes on from it; deleted at the end
            by the caller once the result is safe.
        context: whatever else decides the result and can be held by JSON (settings of the loss, of the hooks). A kept
            state of another context, of other data or of other start weights is not gone on from.
        lr_key: key of the configuration that sets the learning rate; named if training diverges.
    """

    epochs: int
    recipe: Recipe
    seed: int
    loss: Loss = cross_entropy
    after_backward: Hook = do_nothing
    after_step: Hook = do_nothing
    label: str = ""
    resume_path: str | os.PathLike | None = None
    context: Any = None
    lr_key: str = "lr"


def fit(module: nn.Module, data: Any, run: TrainingRun) -> list[dict[str, Any]]:
    """Train in place and return one row of metrics per epoch.

    Args:
        module: the network; moved nowhere, it must be on the data's device.
        data: has `train` and `validation` splits.
        run: how to train.

    Raises:
        HakdError: the loss is not finite (names the epoch, the learning rate and its key).
    """
    recipe = run.recipe
    optimiser = SGD(
        module.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )
    settings = {"epochs": run.epochs, "recipe": asdict(recipe), "seed": run.seed, "context": run.context}
    kept_state = KeptState(run.resume_path, settings, data, weights_of(module))
    rows = _resume(kept_state, module, optimiser)
    left = range(len(rows), run.epochs)
    bar = tqdm(left, run.label, run.epochs, initial=len(rows), unit="epoch", mininterval=1)
    for epoch in bar:
        row = _train_epoch(module, data, optimiser, run, epoch)
        rows.append(row)
        bar.set_postfix(loss=f"{row['train_loss']:.3f}", val=f"{row['val_accuracy']:.3f}")
        if epoch + 1 < run.epochs:
            state = {"module": module.state_dict(), "optimiser": optimiser.state_dict(), "rows": rows}
            kept_state.write(state)
    return rows


def _train_epoch(
    module: nn.Module, data: Any, optimiser: torch.optim.Optimizer, run: TrainingRun, epoch: int
) -> dict[str, Any]:
    """One pass over the training split (`epoch` counts from 0); its row of metrics."""
    start, total, seen = time.monotonic(), 0.0, 0
    module.train()
    recipe = run.recipe
    for images, labels in data.train.batches(recipe.batch_size, run.seed, epoch, augment=recipe.augment):
        lr = recipe.lr_at((epoch + seen / len(data.train)) / run.epochs)
        for group in optimiser.param_groups:
            group["lr"] = lr
        loss = _step(module, (images, labels), optimiser, run)
        total += loss * len(labels)
        seen += len(labels)
        if not math.isfinite(total):
            raise HakdError(
                f"training diverged: the loss became {loss} in epoch {epoch + 1} at learning rate {lr:.4g}",
                remedy=f"Lower `{run.lr_key}` in the configuration",
            )
    return {
        "epoch": epoch + 1,
        "lr": lr,
        "train_loss": total / seen,
        "val_accuracy": evaluate(module, data.validation),
        "images": seen,
        "seconds": time.monotonic() - start,
    }


def _step(module: nn.Module, batch: Batch, optimiser: torch.optim.Optimizer, run: TrainingRun) -> float:
    """One step of the optimiser, with the run's hooks around it; the loss before it."""
    optimiser.zero_grad(set_to_none=True)
    loss = run.loss(module, *batch)
    loss.backward()
    run.after_backward(module)
    optimiser.step()
    run.after_step(module)
    return float(loss.detach())


def _resume(
    kept_state: KeptState, module: nn.Module, optimiser: torch.optim.Optimizer
) -> list[dict[str, Any]]:
    """Set network and optimiser to the state that was kept of this run, if there is one; its rows."""
    state = kept_state.read()
    if state is None:
        return []
    module.load_state_dict(state["module"])
    optimiser.load_state_dict(state["optimiser"])
    return list(state["rows"])
