"""How points are timed on an open board: passes and looks."""

import math

from hakd.boards import Board, Burst, Device, Point
from hakd.networks.families import full_architecture
from hakd.records.arch import Architecture
from hakd.staircase.estimate import Estimate, Estimates, estimate
from hakd.study.measuring import Measuring as Measuring
from hakd.study.measuring import device_from as device_from
from hakd.sweeping.looks import LOOKS, looks, merge
from hakd.sweeping.parts import engine_graph, point


def reference_part(architecture: Architecture, device: Device) -> Point:
    """The block visited in every round of every process: the median tile, by MACs, of the full network."""
    tiles = sorted(
        engine_graph(full_architecture(architecture.spec)).tiles().values(), key=lambda t: t.macs()
    )
    return point(tiles[len(tiles) // 2], "reference tile", device)


def collect(
    bursts: dict[str, list[Burst]],
    board: Board,
    points: list[Point],
    measuring: Measuring,
    purpose: str,
    reference: Point | None,
) -> None:
    """Time points in `measuring.processes` passes and add the bursts to `bursts`.

    Each pass goes over all points before the next begins: two processes of a point are as far apart in time as
    possible, so that a slow phase of the machine disturbs at most one of them.
    """
    for number in range(1, measuring.processes + 1):
        name = f"{purpose}:pass{number}:{measuring.visits}"
        timed = board.measure(points, measuring.one_process(), name, reference)
        merge(bursts, timed)


def tile_points(architecture: Architecture, device: Device) -> dict[str, Point]:
    """A point for each tile of an architecture, by tile name."""
    name = architecture.spec.name
    return {
        tile: point(graph, f"{name} {architecture.arch} {tile}", device)
        for tile, graph in engine_graph(architecture).tiles().items()
    }


def time_tiles(
    board: Board, points: list[Point], measuring: Measuring, reference: Point, most: int = LOOKS
) -> Estimates:
    """Latencies of parts, in passes over all of them; at most `most` looks, until they repeat well enough.

    That is the case when twice the residual p95 is at most half the smallest step that matters.
    """
    bursts: dict[str, list[Burst]] = {}
    for look in range(1, most + 1):
        collect(bursts, board, points, measuring, f"tiles:look{look}", reference)
        found = estimate(bursts)
        if found.residual_p95 is not None and 4 * found.residual_p95 <= measuring.min_step:
            break
    return found


def end_to_end(board: Board, points: list[Point], measuring: Measuring, purpose: str) -> Estimates:
    """Absolute latencies of whole networks, all interleaved in every process; the factor between processes stays in.

    Each look adds fresh processes, as often as `looks` allows, until every figure is known well enough (`known`).
    """
    bursts: dict[str, list[Burst]] = {}
    for look in looks(board):
        name = f"{purpose}:look{look}:{measuring.visits}"
        merge(bursts, board.measure(points, measuring.end_to_end(), name))
        made = estimate(bursts, absolute=True)
        if all(known(one, measuring.min_step / 2) for one in made.by_key.values()):
            break
    return made


def known(one: Estimate, fraction: float) -> bool:
    """Whether half the interval of a latency is at most this fraction of it."""
    if one.latency_low_ms is None or one.latency_high_ms is None:
        return False
    return math.log(one.latency_high_ms / one.latency_low_ms) / 2 <= math.log1p(fraction)
