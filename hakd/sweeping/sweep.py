"""The sweep of a network on a device: curves of all width groups at every level, and the tiles of all architectures."""

import json
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.boards import PROTOCOL, Board, Device, Point, open_board
from hakd.networks.families import full_architecture, full_widths
from hakd.records.arch import Architecture
from hakd.records.graph import Graph
from hakd.staircase.curve import tolerance
from hakd.staircase.curve_rows import curve_rows, timed_row
from hakd.sweeping.following import Line, follow
from hakd.sweeping.modes import MODES, Guide, guide_mode
from hakd.sweeping.parts import engine_graph, neighbours, point
from hakd.sweeping.timing import Measuring, device_from, known, reference_part, tile_points, time_tiles

log = logging.getLogger(__name__)

Guiding = Callable[[str, int, Callable[[int], Graph]], Guide]
"""Makes a guide of a curve's name, its full width and its decision block at a width."""


@dataclass
class _Line(Line):
    """A width group of a network at a level."""

    architecture: Architecture = field(kw_only=True)

    @property
    def width(self) -> int:
        return self.architecture.widths[self.group]

    @cached_property
    def full(self) -> int:
        return full_widths(self.architecture.spec)[self.group]

    @cached_property
    def around(self) -> Mapping[str, int]:
        return neighbours(engine_graph(self.architecture).block(self.group), self.group)

    @property
    def name(self) -> str:
        """Network, level and group."""
        return f"{self.architecture.spec.name} {self.level:g} {self.group}"

    def block(self, channels: int) -> Graph:
        """The decision block at a width."""
        return engine_graph(self.architecture.at({self.group: channels})).block(self.group)

    def point(self, channels: int, device: Device) -> Point:
        return point(self.block(channels), f"{self.name} = {channels}", device, curve=self.name)


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
    """Time a network on a device; returns the latency table and the metadata that belongs to it.

    Args:
        name: the device.
        settings: its entry in the configuration.
        store: the measurement store.
        levels: {level: {method: architecture}} with at least the method `fisher`, whose widths the curves start from.
        mode: what of each curve is timed, a key of `MODES`.
        groups: the width groups to time, without any tiles; all of them, and the tiles, for none.
        opened: opens the device; another than the default is for boards that are computed in this process.
        guiding: makes guides that order what the mode times (`hakd.sweeping.modes.guide_mode`); None for none.

    Raises:
        HakdError: the device does not answer or its engine fails.
    """
    device, measuring = device_from(name, settings)
    lines = [
        _Line(level, group, MODES[mode], architecture=methods["fisher"])
        for level, methods in levels.items()
        for group in methods["fisher"].widths
        if not groups or group in groups
    ]
    if guiding is not None:
        for line in lines:
            line.mode = guide_mode(mode, guiding(line.name, line.full, line.block))
    reference = reference_part(lines[0].architecture, device)
    with opened(device, Path(store)) as board:
        start = board.clock_s()
        timed = follow(board, lines, measuring, reference)
        rows = [
            row
            for line in lines
            if line.curve is not None
            for row in curve_rows(line.curve, line.architecture.spec.name, line.keys, timed)
        ]
        if not groups:
            rows += _tile_rows(board, levels, measuring, reference)
        metadata = _metadata(board, device, measuring, lines) | {"seconds": board.clock_s() - start}
    metadata["mode"] = mode
    return pd.DataFrame(rows), metadata


def _tile_rows(
    board: Board, levels: Mapping[float, Mapping[str, Architecture]], measuring: Measuring, reference: Point
) -> list[dict[str, Any]]:
    """Tiles of the full network and of every architecture chosen without a device."""
    spec = next(iter(levels.values()))["fisher"].spec
    wanted = [(1.0, full_architecture(spec))]
    wanted += [(level, found) for level, methods in levels.items() for found in methods.values()]
    tiles = [(level, found, tile_points(found, board.device)) for level, found in wanted]
    sweep_ = time_tiles(board, [p for _, _, parts in tiles for p in parts.values()], measuring, reference)
    eps = tolerance(sweep_.residual_p95, measuring.min_step)
    rows, seen = [], set()
    for level, found, parts in tiles:
        for (tile, part), graph in zip(parts.items(), engine_graph(found).tiles().values(), strict=True):
            around = json.dumps(neighbours(graph))
            if part.key not in sweep_.by_key or (level, tile, around) in seen:
                continue
            seen.add((level, tile, around))
            rows.append(
                {
                    "network": found.spec.name,
                    "level": level,
                    "kind": "tile",
                    "group": tile,
                    "width": None,
                    "neighbour_widths": around,
                    "residual_p95": sweep_.residual_p95,
                    "tolerance": eps,
                    "trusted": eps is not None and known(sweep_.by_key[part.key], eps / 2**0.5),
                    "reason": None,
                    **timed_row(sweep_, part.key),
                }
            )
    return rows


def _metadata(board: Board, device: Device, measuring: Measuring, lines: list[_Line]) -> dict[str, Any]:
    return {
        "device": device.name,
        "fingerprint": board.fingerprint,
        "engine": device.engine,
        "engine_version": board.engine_version,
        "protocol": PROTOCOL,
        "measuring": measuring.__dict__,
        "context": board.context,
        "failures": board.failures,
        "curves": len(lines),
        "curves_decided": sum(line.told for line in lines),
        "looks": {f"{line.level:g} {line.group}": line.look for line in lines if line.look > 1},
        "stopped": {
            f"{line.level:g} {line.group}": {
                "by": "precision" if line.precise else "budget",
                "widths": list(line.curve.widths) if line.curve is not None else [],
                "tolerance": line.curve.tolerance if line.curve is not None else None,
            }
            for line in lines
        },
    }
