"""Are certificates true, and what do they cost? Virtual devices with drift, whose truth is a formula.

    python -m benchmarks.certificates [--devices 200] [--joint] [--jobs 2] [--out FILE.jsonl] [--cases]

Each device is drawn (`benchmarks.computed.draw_device`, from number 1000 on); a network pruned at random is swept on
it, its widths are chosen, verified and certified as a study would, by the package's own code on a computed board.
Reported: how many networks have a certificate that the formula contradicts, how many chosen networks are slower than
their twin by more than is stated, how wide the bounds are, and what verification and certificates cost in device time.
With `--joint` that method chooses too, on tables of its own.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when numpy and torch load their libraries, so before that

import numpy as np  # noqa: E402

from benchmarks.computed import ComputedBoard, Truth, draw_device, layers  # noqa: E402
from benchmarks.joint_choice import LEVEL, NETWORKS, pruning  # noqa: E402
from hakd.boards import Device  # noqa: E402
from hakd.boards.cost_model import CostModel  # noqa: E402
from hakd.choosing.device_free import choose_device_free  # noqa: E402
from hakd.networks.families import network_spec  # noqa: E402
from hakd.records.arch import Architecture  # noqa: E402
from hakd.search.by_tables import TableMethods  # noqa: E402
from hakd.search.problem import ChoiceProblem  # noqa: E402
from hakd.search.snapping import snap_network  # noqa: E402
from hakd.staircase.curve_rows import curves_from_table  # noqa: E402
from hakd.sweeping.parts import engine_graph  # noqa: E402
from hakd.sweeping.sweep import sweep  # noqa: E402

FIRST = 1000  # the planner's benchmark draws below
CHECKS = ("verify", "certify")
COLUMNS = (
    "method",
    "networks",
    "moved",
    "with a false certificate",
    "slower than the twin beyond the bound",
    "certificates of widths",
    "false",
    "shown free",
    "bound - truth: median (90 %)",
)


def case(number: int, methods: Sequence[str], device: CostModel | None = None) -> list[dict[str, Any]]:
    """A device (drawn, unless given), a network on it, and what is certified of each method's choice."""
    model = device or draw_device(FIRST + number)
    network = list(NETWORKS)[number % len(NETWORKS)]
    spec = network_spec(network, NETWORKS[network], 3, 10, "benchmark")
    pruned, trajectory = pruning(spec, FIRST + number)
    free = choose_device_free(pruned, LEVEL, 0)
    settings = {"transport": "virtual", "cost_model": model.to_dict()}
    board = ComputedBoard(Device.from_config("vdev", settings), Truth(model), model.seed)

    @contextlib.contextmanager
    def opened(_: Device, store: Path) -> Iterator[Any]:
        yield board

    table, _ = sweep("vdev", settings, "unused", {LEVEL: free}, opened=opened)
    problem = ChoiceProblem(LEVEL, pruned, curves_from_table(table, LEVEL), trajectory)
    made = snap_network(
        "vdev", settings, "unused", problem, TableMethods(methods, baselines=free), opened=opened
    ).methods
    about = {"device": number, "network": network, "sigma": model.noise.sigma, "drift": model.noise.drift}
    about |= {"seconds": dict(board.seconds), "processes": board.processes}
    return [{**about, "method": method, **checked(entry, pruned, model)} for method, entry in made.items()]


def checked(entry: Mapping[str, Any], pruned: Architecture, model: CostModel) -> dict[str, Any]:
    """A method's certificates beside the truth."""
    chosen = pruned.at(entry["widths"])
    found = []
    for one in entry["certificates"]:
        if one["scope"] == "network":
            after, before = (model.cost_us(layers(engine_graph(net))) for net in (chosen, pruned))
        else:
            after, before = (
                _block_us(model, chosen, one["group"], one[width]) for width in ("width_to", "width_from")
            )
        found.append(
            {key: one[key] for key in ("scope", "group", "bound", "tolerance", "shown", "processes")}
            | {"truth": after / before - 1}
        )
    return {"moved": len(found) - 1, "certificates": found}


