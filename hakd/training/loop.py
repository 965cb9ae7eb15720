"""One training loop for teachers, students, baselines and fine-tuning.

Everything random is a function of (seed, epoch), so a run that was killed and resumed equals one that was not. On CUDA
nothing waits for the device within an epoch: losses and counts stay there.
"""

import logging
import math
import os
import time
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from hakd.networks.module import weights_of
from hakd.records.errors import HakdError
from hakd.training.captured import Hook, Step, do_nothing
from hakd.training.captured import Loss as Loss  # of this module for those who write one
from hakd.training.recipe import Recipe
from hakd.training.states import KeptState

log = logging.getLogger(__name__)
_READ_EVERY = 500  # steps: losses are read from a GPU so often within a long epoch


class Diverged(HakdError):
    """The loss of a training is not finite."""


def cross_entropy(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of a batch."""
    return F.cross_entropy(module(images), labels)


@torch.no_grad()
def evaluate(module: nn.Module, split: Any, batch_size: int = 512) -> float:
    """Share of a split classified right (0 to 1), in eval mode; restores the mode."""
    was_training = module.training
    module.eval()
    right = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for images, labels in split.batches(batch_size, 0, 0, augment=False, shuffle=False):
        right += (module(images).argmax(1) == labels).sum()
    module.train(was_training)
    return int(right) / len(split)


@dataclass(frozen=True)
class TrainingRun:
    """What one run of the loop is.

    Args:
        epochs: passes over the training split; the schedule spans them. Not read where `steps` are given.
        recipe: optimiser and schedule.
        seed: fixes the order and augmentation of the images.
        loss: scalar loss of (module, images, labels), see `Step`.
        after_backward: called between backward and the optimiser's step (masks, shared gradients).
        after_step: called after the step.
        label: what the progress bar calls this run.
        resume_path: state is kept here after every epoch, and a run that finds it continues from it; deleted at the end
            by the caller once the result is safe.
        context: whatever else decides the result and can be held by JSON (settings of the loss, of the hooks). A kept
            state of another context, of other data or of other start weights is not used.
        lr_key: key of the configuration that sets the learning rate; named if training diverges.
        steps: of the optimiser, instead of `epochs`: the schedule spans them, and the last epoch is cut.
        fixed: take steps that CUDA can record (`Step`); None: where the device is CUDA and no hook is given.
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
    steps: int | None = None
    fixed: bool | None = None

    def ended(self, epochs: int, steps: int) -> bool:
        """Whether nothing is left after as many epochs and steps."""
        return epochs >= self.epochs if self.steps is None else steps >= self.steps

    def progress(self, epochs: float, steps: int) -> float:
        """How much of the run is done after as many epochs and steps, 0 to 1."""
        return epochs / self.epochs if self.steps is None else steps / self.steps

    def step_of(self, module: nn.Module) -> Step:
        """How a step is taken."""
        hooks = self.after_backward, self.after_step
        hooked = any(hook is not do_nothing for hook in hooks)
        fixed = self.fixed
        if fixed is None:
            fixed = next(module.parameters()).is_cuda and not hooked
        if hooked and next(module.parameters()).is_cuda:
            log.info("%s: steps are not recorded as a CUDA graph: hooks run between them", self.label)
        recipe = self.recipe
        return Step(
            module,
            self.loss,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
            after_backward=self.after_backward,
            after_step=self.after_step,
            fixed=fixed,
        )


def fit(module: nn.Module, data: Any, run: TrainingRun) -> list[dict[str, Any]]:
    """Train in place and return one row of metrics per epoch, the last one of a part of an epoch where steps end in it.

    Args:
        module: the network; moved nowhere, it must be on the data's device.
        data: has `train` and `validation` splits.
        run: how to train.

    Raises:
        Diverged: the loss is not finite (names the epoch, the learning rate and its key).
    """
    step = run.step_of(module)
    settings = {"epochs": run.epochs, "recipe": asdict(run.recipe), "seed": run.seed, "context": run.context}
    if run.steps is not None:
        settings |= {"epochs": None, "steps": run.steps}
    kept_state = KeptState(run.resume_path, settings, data, weights_of(module))
    rows, done = _resume(kept_state, module, step.optimiser)
    whole = run.epochs if run.steps is None else run.steps
    with tqdm(
        desc=run.label, total=whole, initial=len(rows) if run.steps is None else done, mininterval=1,
        unit="epoch" if run.steps is None else "step",
    ) as bar:  # fmt: skip
        while not run.ended(len(rows), done):
            row, taken = _train_epoch(module, data, step, run, len(rows), done)
            rows.append(row)
            done += taken
            bar.set_postfix(loss=f"{row['train_loss']:.3f}", val=f"{row['val_accuracy']:.3f}", refresh=False)
            bar.update(1 if run.steps is None else taken)
            if not run.ended(len(rows), done):
                state = {"module": module.state_dict(), "rows": rows, "steps": done}
                kept_state.write(state | {"optimiser": step.optimiser.state_dict()["state"]})
    return rows


def _train_epoch(
    module: nn.Module, data: Any, step: Step, run: TrainingRun, epoch: int, done: int
) -> tuple[dict[str, Any], int]:
    """One pass over the training split (`epoch` counts from 0), or what is left of the run; its metrics and steps."""
    start, seen, taken = time.monotonic(), 0, 0
    module.train()
    recipe, losses = run.recipe, _Losses(run, epoch)
    batches = data.train.batches(recipe.batch_size, run.seed, epoch, augment=recipe.augment)
    for images, labels in islice(batches, None if run.steps is None else run.steps - done):
        lr = recipe.lr_at(run.progress(epoch + seen / len(data.train), done + taken))
        losses.add(step(images, labels, lr), len(labels), lr)
        seen += len(labels)
        taken += 1
    return {
        "epoch": epoch + 1,
        "lr": lr,
        "train_loss": losses.total() / seen,
        "val_accuracy": evaluate(module, data.validation),
        "images": seen,
        "seconds": time.monotonic() - start,
    }, taken


class _Losses:
    """The losses of an epoch's steps: on the CPU read immediately, on a GPU only when it has to wait anyway."""

    def __init__(self, run: TrainingRun, epoch: int) -> None:
        self._run, self._epoch, self._total = run, epoch, 0.0
        self._unread: list[tuple[torch.Tensor, int, float]] = []

    def add(self, loss: torch.Tensor, images: int, lr: float) -> None:
        """Take in the mean loss of a step on `images`."""
        self._unread.append((loss, images, lr))
        if loss.device.type == "cpu" or len(self._unread) == _READ_EVERY:
            self.total()

    def total(self) -> float:
        """Sum over all images.

        Raises:
            Diverged: a loss was not finite; names the first.
        """
        values = torch.stack([loss for loss, _, _ in self._unread]).tolist() if self._unread else []
        for value, (_, images, lr) in zip(values, self._unread, strict=True):
            self._total += value * images
            if not math.isfinite(self._total):
                raise Diverged(
                    f"training diverged: the loss became {value} in epoch {self._epoch + 1} "
                    f"at learning rate {lr:.4g}",
                    remedy=f"Lower `{self._run.lr_key}` in the configuration",
                )
        self._unread.clear()
        return self._total


def _resume(
    kept_state: KeptState, module: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[list[dict[str, Any]], int]:
    """Set network and optimiser to the state that was kept of this run, if there is one; its rows and its steps."""
    state = kept_state.read()
    if state is None:
        return [], 0
    module.load_state_dict(state["module"])
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state["optimiser"], "param_groups": groups})
    return list(state["rows"]), state["steps"]
