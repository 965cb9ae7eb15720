"""What pruning may narrow, and how a level counts what is left (`prune.groups`, `prune.count`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from hakd.networks.families import full_architecture, full_graph, full_widths, width_groups
from hakd.ops.kinds import KINDS
from hakd.ops.op import Op, Rule
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.graph import Graph

Count = Callable[[Mapping[str, int]], int]
COUNTS: Mapping[str, Callable[[Graph], int]] = {"macs": Graph.macs, "params": Graph.params}
ROOM = 1.2  # times what widths of one channel leave: other data have other counts
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
    counts = counts_of(spec)
    return lambda widths: counts(widths)[count]


@lru_cache(maxsize=8)
def counts_of(spec: NetworkSpec) -> Callable[[Mapping[str, int]], dict[str, int]]:
    """Counts both, by the names in `COUNTS`, as the graph at these widths would, in a small part of the time.

    What an op counts is kept by the widths that it sees: from one removal to the next most stay as they are.
    """
    graph, full = full_graph(spec), full_widths(spec)
    ops = []
    for op in graph.ops:
        alone = graph.subgraph([op.name])
        seen = [
            one.group for tensor in alone.tensors.values() for one in tensor.channels if one.group is not None
        ]
        ops.append((alone, list(dict.fromkeys(seen)), dict[tuple[int, ...], list[int]]()))

    def counts(widths: Mapping[str, int]) -> dict[str, int]:
        totals = dict.fromkeys(COUNTS, 0)
        for alone, groups, known in ops:
            key = tuple([widths.get(group, full[group]) for group in groups])
            if key not in known:
                part = alone.at(dict(zip(groups, key, strict=True)))
                known[key] = [count(part) for count in COUNTS.values()]
            for name, value in zip(totals, known[key], strict=True):
                totals[name] += value
        return totals

    return counts


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


@lru_cache(maxsize=1024)
def least_share(spec: NetworkSpec, groups: str = "all", count: str = "macs") -> float:
    """What widths of one channel leave of the count; kept, for the rules ask for every device.

    Raises:
        HakdError: no group is left.
    """
    allowed = prunable(spec, groups, count)
    return allowed.count(dict.fromkeys(allowed.full, 1)) / allowed.count({})


def as_far_as_can_be(spec: NetworkSpec, level: float, groups: str = "all", count: str = "macs") -> float:
    """A level, or where none so low can be reached the lowest, with room: other data have other counts."""
    share = least_share(spec, groups, count)
    return level if level >= share else min(1.0, ROOM * share)


def check_reach(spec: NetworkSpec, level: float, groups: str = "all", count: str = "macs") -> None:
    """Refuse a level below what widths of one channel leave.

    Raises:
        HakdError: it cannot be reached.
    """
    share = least_share(spec, groups, count)
    if level < share:
        left = f"with one channel a group {share:.3g} of its {WORDS[count]} are left"
        raise HakdError(
            f"{level:g} cannot be reached by {spec.name}: {left}",
            where="config",
            key="run.levels",
            remedy="Use a higher level",
        )


def makers(graph: Graph) -> dict[str, list[Op]]:
    """The layers that make each group, in network order."""
    found: dict[str, list[Op]] = {}
    for op in graph.ops:
        group = graph.tensors[op.output].channels[0].group
        if group is not None and KINDS[op.kind].rule_of(op) is Rule.MAKES:
            found.setdefault(group, []).append(op)
    return found
