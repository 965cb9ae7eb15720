"""Tables of a network's tiles over candidate widths, and what whole networks take beyond the sum of their tiles."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hakd.boards import Board, Point
from hakd.choosing.baselines import round_to
from hakd.choosing.tile_costs import TileTable
from hakd.networks.families import full_architecture
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.records.files import digest
from hakd.staircase.estimate import Estimates, log_errors
from hakd.staircase.predict import fit_overhead
from hakd.sweeping.parts import engine_graph, neighbours, point
from hakd.sweeping.timing import Measuring, end_to_end, reference_part, tile_points, time_tiles

log = logging.getLogger(__name__)
LOOKS = 2  # what the tables do not know well the chance constraint counts, so that fewer looks do than for a curve
UNKNOWN_SPREAD = 0.03  # of a log latency, where no two processes can be compared


@dataclass(frozen=True)
class Tables:
    """Tiles' tables on one device, the overhead of whole networks beyond their sum (ms), and what both rest on.

    `measured_ms` and `sums_ms` are of the networks that the overhead was fitted to, by arch.
    """

    tiles: tuple[TileTable, ...]
    overhead_ms: float
    measured_ms: Mapping[str, float]
    sums_ms: Mapping[str, float]
    residual_p95: float | None


def combinations(
    pruned: Architecture, candidates: Mapping[str, Sequence[int]]
) -> dict[str, tuple[tuple[str, ...], dict[tuple[int, ...], Architecture]]]:
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


def fitted_networks(pruned: Architecture, reference: Architecture | None) -> dict[str, Architecture]:
    """By arch, the networks to fit an overhead to: full, pruned, rounded, and the one that gives the budget."""
    full = full_architecture(pruned.spec)
    rounded = pruned.at(round_to(pruned.widths, full.widths))
    return {one.arch: one for one in (full, pruned, rounded, reference or pruned)}


def measure_tables(
    board: Board,
    pruned: Architecture,
    candidates: Mapping[str, Sequence[int]],
    networks: Mapping[str, Architecture],
    measuring: Measuring,
) -> Tables:
    """Time all tiles at all combinations of their groups' candidate widths, and `networks` (by arch) end to end.

    Raises:
        HakdError: a network that could not be timed, or a tile of which nothing could.
    """
    wanted = combinations(pruned, candidates)
    keys: dict[str, dict[tuple[int, ...], str]] = {name: {} for name in wanted}
    points: list[Point] = []
    for name, (_, cases) in wanted.items():
        for key, network in cases.items():
            graph = engine_graph(network).tiles()[name]
            label = f"{pruned.spec.name} {name} {key}"
            points.append(point(graph, label, board.device, curve=f"{pruned.spec.name} {name}"))
            keys[name][key] = points[-1].key
    parts = {arch: tile_points(network, board.device) for arch, network in networks.items()}
    points += [part for tiles in parts.values() for part in tiles.values()]
    sweep = time_tiles(board, points, measuring, reference_part(pruned, board.device), LOOKS)
    sigma = dict(
        zip(sweep.by_key, np.nan_to_num(log_errors(sweep.adjusted), nan=UNKNOWN_SPREAD), strict=True)
    )
    tiles = [
        _table(name, wanted[name][0], {k: key for k, key in by_width.items() if key in sigma}, sweep, sigma)
        for name, by_width in keys.items()
    ]
    sums = {
        arch: sum(sweep.by_key[part.key].latency_ms for part in found.values())
        for arch, found in parts.items()
        if all(part.key in sweep.by_key for part in found.values())
    }
    measured = time_networks(board, {arch: networks[arch] for arch in networks}, measuring, "tables")
    fitted = [arch for arch in sums if arch in measured]
    if not fitted:
        raise HakdError(
            "none of the whole networks could be timed with all its tiles",
            where=f"device {board.device.name}",
            remedy="See the failures that the device reported",
        )
    count = len(tiles)
    overhead = fit_overhead(
        [sums[arch] for arch in fitted], [measured[arch] for arch in fitted], [count] * len(fitted)
    )
    log.info(
        "%d points in %d tables; sum of tiles / network %s",
        len({p.key for p in points}),
        count,
        ", ".join(f"{sums[arch] / measured[arch]:.2f}" for arch in fitted),
    )
    return Tables(tuple(tiles), -overhead.value * (count - 1), measured, sums, sweep.residual_p95)


def _table(
    name: str,
    groups: tuple[str, ...],
    keys: Mapping[tuple[int, ...], str],
    sweep: Estimates,
    sigma: Mapping[str, float],
) -> TileTable:
    latency = {k: sweep.by_key[key].latency_ms for k, key in keys.items()}
    return TileTable(name, groups, latency, {k: latency[k] * sigma[key] for k, key in keys.items()})


def time_networks(
    board: Board, networks: Mapping[str, Architecture], measuring: Measuring, purpose: str
) -> dict[str, float]:
    """Latency in ms of whole networks by arch, interleaved; those that the device failed on are left out."""
    points = {
        arch: point(engine_graph(network), f"{network.spec.name} {arch}", board.device)
        for arch, network in networks.items()
    }
    name = f"{purpose}:{digest(sorted(one.key for one in points.values()))}"
    timed = end_to_end(board, list(points.values()), measuring, name)
    return {arch: timed.by_key[one.key].latency_ms for arch, one in points.items() if one.key in timed.by_key}
