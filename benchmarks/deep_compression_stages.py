"""What each way of compressing costs on the built-in networks: bytes by stage, accuracy, share of batch norm.

A teacher of each network is trained on the digits and compressed with the built-in study's settings: by the defaults,
by the paper's letter, with batch norm stored in several forms or folded into the weights, by pruning alone, and as a
ternary network. Accuracies are of the validation split, over seeds:

    python -m benchmarks.deep_compression_stages [--networks mobilenet densenet] [--seeds 0 1]
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import nn

from hakd.data import load_splits, prepare
from hakd.deep_compression.codec import encode
from hakd.deep_compression.compress import CompressionSettings, compress, prune_weights
from hakd.deep_compression.inspecting import STAGES, inspect_file
from hakd.deep_compression.settings import PAPER
from hakd.deep_compression.store import Compressed
from hakd.deep_compression.ternary import TernarySettings, ternarise
from hakd.networks.families import build_graph, full_architecture
from hakd.networks.module import network_with, new_network, weights_of
from hakd.networks.onnx_model import fold_weights
from hakd.study.files import read_configuration
from hakd.study.networks import spec_of
from hakd.study.schema import checked_study
from hakd.training.loop import TrainingRun, evaluate, fit
from hakd.training.recipe import Recipe

Method = Callable[[Any, Any, int], Compressed]


def folded(module: Any) -> nn.Module:
    """The network with batch norm inside its convolutions, where that can be."""
    return network_with(*fold_weights(module.graph, weights_of(module)))


def methods(study: dict[str, Any]) -> dict[str, Method]:
    """Ways of compressing, by name."""
    own = study["deep_compression"]["compression"]
    recipe = Recipe.from_config(study["deep_compression"]["recipe"])
    quantisation, training = study["ternary"]["quantisation"], Recipe.from_config(study["ternary"]["recipe"])

    def coded(
        module: Any, data: Any, seed: int, density: float, change: dict[str, Any], fold: bool = False
    ) -> Compressed:
        settings = CompressionSettings.from_config(own | change)
        start = folded(module) if fold else module
        return compress(start, data, density=density, settings=settings, recipe=recipe, seed=seed)

    def pruned(module: Any, data: Any, seed: int, density: float) -> Compressed:
        settings = CompressionSettings.from_config(own)
        return prune_weights(module, data, density=density, settings=settings, recipe=recipe, seed=seed)

    def ternary(module: Any, data: Any, seed: int, change: dict[str, Any]) -> Compressed:
        settings = TernarySettings.from_config(quantisation | change)
        return ternarise(module, data, settings=settings, recipe=training, seed=seed)

    found: dict[str, Method] = {}
    for density in (0.25, 0.1):
        for norm in ("half", "single", "whole"):
            found[f"{density} {norm}"] = partial(coded, density=density, change={"batch_norm": norm})
        found[f"{density} folded"] = partial(coded, density=density, change={}, fold=True)
        found[f"{density} paper"] = partial(coded, density=density, change=PAPER)
        found[f"{density} pruned"] = partial(pruned, density=density)
    for depthwise in ("float", "ternary"):
        found[f"ternary, depthwise {depthwise}"] = partial(ternary, change={"depthwise": depthwise})
    found["ternary, sparsity 0.5"] = partial(ternary, change={"sparsity": 0.5})
    return found


def main() -> None:
    """Print a table per network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["mobilenet", "densenet"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="methods whose name holds this")
    arguments = parser.parse_args()
    study = checked_study(read_configuration())
    with tempfile.TemporaryDirectory() as folder:
        prepare({"name": "digits"}, folder)
        for name in arguments.networks:
            one_network(study, name, arguments.seeds, arguments.only, Path(folder))


def one_network(study: dict[str, Any], name: str, seeds: list[int], only: str, folder: Path) -> None:
    """Train, compress and print."""
    spec = spec_of(study, name)
    data = load_splits(folder / "train.npz", folder / "validation.npz", spec.input_size)
    teachers = {}
    for seed in seeds:
        module = new_network(build_graph(full_architecture(spec)), seed)
        run = TrainingRun(study["teacher"]["epochs"], Recipe.from_config(study["teacher"]["recipe"]), seed)
        fit(module, data, run)
        teachers[seed] = module
    accuracy = fmean(evaluate(module, data.validation) for module in teachers.values())
    print(f"\n{name}: teacher {100 * accuracy:.1f} %, seeds {seeds}")
    print(
        f"{'method':28}{'accuracy':>9}"
        + "".join(f"{stage:>10}" for stage in STAGES)
        + f"{'norm':>8}{'share':>7}"
    )
    for method, call in methods(study).items():
        if only not in method:
            continue
        made = [call(copy.deepcopy(module), data, seed) for seed, module in teachers.items()]
        seen = [inspect_file(encode(one.tensors, one.others, {})) for one in made]
        totals = [fmean(one.total(stage) for one in seen) for stage in STAGES]
        norm = fmean(one.others["batch norm"][0] for one in seen)
        accuracy = 100 * fmean(one.metrics["val_accuracy"] for one in made)
        cells = "".join(f"{total:10,.0f}" for total in totals)
        print(f"{method:28}{accuracy:9.1f}{cells}{norm:8,.0f}{100 * norm / totals[-1]:6.1f}%", flush=True)


if __name__ == "__main__":
    main()
