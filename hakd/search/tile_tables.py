"""Tables of a network's tiles over candidate widths, and the overhead of whole networks over the sum of their tiles."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hakd.boards import Board, Point
from hakd.choosing.baselines import round_to
from hakd.choosing.tile_costs import TileTable, Worth
from hakd.networks.families import full_architecture
from hakd.networks.prunable import COUNTS
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.records.files import digest
from hakd.staircase.estimate import Estimates, log_errors
from hakd.staircase.predict import fit_overhead
from hakd.sweeping.parts import GraphPoint, engine_graph, neighbours, network_point, point
from hakd.sweeping.timing import Measuring, end_to_end, reference_part, tile_points, time_tiles

log = logging.getLogger(__name__)
LOOKS = 2  # the chance constraint counts the tables' errors, so that fewer looks are enough than for a curve
UNKNOWN_SPREAD = 0.03  # of a log latency that no two processes timed

Widths = tuple[int, ...]  # of the groups that shape a tile, in their order


@dataclass(frozen=True)
class Tables:
    """Tiles' tables on one device, the overhead of whole networks beyond their sum (ms), and the data of both.

    `measured_ms` and `sums_ms` are of the networks that the overhead was fitted to, by arch. `counts` has the MACs and
    the parameters (`hakd.networks.prunable.COUNTS`) of each tile at its widths, as the engine runs it.
    """

    tiles: tuple[TileTable, ...]
    overhead_ms: float
    measured_ms: Mapping[str, float]
    sums_ms: Mapping[str, float]
    residual_p95: float | None
    counts: Mapping[str, Worth] = field(default_factory=dict)


def combinations(
    pruned: Architecture, candidates: Mapping[str, Sequence[int]]
) -> dict[str, tuple[tuple[str, ...], dict[Widths, Architecture]]]:
    """{tile: (its groups, {widths of these: a network that has the tile with them})}, in network order."""
    found = {}
    for name, graph in engine_graph(pruned).tiles().items():
        groups = tuple(neighbours(graph))
        keys = itertools.product(*(candidates[group] for group in groups))
        found[name] = (
            groups,
            {key: pruned.at(dict(zip(groups, key, strict=True))) for key in keys},
        )
    return found


def fitted_networks(pruned: Architecture, *references: Architecture | None) -> dict[str, Architecture]:
    """By arch, the networks to fit an overhead to: full, pruned, rounded, and those that give budgets."""
    full = full_architecture(pruned.spec)
    rounded = pruned.at(round_to(pruned.widths, full.widths))
    return {one.arch: one for one in (full, pruned, rounded, *references) if one is not None}


def measure_tables(
    board: Board,
    pruned: Architecture,
    candidates: Mapping[str, Sequence[int]],
    networks: Mapping[str, Architecture],
    measuring: Measuring,
) -> Tables:
    """Time all tiles at all combinations of their groups' candidate widths, and `networks` (by arch) end to end.

    Raises:
        HakdError: a network that could not be timed, or a tile with no timed point.
    """
    cases = combinations(pruned, candidates)
    points = {name: _case_points(pruned, name, by_widths, board) for name, (_, by_widths) in cases.items()}
    parts = {arch: tile_points(network, board.device) for arch, network in networks.items()}
    every: list[Point] = [one for of_tile in points.values() for one in of_tile.values()]
    every += [one for by_tile in parts.values() for one in by_tile.values()]
    timed = time_tiles(board, every, measuring, reference_part(pruned, board.device), LOOKS)
    errors = np.nan_to_num(log_errors(timed.adjusted), nan=UNKNOWN_SPREAD)
    sigma = dict(zip(timed.by_key, errors, strict=True))
    tiles = tuple(_table(name, cases[name][0], points[name], timed, sigma) for name in cases)
    # The overhead of whole networks beyond the sum of their tiles, by networks with all tiles timed.
    sums_ms = {
        arch: sum(timed.by_key[part.key].latency_ms for part in by_tile.values())
        for arch, by_tile in parts.items()
        if all(part.key in timed.by_key for part in by_tile.values())
    }
    measured_ms = time_networks(board, networks, measuring, "tables")
    overhead_ms = _overhead_ms(sums_ms, measured_ms, len(tiles), board)
    log.info("%d points in %d tables", len({one.key for one in every}), len(tiles))
    counts = {
        name: {tile: {key: count(one.graph) for key, one in some.items()} for tile, some in points.items()}
        for name, count in COUNTS.items()
    }
    return Tables(tiles, overhead_ms, measured_ms, sums_ms, timed.residual_p95, counts)


def _case_points(
    pruned: Architecture, tile: str, by_widths: Mapping[Widths, Architecture], board: Board
) -> dict[Widths, GraphPoint]:
    """A point for a tile at each combination of its groups' widths."""
    name = f"{pruned.spec.name} {tile}"
    return {
        widths: point(engine_graph(network).tiles()[tile], f"{name} {widths}", board.device, curve=name)
        for widths, network in by_widths.items()
    }


def _overhead_ms(
    sums_ms: Mapping[str, float], measured_ms: Mapping[str, float], tiles: int, board: Board
) -> float:
    """A whole network's overhead beyond the sum of its tiles; mostly negative: each tile's time includes a call."""
    fitted = [arch for arch in sums_ms if arch in measured_ms]
    if not fitted:
        raise HakdError(
            "none of the whole networks could be timed with all its tiles",
            where=f"device {board.device.name}",
            remedy="See the failures that the device reported",
        )
    shares = ", ".join(f"{sums_ms[arch] / measured_ms[arch]:.2f}" for arch in fitted)
    log.info("sum of tiles / network: %s", shares)
    overhead = fit_overhead(
        [sums_ms[arch] for arch in fitted], [measured_ms[arch] for arch in fitted], [tiles] * len(fitted)
    )
    return -overhead.value * (tiles - 1)


def _table(
    name: str,
    groups: tuple[str, ...],
    points: Mapping[Widths, Point],
    timed: Estimates,
    sigma: Mapping[str, float],
) -> TileTable:
    """The table of a tile, from the points that could be timed."""
    keys = {widths: one.key for widths, one in points.items() if one.key in timed.by_key}
    latency_ms = {widths: timed.by_key[key].latency_ms for widths, key in keys.items()}
    sigma_ms = {widths: latency_ms[widths] * sigma[key] for widths, key in keys.items()}
    return TileTable(name, groups, latency_ms, sigma_ms)


def time_networks(
    board: Board, networks: Mapping[str, Architecture], measuring: Measuring, purpose: str
) -> dict[str, float]:
    """Latency in ms of whole networks by arch, interleaved; those that the device failed on are left out."""
    points = {arch: network_point(network, board.device) for arch, network in networks.items()}
    name = f"{purpose}:{digest(sorted(one.key for one in points.values()))}"
    timed = end_to_end(board, list(points.values()), measuring, name)
    return {arch: timed.by_key[one.key].latency_ms for arch, one in points.items() if one.key in timed.by_key}
