"""Are certificates true, and what do they cost? Virtual devices with drift, whose truth is a formula.

    python -m benchmarks.certificates [--devices 200] [--joint 20] [--jobs 2] [--out FILE.json] [--cases]

Each device is drawn (`benchmarks.computed.draw_device`, from number 1000 on); a network pruned at random is swept on it,
its widths are chosen, verified and certified as a study would, by the package's own code on a computed board. Reported: how
many networks have a certificate that the formula contradicts, how many chosen networks are slower than their twin by
more than is stated, how wide the bounds are, and what verification and certificates cost in device time.
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
from hakd.sweeping.parts import engine_graph  # noqa: E402
from hakd.sweeping.snapping import snap_network  # noqa: E402
from hakd.sweeping.sweep import sweep  # noqa: E402

FIRST = 1000  # the planner's benchmark draws below
CHECKS = ("verify", "certify")
GOAL_FALSE, GOAL_COST = 0.05, 0.2


def case(number: int, methods: Sequence[str]) -> list[dict[str, Any]]:
    """A device, a network on it, and what is certified of each method's choice."""
    model = draw_device(FIRST + number)
    network = list(NETWORKS)[number % len(NETWORKS)]
    spec = network_spec(network, NETWORKS[network], 3, 10, "benchmark")
    pruned, trajectory = pruning(spec, FIRST + number)
    free = choose_device_free(pruned, LEVEL, 0)
    settings = {"transport": "virtual", "cost_model": model.to_dict()}
    board = ComputedBoard(Device.from_config("vdev", settings), Truth(model), model.seed)

    @contextlib.contextmanager
    def opened(device: Device, store: Path) -> Iterator[Any]:
        yield board

    table, _ = sweep("vdev", settings, "unused", {LEVEL: free}, opened=opened)
    swept = sum(board.seconds.values())
    made = snap_network(
        "vdev", settings, "unused", LEVEL, pruned, table, trajectory, 0.0, {}, methods, None, free, opened
    )
    share = sum(board.seconds[kind] for kind in CHECKS) / sum(
        seconds for kind, seconds in board.seconds.items() if kind not in CHECKS
    )
    about = {"device": number, "network": network, "sigma": model.noise.sigma, "drift": model.noise.drift}
    about |= {"swept_s": swept, "share": share, "seconds": dict(board.seconds)}
    return [
        {**about, "method": method, **checked(entry, pruned, model)}
        for method, entry in made.items()
    ]


def checked(entry: Mapping[str, Any], pruned: Architecture, model: CostModel) -> dict[str, Any]:
    """A method's certificates beside the truth."""
    chosen = Architecture(pruned.spec, entry["widths"])
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
    network = Architecture(chosen.spec, {**chosen.widths, group: width})
    return model.cost_us(layers(engine_graph(network).block(group)))


def false(one: Mapping[str, Any]) -> bool:
    """Whether the truth is beyond the stated bound (by more than rounding)."""
    return one["bound"] is not None and one["truth"] > one["bound"] + 1e-9
