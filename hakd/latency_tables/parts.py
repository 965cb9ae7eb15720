"""The parts of a network that a latency table's rows belong to, built again and checked by their shapes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hakd.networks.families import full_widths
from hakd.ops.op import Op, Sides, sides
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.graph import Graph
from hakd.study.files import Configuration
from hakd.study.networks import network_of
from hakd.sweeping.parts import engine_graph


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer of a part, as the tables of other tools name it.

    Sizes are (height, width) in pixels; those of a linear layer (0, 0). `groups` is that of a convolution.
    """

    name: str
    kind: str  # conv or linear
    cin: int
    cout: int
    size_in: Sides
    size_out: Sides
    kernel: Sides
    stride: Sides
    padding: Sides
    groups: int
    depthwise: bool
    grouped: bool  # its output's width is that of a width group

    @property
    def square(self) -> bool:
        """Whether height and width are equal everywhere."""
        return all(a == b for a, b in (self.size_in, self.size_out, self.kernel, self.stride, self.padding))


@dataclass(frozen=True)
class TablePart:
    """A row of a latency table with the part of the network that it timed."""

    kind: str
    group: str
    shape: str
    latency_ms: float
    bursts: int
    graph: Graph
    layers: tuple[Layer, ...]
    first: bool  # its input is the network's

    @property
    def carrier(self) -> Layer:
        """The layer that the time of the whole part is written for.

        The one that makes a group's width, because its two widths distinguish the parts of one place; else the last.
        """
        dense = [layer for layer in self.layers if not layer.depthwise]
        if self.kind == "block":
            return dense[0]
        return next((layer for layer in dense if layer.grouped), dense[-1])

    @property
    def covered(self) -> list[Layer]:
        """Other layers whose time is written for the carrier, without those that carry another part."""
        return [
            layer
            for layer in self.layers
            if layer is not self.carrier and (layer.depthwise or not layer.grouped)
        ]


def spec_from(about: Mapping[str, Any], where: object) -> NetworkSpec | None:
    """The network that a table's metadata describe; None for a table without a description (CSV, or a study's).

    Raises:
        HakdError: a description that is not valid.
    """
    content = about.get("network")
    if content is None:
        return None
    try:
        spec = NetworkSpec(**content)
        full_widths(spec)
    except (TypeError, KeyError, ValueError) as error:
        remedy = "Get the table as hakd wrote it"
        raise HakdError(f"not a network ({error})", where=where, key="network", remedy=remedy) from None
    return spec


def spec_of_table(
    frame: pd.DataFrame,
    about: Mapping[str, Any],
    where: object,
    config: Configuration,
    network: str | None = None,
    image: Sequence[int] | None = None,
) -> NetworkSpec:
    """The network that a table describes, else the configuration's network of the name in its rows.

    A table is not trusted: no function that it names is called unless the user names it as well.

    Args:
        frame, about, where: the table, its metadata and its path.
        config: for a table that does not describe its network.
        network, image: a function and the shape of an image, as the user gives them.

    Raises:
        HakdError: a network that is neither described nor known, or not the table's.
    """
    name = str(frame["network"].iloc[0])
    if network is not None and network != name:
        remedy = "Leave it out: it is for tables that name a function and do not describe its network"
        raise HakdError(f"the table is of {name}", where=where, key="--network", remedy=remedy)
    spec = spec_from(about, where)
    if spec is not None:
        return spec
    if ":" not in name:
        return network_of(config, name)
    if network is None:
        problem = f"the table is of {name} and does not describe it, and a table alone runs no code"
        remedy = f"Give --network {name} and --input, or the .parquet or .json that it was made from"
        raise HakdError(problem, where=where, key="--network", remedy=remedy)
    return network_of(config, name, image=image)


def parts_of(frame: pd.DataFrame, spec: NetworkSpec, where: object) -> Iterator[TablePart]:
    """Each row with its part, built from the row's widths.

    Raises:
        HakdError: a row that does not fit the network, by name or by the hash of its shape.
    """
    full = full_widths(spec)
    for row in frame.itertuples():
        widths = {**full, **json.loads(row.neighbour_widths)}
        if row.kind == "block":
            widths[row.group] = int(row.width)
        graph = _part(spec, widths, row, where)
        if graph.shape_key() != row.shape:
            raise _misfit(f"{row.kind} {row.group} has another shape", row, spec, where)
        layers = tuple(_layer(graph, op) for op in graph.ops if op.kind in ("conv", "linear"))
        yield TablePart(
            row.kind, row.group, row.shape, row.latency_ms, row.bursts, graph, layers, "input" in graph.inputs
        )


def _part(spec: NetworkSpec, widths: Mapping[str, int], row: Any, where: object) -> Graph:
    if set(widths) != set(full_widths(spec)):
        raise _misfit(f"it has no width group {row.group!r} with these neighbours", row, spec, where)
    try:
        network = engine_graph(Architecture(spec, widths))
    except HakdError as error:
        raise _misfit(f"{error.key}: {error.problem}", row, spec, where) from None
    if row.kind == "block":
        return network.block(row.group)
    tiles = network.tiles()
    if row.group not in tiles:
        raise _misfit(f"it has no tile {row.group!r}", row, spec, where)
    return tiles[row.group]


def _misfit(problem: str, row: Any, spec: NetworkSpec, where: object) -> HakdError:
    remedy = "Give the configuration (--config) under which the table was measured, or get the table again"
    words = f"the table is not of this {spec.name}: {problem}"
    return HakdError(words, where=where, key=str(row.group), remedy=remedy)


def _layer(graph: Graph, op: Op) -> Layer:
    at = graph.placed(op)
    source, made = at.ins[0], at.out
    return Layer(
        op.name,
        op.kind,
        source.shape[0],
        made.shape[0],
        sides(source.size or 0),
        sides(made.size or 0),
        op.kernel,
        op.stride,
        op.padding,
        at.groups,
        op.depthwise,
        any(segment.group is not None for segment in made.channels),
    )
