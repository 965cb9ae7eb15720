"""What engines leave out or put together: dropout is left out, activations are fused into the op before them."""

from dataclasses import replace

from hakd.ops.kinds import KINDS
from hakd.ops.op import Fused, Op
from hakd.records.graph import Graph


def fuse(graph: Graph, engine: str) -> tuple[Graph, dict[str, Fused]]:
    """A graph as an engine runs it, and the activation that each op computes on its output, by the op's name.

    An activation is fused into the op before it where that op's output goes nowhere else and the engine can do it.
    """
    graph = _without_idle(graph)
    fused: dict[str, Fused] = {}
    gone, ops = set(), []
    for op in graph.ops:
        if op.name in gone:
            continue
        after = graph.consumers.get(op.output, ())
        if engine in KINDS[op.kind].fuses and op.output != graph.output and len(after) == 1:
            activation = KINDS[after[0].kind].fused(graph.placed(after[0]), engine)
            if activation:
                fused[op.name] = activation
                gone.add(after[0].name)
                op = replace(op, output=after[0].output)
        ops.append(op)
    return _of(graph, ops, graph.output), fused


def _without_idle(graph: Graph) -> Graph:
    """Without the ops that do nothing, but for one that makes the output of the input."""
    renamed: dict[str, str] = {}
    ops: list[Op] = []
    for op in graph.ops:
        inputs = tuple(renamed.get(name, name) for name in op.inputs)
        if KINDS[op.kind].idle and not (op.output == graph.output and inputs[0] in graph.inputs):
            renamed[op.output] = inputs[0]
        else:
            ops.append(replace(op, inputs=inputs))
    return _of(graph, ops, renamed.get(graph.output, graph.output))


def _of(graph: Graph, ops: list[Op], output: str) -> Graph:
    keep = {*graph.inputs, *(op.output for op in ops)}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in keep}
    return Graph(tuple(ops), tensors, graph.inputs, output)
