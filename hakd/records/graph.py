"""One op-level description of a network: shapes and names, no weights.

The torch module, the ONNX exporter, the tile and block builder, the MAC counter and physical pruning all read this one
description, so they cannot disagree. Every channel axis is labelled by the width group it belongs to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hakd.records.files import digest


@dataclass(frozen=True)
class Segment:
    """A run of channels that belong to one width group; `group` is None where the width is fixed."""

    group: str | None
    size: int


Channels = tuple[Segment, ...]


def width(channels: Channels) -> int:
    """Number of channels of an axis."""
    return sum(segment.size for segment in channels)


@dataclass(frozen=True)
class Tensor:
    """An activation of one image: labelled channels by `size` x `size` pixels (`size` 0: a flat vector)."""

    channels: Channels
    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the batch axis."""
        return (width(self.channels),) + ((self.size, self.size) if self.size else ())


@dataclass(frozen=True)
class Op:
    """One operation: conv, batch_norm, relu, concat, avg_pool, global_avg_pool or linear."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    tile: str
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    depthwise: bool = False
    bias: bool = False


Axis = Channels | int


@dataclass(frozen=True)
class Graph:
    """Ops in topological order over named tensors."""

    ops: tuple[Op, ...]
    tensors: Mapping[str, Tensor] = field(hash=False)
    inputs: tuple[str, ...]
    output: str

    def groups(self) -> dict[str, int]:
        """Widths of all groups, in order of first appearance."""
        found: dict[str, int] = {}
        for op in self.ops:
            for segment in self.tensors[op.output].channels:
                if segment.group is not None:
                    found.setdefault(segment.group, segment.size)
        return found

    def parameter_axes(self, op: Op) -> dict[str, tuple[Axis, ...]]:
        """Axes of each weight array of an op: labelled channels, or a plain size. Names are torch's."""
        ins, outs = self.tensors[op.inputs[0]].channels, self.tensors[op.output].channels
        if op.kind == "conv":
            axes: dict[str, tuple[Axis, ...]] = {
                "weight": (outs, 1 if op.depthwise else ins, op.kernel, op.kernel)
            }
        elif op.kind == "linear":
            axes = {"weight": (outs, ins)}
        elif op.kind == "batch_norm":
            return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (outs,))
        else:
            return {}
        if op.bias:
            axes["bias"] = (outs,)
        return axes

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight array, by `op.name + "." + parameter`."""
        return {
            f"{op.name}.{name}": tuple(a if isinstance(a, int) else width(a) for a in axes)
            for op in self.ops
            for name, axes in self.parameter_axes(op).items()
        }

    def params(self) -> int:
        """Trainable parameters: convolution and linear weights and biases, batch-norm scale and shift."""
        total = 0
        for name, shape in self.parameter_shapes().items():
            if not name.endswith(("running_mean", "running_var")):
                size = 1
                for axis in shape:
                    size *= axis
                total += size
        return total

    def op_macs(self, op: Op) -> int:
        """Multiply-accumulates of one op for one image; convolutions and linear layers only."""
        ins, out = width(self.tensors[op.inputs[0]].channels), self.tensors[op.output]
        if op.kind == "conv":
            fan_in = 1 if op.depthwise else ins
            return width(out.channels) * fan_in * op.kernel**2 * out.size**2
        return width(out.channels) * ins if op.kind == "linear" else 0

    def macs(self) -> int:
        """Multiply-accumulates for one image; convolutions and linear layers only."""
        return sum(map(self.op_macs, self.ops))

    def subgraph(self, names: Iterable[str]) -> "Graph":
        """The named ops alone; tensors made outside become inputs. All outputs but one must be consumed inside."""
        wanted = set(names)
        ops = tuple(op for op in self.ops if op.name in wanted)
        made = {op.output for op in ops}
        used = [name for op in ops for name in op.inputs]
        inputs = tuple(dict.fromkeys(name for name in used if name not in made))
        outputs = [op.output for op in ops if op.output not in used]
        if len(outputs) != 1:
            raise ValueError(f"a part of a network needs one output, this has {outputs}")
        keep = {name: self.tensors[name] for name in (*inputs, *(op.output for op in ops))}
        return Graph(ops, keep, inputs, outputs[0])

    def tiles(self) -> dict[str, "Graph"]:
        """The parts that partition the network, by tile name, in order."""
        names: dict[str, list[str]] = {}
        for op in self.ops:
            names.setdefault(op.tile, []).append(op.name)
        return {tile: self.subgraph(members) for tile, members in names.items()}

    def block(self, group: str) -> "Graph":
        """The decision block of a width group: every op whose shape depends on that width, activations included.

        Tensors a concatenation would only pass along are left out: a block starts at the ops that make the width
        and ends with those that consume it.
        """
        touches = {
            name
            for name, tensor in self.tensors.items()
            if any(segment.group == group for segment in tensor.channels)
        }
        members, ends = [], set()
        for op in self.ops:
            if touches & {*op.inputs, op.output}:
                members.append(op.name)
                ends.add(op.output)
            elif op.kind == "relu" and op.inputs[0] in ends:
                members.append(op.name)
        return self.subgraph(members)

    def shape_key(self) -> str:
        """Content hash of everything that shapes a measurement: ops, all widths, sizes; blind to names."""
        number = {name: i for i, name in enumerate(self.inputs)}
        rows: list[object] = [list(self.tensors[name].shape) for name in self.inputs]
        for op in self.ops:
            number[op.output] = len(number)
            inputs, shape = [number[name] for name in op.inputs], list(self.tensors[op.output].shape)
            rows.append([op.kind, inputs, shape, op.kernel, op.stride, op.padding, op.depthwise, op.bias])
        return digest(rows, 16)


def fold_batch_norm(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """Fold each batch norm that alone consumes a convolution into it, as inference engines do.

    Returns the folded graph (those convolutions get a bias) and the folded pairs {convolution: batch norm}.
    """
    consumers: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in op.inputs:
            consumers.setdefault(name, []).append(op)
    pairs: dict[str, str] = {}
    ops, gone = [], set()
    for op in graph.ops:
        if op.name in gone:
            continue
        after = consumers.get(op.output, [])
        if op.kind == "conv" and len(after) == 1 and after[0].kind == "batch_norm":
            pairs[op.name] = after[0].name
            gone.add(after[0].name)
            op = replace(op, output=after[0].output, bias=True)
        ops.append(op)
    keep = {*graph.inputs, *(op.output for op in ops)}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in keep}
    return Graph(tuple(ops), tensors, graph.inputs, graph.output), pairs


class Builder:
    """Writes a graph op by op; each method returns the name of the tensor it makes."""

    def __init__(self, channels: int, size: int) -> None:
        self._ops: list[Op] = []
        self.input = "input"
        self.tensors = {self.input: Tensor((Segment(None, channels),), size)}
        self.tile = ""

    def _add(self, kind: str, name: str, inputs: tuple[str, ...], tensor: Tensor, **attributes: Any) -> str:
        self.tensors[name] = tensor
        self._ops.append(Op(kind, name, inputs, name, self.tile, **attributes))
        return name

    def conv(self, x: str, name: str, out: Segment, kernel: int, stride: int = 1) -> str:
        """Convolution without bias, `same` padding at stride 1."""
        size = -(-self.tensors[x].size // stride)
        return self._add(
            "conv", name, (x,), Tensor((out,), size), kernel=kernel, stride=stride, padding=kernel // 2
        )

    def depthwise(self, x: str, name: str, kernel: int, stride: int = 1) -> str:
        """Depthwise convolution: keeps the channels and their groups."""
        tensor = Tensor(self.tensors[x].channels, -(-self.tensors[x].size // stride))
        return self._add(
            "conv", name, (x,), tensor, kernel=kernel, stride=stride, padding=kernel // 2, depthwise=True
        )

    def batch_norm(self, x: str, name: str) -> str:
        """Batch normalisation over the channels."""
        return self._add("batch_norm", name, (x,), self.tensors[x])

    def relu(self, x: str, name: str) -> str:
        """Rectifier."""
        return self._add("relu", name, (x,), self.tensors[x])

    def concat(self, xs: tuple[str, ...], name: str) -> str:
        """Concatenation of channels."""
        channels = tuple(segment for x in xs for segment in self.tensors[x].channels)
        return self._add("concat", name, xs, Tensor(channels, self.tensors[xs[0]].size))

    def avg_pool(self, x: str, name: str) -> str:
        """2 x 2 average pooling."""
        tensor = self.tensors[x]
        return self._add(
            "avg_pool", name, (x,), Tensor(tensor.channels, tensor.size // 2), kernel=2, stride=2
        )

    def global_avg_pool(self, x: str, name: str) -> str:
        """Mean over all pixels; flattens."""
        return self._add("global_avg_pool", name, (x,), Tensor(self.tensors[x].channels, 0))

    def linear(self, x: str, name: str, out: int) -> str:
        """Fully connected layer with bias."""
        return self._add("linear", name, (x,), Tensor((Segment(None, out),), 0), bias=True)

    def graph(self, output: str) -> Graph:
        """The finished description."""
        return Graph(tuple(self._ops), self.tensors, (self.input,), output)
