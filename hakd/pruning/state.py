"""A network on its way down, and how it is kept on disk: for a killed job, and for the next lower level."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hakd.records.arch import Architecture, architecture_from
from hakd.training.states import KeptState


@dataclass
class State:
    """A network on its way down.

    Args:
        architecture: its widths.
        weights: weights and batch-norm statistics.
        kept: the original channels that each group still holds, ascending.
        momentum: of the optimiser, by parameter.
        scores: the last ones, of the channels that each group still holds.
        rows: the trajectory so far.
        step: SGD steps so far, which is the position in the stream of images.
        removals: cycles so far.
        images: trained on so far.
        macs_spent: multiply-accumulates spent on them.
    """

    architecture: Architecture
    weights: dict[str, np.ndarray]
    kept: dict[str, np.ndarray]
    momentum: dict[str, np.ndarray] = field(default_factory=dict)
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0
    removals: int = 0
    images: int = 0
    macs_spent: int = 0

    def best_first(self) -> dict[str, list[int]]:
        """The original channels that each group still holds, the highest last score first."""
        return {
            group: (kept[np.argsort(-self.scores[group], kind="stable")] if self.scores else kept).tolist()
            for group, kept in self.kept.items()
        }


def full_state(architecture: Architecture, weights: Mapping[str, np.ndarray]) -> State:
    """The network before its first removal."""
    kept = {group: np.arange(width) for group, width in architecture.widths.items()}
    return State(architecture, dict(weights), kept)


def write_state(place: KeptState, state: State) -> None:
    """Keep a state, whole or not at all."""
    place.write(
        {
            "architecture": state.architecture.to_dict(),
            "weights": _tensors(state.weights),
            "kept": _tensors(state.kept),
            "momentum": _tensors(state.momentum),
            "scores": _tensors(state.scores),
            "rows": state.rows,
            "counters": [state.step, state.removals, state.images, state.macs_spent],
        }
    )


def read_state(place: KeptState) -> State | None:
    """The state that was kept of this pruning; None where there is none."""
    content = place.read()
    if content is None:
        return None
    architecture = architecture_from(content["architecture"], place.path)
    return State(
        architecture,
        _arrays(content["weights"]),
        _arrays(content["kept"]),
        _arrays(content["momentum"]),
        _arrays(content["scores"]),
        content["rows"],
        *content["counters"],
    )


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in tensors.items()}