def _block_us(model: CostModel, chosen: Architecture, group: str, width: int) -> float:
    network = chosen.at({group: width})
    return model.cost_us(layers(engine_graph(network).block(group)))


def false(one: Mapping[str, Any]) -> bool:
    """Whether the truth is beyond the stated bound (by more than rounding)."""
    return one["bound"] is not None and one["truth"] > one["bound"] + 1e-9


def report(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tables in Markdown: certificates by method, device time by what was chosen."""
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    for method in [*dict.fromkeys(row["method"] for row in rows), "all"]:
        own = [row for row in rows if method in ("all", row["method"])]
        lines.append(_by_method(method, own))
    lines += [
        "",
        "| chosen by | devices | sweep and choice | verification | certificates | both | median, 90 % of devices |",
        "|---|---|---|---|---|---|---|",
    ]
    first = {row["device"]: row for row in rows}
    lines.append(_by_time(", ".join(dict.fromkeys(row["method"] for row in rows)), list(first.values())))
    return lines


def _by_method(method: str, own: Sequence[Mapping[str, Any]]) -> str:
    moved = [row for row in own if row["moved"]]
    whole = [one for row in own for one in row["certificates"] if one["scope"] == "network"]
    widths = [one for row in own for one in row["certificates"] if one["scope"] == "width"]
    wrong = sum(any(map(false, row["certificates"])) for row in own)
    excess = [one["bound"] - one["truth"] for one in widths if one["bound"] is not None]
    middle, high = np.quantile(excess, (0.5, 0.9)) if excess else (np.nan, np.nan)
    shown = np.mean([one["shown"] for one in widths]) if widths else np.nan
    share = f"{wrong / len(own):.1%}, of moved {wrong / max(len(moved), 1):.1%}"
    return (
        f"| {method} | {len(own)} | {len(moved)} | {wrong} ({share})"
        f" | {sum(map(false, whole))} | {len(widths)} | {sum(map(false, widths))} | {shown:.0%}"
        f" | {middle:.1%} ({high:.1%}) |"
    )


def _by_time(name: str, own: Sequence[Mapping[str, Any]]) -> str:
    made = [sum(s for kind, s in row["seconds"].items() if kind not in CHECKS) for row in own]
    verify, certify = ([row["seconds"].get(kind, 0.0) for row in own] for kind in CHECKS)
    share = [(v + c) / m for v, c, m in zip(verify, certify, made, strict=True)]
    total = (sum(verify) + sum(certify)) / sum(made)
    return (
        f"| {name} | {len(own)} | {np.mean(made):.1f} s | {np.mean(verify):.1f} s ({sum(verify) / sum(made):.0%})"
        f" | {np.mean(certify):.1f} s ({sum(certify) / sum(made):.0%}) | {total:.0%}"
        f" | {np.median(share):.0%}, {np.quantile(share, 0.9):.0%} |"
    )


def _task(task: tuple[int, tuple[str, ...]]) -> list[dict[str, Any]]:
    return case(*task)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--joint", action="store_true", help="joint chooses too, which takes longer")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, help="all cases, a line of JSON each; devices that it has are done"
    )
    parser.add_argument("--cases", action="store_true", help="print the false certificates")
    given = parser.parse_args()
    rows = (
        [json.loads(line) for line in given.out.read_text().splitlines()]
        if given.out and given.out.exists()
        else []
    )
    done = {row["device"] for row in rows}
    methods = ("joint",) if given.joint else ()
    tasks = [(number, methods) for number in range(given.devices) if number not in done]
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for found in pool.imap(_task, tasks):
            rows += found
            if given.out:
                with given.out.open("a") as stream:
                    stream.writelines(f"{json.dumps(row)}\n" for row in found)
    for line in report(rows):
        print(line)
    if given.cases:
        for row in rows:
            for one in filter(false, row["certificates"]):
                print({key: row[key] for key in ("device", "network", "method", "sigma", "drift")} | one)


if __name__ == "__main__":
    main()
