"""What each engine costs per call, how busy it keeps its threads, and whether its curves are staircases.

Times, in real sessions on `local`: one rectifier on one number (the call itself), whole networks with 1 and 2 threads,
and two blocks at every width from 33 to 96, each width once a round, all in the same processes. A time is the median
of the fastest tenth of its bursts, because other work disturbed those least; so is the CPU time over wall time. For a
curve it prints what follows a multiple of 4, 8 and 16 (the median ratio of the next width's time to its own), and the
share of widths for which one at most 8 channels wider is faster by 3 %.

    python -m benchmarks.engines STORE [ENGINE ...]
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hakd.boards import Burst, Device, Protocol, open_board
from hakd.boards.device import ENGINES
from hakd.networks.families import full_architecture, network_spec
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder, Graph
from hakd.sweeping.parts import engine_graph, point

DEFAULT = ("onnxruntime", "litert", "ncnn", "openvino")
WIDTHS = range(33, 97)
MODULI = (4, 8, 16)
WIDER, FASTER = 8, 0.97
PROTOCOL = Protocol(processes=4, rounds=20, chunk_points=100)


def main() -> None:
    """Print a row per engine and number of threads, and a row per engine and curve."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path, metavar="STORE")
    parser.add_argument(
        "engines",
        nargs="*",
        metavar="ENGINE",
        help=f"among {', '.join(ENGINES)}; default: {', '.join(DEFAULT)}",
    )
    arguments = parser.parse_args()
    engines = arguments.engines or DEFAULT
    print(ROW.format("engine", "version", "threads", "call us", "network", "us", "CPUs busy"))
    for engine in engines:
        for threads in (1, 2):
            for row in networks(Device("local", engine=engine, threads=threads), arguments.store):
                print(ROW.format(*row), flush=True)
    print()
    print(
        CURVE.format(
            "engine", "block", *(f"after {modulus}s" for modulus in MODULI), "faster wider", "33 us", "96 us"
        )
    )
    for engine in engines:
        for row in curves(Device("local", engine=engine), arguments.store):
            print(CURVE.format(*row), flush=True)


ROW = "{:>11} {:>46} {:>7} {:>7} {:>14} {:>7} {:>9}"
CURVE = "{:>11} {:>10} {:>9} {:>9} {:>9} {:>12} {:>7} {:>7}"


def networks(device: Device, store: Path) -> list[tuple]:
    """Call overhead, latency and cpu time over wall time."""
    builder = Builder(1, 1)
    nothing = point(builder.graph(builder.relu(builder.input, "relu")), "nothing", device)
    specs = {
        "mobilenet": network_spec("mobilenet", {"multiplier": 1.0, "input_size": 32}, 3, 10),
        "densenet 40-12": network_spec("densenet", {"depth": 40, "growth": 12, "input_size": 32}, 3, 10),
    }
    points = {
        name: point(engine_graph(full_architecture(spec)), name, device) for name, spec in specs.items()
    }
    with open_board(device, store) as board:
        found = board.measure([nothing, *points.values()], PROTOCOL)
        version = board.engine_version
    rows = []
    for name, one in points.items():
        ratios = [burst.cpu_ratio for burst in fastest(found[one.key])]
        times = f"{us(found[nothing.key]):.1f}", name, f"{us(found[one.key]):.0f}"
        rows.append((device.engine, version, device.threads, *times, f"{np.median(ratios):.2f}"))
    return rows


def curves(device: Device, store: Path) -> list[tuple]:
    """What the two curves of an engine look like."""
    rows = []
    for name, block in (("separable", separable), ("dense", dense)):
        points = {width: point(block(width), f"{name} = {width}", device, curve=name) for width in WIDTHS}
        with open_board(device, store) as board:
            found = board.measure(list(points.values()), PROTOCOL)
        times = {width: us(found[one.key]) for width, one in points.items()}
        steps = [f"{np.median([times[w + 1] / times[w] for w in at(modulus)]):.2f}" for modulus in MODULI]
        ends = f"{times[WIDTHS[0]]:.0f}", f"{times[WIDTHS[-1]]:.0f}"
        rows.append((device.engine, name, *steps, f"{faster_wider(times):.0%}", *ends))
    return rows


def at(modulus: int) -> list[int]:
    """Multiples that have a next width."""
    return [width for width in WIDTHS[:-1] if width % modulus == 0]


def faster_wider(times: Mapping[int, float]) -> float:
    """Share of widths of which a little wider one is faster."""
    candidates = [width for width in times if width + WIDER in times]
    found = [
        min(times[width + more] for more in range(1, WIDER + 1)) < FASTER * times[width]
        for width in candidates
    ]
    return float(np.mean(found))


def us(bursts: Sequence[Burst]) -> float:
    """Time of a point in microseconds."""
    return float(np.median([burst.median_ns for burst in fastest(bursts)])) / 1e3


def fastest(bursts: Sequence[Burst]) -> list[Burst]:
    """The tenth of the bursts that took least."""
    return sorted(bursts, key=lambda burst: burst.median_ns)[: max(1, len(bursts) // 10)]


def separable(width: int) -> Graph:
    """1 x 1 to `width` channels, depthwise, 1 x 1 back: 64 channels at both ends, 16 x 16 pixels."""
    builder = Builder(64, 16)
    x = builder.relu(builder.conv(builder.input, "in", Segment("g", width), 1), "a")
    x = builder.relu(builder.depthwise(x, "depthwise", 3), "b")
    return builder.graph(builder.relu(builder.conv(x, "out", Segment(None, 64), 1), "c"))


def dense(width: int) -> Graph:
    """3 x 3 to `width` channels and 3 x 3 back: 32 channels at both ends, 16 x 16 pixels."""
    builder = Builder(32, 16)
    x = builder.relu(builder.conv(builder.input, "in", Segment("g", width), 3), "a")
    return builder.graph(builder.relu(builder.conv(x, "out", Segment(None, 32), 3), "b"))


if __name__ == "__main__":
    main()
