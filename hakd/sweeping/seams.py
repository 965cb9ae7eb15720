"""Seams: where two tiles meet. The time that a pair timed as one graph saves against its two tiles timed alone.

The time of a tile alone includes a call of the engine, and the conversion of its input to the engine's own layout and
of its output back. Within a network neither is needed where its neighbour uses the same layout. The saving depends on
seam, engine and widths, so it is measured: saving = t(A) + t(B) - t(AB).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from hakd.boards import Board, Device, Point
from hakd.records.arch import Architecture
from hakd.records.graph import Graph
from hakd.sweeping.parts import engine_graph, point
from hakd.sweeping.timing import Measuring, reference_part, tile_points, time_tiles

Seam = tuple[str, str]
TIES = 8  # tiles timed on both occasions, per network


@dataclass(frozen=True)
class Parts:
    """Times of the parts of one network, in ms: its tiles by name in order, its pairs by the names of both tiles.

    `pace`: the time of a part when whole networks were timed, over its time when parts were timed.
    """

    tiles_ms: Mapping[str, float]
    pairs_ms: Mapping[Seam, float]
    pace: float = 1.0

    @property
    def sum_ms(self) -> float:
        """The sum of the tiles."""
        return sum(self.tiles_ms.values())

    @property
    def savings_ms(self) -> dict[Seam, float]:
        """The saving of each measured seam; around zero, by noise, where it saves nothing."""
        return {(a, b): self.tiles_ms[a] + self.tiles_ms[b] - ms for (a, b), ms in self.pairs_ms.items()}

    @property
    def joined_ms(self) -> float:
        """The sum of the tiles minus the savings of the seams between them, at the pace of the whole networks.

        A seam without a measurement counts with the median saving of the measured ones: at least a call of the engine.
        The result is never below the slowest tile.
        """
        savings = list(self.savings_ms.values())
        unknown = len(self.tiles_ms) - 1 - len(savings)
        saved = sum(savings) + (unknown * median(savings) if savings else 0.0)
        return self.pace * max(self.sum_ms - saved, *self.tiles_ms.values())


def pair_graphs(graph: Graph) -> dict[Seam, Graph]:
    """Every tile with the one after it as one part, by the names of both, in network order.

    Left out are consecutive tiles that exchange nothing, and those that together have several inputs or outputs: an
    engine would run another problem than the network.
    """
    found = {}
    tiles = graph.tiles()
    for (a, first), (b, second) in pairwise(tiles.items()):
        if first.output not in second.inputs:
            continue
        try:
            pair = graph.subgraph([op.name for part in (first, second) for op in part.ops])
        except ValueError:  # more than one output
            continue
        outside = {name for other in tiles if other not in (a, b) for name in tiles[other].inputs}
        if len(pair.inputs) == 1 and not (outside & {op.output for op in pair.ops} - {pair.output}):
            found[a, b] = pair
    return found


def pair_points(architecture: Architecture, device: Device) -> dict[Seam, Point]:
    """A point for each pair of an architecture's tiles."""
    name = architecture.spec.name
    return {
        (a, b): point(graph, f"{name} {architecture.arch} {a} + {b}", device)
        for (a, b), graph in pair_graphs(engine_graph(architecture)).items()
    }


def tie_points(architectures: Sequence[Architecture], device: Device) -> list[Point]:
    """Tiles to be timed with whole networks too: they show `time_parts` the machine's pace on both occasions.

    They are spread evenly over the upper half of each network's tiles by multiply-accumulates: short ones show less.
    """
    found: list[Point] = []
    for members in _by_network(architectures).values():
        graphs = {graph.shape_key(): graph for one in members for graph in engine_graph(one).tiles().values()}
        ordered = sorted(graphs.values(), key=lambda graph: (graph.macs(), graph.shape_key()))
        upper = ordered[len(ordered) // 2 :]
        step = max(1, len(upper) // TIES)
        name = members[0].spec.name
        found += [point(graph, f"{name}, tie", device) for graph in upper[::step][:TIES]]
    return found


def time_parts(
    board: Board,
    architectures: Sequence[Architecture],
    measuring: Measuring,
    beside_ms: Mapping[str, float] | None = None,
) -> dict[str, Parts]:
    """Time tiles and pairs of networks by the sweep's protocol, interleaved; those in the store are not timed again.

    Args:
        board: open.
        architectures: of any networks.
        measuring: how.
        beside_ms: latencies by key of points that were timed with the whole networks (`tie_points`).

    Returns:
        Parts by arch, of the networks whose tiles could all be timed; a pair that could not be timed is left out.
    """
    parts = {}
    for members in _by_network(architectures).values():
        tiles = {one.arch: tile_points(one, board.device) for one in members}
        pairs = {one.arch: pair_points(one, board.device) for one in members}
        points = [p for one in members for p in (*tiles[one.arch].values(), *pairs[one.arch].values())]
        sweep = time_tiles(board, points, measuring, reference_part(members[0], board.device))
        timed = {key: one.latency_ms for key, one in sweep.by_key.items()}
        ratios = [ms / timed[key] for key, ms in (beside_ms or {}).items() if key in timed]
        pace = median(ratios) if ratios else 1.0
        for arch, found in tiles.items():
            if all(part.key in timed for part in found.values()):
                own = {name: timed[part.key] for name, part in found.items()}
                seams = {seam: timed[p.key] for seam, p in pairs[arch].items() if p.key in timed}
                parts[arch] = Parts(own, seams, pace)
    return parts


def _by_network(architectures: Sequence[Architecture]) -> dict[str, list[Architecture]]:
    found: dict[str, list[Architecture]] = {}
    for one in architectures:
        found.setdefault(one.spec.name, []).append(one)
    return found
