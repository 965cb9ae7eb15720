"""Rectifiers fused into the op before them, as the converters of LiteRT and ncnn do."""

from collections.abc import Collection
from dataclasses import replace

from hakd.records.graph import Graph, Op


def fuse_relu(graph: Graph, kinds: Collection[str]) -> tuple[Graph, frozenset[str]]:
    """Fuse each rectifier into the op that it alone consumes, where that op is of one of `kinds`.

    Returns the graph without those rectifiers, each of the other ops making its rectifier's tensor, and the names of
    those other ops.
    """
    consumers: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in op.inputs:
            consumers.setdefault(name, []).append(op)
    fused, gone, ops = set(), set(), []
    for op in graph.ops:
        if op.name in gone:
            continue
        after = consumers.get(op.output, [])
        if op.kind in kinds and op.output != graph.output and len(after) == 1 and after[0].kind == "relu":
            fused.add(op.name)
            gone.add(after[0].name)
            op = replace(op, output=after[0].output)
        ops.append(op)
    keep = {*graph.inputs, *(op.output for op in ops)}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in keep}
    return Graph(tuple(ops), tensors, graph.inputs, graph.output), frozenset(fused)
