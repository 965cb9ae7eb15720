"""The sweep of a network on a device: curves of all width groups at every level, and the tiles of all architectures."""

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.boards import Board, Device, Point, open_board
from hakd.networks.families import full_architecture, full_widths
from hakd.records.arch import Architecture
from hakd.records.graph import Graph
from hakd.staircase.curve import tolerance
from hakd.staircase.curve_rows import timed_row
from hakd.sweeping.following import Line, sweep_lines
from hakd.sweeping.modes import MODES, Guide, guide_mode
from hakd.sweeping.parts import engine_graph, neighbours, point
from hakd.sweeping.timing import Measuring, device_from, known, reference_part, tile_points, time_tiles

Guiding = Callable[[str, int, Callable[[int], Graph]], Guide]
"""Makes a guide of a curve's name, its full width and its decision block at a width."""


def _line(level: float, group: str, architecture: Architecture, mode: str, guiding: Guiding | None) -> Line:
    """A width group of a network at a level."""
    spec, label = architecture.spec, f"{level:g} {group}"
    name, full = f"{spec.name} {label}", full_widths(spec)[group]

    def block(channels: int) -> Graph:
        return engine_graph(architecture.at({group: channels})).block(group)

    def block_point(channels: int, device: Device) -> Point:
        return point(block(channels), f"{name} = {channels}", device, curve=name)

    width = architecture.widths[group]
    asks = MODES[mode] if guiding is None else guide_mode(mode, guiding(name, full, block))
    return Line(level, group, label, asks, width, full, neighbours(block(width), group), block_point)


def sweep(
    name: str,
    settings: Mapping[str, Any],
    store: str | Path,
    levels: Mapping[float, Mapping[str, Architecture]],
    mode: str = "targets",
    groups: Collection[str] = (),
    opened: Callable[[Device, Path], AbstractContextManager[Board]] = open_board,
    guiding: Guiding | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Time a network on a device; returns the latency table and its metadata.

    Args:
        name: the device.
        settings: its entry in the configuration.
        store: the measurement store.
        levels: {level: {method: architecture}} with at least the method `fisher`, whose widths the curves start from.
        mode: which widths of each curve are timed, a key of `MODES`.
        groups: the width groups to time, without any tiles; if empty, all of them and the tiles.
        opened: opens the device; pass another function for boards that are computed in this process.
        guiding: makes guides that order what the mode times (`hakd.sweeping.modes.guide_mode`); None for none.

    Raises:
        HakdError: the device does not answer or its engine fails.
    """
    device, measuring = device_from(name, settings)
    lines = [
        _line(level, group, methods["fisher"], mode, guiding)
        for level, methods in levels.items()
        for group in methods["fisher"].widths
        if not groups or group in groups
    ]
    first = next(iter(levels.values()))["fisher"]
    reference = reference_part(first, device)
    with opened(device, Path(store)) as board:
        tiles = partial(_time_tiles, board, levels, measuring, reference)
        rows, metadata = sweep_lines(
            board, first.spec.name, lines, measuring, reference, list if groups else tiles
        )
    return pd.DataFrame(rows), metadata | {"mode": mode}


def _time_tiles(
    board: Board, levels: Mapping[float, Mapping[str, Architecture]], measuring: Measuring, reference: Point
) -> list[dict[str, Any]]:
    """Rows of the tiles of the full network and of every architecture chosen without a device."""
    spec = next(iter(levels.values()))["fisher"].spec
    architectures = [(1.0, full_architecture(spec))]
    architectures += [
        (level, architecture) for level, methods in levels.items() for architecture in methods.values()
    ]
    tiles = [
        (level, architecture, tile_points(architecture, board.device))
        for level, architecture in architectures
    ]
    estimates = time_tiles(board, [p for _, _, parts in tiles for p in parts.values()], measuring, reference)
    eps = tolerance(estimates.residual_p95, measuring.min_step)
    rows, seen = [], set()
    for level, architecture, parts in tiles:
        graphs = engine_graph(architecture).tiles().values()
        for (tile, part), graph in zip(parts.items(), graphs, strict=True):
            around = json.dumps(neighbours(graph))
            if part.key not in estimates.by_key or (level, tile, around) in seen:
                continue
            seen.add((level, tile, around))
            rows.append(
                {
                    "network": spec.name,
                    "level": level,
                    "kind": "tile",
                    "group": tile,
                    "width": None,
                    "neighbour_widths": around,
                    "residual_p95": estimates.residual_p95,
                    "tolerance": eps,
                    "trusted": eps is not None and known(estimates.by_key[part.key], eps / 2**0.5),
                    "reason": None,
                    **timed_row(estimates, part.key),
                }
            )
    return rows
