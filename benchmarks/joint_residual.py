"""How long `joint` takes on a residual network, and how far off it is when time ends.

    python -m benchmarks.joint_residual [--network resnet18] [--candidates 7] [--limits 5 20 60 300]

Tables of the network's own tiles: every combination of candidate widths, each tile's latency by a cost model that pads
outputs to 8 and inputs to 4, with noise of 1 to 2 % and its standard error. Saliencies are random and fall off. For
each budget (a share of the full network's latency) the search runs with each time limit: seconds, gap by the solver's
bounds, and regret (share of the full saliency that is lost beyond the longest search's answer).
"""

import argparse
import itertools
import time

import numpy as np

from benchmarks.computed import layers
from benchmarks.joint_choice import pruning
from hakd.boards.cost_model import CostModel
from hakd.choosing.joint import choose
from hakd.choosing.tile_costs import Cost, TileTable
from hakd.networks.families import full_widths, network_spec
from hakd.pruning.trajectory import regained_saliency
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.errors import HakdError
from hakd.sweeping.parts import engine_graph, neighbours

NETWORKS = {
    "resnet20": {"family": "resnet", "depth": 20},
    "resnet18": {"family": "resnet", "depth": 18},
    "resnet34": {"family": "resnet", "depth": 34},
    "mobilenetv2": {"family": "mobilenetv2"},
}
SHARES = (0.8, 0.5, 0.3)  # of the full network's latency
MODEL = CostModel(overhead_us=5.0, us_per_mmac=12.0, tile_out=8, tile_in=4, penalty_in=1.15)
NOISE = 0.015


def tables(spec: NetworkSpec, candidates: dict[str, list[int]], seed: int) -> tuple[TileTable, ...]:
    """Of all tiles, with noise that their errors tell."""
    rng = np.random.default_rng(seed)
    found = []
    full = Architecture(spec, full_widths(spec))
    for name, tile in engine_graph(full).tiles().items():
        groups = tuple(neighbours(tile))
        latency_ms, sigma_ms = {}, {}
        for key in itertools.product(*(candidates[group] for group in groups)):
            true_ms = MODEL.cost_us(layers(tile.at(dict(zip(groups, key, strict=True))))) / 1e3
            latency_ms[key] = true_ms * float(np.exp(rng.normal(0, NOISE)))
            sigma_ms[key] = NOISE * true_ms
        found.append(TileTable(name, groups, latency_ms, sigma_ms))
    return tuple(found)


def main() -> None:
    """Print a line for each budget and limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", choices=list(NETWORKS), default="resnet18")
    parser.add_argument("--candidates", type=int, default=7, help="widths of each group")
    parser.add_argument("--limits", type=float, nargs="+", default=[5, 20, 60, 300], help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    spec = network_spec(given.network, NETWORKS[given.network], 3, 10)
    full = full_widths(spec)
    _, trajectory = pruning(spec, given.seed)
    rng = np.random.default_rng(given.seed)
    candidates = {
        group: sorted({size, *(int(w) for w in rng.integers(max(1, size // 5), size, given.candidates - 1))})
        for group, size in full.items()
    }
    values = {
        group: {w: -regained_saliency(trajectory, full, group, w, full[group]) for w in widths}
        for group, widths in candidates.items()
    }
    whole = float(trajectory["score"].sum())
    made = tables(spec, candidates, given.seed)
    full_ms = sum(table.latency_ms[tuple(full[group] for group in table.groups)] for table in made)
    points = sum(len(table.latency_ms) for table in made)
    print(f"{given.network}: {len(full)} groups, {len(made)} tiles, {points} points, full {full_ms:.2f} ms\n")
    print("| budget | limit, s | took, s | gap | regret |\n|---|---|---|---|---|", flush=True)
    for share in SHARES:
        found = []
        for limit_s in sorted(given.limits, reverse=True):
            start = time.monotonic()
            try:
                answer = choose(values, [Cost("device", made, share * full_ms)], time_limit_s=limit_s)
            except HakdError as error:
                print(f"| {share:g} | {limit_s:g} | - | {error.problem} | - |", flush=True)
                continue
            found.append((limit_s, time.monotonic() - start, answer))
        for limit_s, took_s, answer in reversed(found):
            regret = (max(one.value for _, _, one in found) - answer.value) / whole
            print(f"| {share:g} | {limit_s:g} | {took_s:.1f} | {answer.gap:.2%} | {regret:.2%} |", flush=True)


if __name__ == "__main__":
    main()
