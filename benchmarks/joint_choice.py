"""Widths chosen together against widths chosen group by group, on virtual devices whose truth is a formula.

    python -m benchmarks.joint_choice [--seeds 5] [--out table.csv]

A network is pruned at random (by seed), swept on a virtual device with noise, and its widths are chosen by every method
as a study would. Reported are the true latency over the budget and the share of all recorded saliency that is lost;
and, on small random tables, the regret against trying everything. `uniform_aligned` is helped: it is the widest
multiplier whose TRUE latency keeps the budget.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when numpy and torch load their libraries, so before that

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from hakd.boards.cost_model import CostModel, cost_model_from  # noqa: E402
from hakd.boards.virtual import layers_of  # noqa: E402
from hakd.choosing.baselines import uniform_aligned  # noqa: E402
from hakd.choosing.device_free import choose_device_free  # noqa: E402
from hakd.choosing.joint import choose  # noqa: E402
from hakd.choosing.tile_costs import Cost, TileTable, latency_of  # noqa: E402
from hakd.networks.engine_model import engine_model  # noqa: E402
from hakd.networks.families import (  # noqa: E402
    build_graph,
    full_architecture,
    full_widths,
    network_spec,
)
from hakd.networks.onnx_model import stand_in_weights  # noqa: E402
from hakd.networks.prunable import count_of  # noqa: E402
from hakd.pruning.trajectory import COLUMNS, regained_saliency  # noqa: E402
from hakd.records.arch import Architecture, NetworkSpec  # noqa: E402
from hakd.records.errors import HakdError  # noqa: E402
from hakd.search.by_tables import TableMethods  # noqa: E402
from hakd.search.problem import ChoiceProblem  # noqa: E402
from hakd.search.snapping import snap_network  # noqa: E402
from hakd.staircase.curve_rows import curves_from_table  # noqa: E402
from hakd.sweeping.parts import engine_graph  # noqa: E402
from hakd.sweeping.sweep import sweep  # noqa: E402

NETWORKS = {
    "mobilenet": {"family": "mobilenet", "multiplier": 0.25, "input_size": 32},
    "densenet": {"family": "densenet", "depth": 22, "growth": 8, "input_size": 16},
}
NOISE = {"sigma": 0.01, "spike_probability": 0.03, "drift": 0.02, "process_sigma": 0.01}
DEVICES = {
    "comb": {"tile_out": 16, "tile_in": 4, "penalty_in": 1.35},
    "hump": {"tile_out": 8, "humps": [{"out": [33, 48], "factor": 1.25}]},
    "slope": {},
}
METHODS = ("joint", "knapsack", "latency_greedy")
LEVEL = 0.5


def settings_of(device: str) -> dict:
    """A virtual device as a configuration has it."""
    model = {"overhead_us": 3.0, "us_per_mmac": 12.0, "depthwise_us_per_mmac": 30.0, **DEVICES[device]}
    return {"transport": "virtual", "min_step": 0.1, "cost_model": {**model, "noise": NOISE}}


def true_ms(architecture: Architecture, model: CostModel) -> float:
    """What the network takes by the formula."""
    graph = engine_graph(architecture)
    return model.cost_us(layers_of(engine_model("onnxruntime", graph, stand_in_weights(graph), 1))) / 1e3


def pruning(spec: NetworkSpec, seed: int, level: float = LEVEL) -> tuple[Architecture, pd.DataFrame]:
    """A network pruned to `level` in the order of random saliencies, and the trajectory down to one channel a group.

    Groups differ in how much their channels matter, and channels within a group do.
    """
    rng = np.random.default_rng(seed)
    full = full_widths(spec)
    scores = {
        group: np.sort(np.exp(rng.normal(rng.normal(0, 0.7), 1.0, size=size - 1)))
        for group, size in full.items()
    }
    order = sorted((score, group, i) for group, some in scores.items() for i, score in enumerate(some))
    widths, limit = dict(full), level * build_graph(full_architecture(spec)).macs()
    rows, pruned = [], None
    for number, (score, group, i) in enumerate(order):
        if pruned is None and build_graph(Architecture(spec, dict(widths))).macs() <= limit:
            pruned = dict(widths)
        widths[group] -= 1
        rows.append((number, number, group, i, score, 0, 0, np.nan))
    return Architecture(spec, pruned or dict(widths)), pd.DataFrame(rows, columns=list(COLUMNS)).astype(
        COLUMNS
    )


def lost_share(widths: Mapping[str, int], full: Mapping[str, int], trajectory: pd.DataFrame) -> float:
    """Share of all recorded saliency that the widths drop."""
    dropped = sum(regained_saliency(trajectory, full, g, widths[g], full[g]) for g in full)
    return dropped / float(trajectory["score"].sum())


def aligned_within(spec: NetworkSpec, budget_ms: float, model: CostModel) -> Architecture | None:
    """The widest uniform multiplier, rounded to 8, whose TRUE latency keeps the budget: more than a study can know."""
    full = full_widths(spec)
    for level in np.arange(1, 0, -0.02):
        found = Architecture(spec, uniform_aligned(full, round(float(level), 2), count_of(spec), 8))
        if true_ms(found, model) <= budget_ms:
            return found
    return None


def one_case(network: str, device: str, seed: int) -> list[dict]:
    """All methods on one random pruning and one device, at the budgets of the pruned network and of round16."""
    spec = network_spec(network, NETWORKS[network], 1, 10)
    pruned, trajectory = pruning(spec, seed)
    full = full_widths(spec)
    entry = settings_of(device)
    entry["cost_model"]["seed"] = seed
    model = cost_model_from(entry["cost_model"])
    free = choose_device_free(pruned, LEVEL, seed)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as store:
        table, _ = sweep(device, entry, store, {LEVEL: free})
        for like in ("fisher", "round16"):
            budget_ms = true_ms(free[like], model)
            start = time.monotonic()
            snapped = snap_network(
                device,
                entry,
                Path(store),
                ChoiceProblem(LEVEL, pruned, curves_from_table(table, LEVEL), trajectory),
                TableMethods(METHODS, [{"like": like}], free),
            )
            seconds, made = time.monotonic() - start, snapped.methods
            chosen = {method: Architecture(spec, one["widths"]) for method, one in made.items()}
            chosen |= {"fisher": pruned, "round16": free["round16"]}
            aligned = aligned_within(spec, budget_ms, model)
            chosen |= {"uniform_aligned": aligned} if aligned else {}
            for method, found in chosen.items():
                repair = made.get(method, {}).get("repair", {})
                rows.append(
                    {
                        "network": network,
                        "device": device,
                        "budget": like,
                        "seed": seed,
                        "method": method,
                        "latency / budget": true_ms(found, model) / budget_ms,
                        "lost": lost_share(found.widths, full, trajectory),
                        "shrinkage": repair.get("shrinkage"),
                        "tries": len(repair.get("steps", ())),
                        "points": repair.get("points"),
                        "seconds": seconds,
                    }
                )
    return rows


def regret(seeds: int) -> pd.DataFrame:
    """Value lost against trying everything, in shares of the best: small random chains, exact by construction."""
    rows = []
    for seed, groups in itertools.product(range(seeds), (3, 5)):
        rng = np.random.default_rng(seed)
        own = [sorted(rng.choice(np.arange(4, 65), 5, replace=False).tolist()) for _ in range(groups)]
        values = {f"g{i}": {w: -float(rng.random() * (64 - w)) for w in some} for i, some in enumerate(own)}
        tiles = []
        for i in range(groups - 1):
            latency = {
                (a, b): 0.01 + -(-b // 16) * 16 * a * 1e-4 * (1.35 if a % 4 else 1)
                for a, b in itertools.product(own[i], own[i + 1])
            }
            sigma = {key: ms * rng.uniform(0.01, 0.05) for key, ms in latency.items()}
            tiles.append(TileTable(f"t{i}", (f"g{i}", f"g{i + 1}"), latency, sigma))
        cases = [dict(zip(values, case, strict=True)) for case in itertools.product(*own)]
        uppers = [latency_of(Cost("d", tiles, 1.0), case)[1] for case in cases]
        budget = float(np.quantile(uppers, rng.uniform(0.05, 0.8)))
        best = max(
            sum(values[g][w] for g, w in case.items())
            for case, upper in zip(cases, uppers, strict=True)
            if upper <= budget
        )
        found = choose(values, [Cost("d", tiles, budget)])
        rows.append({"groups": groups, "regret": (best - found.value) / abs(best)})
    return pd.DataFrame(rows)


def main() -> None:
    """Print the tables; write all cases as CSV where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="random prunings of each network on each device")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--devices", nargs="*", default=list(DEVICES), choices=list(DEVICES))
    parser.add_argument("--out", help="CSV of all cases")
    given = parser.parse_args()
    rows: list[dict] = []
    for network, device, seed in itertools.product(given.networks, given.devices, range(given.seeds)):
        try:
            rows += one_case(network, device, seed)
        except HakdError as error:
            print(f"{network} on {device}, seed {seed}: {error}")
        print(f"{network} on {device}, seed {seed}: done", flush=True)
    table = pd.DataFrame(rows)
    cases = ["network", "device", "budget", "seed"]
    joint = table[table["method"] == "joint"].set_index(cases)["lost"]
    table["over joint"] = table["lost"] / joint.reindex(pd.MultiIndex.from_frame(table[cases])).to_numpy()
    if given.out:
        table.to_csv(given.out, index=False)
    keys = ["network", "device", "budget", "method"]
    shown = table.groupby(keys, sort=False).agg(
        cases=("seed", "size"),
        latency=("latency / budget", "median"),
        worst=("latency / budget", "max"),
        lost=("lost", "mean"),
        over_joint=("over joint", "median"),
        shrinkage=("shrinkage", "median"),
        tries=("tries", "mean"),
        points=("points", "mean"),
    )
    print(shown.to_string(float_format=lambda value: f"{value:.3f}"))
    lost = regret(50)
    print(lost.groupby("groups")["regret"].agg(["size", "mean", "max"]).to_string())


if __name__ == "__main__":
    main()
