"""Training against a bare torch loop: the same network, data, augmentation and SGD, written by hand as usual.

Steps alone, and whole epochs with augmentation and validation; side by side, one thread on the CPU:

    python -m benchmarks.training_speed [--device cuda]

On CUDA also steps that are recorded once and replayed, against steps that are not.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch loads, so before that

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.plain_networks import NETWORKS, augmented, ratio, run, side_by_side, with_weights_of
from hakd.data.split import Split, Splits
from hakd.data.stored import Augmentation, Stored
from hakd.networks.families import build_graph, full_architecture, network_spec
from hakd.networks.module import new_network
from hakd.training.captured import Step
from hakd.training.loop import TrainingRun, cross_entropy, fit
from hakd.training.recipe import Recipe

# By network: pixels along a side, images in a batch, of a train split, and of the validation split.
SIZES = {
    "cpu": {"mobilenet": (32, 64, 640, 128), "wrn": (16, 32, 160, 32)},
    "cuda": {"mobilenet": (32, 256, 55_000, 5_000), "wrn": (32, 128, 20_000, 2_000)},
}
SGD = {"momentum": 0.9, "weight_decay": 5e-4}


def random_splits(size: int, train: int, validation: int, device: torch.device) -> Splits:
    """Random colour images as a prepared data set holds them."""
    rng = np.random.default_rng(0)

    def split(name: str, count: int) -> Split:
        images = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
        move = Augmentation(4 / size, reflected=True, flip=True)
        labels, ids = rng.integers(0, 10, count), np.arange(count)
        names, mean, std = tuple("0123456789"), (127.5,) * 3, (73.9,) * 3
        stored = Stored("random", name, images, labels, ids, names, mean, std, move, 0, "random")
        return Split(stored, size, device)

    return Splits(split("train", train), split("validation", validation))


class Bare:
    """The loop that one writes by hand: images on the device as numbers, a step, validation after the epoch."""

    def __init__(self, network: nn.Module, data: Splits, batch: int, form: torch.memory_format) -> None:
        self.network, self.batch = network.to(memory_format=form), batch
        self.images, self.labels = data.train.images.to(memory_format=form), data.train.labels
        self.held_out = data.validation.images.to(memory_format=form), data.validation.labels
        self.optimiser = torch.optim.SGD(network.parameters(), lr=0.1, **SGD)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One step of SGD; its loss."""
        self.optimiser.zero_grad()
        loss = F.cross_entropy(self.network(images), labels)
        loss.backward()
        self.optimiser.step()
        return loss

    def epoch(self) -> float:
        """One pass and its validation."""
        self.network.train()
        total = 0.0
        for index in torch.randperm(len(self.labels)).to(self.labels.device).split(self.batch):
            total += self.step(augmented(self.images[index]), self.labels[index]).item()
        self.network.eval()
        right = 0
        with torch.no_grad():
            for images, labels in zip(*(one.split(512) for one in self.held_out), strict=True):
                right += (self.network(images).argmax(1) == labels).sum().item()
        return right / len(self.held_out[1])


def measure(name: str, device: torch.device, rounds: int) -> None:
    """Print a row of a network."""
    settings, plain_network = NETWORKS[name]
    size, batch, train, validation = SIZES[device.type][name]
    data = random_splits(size, train, validation, device)
    spec = network_spec(name, settings | {"input_size": size}, 3, 10)
    own = new_network(build_graph(full_architecture(spec)), 0).to(device)
    bare, last = (
        Bare(with_weights_of(plain_network(3, 10), own).to(device), data, batch, form)
        for form in (torch.contiguous_format, torch.channels_last)
    )
    images, labels = bare.images[:batch], bare.labels[:batch]
    torch.testing.assert_close(own(images), bare.network(images), rtol=1e-3, atol=1e-3)
    recipe = Recipe(lr=0.1, batch_size=batch, **SGD)
    step = Step(own, cross_entropy, **SGD)
    repeats = 1 if device.type == "cpu" else 50
    steps = {
        "own": lambda: float(step(images, labels, 0.1)),
        "bare": lambda: bare.step(images, labels).item(),
        "last": lambda: last.step(last.images[:batch], labels).item(),
    }
    found = side_by_side(
        {name: lambda one=one: [one() for _ in range(repeats)] for name, one in steps.items()},
        4 * rounds,
        device,
    )
    print(f"{name}, {size} x {size}, {batch} images a batch, {train} an epoch")
    print(f"  a step takes {ratio(found, 'own', 'bare')} times a bare one")
    print(f"  and {ratio(found, 'own', 'last')} times a bare one in the memory format channels_last")

    def epoch(fixed: bool | None = None) -> object:
        return lambda: fit(own, data, TrainingRun(1, recipe, 0, fixed=fixed))

    epochs = {"own": epoch(), "bare": bare.epoch, "last": last.epoch}
    if device.type == "cuda":
        epochs["unrecorded"] = epoch(fixed=False)
    found = side_by_side(epochs, rounds, device)
    print(f"  an epoch runs at {ratio(found, 'bare', 'own')} times the speed of a bare one")
    print(f"  and at {ratio(found, 'last', 'own')} times that of one in channels_last", flush=True)
    if device.type == "cuda":
        print(f"  and at {ratio(found, 'unrecorded', 'own')} times that of unrecorded steps")


def main() -> None:
    """Print ratios: the median of the rounds, the lowest and the highest."""
    run(measure, __doc__, 5, "recorded steps against unrecorded ones")


if __name__ == "__main__":
    main()
