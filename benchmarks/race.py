"""What a race's contestants are worth and cost: on virtual devices, whose truth is a formula, and on this machine.

    python -m benchmarks.race virtual [--seeds 3] [--networks densenet]   are they in time, how far apart
    python -m benchmarks.race local --folder FOLDER                       their cost beside `joint`: some minutes

Networks are pruned at random (`benchmarks.joint_choice.pruning`) to half their MACs: this needs no training.
"""

import argparse
import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when numpy and torch load their libraries, so before that

import pandas as pd  # noqa: E402

from benchmarks.computed import ComputedBoard, Truth  # noqa: E402
from benchmarks.joint_choice import (  # noqa: E402
    DEVICES,
    LEVEL,
    NETWORKS,
    lost_share,
    pruning,
    settings_of,
    true_ms,
)
from hakd.boards import Board, Device, open_board  # noqa: E402
from hakd.boards.cost_model import cost_model_from  # noqa: E402
from hakd.choosing.contestants import distance  # noqa: E402
from hakd.choosing.device_free import choose_device_free  # noqa: E402
from hakd.networks.families import full_architecture, full_widths, network_spec  # noqa: E402
from hakd.search.budget import budget_from  # noqa: E402
from hakd.search.by_tables import TableMethods  # noqa: E402
from hakd.search.certifying import certify_network  # noqa: E402
from hakd.search.problem import ChoiceProblem  # noqa: E402
from hakd.search.snapping import snap_network  # noqa: E402
from hakd.staircase.curve_rows import curves_from_table  # noqa: E402
from hakd.study.measuring import device_from  # noqa: E402
from hakd.sweeping.sweep import sweep  # noqa: E402

BUDGETS: Mapping[str, dict[str, Any]] = {
    "fisher": {"like": "fisher"},
    "round16": {"like": "round16"},
    "speedup2": {"speedup": 2},
}
LOCAL = {"transport": "local", "engine": "onnxruntime", "threads": 1, "min_step": 0.1}


def virtual_case(network: str, device: str, seed: int) -> list[dict[str, Any]]:
    """A row per contestant, at each budget, on one random pruning and one computed device."""
    spec = network_spec(network, NETWORKS[network], 1, 10)
    pruned, trajectory = pruning(spec, seed)
    free = choose_device_free(pruned, LEVEL, seed)
    settings = settings_of(device)
    settings["cost_model"]["seed"] = seed
    model = cost_model_from(settings["cost_model"])
    board = ComputedBoard(Device.from_config("vdev", settings), Truth(model), seed)

    @contextlib.contextmanager
    def opened(_: Device, store: Path) -> Iterator[Any]:
        yield board

    table, _ = sweep("vdev", settings, "unused", {LEVEL: free}, opened=opened)
    problem = ChoiceProblem(LEVEL, pruned, curves_from_table(table, LEVEL), trajectory)
    full_ms = true_ms(full_architecture(spec), model)
    rows = []
    for label, budget in BUDGETS.items():
        limit = full_ms / budget["speedup"] if "speedup" in budget else true_ms(free[label], model)
        asked = TableMethods(("joint", "race"), [budget], free)
        made = snap_network("vdev", settings, "unused", problem, asked, opened=opened)
        (race,) = made.races.values()
        joint_s, found = made.methods["joint"]["search_s"], race["contestants"]
        for one in found:
            others = [distance(one["widths"], other["widths"]) for other in found if other is not one]
            rows.append(
                {
                    "network": network, "device": device, "seed": seed, "budget": label, "origin": one["origin"],
                    "kept": one["kept"], "ratio": true_ms(pruned.at(one["widths"]), model) / limit,
                    "lost": lost_share(one["widths"], full_widths(spec), trajectory),
                    "nearest": min(others, default=float("nan")), "false": _false(one, pruned, model, limit),
                    "joint_s": joint_s, "race_s": race["search_s"] - joint_s,
                }
            )  # fmt: skip
    return rows


def _false(one: Mapping[str, Any], pruned: Any, model: Any, limit: float) -> bool:
    """Whether the formula contradicts the certificate."""
    bound = one["certificates"][0]["bound"]
    return bound is not None and true_ms(pruned.at(one["widths"]), model) > (1 + bound) * limit * (1 + 1e-9)


