"""int8 against float32 on this machine: staircases of layers, whole networks, and widths chosen in the other precision.

    python -m benchmarks.int8 stairs STORE
    python -m benchmarks.int8 networks STORE
    python -m benchmarks.int8 choose STORE [--seeds 2]
    python -m benchmarks.int8 accuracy RESULTS

`stairs` times four layers at every width from 33 to 128. `networks` times whole networks end to end in both precisions
and predicts them from their tiles. `choose` lets `joint` choose the widths of random prunings on float32 and on int8
times, and times both networks in int8, in the same processes. `accuracy` reads a finished study whose devices differ in
precision and compares what the same weights score.
"""

import argparse
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.engines import faster_wider, separable, us
from benchmarks.joint_choice import lost_share, pruning
from hakd.analysis.summary import to_markdown
from hakd.boards import Device, Protocol, open_board
from hakd.choosing.device_free import choose_device_free
from hakd.networks.families import full_architecture, full_widths, network_spec
from hakd.ops.tensors import Segment
from hakd.records.arch import Architecture
from hakd.records.graph import Builder, Graph
from hakd.records.tables import read_table
from hakd.search.by_tables import TableMethods
from hakd.search.problem import ChoiceProblem
from hakd.search.snapping import snap_network
from hakd.staircase.curve_rows import curves_from_table
from hakd.study.measuring import device_from
from hakd.sweeping.parts import network_point
from hakd.sweeping.parts import point as part_point
from hakd.sweeping.seams import tie_points, time_parts
from hakd.sweeping.sweep import sweep
from hakd.sweeping.timing import end_to_end

ENGINES, PRECISIONS = ("onnxruntime", "litert"), ("float32", "int8")
WIDTHS = range(33, 129)
MODULI = (4, 8, 16, 32)
PROTOCOL = Protocol(processes=2, rounds=5, chunk_points=100)
QUICK = {"rounds": 5, "benchmark_processes": 3, "min_step": 1}  # one look: ratios of 2 are the question
NETWORKS = {
    "mobilenet 0.25": {"family": "mobilenet", "multiplier": 0.25, "input_size": 32},
    "densenet 22-8": {"family": "densenet", "depth": 22, "growth": 8, "input_size": 16},
    "mobilenet": {"family": "mobilenet", "multiplier": 1.0, "input_size": 32},
    "mobilenetv2 0.5": {"family": "mobilenetv2", "multiplier": 0.5, "input_size": 32},
    "resnet20": {"family": "resnet", "depth": 20, "input_size": 32},
    "resnet20 0.5": {"family": "resnet", "depth": 20, "multiplier": 0.5, "input_size": 32},
    "vgg16 0.5": {"family": "vgg16", "multiplier": 0.5, "input_size": 32},
    "wrn-16-1": {"family": "wrn", "depth": 16, "input_size": 32},
}
CHOSEN = ("mobilenet 0.25", "resnet20", "vgg16 0.25")
LEVEL = 0.5


def layer(kernel: int, given: int | None, made: int | None) -> "Mapping[int, Graph]":
    """A convolution with its rectifier on 16 x 16 pixels, by the width of the side that is not given."""
    found = {}
    for width in WIDTHS:
        b = Builder(given or width, 16)
        x = b.relu(b.conv(b.input, "conv", Segment(None, made or width), kernel), "relu")
        found[width] = b.graph(x)
    return found


def layers() -> dict[str, Mapping[int, Graph]]:
    """The curves of `stairs`."""
    return {
        "3 x 3, 64 to w": layer(3, 64, None),
        "3 x 3, w to 64": layer(3, None, 64),
        "1 x 1, 64 to w": layer(1, 64, None),
        "separable, w inside": {width: separable(width) for width in WIDTHS},
    }


def stairs(store: Path) -> pd.DataFrame:
    """A row per engine, precision and layer: what follows a multiple, and where wider is faster."""
    rows = []
    for engine, precision in itertools.product(ENGINES, PRECISIONS):
        device = Device("local", engine=engine, precision=precision)
        for name, graphs in layers().items():
            points = {w: part_point(graph, f"{name} = {w}", device, name) for w, graph in graphs.items()}
            with open_board(device, store) as board:
                found = board.measure(list(points.values()), PROTOCOL, "stairs")
            times = {width: us(found[one.key]) for width, one in points.items()}
            after = {
                f"after {m}s": np.median([times[w + 1] / times[w] for w in WIDTHS[:-1] if w % m == 0])
                for m in MODULI
            }
            row = {"engine": engine, "precision": precision, "layer": name, **after}
            ends = {f"w = {width} (us)": times[width] for width in (48, 64, 65, 128)}
            rows.append(row | {"wider is faster": faster_wider(times)} | ends)
    return pd.DataFrame(rows)


