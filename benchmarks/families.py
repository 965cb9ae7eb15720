"""All families: counts, width groups, what a sweep costs here, and latency predicted from parts against measured.

    python -m benchmarks.families --store FOLDER [--networks resnet20 ...] [--no-sweep] [--seconds 600]
    python -m benchmarks.families --lines

For each network: trainable parameters and multiply-accumulates, width groups and tiles; points and device minutes of a
sweep in mode `targets` at a random pruning to half of the multiply-accumulates; and predicted / measured latency of the
full network, that pruning, and the pruning rounded up to 16. Predictions are sums of tiles less what their seams save,
at the pace of the whole networks; nothing is fitted. What is in the store is not timed again. `--lines` counts the
lines of code of each family and op kind.
"""

import argparse
import ast
import time
from pathlib import Path

from benchmarks.prediction import pruning, timed  # sets thread counts first
from hakd.boards import open_board
from hakd.choosing.baselines import round_to
from hakd.networks.families import full_architecture, full_graph, network_spec
from hakd.records.arch import Architecture
from hakd.study.measuring import device_from
from hakd.sweeping.sweep import sweep

LARGE = {"stem": "imagenet", "input_size": 224}
DENSE_121 = {"family": "densenet", "blocks": [6, 12, 24, 16], "growth": 32}
NETWORKS = {
    "mobilenet": ({"family": "mobilenet"}, 10),
    "mobilenetv2": ({"family": "mobilenetv2"}, 10),
    "resnet20": ({"family": "resnet", "depth": 20}, 10),
    "resnet56": ({"family": "resnet", "depth": 56}, 10),
    "resnet18": ({"family": "resnet", "depth": 18}, 10),
    "resnet34": ({"family": "resnet", "depth": 34}, 10),
    "wrn16_1": ({"family": "wrn", "depth": 16, "multiplier": 1}, 10),
    "wrn40_2": ({"family": "wrn", "depth": 40, "multiplier": 2}, 10),
    "vgg16": ({"family": "vgg16"}, 10),
    "densenet100": ({"family": "densenet", "depth": 100, "growth": 12}, 10),
    "densenet121": (DENSE_121, 10),
    "mobilenetv2_224": ({"family": "mobilenetv2", **LARGE}, 1000),
    "resnet18_224": ({"family": "resnet", "depth": 18, **LARGE}, 1000),
    "densenet121_224": ({**DENSE_121, **LARGE}, 1000),
}
LEVEL = 0.5
SETTINGS = {"transport": "local", "engine": "onnxruntime", "threads": 1, "min_step": 0.1}
HEAD = (
    "| network | parameters | MACs | groups | tiles | points | minutes | full, ms | full | pruned | rounded |"
)


def row(name: str, store: Path, swept: bool) -> str:
    """A line of the table."""
    settings, classes = NETWORKS[name]
    spec = network_spec(name, settings, 3, classes)
    graph, full = full_graph(spec), full_architecture(spec)
    pruned, _ = pruning(spec, 0, LEVEL)
    rounded = pruned.at(round_to(pruned.widths, full.widths))
    points, minutes = _sweep(name, pruned, store) if swept else ("", "")
    archs = {one.arch: one for one in (full, pruned, rounded)}
    device, measuring = device_from("local", SETTINGS)
    with open_board(device, store) as board:
        whole, parts = timed(board, archs, measuring)
    ratios = [
        f"{parts[one.arch].joined_ms / whole[one.arch]:.3f}"
        if one.arch in parts and one.arch in whole
        else "-"
        for one in (full, pruned, rounded)
    ]
    counts = f"{graph.params():,} | {graph.macs():,} | {len(graph.groups())} | {len(graph.tiles())}"
    return f"| {name} | {counts} | {points} | {minutes} | {whole[full.arch]:.2f} | {' | '.join(ratios)} |"


def _sweep(name: str, pruned: Architecture, store: Path) -> tuple[str, str]:
    """Points of the curves and tiles of a sweep, and device minutes."""
    frame, about = sweep("local", SETTINGS, store, {LEVEL: {"fisher": pruned}})
    return str(len(frame)), f"{about['seconds'] / 60:.1f}"


def lines_of_code() -> str:
    """Statements' lines without docstrings, comments and blank lines, by file."""
    root = Path(__file__).parents[1] / "hakd"
    found = [*sorted((root / "networks").glob("*.py")), *sorted((root / "ops").glob("*.py"))]
    return "\n".join(f"{path.relative_to(root)}: {_code_lines(path)}" for path in found)


def _code_lines(path: Path) -> int:
    text = path.read_text()
    taken: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(getattr(node, "value", None), ast.Constant):
            taken |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    kept = [
        line
        for number, line in enumerate(text.splitlines(), start=1)
        if number not in taken and line.strip() and not line.strip().startswith("#")
    ]
    return len(kept)


def main() -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, help="folder of measurements, made if it is not there")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--no-sweep", action="store_true", help="predictions alone")
    parser.add_argument("--seconds", type=float, default=3600, help="begin no further network after so long")
    parser.add_argument("--lines", action="store_true", help="count lines of code instead")
    given = parser.parse_args()
    if given.lines:
        print(lines_of_code())
        return
    if given.store is None:
        parser.error("--store is needed")
    start = time.monotonic()
    print(f"{HEAD}\n|{'---|' * (HEAD.count('|') - 1)}", flush=True)
    for name in given.networks:
        if time.monotonic() - start > given.seconds:
            print("time is over; run again to go on", flush=True)
            return
        print(row(name, given.store, not given.no_sweep), flush=True)


if __name__ == "__main__":
    main()
