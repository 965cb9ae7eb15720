"""What ssh costs: the same sweep on `local` and on this machine behind a loopback sshd, points a second.

Decision blocks of a MobileNet at many widths, two passes as the study's sweep makes them, from log-in to the last
burst, each time into an empty store. Runs come in pairs, and which of the two is first alternates; the ratio is the
geometric mean over pairs with a 95 % t interval. Run it on a machine with nothing else to do:

    python -m benchmarks.ssh_overhead [--pairs 6] [--points 300]
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when numpy and torch load their libraries, so before that

from scipy import stats  # noqa: E402

from hakd.boards import Burst, Device, Point, open_board  # noqa: E402
from hakd.networks.families import full_architecture, full_widths, network_spec  # noqa: E402
from hakd.records.arch import Architecture  # noqa: E402
from hakd.study.measuring import Measuring  # noqa: E402
from hakd.sweeping.parts import engine_graph, point  # noqa: E402
from hakd.sweeping.timing import collect, reference_part  # noqa: E402
from tests.boards.rigs import Sshd, Unavailable  # noqa: E402

MOBILENET = {"family": "mobilenet", "multiplier": 0.25, "input_size": 32}


def blocks(device: Device, count: int) -> tuple[list[Point], Point]:
    """`count` different decision blocks: all groups of the network from their full widths downwards; the reference."""
    spec = network_spec("mobilenet", MOBILENET, 3, 10)
    full = full_widths(spec)
    found: dict[str, Point] = {}
    for narrower in range(max(full.values())):
        for group, most in full.items():
            if narrower < most and len(found) < count:
                graph = engine_graph(Architecture(spec, {**full, group: most - narrower})).block(group)
                one = point(graph, f"{group} = {most - narrower}", device, curve=group)
                found.setdefault(one.key, one)  # layers that repeat share their blocks
    points = sorted(found.values(), key=lambda one: list(full).index(one.curve))
    return points, reference_part(full_architecture(spec), device)


def sweep_s(device: Device, points: list[Point], reference: Point, store: Path) -> float:
    """Seconds of a whole sweep into an empty store."""
    found: dict[str, list[Burst]] = {}
    start = time.monotonic()
    with open_board(device, store) as board:
        collect(found, board, points, Measuring(), "sweep", reference)
        assert not board.failures and len(found) >= len(points)
    return time.monotonic() - start


def main() -> int:
    """Print a line per pair and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=6, help="at least 2 (default: %(default)s)")
    parser.add_argument("--points", type=int, default=300, help="of a sweep (default: %(default)s)")
    arguments = parser.parse_args()
    ratios: list[float] = []
    with tempfile.TemporaryDirectory(prefix="overhead") as name:
        folder = Path(name)
        try:
            sshd = Sshd(folder / "board").start()
        except Unavailable as lack:
            raise SystemExit(f"{lack}. On Debian, as root: make system-deps") from None
        try:
            devices = [Device("local", lock_path=str(folder / "lock")), Device("board", **sshd.device())]
            points, reference = blocks(devices[0], arguments.points)
            sweep_s(devices[1], points, reference, folder / "warm")  # every reference output is computed once
            for pair in range(arguments.pairs):
                rate = {}
                for device in devices if pair % 2 else devices[::-1]:
                    seconds = sweep_s(device, points, reference, folder / f"{device.name}{pair}")
                    rate[device.name] = len(points) / seconds
                ratios.append(rate["board"] / rate["local"])
                rates = f"local {rate['local']:.2f} points/s, ssh {rate['board']:.2f} points/s"
                print(f"pair {pair + 1}: {rates}: {ratios[-1]:.3f}", flush=True)
        finally:
            sshd.stop()
    mean, low, high = interval(ratios)
    print(f"{len(points)} points, {len(ratios)} pairs: ssh / local {mean:.3f} [{low:.3f}, {high:.3f}]")
    return 0


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Geometric mean with its 95 % t interval."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    half = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


if __name__ == "__main__":
    sys.exit(main())
