"""From an architecture to a checkpoint: teachers and students differ only in start weights and loss."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hakd.networks.families import build_graph
from hakd.networks.module import network_with, new_network, weights_of
from hakd.records.arch import Architecture
from hakd.records.checkpoint import write_checkpoint
from hakd.records.graph import Graph
from hakd.records.probe import probe_images
from hakd.training.loop import Loss, Recipe, fit


def train_candidate(
    architecture: Architecture,
    data: Any,
    *,
    recipe_name: str,
    loss_name: str,
    loss: Loss | None,
    epochs: int,
    recipe: Recipe,
    seed: int,
    path: str | os.PathLike,
    start: Mapping[str, np.ndarray] | None = None,
    teacher_macs: int = 0,
    context: Any = None,
    facts: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Train (from `start`, or from scratch), write the checkpoint at `path` and return the metrics per epoch.

    The state after each epoch is kept beside `path`, so that a killed job goes on; `context` is what else decides the
    result (settings of the loss, hash of the teacher). `train_macs` counts three times the
    forward pass (forward, and both halves of backward) plus the teacher's forward pass, for every image.
    """
    graph = build_graph(architecture)
    module = new_network(graph, seed) if start is None else network_with(graph, start)
    module.to(data.train.labels.device)
    resume_path = f"{os.fspath(path)}.resume"
    rows = fit(
        module,
        data,
        epochs=epochs,
        recipe=recipe,
        seed=seed,
        loss=loss,
        label=os.fspath(path),
        resume_path=resume_path,
        context=[recipe_name, loss_name, context],
    )
    images = sum(row["images"] for row in rows)
    weights = weights_of(module)
    write_checkpoint(
        path,
        architecture,
        weights,
        {
            "recipe": recipe_name,
            "loss": loss_name,
            "seed": seed,
            "data": data.train.name,
            "epochs": epochs,
            "train_images": images,
            "train_macs": images * (3 * graph.macs() + teacher_macs),
            "val_accuracy": rows[-1]["val_accuracy"],
            "probe_logits": probe_logits(graph, weights),
            **(facts or {}),
        },
    )
    if os.path.exists(resume_path):
        os.unlink(resume_path)
    return rows


@torch.no_grad()
def probe_logits(graph: Graph, weights: Mapping[str, np.ndarray]) -> list[list[float]]:
    """Torch's logits for the probe images: what the exported network must reproduce."""
    module = network_with(graph, weights).eval()
    shape = graph.tensors[graph.inputs[0]].shape
    return module(torch.from_numpy(probe_images(shape))).tolist()
