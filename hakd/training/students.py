"""From an architecture to a checkpoint: teachers and students differ only in start weights and loss."""

import csv
import logging
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hakd.networks.families import build_graph
from hakd.networks.module import network_with, new_network, weights_of
from hakd.records.arch import Architecture
from hakd.records.checkpoint import Checkpoint, write_checkpoint
from hakd.records.files import atomic, file_digest
from hakd.records.graph import Graph
from hakd.records.probe import probe_images
from hakd.training.distil import DistilSettings, distillation_loss
from hakd.training.loop import Diverged, Loss, TrainingRun, cross_entropy, evaluate, fit
from hakd.training.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingJob:
    """How to train a candidate, and where to write what comes of it.

    Args:
        path: of the checkpoint. The state after each epoch is kept beside it, so that a killed job continues.
        epochs, recipe, seed, loss, lr_key, steps: see `TrainingRun`.
        recipe_name, loss_name: what the checkpoint calls them.
        context: what else decides the result and JSON can hold (settings of the loss, hash of the teacher).
        start: weights to start from, by name; None starts from scratch.
        teacher_macs: multiply-accumulates of the teacher's forward pass, where one takes part.
        facts: what else the checkpoint is to say.
        metrics_path: of a CSV with a row per epoch; None writes none.
    """

    path: str | os.PathLike
    epochs: int
    recipe: Recipe
    seed: int
    loss: Loss = cross_entropy
    recipe_name: str = "scratch"
    loss_name: str = "ce"
    context: Any = None
    start: Mapping[str, np.ndarray] | None = None
    teacher_macs: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    metrics_path: str | os.PathLike | None = None
    lr_key: str = "lr"
    steps: int | None = None


def taught(
    job: TrainingJob,
    path_to_teacher: str | os.PathLike,
    teacher: Checkpoint,
    settings: Mapping[str, Any],
    device: torch.device,
) -> TrainingJob:
    """The job with the loss that its name stands for; `ce` needs no teacher.

    Args:
        path_to_teacher, teacher: its checkpoint, and what was read from it.
        settings: of the loss, as `DistilSettings` has them.
        device: that the data are on.
    """
    if job.loss_name == "ce":
        return job
    graph = build_graph(teacher.architecture)
    module = network_with(graph, teacher.weights).to(device)
    return replace(
        job,
        loss=distillation_loss(job.loss_name, module, DistilSettings(**settings)),
        context=[dict(settings), file_digest(path_to_teacher)],
        teacher_macs=graph.macs(),
    )


def train_candidate(architecture: Architecture, data: Any, job: TrainingJob) -> list[dict[str, Any]]:
    """Train, write checkpoint and metrics, and return the metrics per epoch."""
    path = os.fspath(job.path)
    graph = build_graph(architecture)
    module = new_network(graph, job.seed) if job.start is None else network_with(graph, job.start)
    module.to(data.train.labels.device)
    resume_path, context = Path(f"{path}.resume"), [job.recipe_name, job.loss_name, job.context]
    run = TrainingRun(
        job.epochs,
        job.recipe,
        job.seed,
        job.loss,
        label=path,
        resume_path=resume_path,
        context=context,
        lr_key=job.lr_key,
        steps=job.steps,
    )
    rows = fit(module, data, run) or [_measured(module, data)]
    weights = weights_of(module)
    write_checkpoint(path, architecture, weights, _facts(graph, weights, data.train, rows, job))
    if job.metrics_path is not None:
        with atomic(job.metrics_path) as temporary, open(temporary, "w", newline="") as stream:
            table = csv.DictWriter(stream, rows[0], lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    resume_path.unlink(missing_ok=True)  # only now: the result is safe
    return rows


def _measured(module: torch.nn.Module, data: Any) -> dict[str, Any]:
    """The metrics of weights that no epoch was spent on."""
    row = {"epoch": 0, "lr": 0.0, "train_loss": math.nan, "val_accuracy": evaluate(module, data.validation)}
    return row | {"images": 0, "seconds": 0.0}


def train_lap(architecture: Architecture, data: Any, job: TrainingJob) -> None:
    """`train_candidate` for a contestant of a race, which loses a lap that diverges; others still run.

    The checkpoint then has the weights that the job starts from, accuracy 0, all images of the job, and `diverged`.

    Args:
        job: with `steps` and `start`.
    """
    began = time.monotonic()
    try:
        train_candidate(architecture, data, job)
    except Diverged as error:
        log.warning("%s loses its lap: %s", architecture.arch, error)
        images = (job.steps or 0) * job.recipe.batch_size
        row = {"images": images, "seconds": time.monotonic() - began, "val_accuracy": 0.0}
        weights, lost = dict(job.start or {}), replace(job, facts={**job.facts, "diverged": True})
        facts = _facts(build_graph(architecture), weights, data.train, [row], lost)
        write_checkpoint(job.path, architecture, weights, facts)
        Path(f"{os.fspath(job.path)}.resume").unlink(missing_ok=True)


def _facts(
    graph: Graph, weights: Mapping[str, np.ndarray], train: Any, rows: list[dict[str, Any]], job: TrainingJob
) -> dict[str, Any]:
    """What the checkpoint says of the training.

    `train_macs` counts, for every image, three times the forward pass (forward, and both halves of backward) and the
    teacher's forward pass.
    """
    images = sum(row["images"] for row in rows)
    return {
        "recipe": job.recipe_name,
        "loss": job.loss_name,
        "seed": job.seed,
        "data": train.name,
        "images": train.about(),
        "epochs": job.epochs if job.steps is None else None,
        "steps": job.steps,
        "train_images": images,
        "train_s": sum(row["seconds"] for row in rows),
        "train_macs": images * (3 * graph.macs() + job.teacher_macs),
        "val_accuracy": rows[-1]["val_accuracy"],
        "probe_logits": probe_logits(graph, weights),
        **job.facts,
    }


@torch.no_grad()
def probe_logits(graph: Graph, weights: Mapping[str, np.ndarray]) -> list[list[float]]:
    """Torch's logits for the probe images: what the exported network must reproduce."""
    module = network_with(graph, weights).eval()
    shape = graph.tensors[graph.inputs[0]].shape
    return module(torch.from_numpy(probe_images(shape))).tolist()
