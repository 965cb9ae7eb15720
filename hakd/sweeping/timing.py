"""How points are timed on an open board: passes and looks."""

from collections.abc import Mapping, Sequence

from hakd.boards import Board, Burst, Device, Point
from hakd.networks.families import full_architecture
from hakd.records.arch import Architecture
from hakd.staircase.curve import trust
from hakd.staircase.estimate import Sweep, estimate
from hakd.sweeping.measuring import Measuring as Measuring
from hakd.sweeping.measuring import device_from as device_from
from hakd.sweeping.parts import engine_graph, point

LOOKS = 4  # at most so often in all is a curve timed that cannot be trusted


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

    Each pass goes over all points before the next begins: two processes of a point lie as far apart in time as can
    be, so that a slow spell of the machine spoils one of them at most.
    """
    for number in range(1, measuring.processes + 1):
        name = f"{purpose}:pass{number}:{measuring.visits}"
        timed = board.measure(points, measuring.one_process(), name, reference)
        merge(bursts, timed)


def merge(bursts: dict[str, list[Burst]], timed: Mapping[str, Sequence[Burst]]) -> None:
    """Add bursts by key, each once: a point asked for again comes back from the store as it was."""
    for key, found in timed.items():
        own = bursts.setdefault(key, [])
        seen = {(burst.process, burst.round) for burst in own}
        own += [burst for burst in found if (burst.process, burst.round) not in seen]


def tile_points(architecture: Architecture, device: Device) -> dict[str, Point]:
    """A point for each tile of an architecture, by tile name."""
    name = architecture.spec.name
    return {
        tile: point(graph, f"{name} {architecture.arch} {tile}", device)
        for tile, graph in engine_graph(architecture).tiles().items()
    }


def time_tiles(board: Board, points: list[Point], measuring: Measuring, reference: Point) -> Sweep:
    """Latencies of tiles; looks again, up to the sweep's number of looks, while the set cannot be trusted."""
    bursts: dict[str, list[Burst]] = {}
    for look in range(1, LOOKS + 1):
        collect(bursts, board, points, measuring, f"tiles:look{look}", reference)
        found = estimate(bursts)
        if trust(found.residual_p95, measuring.min_step)[0]:
            break
    return found


def end_to_end(board: Board, points: list[Point], measuring: Measuring, purpose: str) -> Sweep:
    """Absolute latencies of whole networks, all interleaved in every process, the factor between processes kept in.

    Adds as many fresh processes again, up to the sweep's number of looks, while fewer than `benchmark_processes` of
    them ran undisturbed.
    """
    bursts: dict[str, list[Burst]] = {}
    for look in range(1, LOOKS + 1):
        name = f"{purpose}:look{look}:{measuring.visits}"
        timed = board.measure(points, measuring.end_to_end(), name)
        merge(bursts, timed)
        made = estimate(bursts, absolute=True)
        if made.undisturbed >= measuring.benchmark_processes:
            break
    return made
