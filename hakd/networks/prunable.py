"""What pruning may narrow, and how a level counts what is left (`prune.groups`, `prune.count`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hakd.networks.families import build_graph, full_architecture
from hakd.ops.op import Op
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.graph import Graph

Count = Callable[[Mapping[str, int]], int]
COUNTS: Mapping[str, Callable[[Graph], int]] = {"macs": Graph.macs, "params": Graph.params}
WORDS = {"macs": "MACs", "params": "parameters"}
_MERGING = ("add", "concat")


@dataclass(frozen=True)
class Prunable:
    """The groups that may be narrowed with their full widths, and the count of the network at widths of these.

    `count` takes groups that it is not given at full width.
    """

    full: Mapping[str, int]
    count: Count


def prunable(spec: NetworkSpec, groups: str = "all", count: str = "macs") -> Prunable:
    """What of a network may be pruned.

    Raises:
        HakdError: no group is left.
    """
    full = full_architecture(spec)
    chosen = prunable_groups(build_graph(full), groups, spec.name)
    return Prunable({group: full.widths[group] for group in chosen}, count_of(spec, count))


def count_of(spec: NetworkSpec, count: str = "macs") -> Count:
    """Counts the multiply-accumulates or the trainable parameters of a network at given widths; others are full."""
    full = full_architecture(spec)
    return lambda widths: COUNTS[count](build_graph(full.at(widths)))


def prunable_groups(graph: Graph, which: str = "all", name: str = "the network") -> list[str]:
    """Width groups that may be narrowed, in network order: all, or the `inner` ones.

    A group is inner if one layer alone makes it and neither an addition nor a concatenation hands it on.

    Args:
        graph: description of the network.
        which: `all` or `inner`.
        name: the network's, for the message.

    Raises:
        HakdError: no group is left.
    """
    groups = list(graph.groups())
    if which == "inner":
        made = makers(graph)
        merged = {
            segment.group
            for op in graph.ops
            if op.kind in _MERGING
            for segment in graph.tensors[op.output].channels
        }
        groups = [group for group in groups if len(made.get(group, ())) == 1 and group not in merged]
    if not groups:
        raise HakdError(
            f"nothing to prune: {name} has no {'inner ' * (which == 'inner')}width groups",
            where="config",
            key="prune.groups",
            remedy="Use all" if which == "inner" else "Choose another network",
        )
    return groups


def makers(graph: Graph) -> dict[str, list[tuple[Op, int, int]]]:
    """The layers that make each group: (op, first channel, end) along the outputs of its weights.

    A layer makes channels if its weights have an axis of labelled outputs and one of labelled inputs. So convolutions
    and linear layers do. Depthwise convolutions and batch norms keep the channels that they are given.
    """
    found: dict[str, list[tuple[Op, int, int]]] = {}
    for op in graph.ops:
        axes = graph.parameter_axes(op).get("weight", ())
        if len(axes) < 2 or isinstance(axes[0], int) or isinstance(axes[1], int):
            continue
        start = 0
        for segment in axes[0]:
            if segment.group is not None:
                found.setdefault(segment.group, []).append((op, start, start + segment.size))
            start += segment.size
    return found
