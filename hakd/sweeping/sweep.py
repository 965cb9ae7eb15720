"""The sweep of a network on a device: curves of all width groups at every level, and the tiles of all architectures."""

import json
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.boards import PROTOCOL, Board, Burst, Device, Point, open_board
from hakd.networks.families import full_architecture, full_widths
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.staircase.curve import Curve, curve_from, trust
from hakd.staircase.estimate import Sweep, estimate
from hakd.sweeping.modes import MODES, Mode
from hakd.sweeping.parts import engine_graph, neighbours, point
from hakd.sweeping.timing import (
    LOOKS,
    Measuring,
    collect,
    device_from,
    reference_part,
    tile_points,
    time_tiles,
)

log = logging.getLogger(__name__)


@dataclass
class _Line:
    """A width group at a level: what was asked of it so far, and its latest curve."""

    level: float
    architecture: Architecture
    group: str
    mode: Mode
    keys: dict[int, str]
    curve: Curve | None = None
    look: int = 1

    @property
    def width(self) -> int:
        return self.architecture.widths[self.group]

    @property
    def full(self) -> int:
        return full_widths(self.architecture.spec)[self.group]

    def points(self, widths: list[int], device: Device) -> list[Point]:
        """The decision block at each width, the neighbours as they are."""
        found = []
        for channels in widths:
            widened = Architecture(self.architecture.spec, {**self.architecture.widths, self.group: channels})
            graph = engine_graph(widened).block(self.group)
            name = f"{self.architecture.spec.name} {self.level:g} {self.group}"
            found.append(point(graph, f"{name} = {channels}", device, curve=name))
            self.keys[channels] = found[-1].key
        return found


