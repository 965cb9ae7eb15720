"""Parts of real networks to time, and what a session leaves in its journal."""

from pathlib import Path

from hakd.boards import Device, Point
from hakd.boards.journal import read
from hakd.networks.families import full_architecture
from hakd.ops.tensors import Segment
from hakd.records.graph import Builder
from hakd.sweeping.parts import engine_graph, point
from tests.unit.builders import small_densenet, small_mobilenet


def blocks(device: Device) -> list[Point]:
    """Decision blocks and tiles of both families."""
    found = []
    for spec in (small_mobilenet(16), small_densenet(16)):
        graph = engine_graph(full_architecture(spec))
        parts = {group: graph.block(group) for group in list(graph.groups())[:2]}
        parts |= dict(list(graph.tiles().items())[-2:])
        found += [point(part, f"{spec.name} {name}", device) for name, part in parts.items()]
    return found


def heavy(device: Device) -> Point:
    """A convolution that any number of threads can share: 38 million multiply-accumulates."""
    builder = Builder(64, 32)
    return point(builder.graph(builder.conv(builder.input, "conv", Segment(None, 64), 3)), "heavy", device)


def records(store: Path, kind: str) -> list[dict]:
    found = [record for path in sorted(store.glob("*/*.jsonl")) for record in read(path)]
    return [record for record in found if record["type"] == kind]
