"""The width groups of an op-level description: which of its layers' widths are tied, and why some are fixed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hakd.importing.ties import ChannelTies
from hakd.ops.kinds import KINDS
from hakd.ops.op import Op, Rule
from hakd.ops.tensors import Channels
from hakd.records.graph import Graph

_BY_NETWORK = "the network keeps it"


@dataclass(frozen=True)
class WidthGroup:
    """Layers whose outputs have one width.

    Attributes:
        name: as the first of its layers calls it.
        width: channels.
        makers: names of those layers, in network order.
        inner: whether it goes through no addition and no concatenation.
        reason: why it cannot be changed; None where it can.
    """

    name: str
    width: int
    makers: tuple[str, ...]
    inner: bool
    reason: str | None


def labelled(graph: Graph) -> tuple[Graph, tuple[WidthGroup, ...]]:
    """The same network with its channels labelled by group (None where a width is fixed), and its groups.

    A layer's own label names its group where it is the first of it. The classes are no group.
    """
    ties = _followed(graph)
    groups = _groups(graph, ties)
    names = {number: group.name for number, group in groups.items() if group.reason is None}

    def channels(name: str) -> Channels:
        runs = zip(ties.channels[name], graph.tensors[name].channels, strict=True)
        return tuple(replace(segment, group=names.get(ties.find(run.width))) for run, segment in runs)

    tensors = {name: replace(tensor, channels=channels(name)) for name, tensor in graph.tensors.items()}
    return replace(graph, tensors=tensors), tuple(groups.values())


def _followed(graph: Graph) -> ChannelTies:
    """The ties of all channels."""
    ties = ChannelTies()
    for name in graph.inputs:
        ties.start(name, graph.tensors[name].shape[0])
        ties.fix_by_task(ties.channels[name])
    for index, op in enumerate(graph.ops):
        _follow(ties, graph, index, op)
    ties.fix_by_task(ties.channels[graph.output])
    return ties


def _follow(ties: ChannelTies, graph: Graph, index: int, op: Op) -> None:
    at, rule = graph.placed(op), KINDS[op.kind].rule_of(op)
    size = at.out.shape[0]
    if rule is Rule.MAKES:
        made = ties.make(op.output, size, index)
        if at.out.channels[0].group is None:
            ties.fix(made, op.fixed or _BY_NETWORK)
        if at.groups > 1:
            words = f"grouped convolution {op.name} ({at.groups} groups)"
            ties.fix((*ties.channels[op.inputs[0]], *made), words)
    elif rule is Rule.TIES:
        ties.tie_all(op.inputs, op.output, size, f"{op.kind} ({op.name})", summed=op.kind == "add")
    elif rule is Rule.JOINS:
        ties.join(op.inputs, op.output)
    elif rule is Rule.SPREADS:
        ties.spread(op.inputs[0], op.output, at.ins[0].pixels)
    elif rule is Rule.KEEPS:
        ties.keep(op.inputs[0], op.output)
    else:
        ties.fix_between(op.inputs, {op.output: size}, f"{op.kind} ({op.name}) reorders channels")
    if op.fixed:
        ties.fix(ties.channels[op.output], op.fixed)


def _groups(graph: Graph, ties: ChannelTies) -> Mapping[int, WidthGroup]:
    """The groups by the number of their width, in network order."""
    by_task = {ties.find(number) for number in ties.by_task}
    makers = {
        ties.find(number): [graph.ops[index] for index in sorted(indices)]
        for number, indices in ties.made_by.items()
        if ties.find(number) not in by_task
    }
    order = {op.name: place for place, op in enumerate(graph.ops)}
    found, taken = {}, set[str]()
    for number in sorted(makers, key=lambda number: order[makers[number][0].name]):
        ops = makers[number]
        label = graph.tensors[ops[0].output].channels[0].group or ops[0].name
        name = ops[0].name if label in taken else label
        taken.add(name)
        found[number] = WidthGroup(
            name,
            ties.sizes[number],
            tuple(op.name for op in ops),
            ties.is_inner(number),
            ties.reasons.get(number),
        )
    return found
