"""How hard is `cluttered-digits`? Trains a good network and narrower ones and prints a table.

The aim: a good network (MobileNet v1 at a width multiplier of 0.25, 25 epochs) reaches 93 to 97 %, and one of a
sixteenth of its MACs is at least 4 points worse, so that accuracy separates methods. The test split is read here
because this measures the data set; no choice of a study hangs on it. Also timed: drawing an epoch's images, against
training on them.

    python -m benchmarks.cluttered_difficulty            # the table in docs/data.md: about 12 minutes on one core
    python -m benchmarks.cluttered_difficulty --epochs 2 --multipliers 0.125
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from hakd.data import load, load_splits, prepare
from hakd.data.split import Split, Splits
from hakd.networks.families import build_graph, full_architecture, network_spec
from hakd.networks.module import new_network
from hakd.records.graph import Graph
from hakd.training.loop import TrainingRun, evaluate, fit
from hakd.training.recipe import Recipe

GOOD, SIXTEENTH = 0.25, 1 / 16
COLUMNS = "{:>10} {:>10} {:>9} {:>7} {:>11} {:>8} {:>9} {:>10} {:>7}"
HEADER = ("multiplier", "MACs", "share", "params", "validation", "test", "train s", "drawing s", "drawn")


def main() -> None:
    """Prepare the data, train each network, print a row for each."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    multipliers = arguments.multipliers or [GOOD, 0.125, 0.0625, _narrowest(SIXTEENTH)]
    with tempfile.TemporaryDirectory() as folder:
        prepare({"name": "cluttered-digits", "seed": arguments.data_seed}, folder)
        data = load_splits(Path(folder, "train.npz"), Path(folder, "validation.npz"), 32)
        test = load(Path(folder, "test.npz"), 32)
    print(
        f"{arguments.epochs} epochs of {len(data.train)} images, {len(test)} test images, seed {arguments.seed}"
    )
    print(COLUMNS.format(*HEADER), flush=True)
    for multiplier in multipliers:
        print(_row(multiplier, data, test, arguments), flush=True)


def _row(multiplier: float, data: Splits, test: Split, arguments: argparse.Namespace) -> str:
    graph = _graph(multiplier)
    module = new_network(graph, arguments.seed)
    recipe = Recipe(lr=arguments.lr, batch_size=64)
    run = TrainingRun(arguments.epochs, recipe, arguments.seed, label=f"{multiplier:g}")
    start = time.perf_counter()
    rows = fit(module, data, run)
    train_s = (time.perf_counter() - start) / arguments.epochs
    drawing_s = _drawing_s(data.train)
    return COLUMNS.format(
        f"{multiplier:.4g}",
        graph.macs(),
        f"1/{_graph(GOOD).macs() / graph.macs():.1f}",
        graph.params(),
        f"{rows[-1]['val_accuracy']:.2%}",
        f"{evaluate(module, test):.2%}",
        f"{train_s:.2f}",
        f"{drawing_s:.2f}",
        f"{drawing_s / train_s:.0%}",
    )


def _drawing_s(train: Split, repeats: int = 5) -> float:
    """Seconds to draw an epoch's images: the median of a few, taken right after training, under the same load."""
    times = []
    for epoch in range(repeats):
        start = time.perf_counter()
        next(train.batches(64, 0, epoch))
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def _graph(multiplier: float) -> Graph:
    return build_graph(full_architecture(network_spec("mobilenet", {"multiplier": multiplier}, 1, 10)))


def _narrowest(share: float) -> float:
    """The largest multiplier, in steps of 0.001, with at most `share` of the good network's MACs."""
    most = share * _graph(GOOD).macs()
    return max(step / 1000 for step in range(1, 250) if _graph(step / 1000).macs() <= most)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How hard is cluttered-digits?")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0, help="of initial weights and batches")
    parser.add_argument("--data-seed", type=int, default=0, help="of the splits and the fixed drawings")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--multipliers", type=float, nargs="+", help="widths to train (default: four)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
