"""Fisher pruning against the loop that one writes by hand: masks in the forward pass, and nothing shrinks.

Both go from the full network to a quarter of its MACs, side by side, one thread on the CPU:

    python -m benchmarks.pruning_speed [--device cuda]

The loop by hand scores the channels and chooses by itself, then removes what this project's pruning removed, so that
both do the same work; how often it would have chosen otherwise is printed. On CUDA also against as many plain training
steps.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch loads, so before that

from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.plain_networks import NETWORKS, ratio, run, side_by_side, with_weights_of
from benchmarks.training_speed import random_splits
from hakd.data.split import Splits
from hakd.networks.families import build_graph, full_architecture, network_spec
from hakd.networks.module import network_with, new_network, weights_of
from hakd.pruning.prune import PruneJob, PruneSettings, choose_removals, prune
from hakd.training.captured import Step
from hakd.training.loop import TrainingRun, cross_entropy, evaluate, fit
from hakd.training.recipe import Recipe

# By network: pixels along a side, images of a train split, epochs of training before pruning.
SIZES = {
    "cpu": {"mobilenet": (32, 640, 1), "wrn": (16, 320, 1)},
    "cuda": {"mobilenet": (32, 20_000, 2), "wrn": (32, 20_000, 2)},
}
SETTINGS = {
    "cpu": PruneSettings(steps=2, channels=16, batch_size=32, evaluate_every=10**6),
    "cuda": PruneSettings(steps=8, channels=16, batch_size=128, evaluate_every=10**6),
}
LEVEL = 0.25


def stream(data: Splits, batch_size: int) -> Iterator:
    """Batches of epoch after epoch, as pruning sees them."""
    epoch = 0
    while True:
        yield from data.train.batches(batch_size, 0, epoch)
        epoch += 1


class ByHand:
    """Pruning with masks: one factor for each image and channel, whose gradient is the score."""

    def __init__(self, network: nn.Module, widths: dict[str, int], settings: PruneSettings) -> None:
        self.network, self.settings = network, settings
        device = next(network.parameters()).device
        self.alive = {group: torch.ones(width, device=device) for group, width in widths.items()}
        self.optimiser = torch.optim.SGD(
            network.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay
        )

    def cycle(self, batches: Iterator) -> dict[str, np.ndarray]:
        """Scores after some steps, infinite where a channel is gone."""
        scores = {group: torch.zeros_like(alive) for group, alive in self.alive.items()}
        seen = 0
        for _ in range(self.settings.steps):
            images, labels = next(batches)
            masks = {
                group: alive.expand(len(labels), -1).clone().requires_grad_()
                for group, alive in self.alive.items()
            }
            self.optimiser.zero_grad()
            F.cross_entropy(self.network(images, masks), labels).backward()
            for group, mask in masks.items():
                scores[group] += (mask.grad * len(labels)).square().sum(dim=0)
            self.optimiser.step()
            seen += len(labels)
        return {
            group: (total / (2 * seen)).masked_fill(self.alive[group] == 0, torch.inf).cpu().numpy()
            for group, total in scores.items()
        }

    def prune(self, data: Splits, removals: Iterable[list[tuple[str, int]]]) -> tuple[int, int]:
        """Go through given removals; how many of them it would have chosen, and how many there are."""
        self.network.train()
        batches, same, total = stream(data, self.settings.batch_size), 0, 0
        for wanted in removals:
            scores = self.cycle(batches)
            widths = {group: int(alive.sum()) for group, alive in self.alive.items()}
            chosen = choose_removals(scores, widths, len(wanted), 0.0, lambda _: 0)
            same, total = same + len(set(chosen) & set(wanted)), total + len(wanted)
            for group, channel in wanted:
                self.alive[group][channel] = 0
        evaluate(self.network, data.validation)
        return same, total


def measure(name: str, device: torch.device, rounds: int) -> None:
    """Print the rows of a network."""
    options, plain_network = NETWORKS[name]
    size, images, epochs = SIZES[device.type][name]
    settings, data = SETTINGS[device.type], random_splits(size, images, 128, device)
    architecture = full_architecture(network_spec(name, options | {"input_size": size}, 3, 10))
    module = new_network(build_graph(architecture), 0).to(device)
    recipe = Recipe(lr=0.05, batch_size=settings.batch_size, schedule="linear", warmup=0.1)
    fit(module, data, TrainingRun(epochs, recipe, 0))
    weights = weights_of(module)
    found = prune(architecture, weights, data, PruneJob(LEVEL, settings))
    cycles: dict[int, list[tuple[str, int]]] = {}
    for row in found.rows:
        cycles.setdefault(row["removal"], []).append((row["group"], row["channel"]))
    agreed = []

    def by_hand() -> None:
        plain = with_weights_of(plain_network(3, 10), network_with(build_graph(architecture), weights)).to(
            device
        )
        agreed.append(ByHand(plain, dict(architecture.widths), settings).prune(data, cycles.values()))

    runs = {
        "own": lambda: prune(architecture, weights, data, PruneJob(LEVEL, settings)),
        "by hand": by_hand,
    }
    if device.type == "cuda":
        runs["shrinking"] = lambda: prune(architecture, weights, data, PruneJob(LEVEL, settings, masks=False))
        runs["training"] = lambda: train(data, settings, len(cycles) * settings.steps, module)
    times = side_by_side(runs, rounds, device)
    print(
        f"{name}, {size} x {size}: {len(found.rows)} channels in {len(cycles)} cycles, to {LEVEL:g} of the MACs"
    )
    print(
        f"  by hand takes {ratio(times, 'by hand', 'own')} times as long; it agrees on {agreed[0][0]} of {agreed[0][1]}"
    )
    if device.type == "cuda":
        print(f"  shrinking at each removal takes {ratio(times, 'shrinking', 'own')} times as long")
        print(f"  pruning takes {ratio(times, 'own', 'training')} times as long as its training steps alone")


def train(data: Splits, settings: PruneSettings, steps: int, module: nn.Module) -> None:
    """As many plain training steps of the full network, recorded."""
    step = Step(
        module, cross_entropy, momentum=settings.momentum, weight_decay=settings.weight_decay, fixed=True
    )
    module.train()
    batches = stream(data, settings.batch_size)
    for _ in range(steps):
        step(*next(batches), settings.lr)


def main() -> None:
    """Print ratios: the median of the rounds, the lowest and the highest."""
    run(measure, __doc__, 3, "masks at fixed shapes against shrinking, and against training steps alone")


if __name__ == "__main__":
    main()
