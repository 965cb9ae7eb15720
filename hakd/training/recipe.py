"""Optimiser and schedule of a training run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum and a schedule.

    Args:
        lr: the largest learning rate.
        schedule: its course: `cosine` or `linear` to 0, or `step`.
        milestones: fractions of the run at which `step` multiplies the rate by `gamma`.
        warmup: fraction of the run in which the rate rises linearly from 0, before that course begins. `linear` with a
            warm-up of 0.1 is LLR (Zimmer et al., ICLR 2023), for weights that were inherited.
    """

    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = False
    batch_size: int = 128
    schedule: str = "cosine"
    milestones: tuple[float, ...] = (0.3, 0.6, 0.8)
    gamma: float = 0.2
    warmup: float = 0.0
    augment: bool = True

    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> "Recipe":
        """From the configuration's mapping (already validated by the schema)."""
        values = dict(settings)
        if "milestones" in values:
            values["milestones"] = tuple(values["milestones"])
        return cls(**values)

    def lr_at(self, progress: float) -> float:
        """Learning rate at a fraction of the run, 0 to 1."""
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        if self.schedule == "step":
            return self.lr * self.gamma ** sum(progress >= milestone for milestone in self.milestones)
        after = (progress - self.warmup) / (1 - self.warmup)
        return self.lr * (1 - after if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * after)))
