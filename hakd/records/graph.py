"""One op-level description of a network: shapes and names, no weights.

The torch module, the engines' models, the tile and block builder, the MAC counter and physical pruning all read this
one description, so they cannot disagree. Every channel axis is labelled by the width group it belongs to. What an op
kind does to shapes and channels is in `hakd.ops`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from hakd.ops.batch_norm import STATISTICS
from hakd.ops.kinds import KINDS
from hakd.ops.op import Op, Placed, Sides, square
from hakd.ops.tensors import Axis, Channels, Segment, Tensor, width
from hakd.records.files import digest
from hakd.records.sections import Sections

Size = int | Sequence[int]


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

    def at(self, widths: Mapping[str, int]) -> "Graph":
        """The same network at other widths (group -> channels); groups that are not among them keep theirs."""

        def resized(channels: Channels) -> Channels:
            return tuple(
                replace(one, size=widths.get(one.group, one.size)) if one.group is not None else one
                for one in channels
            )

        tensors = {name: replace(t, channels=resized(t.channels)) for name, t in self.tensors.items()}
        return replace(self, tensors=tensors)

    def placed(self, op: Op) -> Placed:
        """An op with the activations around it."""
        return Placed(op, tuple(self.tensors[name] for name in op.inputs), self.tensors[op.output])

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Op, ...]]:
        """The ops that take each tensor, in order."""
        found: dict[str, tuple[Op, ...]] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                found[name] = (*found.get(name, ()), op)
        return found

    def parameter_axes(self, op: Op) -> dict[str, tuple[Axis, ...]]:
        """Axes of each weight array of an op: labelled channels, or a plain size. Names are torch's."""
        return KINDS[op.kind].axes(self.placed(op))

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight array, by `op.name + "." + parameter`."""
        return {
            f"{op.name}.{name}": tuple(a if isinstance(a, int) else width(a) for a in axes)
            for op in self.ops
            for name, axes in self.parameter_axes(op).items()
        }

    def params(self) -> int:
        """Trainable parameters: weights and biases of layers, batch-norm scale and shift, learned slopes."""
        shapes = self.parameter_shapes().items()
        return sum(math.prod(shape) for name, shape in shapes if not name.endswith(STATISTICS))

    def op_macs(self, op: Op) -> int:
        """Multiply-accumulates of one op for one image; convolutions and linear layers only."""
        return KINDS[op.kind].macs(self.placed(op))

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
        """The decision block of a width group: every op whose shape depends on that width, and what lies between them.

        It has one way in and one way out. Batch norm and activations behind it belong to it, for engines fuse them into
        its last layer. Tensors a concatenation would only pass along are left out: a block starts at the ops that make
        the width and ends with those that consume it.

        Raises:
            ValueError: no such group.
        """
        touches = {
            name
            for name, tensor in self.tensors.items()
            if any(segment.group == group for segment in tensor.channels)
        }
        members = [i for i, op in enumerate(self.ops) if touches & {*op.inputs, op.output}]
        section = self._sections.around(members) if members else None
        if section is None:
            raise ValueError(f"no section of the network lies around {group}")
        names, end = [self.ops[i].name for i in section.nodes], section.target
        while end != self.output and len(after := self.consumers.get(end, ())) == 1:
            if not KINDS[after[0].kind].pointwise:
                break
            names.append(after[0].name)
            end = after[0].output
        return self.subgraph(names)

    @cached_property
    def _sections(self) -> Sections:
        return Sections(
            [op.inputs for op in self.ops], [(op.output,) for op in self.ops], self.inputs, (self.output,)
        )

    def shape_key(self) -> str:
        """Content hash of everything that shapes a measurement: ops, all widths, sizes; blind to names."""
        number = {name: i for i, name in enumerate(self.inputs)}
        rows: list[object] = [list(self.tensors[name].shape) for name in self.inputs]
        for op in self.ops:
            number[op.output] = len(number)
            inputs, shape = [number[name] for name in op.inputs], list(self.tensors[op.output].shape)
            window = [square(side) for side in (op.kernel, op.stride, op.padding)]
            more = {key: value for key, value in op.attributes.items() if key not in _IN_KEY}
            rows.append([op.kind, inputs, shape, *window, op.depthwise, op.bias, *([more] if more else [])])
        return digest(rows, 16)


_IN_KEY = ("kernel", "stride", "padding", "depthwise", "bias")


FOLDED_INTO = ("conv", "linear")


def fold_batch_norm(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """Fold each batch norm that alone consumes a convolution or linear layer into it, as inference engines do.

    Returns the folded graph (those convolutions get a bias) and the folded pairs {convolution: batch norm}.
    """
    pairs: dict[str, str] = {}
    ops, gone = [], set()
    for op in graph.ops:
        if op.name in gone:
            continue
        after = graph.consumers.get(op.output, ())
        if op.kind in FOLDED_INTO and len(after) == 1 and after[0].kind == "batch_norm":
            pairs[op.name] = after[0].name
            gone.add(after[0].name)
            op = replace(op, output=after[0].output, attributes={**op.attributes, "bias": True})
        ops.append(op)
    keep = {*graph.inputs, *(op.output for op in ops)}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in keep}
    return Graph(tuple(ops), tensors, graph.inputs, graph.output), pairs


class Builder:
    """Writes a graph op by op; each method returns the name of the tensor it makes.

    A layer's width is an int, which makes a group named like the layer, or a `Segment`: its own group's name and size,
    or None and a size that is fixed.

    Args:
        channels: of the image.
        size: height and width of the image in pixels, or one number for both.
    """

    def __init__(self, channels: int, size: Size) -> None:
        self._ops: list[Op] = []
        self.input = "input"
        height_width = (size, size) if isinstance(size, int) else tuple(size)
        self.tensors = {self.input: Tensor((Segment(None, channels),), height_width)}
        self.tile = ""

    def add(
        self,
        kind: str,
        name: str,
        inputs: str | Sequence[str],
        made: Segment | int | None = None,
        fixed: str = "",
        **attributes: Any,
    ) -> str:
        """Any op of `hakd.ops.kinds`.

        Args:
            kind: of the op.
            name: of the op and of the tensor that it makes.
            inputs: tensors that it takes.
            made: the width that a layer makes.
            fixed: why this width cannot be changed.
            attributes: of the kind.

        Raises:
            ValueError: inputs that it cannot take, e.g. an image too small for its window.
        """
        names = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        op = Op(kind, name, names, name, self.tile, attributes, fixed)
        segment = Segment(name, made) if isinstance(made, int) else made
        self.tensors[name] = KINDS[kind].out(op, [self.tensors[one] for one in names], segment)
        self._ops.append(op)
        return name

    def conv(
        self,
        x: str,
        name: str,
        out: Segment | int,
        kernel: int | Sides,
        stride: int | Sides = 1,
        **more: Any,
    ) -> str:
        """Convolution, without bias unless asked for; `same` padding at stride 1 unless another is given."""
        more.setdefault("padding", _same(kernel))
        return self.add("conv", name, x, out, kernel=kernel, stride=stride, **more)

    def depthwise(self, x: str, name: str, kernel: int | Sides, stride: int | Sides = 1) -> str:
        """Depthwise convolution: keeps the channels and their groups."""
        padding = _same(kernel)
        return self.add("conv", name, x, kernel=kernel, stride=stride, padding=padding, depthwise=True)

    def batch_norm(self, x: str, name: str) -> str:
        """Batch normalisation over the channels."""
        return self.add("batch_norm", name, x)

    def relu(self, x: str, name: str) -> str:
        """Rectifier."""
        return self.add("relu", name, x)

    def concat(self, xs: Sequence[str], name: str) -> str:
        """Concatenation of channels."""
        return self.add("concat", name, xs)

    def avg_pool(self, x: str, name: str) -> str:
        """2 x 2 average pooling."""
        return self.add("avg_pool", name, x, kernel=2, stride=2)

    def max_pool(self, x: str, name: str, kernel: int = 2, stride: int = 2, padding: int = 0) -> str:
        """Maximum of each window."""
        return self.add("max_pool", name, x, kernel=kernel, stride=stride, padding=padding)

    def global_avg_pool(self, x: str, name: str) -> str:
        """Mean over all pixels; flattens."""
        return self.add("global_avg_pool", name, x)

    def linear(self, x: str, name: str, out: Segment | int) -> str:
        """Fully connected layer with bias."""
        return self.add("linear", name, x, out, bias=True)

    def head(self, x: str, num_classes: int) -> str:
        """Mean over all pixels and the classifier: the last tile of most networks."""
        self.tile = "head"
        pooled = self.global_avg_pool(x, "head.pool")
        return self.linear(pooled, "head.linear", Segment(None, num_classes))

    def graph(self, output: str) -> Graph:
        """The finished description."""
        return Graph(tuple(self._ops), self.tensors, (self.input,), output)


def _same(kernel: int | Sides) -> int | Sides:
    """Padding that keeps an image's size at stride 1, for odd kernels."""
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
