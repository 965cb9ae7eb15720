"""How points are timed on an open board: passes, looks, and what a device's configuration says of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hakd.boards import Board, Burst, Device, Point, Protocol
from hakd.boards.device import MEASURING_KEYS
from hakd.networks.families import full_architecture
from hakd.records.arch import Architecture
from hakd.staircase.curve import trust
from hakd.staircase.estimate import Sweep, estimate
from hakd.sweeping.parts import engine_graph, point

LOOKS = 4  # at most so often in all is a curve timed that cannot be trusted


@dataclass(frozen=True)
class Measuring:
    """How a device of the study is measured: the keys of its configuration that the board layer does not know."""

    processes: int = 2
    rounds: int = 10
    burst_ms: float = 1.2
    benchmark_processes: int = 5
    min_step: float = 0.06

    @property
    def visits(self) -> str:
        """How often and how long a point is timed in a process, as part of what a stored measurement is called."""
        return f"{self.rounds}x{self.burst_ms:g}ms"

    def one_process(self) -> Protocol:
        """Protocol of one pass of a sweep."""
        return Protocol(processes=1, rounds=self.rounds, burst_ms=self.burst_ms)

    def end_to_end(self) -> Protocol:
        """Protocol of verification and benchmark: more processes, all networks in each."""
        return Protocol(
            processes=self.benchmark_processes, rounds=self.rounds, burst_ms=self.burst_ms, chunk_points=1000
        )


def device_from(name: str, settings: Mapping[str, Any]) -> tuple[Device, Measuring]:
    """The board and how to measure it, from the device's entry in the configuration."""
    measuring = {key: settings[key] for key in MEASURING_KEYS if key in settings}
    return Device.from_config(name, settings), Measuring(**measuring)


def reference_part(architecture: Architecture, batch: int) -> Point:
    """The block visited in every round of every process: the median tile, by MACs, of the full network."""
    tiles = sorted(
        engine_graph(full_architecture(architecture.spec)).tiles().values(), key=lambda t: t.macs()
    )
    return point(tiles[len(tiles) // 2], "reference tile", batch)


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


def tile_points(architecture: Architecture, batch: int) -> dict[str, Point]:
    """A point for each tile of an architecture, by tile name."""
    name = architecture.spec.name
    return {
        tile: point(graph, f"{name} {architecture.arch} {tile}", batch)
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
