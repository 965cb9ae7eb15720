"""What importing a network gives and costs: torchvision's modules, read at a size and described at another.

Seconds to import are those from the module to the description and its weights, beside those of the export alone;
seconds to slice are those of a network's arrays to half of each width.
"""

import argparse
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hakd.importing.describing import describe
from hakd.importing.modules import build_module, export_module, module_model
from hakd.networks.doors import import_network
from hakd.networks.families import full_graph, full_widths, width_groups
from hakd.networks.imported import Images
from hakd.networks.module import network_with
from hakd.networks.slicing import slice_weights
from hakd.records.graph import Graph

NETWORKS = (
    "resnet18", "resnet34", "vgg16_bn", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_0",
    "googlenet", "efficientnet_b0", "regnet_y_400mf", "mnasnet1_0", "shufflenet_v2_x1_0",
)  # fmt: skip
RUNS = 3


def free_share(graph: Graph) -> float:
    """Share of the convolutions' MACs that touch a width which can be changed."""
    convs = [op for op in graph.ops if op.kind == "conv"]
    free = [
        op
        for op in convs
        if any(one.group for name in (*op.inputs, op.output) for one in graph.tensors[name].channels)
    ]
    return sum(map(graph.op_macs, free)) / sum(map(graph.op_macs, convs))


def export_s(module: torch.nn.Module, images: torch.Tensor, name: str) -> float:
    """Seconds of torch's export to a file, as the importer asks for it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        export_module(module, images, Path(folder, "network.onnx"), name)
        return time.perf_counter() - began


def logits_apart(name: str, module: torch.nn.Module, read_at: int) -> float:
    """The largest difference of logits from the module's, over the largest logit, at random batch-norm statistics."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for values in (layer.weight.data, layer.running_var):
                values.uniform_(0.5, 1.5)
            for values in (layer.bias.data, layer.running_mean):
                values.normal_(0, 0.3)
    described = describe(module_model(module, (3, read_at, read_at), name), name)
    ours = network_with(described.graph(3, (read_at, read_at)), described.weights).eval()
    images = torch.randn(2, 3, read_at, read_at)
    with torch.no_grad():
        theirs = module(images)
        return float((theirs - ours(images)).abs().max() / theirs.abs().max())


def row(name: str, read_at: int, size: int) -> str:
    """A line of the table; seconds are the least of some runs, import and export alternating."""
    module = build_module(f"torchvision.models:{name}")
    exports, imports = [], []
    for _ in range(RUNS):
        exports.append(export_s(module, torch.zeros(1, 3, read_at, read_at), name))
        began = time.perf_counter()
        describe(module_model(module, (3, read_at, read_at), name), name)
        imports.append(time.perf_counter() - began)
    images = Images(3, (read_at, read_at), 1000)
    found = import_network(name, {"module": f"torchvision.models:{name}"}, images)
    graph = full_graph(found.spec)
    keep = {group: np.arange(max(1, width // 2)) for group, width in full_widths(found.spec).items()}
    began = time.perf_counter()
    slice_weights(graph, found.weights, keep)
    sliced = time.perf_counter() - began
    large = full_graph(replace(found.spec, input_size=size))
    groups = width_groups(found.spec)
    why = Counter(group.reason.split(" (")[0].rsplit(" ", 1)[0] for group in groups if group.reason)
    fixed = ", ".join(f"{count} by {reason}" for reason, count in why.items()) or "none"
    counts = (
        f"{large.params():,} | {large.macs():,} | {len(groups) - sum(why.values())} | {len(graph.tiles())}"
    )
    worst = logits_apart(name, module, read_at)
    seconds = f"{min(exports):.2f} | {min(imports) / min(exports):.2f} | {sliced:.3f}"
    return f"| {name} | {counts} | {free_share(large):.1%} | {fixed} | {worst:.0e} | {seconds} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--read-at", type=int, default=64, help="pixels along a side at which it is imported")
    parser.add_argument("--size", type=int, default=224, help="pixels along a side at which it is counted")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    counts = "network | parameters | MACs | free groups | tiles | MACs free | fixed widths"
    print(f"| {counts} | logits | export, s | import / export | slice, s |")
    print("|" + "---|" * 11)
    for name in arguments.networks:
        print(row(name, arguments.read_at, arguments.size), flush=True)


if __name__ == "__main__":
    main()