def sweep(
    name: str,
    settings: Mapping[str, Any],
    store: str | Path,
    levels: Mapping[float, Mapping[str, Architecture]],
    mode: str = "targets",
    groups: Collection[str] = (),
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Time a network on a device; returns the latency table and the metadata that belongs to it.

    Args:
        name: the device.
        settings: its entry in the configuration.
        store: the measurement store.
        levels: {level: {method: architecture}} with at least the method `fisher`, whose widths the curves start from.
        mode: what of each curve is timed, a key of `MODES`.
        groups: the width groups to time, without any tiles; all of them, and the tiles, for none.

    Raises:
        HakdError: the device does not answer or its engine fails.
    """
    device, measuring = device_from(name, settings)
    lines = [
        _Line(level, methods["fisher"], group, MODES[mode], {})
        for level, methods in levels.items()
        for group in methods["fisher"].widths
        if not groups or group in groups
    ]
    reference = reference_part(lines[0].architecture, device)
    with open_board(device, Path(store)) as board:
        start = time.monotonic()
        timed = _curves(board, lines, measuring, reference)
        rows = [row for line in lines for row in _block_rows(line, timed)]
        if not groups:
            rows += _tile_rows(board, levels, measuring, reference)
        metadata = _metadata(board, device, measuring, lines) | {"seconds": time.monotonic() - start}
    metadata["mode"] = mode
    trusted = sum(line.curve is not None and line.curve.trusted for line in lines)
    log.info("%d of %d curves trusted", trusted, len(lines))
    return pd.DataFrame(rows), metadata


def _curves(board: Board, lines: list[_Line], measuring: Measuring, reference: Point) -> Sweep:
    """Time the first widths of all curves, then what these ask for; time those again that cannot be trusted.

    Every look adds fresh processes to what is there; the estimate sets disturbed ones aside by criteria that do not
    look at how the widths compare (`hakd.staircase.interference`).
    """
    bursts: dict[str, list[Burst]] = {}
    pending, found = lines, Sweep({}, None, {})
    for look in range(1, LOOKS + 1):
        wanted = [sorted({*line.mode.start(line.width, line.full), *line.keys}) for line in pending]
        for extension in range(max(line.mode.rounds for line in pending)):
            points = [
                p
                for line, widths in zip(pending, wanted, strict=True)
                for p in line.points(widths, board.device)
            ]
            part = f"sweep:look{look}" + (f":extension{extension}" if extension else "")
            collect(bursts, board, points, measuring, part, reference)
            found = estimate(bursts)
            more = [_refresh(line, found, measuring, look) for line in pending]
            if not any(more):
                break
            # The pruned width is timed again with its new neighbours, so that they share processes.
            wanted = [
                sorted({line.width, *widths}) if widths else []
                for line, widths in zip(pending, more, strict=True)
            ]
        pending = [line for line in pending if line.curve is None or not line.curve.trusted]
        if not pending:
            break
        log.info("look %d: %d of %d curves cannot be trusted", look, len(pending), len(lines))
    for line in lines:
        _refresh(line, found, measuring, line.look)  # on the final scale, all processes in
    return found


def _refresh(line: _Line, sweep_: Sweep, measuring: Measuring, look: int) -> list[int]:
    """Make the line's curve anew and say which widths it needs next, if its mode goes by such a curve at all."""
    line.look = look
    if not any(key in sweep_.estimates for key in line.keys.values()):
        line.curve = None
        return []
    architecture = line.architecture
    around = neighbours(engine_graph(architecture).block(line.group), line.group)
    line.curve = curve_from(sweep_, line.group, line.level, around, line.keys, measuring.min_step)
    if line.width not in line.curve.widths or not (line.curve.trusted or line.mode.untrusted):
        return []
    more = line.mode.more(line.curve, line.width, line.full)
    return [channels for channels in more if channels not in line.keys]


def _block_rows(line: _Line, sweep_: Sweep) -> list[dict[str, Any]]:
    """Rows of a curve for the latency table."""
    if line.curve is None:
        return []
    rows = []
    for channels in line.curve.widths:
        row = _row(line.architecture, line.level, "block", line.group, line.keys[channels], sweep_)
        row |= {"width": channels, "neighbour_widths": json.dumps(line.curve.neighbour_widths)}
        row |= {
            "residual_p95": line.curve.residual_p95,
            "trusted": line.curve.trusted,
            "reason": line.curve.reason,
        }
        rows.append(row)
    return rows


def _row(
    architecture: Architecture, level: float | None, kind: str, group: str, key: str, sweep_: Sweep
) -> dict[str, Any]:
    one = sweep_.estimates[key]
    return {
        "network": architecture.spec.name,
        "level": level,
        "kind": kind,
        "group": group,
        "shape": key,
        "latency_ms": one.latency_ms,
        "latency_low_ms": one.latency_low_ms,
        "latency_high_ms": one.latency_high_ms,
        "min_ms": one.min_ms,
        "bursts": one.bursts,
        "dropped": one.dropped,
        "processes": one.processes,
    }


def _tile_rows(
    board: Board, levels: Mapping[float, Mapping[str, Architecture]], measuring: Measuring, reference: Point
) -> list[dict[str, Any]]:
    """Tiles of the full network and of every architecture chosen without a device."""
    spec = next(iter(levels.values()))["fisher"].spec
    wanted = [(1.0, full_architecture(spec))]
    wanted += [(level, found) for level, methods in levels.items() for found in methods.values()]
    tiles = [(level, found, tile_points(found, board.device)) for level, found in wanted]
    sweep_ = time_tiles(board, [p for _, _, parts in tiles for p in parts.values()], measuring, reference)
    trusted, reason = trust(sweep_.residual_p95, measuring.min_step)
    rows, seen = [], set()
    for level, found, parts in tiles:
        for (tile, part), graph in zip(parts.items(), engine_graph(found).tiles().values(), strict=True):
            around = json.dumps(neighbours(graph))
            if part.key not in sweep_.estimates or (level, tile, around) in seen:
                continue
            seen.add((level, tile, around))
            row = _row(found, level, "tile", tile, part.key, sweep_) | {
                "width": None,
                "neighbour_widths": around,
            }
            row |= {"residual_p95": sweep_.residual_p95, "trusted": trusted, "reason": reason}
            rows.append(row)
    return rows


def _metadata(board: Board, device: Device, measuring: Measuring, lines: list[_Line]) -> dict[str, Any]:
    curves = [line.curve for line in lines if line.curve is not None]
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
        "curves_trusted": sum(curve.trusted for curve in curves),
        "looks": {f"{line.level:g} {line.group}": line.look for line in lines if line.look > 1},
    }


def curves_from_table(table: pd.DataFrame, level: float) -> dict[str, Curve]:
    """The curves of a level, by group, out of a latency table.

    Raises:
        HakdError: the table has no curve at this level.
    """
    rows = table[(table["kind"] == "block") & (table["level"] == level)]
    if rows.empty:
        raise HakdError(f"no curves at level {level:g}", where="latency table", remedy="Run the sweep again")
    curves = {}
    for group, part in rows.groupby("group", sort=False):
        part = part.sort_values("width")
        first = part.iloc[0]
        curves[str(group)] = Curve(
            str(group),
            level,
            json.loads(first["neighbour_widths"]),
            tuple(int(w) for w in part["width"]),
            tuple(part["latency_ms"]),
            tuple(None if pd.isna(v) else float(v) for v in part["latency_low_ms"]),
            tuple(None if pd.isna(v) else float(v) for v in part["latency_high_ms"]),
            tuple(part["min_ms"]),
            None if pd.isna(first["residual_p95"]) else float(first["residual_p95"]),
            bool(first["trusted"]),
            str(first["reason"]),
        )
    return curves