def networks(store: Path) -> pd.DataFrame:
    """A row per engine and network: latencies in both precisions, and predicted over measured."""
    rows = []
    for engine in ENGINES:
        found: dict[str, dict] = {name: {"engine": engine, "network": name} for name in NETWORKS}
        for precision in PRECISIONS:
            device, measuring = device_from("local", {"engine": engine, "precision": precision, **QUICK})
            archs = {name: full_architecture(_spec(name)) for name in NETWORKS}
            points = {name: network_point(arch, device) for name, arch in archs.items()}
            ties = tie_points(list(archs.values()), device)
            with open_board(device, store) as board:
                timed = end_to_end(board, [*points.values(), *ties], measuring, "benchmark:int8").by_key
                beside = {one.key: timed[one.key].latency_ms for one in ties}
                parts = time_parts(board, list(archs.values()), measuring, beside)
            for name, arch in archs.items():
                measured, made = timed[points[name].key].latency_ms, parts[arch.arch]
                found[name] |= {f"{precision} (us)": 1e3 * measured}
                found[name] |= {f"sum / {precision}": made.sum_ms / measured}
                found[name] |= {f"predicted / {precision}": made.joined_ms / measured}
        for row in found.values():
            row["float32 / int8"] = row["float32 (us)"] / row["int8 (us)"]
        rows += found.values()
    return pd.DataFrame(rows)


def _spec(name: str) -> "object":
    settings = NETWORKS.get(name) or {"family": "vgg16", "multiplier": 0.25, "input_size": 32}
    return network_spec(name.replace(" ", "-"), settings, 3, 10)


def choose(store: Path, seeds: int) -> Iterator[dict]:
    """A row per engine, pruning and network: in int8, the latency of what was chosen in each precision."""
    for engine, name, seed in itertools.product(ENGINES, CHOSEN, range(seeds)):
        spec = _spec(name)
        pruned, trajectory = pruning(spec, seed, LEVEL)
        free = choose_device_free(pruned, LEVEL, seed)
        chosen = {"pruned": pruned, "round16": free["round16"]}
        for precision in PRECISIONS:
            entry = {"engine": engine, "precision": precision, "min_step": 0.1}
            table, _ = sweep("local", entry, store, {LEVEL: free})
            problem = ChoiceProblem(LEVEL, pruned, curves_from_table(table, LEVEL), trajectory)
            made = snap_network(
                "local", entry, store, problem, TableMethods(["joint"], [{"like": "fisher"}], free)
            )
            widths = made.methods["joint"]["widths"]
            chosen[f"joint in {precision}"] = Architecture(spec, widths)
        device, measuring = device_from("local", {"engine": engine, "precision": "int8", "min_step": 0.1})
        points = {how: network_point(one, device) for how, one in chosen.items()}
        with open_board(device, store) as board:
            timed = end_to_end(board, list(points.values()), measuring, f"benchmark:{name}:{seed}").by_key
        row = {"engine": engine, "network": name, "seed": seed}
        for how, one in chosen.items():
            row[f"{how} (us)"] = 1e3 * timed[points[how].key].latency_ms
            row[f"{how}: lost"] = lost_share(one.widths, full_widths(spec), trajectory)
        yield row


def accuracy(results: Path) -> pd.DataFrame:
    """A row per device: mean and largest loss of test accuracy against the same weights in float32."""
    frame, _ = read_table(results / "summary.parquet", "summary")
    frame = frame.assign(precision=frame["precision"].fillna("float32"))
    keys = ["candidate"]
    plain = frame[frame["precision"] == "float32"].drop_duplicates(keys).set_index(keys)
    rows = []
    for device, part in frame[frame["precision"] == "int8"].groupby("device"):
        both = part.set_index(keys).join(plain, rsuffix="_float32", how="inner")
        lost = 100 * (both["accuracy_float32"] - both["accuracy"])
        size = both["size_bytes"] / both["size_bytes_float32"]
        about = {"device": device, "engine": part["engine"].iloc[0], "candidates": len(both)}
        about |= {"mean lost (points)": lost.mean(), "most lost": lost.max(), "most gained": -lost.min()}
        rows.append(about | {"bytes, of float32": size.median()})
    return pd.DataFrame(rows)


def main() -> None:
    """Print one table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("stairs", "networks", "choose", "accuracy"))
    parser.add_argument("folder", type=Path, help="of the store; of the results for `accuracy`")
    parser.add_argument("--seeds", type=int, default=2, help="of `choose` (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.what == "choose":
        frame = pd.DataFrame(choose(arguments.folder, arguments.seeds))
    else:
        made = {"stairs": stairs, "networks": networks, "accuracy": accuracy}
        frame = made[arguments.what](arguments.folder)
    print(to_markdown(frame))


if __name__ == "__main__":
    main()
