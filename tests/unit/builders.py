"""Small real networks and data that several tests use."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hakd.networks.families import build_graph, full_widths, network_spec
from hakd.networks.module import network_with, weights_of
from hakd.networks.slicing import slice_weights
from hakd.pruning.fisher import mask_sites
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.probe import probe_images


def small_mobilenet(size: int = 8) -> NetworkSpec:
    """MobileNet at an eighth of its width."""
    return network_spec("mobilenet", {"multiplier": 0.125, "input_size": size}, 1, 10)


def small_densenet(size: int = 8) -> NetworkSpec:
    """DenseNet-BC-16, k = 4."""
    return network_spec("densenet", {"depth": 16, "growth": 4, "input_size": size}, 1, 10)


def _small(family: str, least: int = 8, **options: object) -> Callable[..., NetworkSpec]:
    return lambda size=least: network_spec(family, {"input_size": size, **options}, 1, 10)


# A small network of each family.
SPECS = {
    "mobilenet": small_mobilenet,
    "densenet": small_densenet,
    "mobilenetv2": _small("mobilenetv2", multiplier=0.125),
    "resnet": _small("resnet", depth=8, multiplier=0.25),
    "wrn": _small("wrn", depth=10, multiplier=0.25),
    "vgg16": _small("vgg16", 32, multiplier=0.0625),
}


def narrowed(spec: NetworkSpec, seed: int = 0) -> dict[str, int]:
    """Random widths, odd ones included."""
    from hakd.networks.families import full_widths

    rng = np.random.default_rng(seed)
    return {group: int(rng.integers(1, width + 1)) for group, width in full_widths(spec).items()}


def shaken(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random batch-norm statistics and affine values, so that no fold or slice passes by accident."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for value in (layer.weight.data, layer.running_var):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            for value in (layer.bias.data, layer.running_mean):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    return module


def exported(path: Path, spec: NetworkSpec, density: float = 1.0, **facts: object) -> torch.nn.Module:
    """Write a trained-looking network of odd widths, with this share of its weights and these facts, as the study
    exports it; the network.
    """
    from hakd.evaluation.export import export
    from hakd.networks.families import build_graph
    from hakd.networks.module import new_network, weights_of

    architecture = Architecture(spec, narrowed(spec, 3))
    module = shaken(new_network(build_graph(architecture), 1)).eval()
    images = probe_images((spec.input_channels, *spec.image))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in filter(lambda one: one.ndim > 1, module.parameters()):
            weight *= torch.rand(weight.shape, generator=generator) < density
        logits = module(torch.from_numpy(images)).tolist()
    export(path, architecture, weights_of(module), logits, facts, {})
    return module


class TensorSplit:
    """A split of random images, with the interface of `hakd.data.Split`."""

    def __init__(self, count: int, channels: int, size: int, classes: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, classes, (count,), generator=generator)
        self.images = torch.randn(count, channels, size, size, generator=generator)
        self.images += self.labels.float().reshape(-1, 1, 1, 1) / classes
        self.channels, self.num_classes, self.name = channels, classes, "random"

    def __len__(self) -> int:
        return len(self.labels)

    def about(self):
        return {"mean": [0.0] * self.channels, "std": [1.0] * self.channels, "classes": []}

    def batches(self, batch_size, seed, epoch, augment=True, shuffle=True):
        order = torch.arange(len(self))
        if shuffle:
            order = torch.randperm(len(self), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        for part in order.split(batch_size):
            yield self.images[part], self.labels[part]


class TensorData:
    """Train and validation of random images."""

    def __init__(self, channels: int = 1, size: int = 8, classes: int = 10, count: int = 96) -> None:
        self.train = TensorSplit(count, channels, size, classes, 0)
        self.validation = TensorSplit(count // 2, channels, size, classes, 1)


@torch.no_grad()
def check_slicing(spec, module, seed):
    """A network pruned to random widths gives what the whole one gives with masks."""
    full = module.graph
    rng = np.random.default_rng(seed)
    keep = {
        group: np.sort(rng.choice(width, int(rng.integers(1, width + 1)), replace=False))
        for group, width in full_widths(spec).items()
    }
    small = build_graph(Architecture(spec, {group: len(kept) for group, kept in keep.items()}))
    pruned = network_with(small, slice_weights(full, weights_of(module), keep)).eval()
    sites = mask_sites(full)

    def mask(tensor_name, value):
        for group, segment, start in sites.get(tensor_name, []):
            allowed = torch.zeros(segment.size)
            allowed[keep[group]] = 1
            value = value.clone()
            value[:, start : start + segment.size] *= allowed.reshape(-1, *[1] * (value.dim() - 2))
        return value

    images = torch.randn(4, spec.input_channels, *spec.image, generator=torch.Generator().manual_seed(seed))
    expected = module(images, mask)
    scale = float(expected.abs().max())
    torch.testing.assert_close(pruned(images), expected, atol=1e-5 * max(1.0, scale), rtol=1e-5)
