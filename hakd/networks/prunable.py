"""What pruning may narrow, and how a level counts what is left (`prune.groups`, `prune.count`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hakd.networks.families import build_graph, full_architecture, width_groups
from hakd.ops.kinds import KINDS
from hakd.ops.op import Op, Rule
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.graph import Graph

Count = Callable[[Mapping[str, int]], int]
COUNTS: Mapping[str, Callable[[Graph], int]] = {"macs": Graph.macs, "params": Graph.params}
WORDS = {"macs": "MACs", "params": "parameters"}


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
    chosen = prunable_groups(spec, groups)
    return Prunable({group: full.widths[group] for group in chosen}, count_of(spec, count))


def count_of(spec: NetworkSpec, count: str = "macs") -> Count:
    """Counts the multiply-accumulates or the trainable parameters of a network at given widths; others are full."""
    full = full_architecture(spec)
    return lambda widths: COUNTS[count](build_graph(full.at(widths)))


def prunable_groups(spec: NetworkSpec, which: str = "all") -> list[str]:
    """Width groups that may be narrowed, in network order: all, or the `inner` ones (`WidthGroup.inner`).

    Raises:
        HakdError: no group is left.
    """
    found = [group for group in width_groups(spec) if group.reason is None]
    chosen = [group.name for group in found if group.inner or which == "all"]
    if not chosen:
        raise HakdError(
            f"nothing to prune: {spec.name} has no {'inner ' * (which == 'inner')}width groups",
            where="config",
            key="prune.groups",
            remedy="Use all" if found else "Choose another network",
        )
    return chosen


def makers(graph: Graph) -> dict[str, list[Op]]:
    """The layers that make each group, in network order."""
    found: dict[str, list[Op]] = {}
    for op in graph.ops:
        group = graph.tensors[op.output].channels[0].group
        if group is not None and KINDS[op.kind].rule_of(op) is Rule.MAKES:
            found.setdefault(group, []).append(op)
    return found
