"""From an op-level description and weights to the model file of the engines with kernels of hakd's own.

One blob: magic, length of the header (uint32, little endian), header (JSON), and from the next multiple of 64 bytes on
the arrays, each at a multiple of 64. The header lists steps (`hakd.ops.kernels`) over numbered buffers, whose memory is
shared by tensors that do not live at the same time. `hakd/boards/kernels.py` reads it.

The weights of convolutions and linear layers lie in one of three formats, a filter a row:

- `dense`: all values;
- `csr`: the values that are not zero, the column of each (uint16 where that is enough, else uint32), and where each
  row begins (uint32);
- `bitmap`: the values that are not zero, a bit for each weight (rows are filled up to 64 bits), and where each row
  begins.

Filters of depthwise layers stay dense: a row of nine is too short for indices.
"""

import json
import math
import struct
from collections.abc import Mapping

import numpy as np

from hakd.networks.fusing import fuse
from hakd.ops.kernels import Step
from hakd.ops.kinds import KINDS
from hakd.records.graph import Graph

MAGIC = b"HAKDKRN1"
ENGINE = "kernels"  # as `fuse` and the activations call all of them
# Format of the weights by engine.
FORMATS = {"im2col": "dense", "csr": "csr", "bitmap": "bitmap", "opencl": "dense", "opencl-gemm": "dense"}
_ALIGNMENT = 64
Weights = Mapping[str, np.ndarray]


def to_kernels(engine: str, graph: Graph, weights: Weights, batch: int = 1) -> bytes:
    """A (folded) graph for one of the engines of `FORMATS`.

    Raises:
        NoForm: an op that the kernels lack.
    """
    graph, fused = fuse(graph, ENGINE)
    steps = [KINDS[op.kind].kernels(graph.placed(op), weights, fused.get(op.name, ())) for op in graph.ops]
    buffer_of, sizes = _buffers(graph, steps, batch)
    arrays = _Arrays()
    rows = []
    for op, its_steps in zip(graph.ops, steps, strict=True):
        names = (*op.inputs, op.output)  # so that OWN is the last
        for step in its_steps:
            taken = [buffer_of[names[number]] for number in step.inputs]
            row = {"kind": step.kind, "out": buffer_of[op.output], **step.numbers}
            row |= dict(zip(("x", "y"), taken, strict=False))
            for name, array in _weights(step, FORMATS[engine]).items():
                row[name] = arrays.add(array)
            rows.append(row)
    header = {
        "format": FORMATS[engine],
        "batch": batch,
        "buffers": sizes,
        "input": buffer_of[graph.inputs[0]],
        "output": [buffer_of[graph.output], *graph.tensors[graph.output].shape],
        "steps": rows,
        "arrays": arrays.places,
    }
    text = json.dumps(header).encode()
    start = len(MAGIC) + 4 + len(text)
    return b"".join([MAGIC, struct.pack("<I", len(text)), text, bytes(-start % _ALIGNMENT), *arrays.parts])


class _Arrays:
    """The arrays of a file, and where they lie: (dtype, count, bytes from the first)."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.places: list[tuple[str, int, int]] = []
        self._size = 0

    def add(self, array: np.ndarray) -> int:
        """Append an array; its number."""
        content = array.tobytes()
        content += bytes(-len(content) % _ALIGNMENT)
        self.places.append((array.dtype.str, array.size, self._size))
        self.parts.append(content)
        self._size += len(content)
        return len(self.places) - 1


def _buffers(graph: Graph, steps: list[list[Step]], batch: int) -> tuple[dict[str, int], list[int]]:
    """The buffer of each tensor, and how many floats each buffer holds.

    An op without steps passes its input on. A buffer is free once no later op takes what it holds; that of the input
    never is, since every call reads it again.
    """
    root = {graph.inputs[0]: graph.inputs[0]}
    for op, its_steps in zip(graph.ops, steps, strict=True):
        root[op.output] = op.output if its_steps else root[op.inputs[0]]
    last_use = {root[name]: number for number, op in enumerate(graph.ops) for name in op.inputs}
    last_use |= {root[graph.inputs[0]]: len(steps), root[graph.output]: len(steps)}
    need = {name: batch * math.prod(graph.tensors[name].shape) for name in root}
    of, sizes, free = {graph.inputs[0]: 0}, [need[graph.inputs[0]]], list[int]()
    for number, op in enumerate(graph.ops):
        if root[op.output] == op.output:
            fitting = [buffer for buffer in free if sizes[buffer] >= need[op.output]]
            buffer = min(fitting or free, key=sizes.__getitem__, default=len(sizes))
            if buffer == len(sizes):
                sizes.append(0)
            else:
                free.remove(buffer)
            of[op.output], sizes[buffer] = buffer, max(sizes[buffer], need[op.output])
        else:
            of[op.output] = of[root[op.output]]
        ended = {root[name] for name in (*op.inputs, op.output) if last_use.get(root[name], number) <= number}
        free += [of[name] for name in sorted(ended) if of[name] not in free]
    return of, sizes


def _weights(step: Step, form: str) -> dict[str, np.ndarray]:
    """The arrays of a step, its filters in a format."""
    found = {name: np.ascontiguousarray(array, "<f4") for name, array in step.arrays.items()}
    if step.kind != "conv" or form == "dense":
        return found
    weight = found["weight"]
    kept = weight != 0
    rows = np.zeros(len(weight) + 1, "<u4")
    rows[1:] = np.cumsum(kept.sum(axis=1))
    index = _columns(kept) if form == "csr" else _bits(kept)
    return found | {"weight": weight[kept], "rows": rows, "index": index}


def _columns(kept: np.ndarray) -> np.ndarray:
    return np.nonzero(kept)[1].astype("<u2" if kept.shape[1] <= 1 << 16 else "<u4")


def _bits(kept: np.ndarray) -> np.ndarray:
    """A bit for each weight, the first in the lowest bit; each row in words of 64."""
    whole = np.pad(kept, ((0, 0), (0, -kept.shape[1] % 64)))
    return np.packbits(whole, axis=1, bitorder="little").view("<u8")