def virtual(given: argparse.Namespace) -> None:
    """Print how many keep the budget by the formula, and how they differ."""
    rows: list[dict[str, Any]] = []
    for network, device, seed in itertools.product(given.networks, DEVICES, range(given.seeds)):
        rows += virtual_case(network, device, seed)
        print(f"{network} on {device}, seed {seed}: done", flush=True)
    table = pd.DataFrame(rows)
    case = ["network", "device", "seed", "budget"]
    own = table[table["origin"] == "joint/saliency"].set_index(case)["lost"]
    at = pd.MultiIndex.from_frame(table[case])
    table["lost / joint"] = table["lost"] / own.reindex(at).to_numpy()
    races = table.groupby(case).agg(
        contestants=("origin", "size"), joint_s=("joint_s", "first"), race_s=("race_s", "first")
    )
    print(f"{len(races)} races; contestants {races['contestants'].value_counts().sort_index().to_dict()}")
    print(
        f"device time: race / (sweep's choice, tables, joint) {races['race_s'].sum() / races['joint_s'].sum():.0%}"
    )
    shown = table.groupby("origin").agg(
        networks=("seed", "size"), kept=("kept", "sum"), above=("ratio", lambda r: (r > 1 + 1e-6).sum()),
        worst=("ratio", "max"), ratio=("ratio", "median"), lost=("lost / joint", "median"),
        nearest=("nearest", "median"), false=("false", "sum"),
    )  # fmt: skip
    print(shown.to_string(float_format=lambda value: f"{value:.3f}"))


def local(given: argparse.Namespace) -> None:
    """Print what `joint` costs on this machine and what the race adds to it, by purpose."""
    spec = network_spec("mobilenet", NETWORKS["mobilenet"], 1, 10)
    pruned, trajectory = pruning(spec, given.seed)
    free = choose_device_free(pruned, LEVEL, given.seed)
    start = time.monotonic()
    table, _ = sweep("local", LOCAL, given.folder, {LEVEL: free})
    print(f"sweep: {time.monotonic() - start:.1f} s", flush=True)
    problem = ChoiceProblem(LEVEL, pruned, curves_from_table(table, LEVEL), trajectory)
    seconds: Counter[str] = Counter()
    budget = BUDGETS[given.budget]

    @contextlib.contextmanager
    def opened(device: Device, store: Path) -> Iterator[Board]:
        with open_board(device, store) as board:
            _count(board, seconds)
            yield board

    for methods in (
        (),
        ("joint",),
        ("joint", "race"),
    ):  # each takes from the store what the one before has timed
        seconds.clear()
        start = time.monotonic()
        asked = TableMethods(methods, [budget], free)
        made = snap_network("local", LOCAL, given.folder, problem, asked, opened=opened)
        parts = ", ".join(f"{word} {spent:.1f}" for word, spent in seconds.items() if spent > 0.05)
        total = time.monotonic() - start
        print(
            f"{', '.join(methods) or 'hakd'}: {total:.1f} s, on the device {sum(seconds.values()):.1f} ({parts})"
        )
    (race,) = made.races.values()
    for one in race["contestants"]:
        ratio, high = (one[key] / race["budget_ms"] for key in ("latency_ms", "latency_high_ms"))
        lost = lost_share(one["widths"], full_widths(spec), trajectory)
        print(f"  {one['origin']:<16} {ratio:.3f} (at most {high:.3f}) of the budget, loses {lost:.2%}")
    last = race["contestants"][-1]
    device, measuring = device_from("local", LOCAL)
    with open_board(device, given.folder) as board:
        start, known = time.monotonic(), {**free, "fisher": pruned}
        certify_network(
            board, measuring, pruned, pruned.at(last["widths"]), last["choices"], budget_from(budget, known)
        )
    print(f"certificates of all moved widths of one contestant: {time.monotonic() - start:.1f} s")


def _count(board: Board, seconds: Counter[str]) -> None:
    """Have the board add up the seconds of measuring by the first word of the purpose."""
    measure = board.measure

    def counted(points: Any, protocol: Any, purpose: str = "sweep", *more: Any, **named: Any) -> Any:
        start = time.monotonic()
        found = measure(points, protocol, purpose, *more, **named)
        seconds[purpose.split(":")[0]] += time.monotonic() - start
        return found

    board.measure = counted  # type: ignore[method-assign]


def main() -> None:
    """One of both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    on_virtual, here = parts.add_parser("virtual"), parts.add_parser("local")
    on_virtual.add_argument(
        "--seeds", type=int, default=3, help="random prunings of each network on each device"
    )
    on_virtual.add_argument("--networks", nargs="*", default=["densenet"], choices=list(NETWORKS))
    here.add_argument("--folder", type=Path, required=True, help="the store; an empty one for the whole cost")
    here.add_argument("--seed", type=int, default=0)
    here.add_argument("--budget", default="round16", choices=list(BUDGETS))
    given = parser.parse_args()
    {"virtual": virtual, "local": local}[given.part](given)


if __name__ == "__main__":
    main()
