"""When are zeros faster than a dense product? Layers and networks at several densities, in the engines csr and bitmap.

Beside them the dense twin of the same code (im2col) and ONNX Runtime, one thread and two. Each engine has a session of
its own, as in a study; the sessions of a look follow each other, and the figure of a point is the median over the looks
of its fastest burst. The break-even density is where the line through the logarithms of density and latency crosses the
dense latency. A store that has some of it is completed. Run it on a machine with nothing else to do:

    python -m benchmarks.sparse STORE [--looks 3] [--threads 1 2] [--json FILE]
"""

import argparse
import itertools
import json
import math
from pathlib import Path
from statistics import median

from hakd.boards import Device, Protocol, open_board
from hakd.networks.families import full_architecture, network_spec
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder, Graph
from hakd.sweeping.parts import engine_graph, point

DENSITIES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05)
SPARSE, DENSE = ("csr", "bitmap"), ("im2col", "onnxruntime")
PROTOCOL = Protocol(processes=1, rounds=12, burst_ms=4)


def layer(kernel: int) -> Graph:
    """64 channels to 64 at 16 x 16 pixels, with its rectifier."""
    b = Builder(64, 16)
    return b.graph(b.relu(b.conv(b.input, "conv", Segment(None, 64), kernel, bias=True), "relu"))


def network(family: str, multiplier: float) -> Graph:
    """A narrow network for images of 32 x 32 pixels, as engines run it."""
    options = {"multiplier": multiplier, "input_size": 32}
    return engine_graph(full_architecture(network_spec(family, options, 3, 10)))


def cases() -> dict[str, Graph]:
    """What is timed, by its name."""
    return {
        "3 x 3, 64 -> 64, 16 x 16 pixels": layer(3),
        "1 x 1, 64 -> 64, 16 x 16 pixels": layer(1),
        "MobileNet 0.5, 32 x 32 pixels": network("mobilenet", 0.5),
        "VGG-16 0.25, 32 x 32 pixels": network("vgg16", 0.25),
    }


def look(store: Path, engine: str, density: float, threads: int, number: int) -> tuple[dict[str, float], str]:
    """The fastest burst of each case in us, and the engine's version."""
    device = Device("local", engine=engine, density=density, threads=threads, lock_path=str(store / "lock"))
    points = {name: point(graph, name, device) for name, graph in cases().items()}
    with open_board(device, store) as board:
        bursts = board.measure(list(points.values()), PROTOCOL, f"look {number}", progress=False)
        assert not board.failures, board.failures
        version = f"{engine} {board.engine_version}"
    return {
        name: min(burst.median_ns for burst in bursts[one.key]) / 1e3 for name, one in points.items()
    }, version


def break_even(us: dict[float, float], dense_us: float) -> float | None:
    """The density below which a sparse engine is faster; None where it is faster, or slower, at all of them."""
    ordered = sorted(us)
    for low, high in itertools.pairwise(ordered):
        if us[low] <= dense_us < us[high]:
            share = math.log(dense_us / us[low]) / math.log(us[high] / us[low])
            return low * (high / low) ** share
    return None


def words(us: dict[float, float], dense_us: float) -> str:
    """The break-even density for a cell."""
    found = break_even(us, dense_us)
    if found is not None:
        return f"{found:.2f}"
    return "always faster" if max(us.values()) <= dense_us else f"below {min(us):g}"


def main() -> None:
    """Print a table for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path, help="measurement store")
    parser.add_argument("--looks", type=int, default=3, help="sessions of each engine (default: %(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    arguments.store.mkdir(parents=True, exist_ok=True)
    runs = [(engine, 1.0) for engine in DENSE] + [
        (engine, density) for density in DENSITIES for engine in SPARSE
    ]
    written, versions = [], set()
    for threads in arguments.threads:
        looks: dict[tuple[str, str, float], list[float]] = {}
        for number in range(arguments.looks):
            for engine, density in runs:
                found, version = look(arguments.store, engine, density, threads, number)
                versions.add(version)
                for name, us in found.items():
                    looks.setdefault((name, engine, density), []).append(us)
        us = {key: median(values) for key, values in looks.items()}
        print(f"\n{threads} thread(s), us\n")
        print(
            "| case | engine | "
            + " | ".join(f"{d:g}" for d in DENSITIES)
            + " | even with im2col | with onnxruntime |"
        )
        print("|---|---|" + "---:|" * (len(DENSITIES) + 2))
        for name in cases():
            for engine in DENSE:
                print(f"| {name} | {engine} | {us[name, engine, 1.0]:.0f} |" + " |" * (len(DENSITIES) + 1))
            for engine in SPARSE:
                own = {density: us[name, engine, density] for density in DENSITIES}
                cells = [f"{own[density]:.0f}" for density in DENSITIES]
                cells += [words(own, us[name, other, 1.0]) for other in DENSE]
                print(f"| {name} | {engine} | " + " | ".join(cells) + " |")
        written += [
            {"threads": threads, "case": name, "engine": engine, "density": density, "us": value}
            for (name, engine, density), value in us.items()
        ]
    print("\n" + "\n".join(sorted(versions)))
    if arguments.json:
        arguments.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
