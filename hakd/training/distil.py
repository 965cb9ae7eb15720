"""Distillation losses: logits (Hinton et al. 2015, as HAKD v1 uses them) and attention transfer.

Attention transfer is Zagoruyko and Komodakis 2017: CE + sum_i beta_i ||Q_t^i - Q_s^i||^2 (batch mean), with
Q = vec(mean over channels of a^2) / its l2 norm at the end of each spatial resolution.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from hakd.networks.module import Network, Tap
from hakd.records.graph import Graph
from hakd.training.loop import Loss

STANDARD_TEMPERATURE, STANDARD_WEIGHT, STANDARD_HARD = 2.0, 9.0, 0.1  # of `logits-std`, as its paper has them


@dataclass(frozen=True)
class DistilSettings:
    """`alpha` is the weight of the logit term against cross entropy; `attention_scale` multiplies all beta_i."""

    alpha: float = 0.9
    temperature: float = 4.0
    attention_scale: float = 1.0


def attention_points(graph: Graph) -> list[str]:
    """The last tensor at each spatial resolution larger than 1 x 1, from fine to coarse."""
    last: dict[tuple[int, ...], str] = {}
    for op in graph.ops:
        size = graph.tensors[op.output].size
        if math.prod(size) > 1:
            last[size] = op.output
    return [last[size] for size in sorted(last, key=math.prod, reverse=True)]


def attention_weights(points: int) -> np.ndarray:
    """beta_i from the finest to the coarsest point.

    The authors' code takes a mean of squares times 1000 at 32, 16 and 8 pixels, which is 1000/32^2 = 0.98, 3.9 and 15.6
    on the squared norm. Those weights stay whatever the input size; other numbers of points spread them geometrically
    between the same ends, times 3 / points, so that the term as a whole keeps its size (reading: no source gives it).
    """
    ends = 1000 / 32**2, 1000 / 8**2
    return np.geomspace(*ends, points) * 3 / points if points > 1 else np.array([3 * ends[0]])


def attention_map(activation: torch.Tensor) -> torch.Tensor:
    """Q (N, H*W): mean over channels of the squares, normalised per image."""
    return F.normalize(activation.square().mean(dim=1).flatten(1), dim=1)


def logit_term(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 CE(softmax(t/T), softmax(s/T)), batch mean (HAKD v1)."""
    return temperature**2 * F.cross_entropy(student / temperature, F.softmax(teacher / temperature, dim=1))


def standardised(logits: torch.Tensor) -> torch.Tensor:
    """Z-scores over the classes (N, classes) -> (N, classes), as Sun et al. compute them."""
    return (logits - logits.mean(dim=1, keepdim=True)) / (logits.std(dim=1, keepdim=True) + 1e-7)


def divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 KL(softmax(t/T) || softmax(s/T)), batch mean."""
    soft = F.log_softmax(student / temperature, dim=1), F.softmax(teacher / temperature, dim=1)
    return temperature**2 * F.kl_div(*soft, reduction="batchmean")


def distillation_loss(name: str, teacher: Network, settings: DistilSettings) -> Loss:
    """A loss with a teacher, as a function of (student, images, labels); it runs in eval mode without gradients.

    `logits`: (1-a) CE + a T^2 CE(soft teacher, soft student). `at`: CE + attention transfer. `at+logits`: the attention
    code's own mix, (1-a) CE + 2 a T^2 / classes KL(batch mean) + attention transfer. `logits-std`: 0.1 CE + 9 T^2 KL at
    T = 2 of standardised logits (Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024).
    """
    teacher.eval().requires_grad_(False)
    points = attention_points(teacher.graph) if name in ("at", "at+logits") else []
    betas = settings.attention_scale * attention_weights(len(points))
    alpha, temperature = settings.alpha, settings.temperature

    def loss(student: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        teachers: dict[str, torch.Tensor] = {}
        students: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            target = teacher(images, _collector(teachers, points))
        logits = student(images, _collector(students, points))
        hard = F.cross_entropy(logits, labels)
        if name == "logits":
            return (1 - alpha) * hard + alpha * logit_term(logits, target, temperature)
        if name == "logits-std":
            soft = divergence(standardised(logits), standardised(target), STANDARD_TEMPERATURE)
            return STANDARD_HARD * hard + STANDARD_WEIGHT * soft
        attention = sum(
            float(beta) * (attention_map(students[p]) - attention_map(teachers[p])).square().sum(dim=1).mean()
            for beta, p in zip(betas, points, strict=True)
        )
        if name == "at":
            return hard + attention
        soft = divergence(logits, target, temperature)
        return (1 - alpha) * hard + 2 * alpha / logits.shape[1] * soft + attention

    return loss


def _collector(activations: dict[str, torch.Tensor], names: list[str]) -> Tap:
    """A tap that keeps the named activations."""

    def tap(name: str, value: torch.Tensor) -> torch.Tensor:
        if name in names:
            activations[name] = value
        return value

    return tap
