"""Small ONNX graphs written by hand, as no exporter of today writes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from hakd.boards.packing import board_input
from hakd.explaining.blocks import block_point, whole_point
from hakd.importing.groups import Group, WidthGroups, take_apart
from hakd.importing.model import load_model

Shapes = dict[str, Any]
IMAGE, SCORES = {"image": [1, 3, 16, 16]}, {"scores": [1, 4]}


class Net:
    """A graph in the making; each method that adds a node gives the name of its first output."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[onnx.TensorProto] = []
        self.sparse: list[onnx.SparseTensorProto] = []
        self.values: list[onnx.ValueInfoProto] = []

    def const(self, name: str, value: object, kind: Any = None) -> str:
        """An initializer; a scalar stays one."""
        self.arrays.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def sizes(self, name: str, *numbers: int) -> str:
        """An initializer of whole numbers."""
        return self.const(name, numbers, np.int64)

    def op(self, kind: str, *inputs: str, out: str | Sequence[str] = "", name: str = "", **more: Any) -> str:
        """A node."""
        outs = [out or f"t{len(self.nodes)}"] if isinstance(out, str) else list(out)
        self.nodes.append(helper.make_node(kind, inputs, outs, name=name, **more))
        return outs[0]

    def conv(self, x: str, ins: int, outs: int, name: str, size: int = 3, **more: Any) -> str:
        """A `same` convolution without bias and a ReLU."""
        kind = more.pop("kind", np.float32)
        weight = self.random.standard_normal((outs, ins // more.get("group", 1), size, size)) / size
        self.const(f"{name}.weight", weight.astype(kind))
        pads = [size // 2] * 4
        return self.op("Relu", self.op("Conv", x, f"{name}.weight", name=f"/{name}/Conv", pads=pads, **more))

    def linear(self, x: str, ins: int, outs: int, name: str, out: str = "") -> str:
        """Without bias."""
        weight = self.random.standard_normal((ins, outs)).astype(np.float32)
        return self.op("MatMul", x, self.const(f"{name}.weight", weight), name=f"/{name}/MatMul", out=out)

    def head(self, x: str, ins: int, out: str = "scores") -> str:
        """Mean over the pixels and a linear layer of four classes."""
        return self.linear(
            self.op("Flatten", self.op("GlobalAveragePool", x), axis=1), ins, 4, "head", out=out
        )

    def save(
        self, folder: Path, inputs: Shapes, outputs: Shapes, opset: int = 17, ir: int = 8, **more: Any
    ) -> Path:
        """Write it; shapes are of float32, or (type, shape)."""

        def values(said: Shapes) -> list[onnx.ValueInfoProto]:
            pairs = [
                (name, what if isinstance(what[1], list) else (TensorProto.FLOAT, what))
                for name, what in said.items()
            ]
            return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in pairs]

        sources = values(inputs)
        if more.pop("listed", False):  # as files of IR version 3 have it
            sources += [
                helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in self.arrays
            ]
        graph = helper.make_graph(
            self.nodes, "g", sources, values(outputs), self.arrays, sparse_initializer=self.sparse
        )
        domains = [
            helper.make_opsetid(name, number)
            for name, number in {"": opset, **more.pop("domains", {})}.items()
        ]
        path = folder / "model.onnx"
        path.write_bytes(
            helper.make_model(graph, opset_imports=domains, ir_version=ir, **more).SerializeToString()
        )
        return path


def checked(path: Path, batch: int = 1) -> WidthGroups:
    """Taken apart; every block runs at other widths, and so does the whole model with all of them changed."""
    found = take_apart(load_model(path, batch), path)
    for group in found.changeable:
        for width in (1, group.width, group.width + 3):
            point = block_point(found, group, width)
            made = point.reference(board_input(point.input_shape))
            if found.model.kinds[group.section.target] == TensorProto.FLOAT:
                assert made.shape == found.model.shapes[group.section.target] and made.dtype == np.float32
            onnx.checker.check_model(onnx.load_from_string(point.model()))
    run(found, {group: group.width + 5 for group in found.changeable})
    return found


def run(found: WidthGroups, widths: Mapping[Group, int]) -> list[np.ndarray]:
    point = whole_point(found, widths, "whole")
    session = onnxruntime.InferenceSession(point.model(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": board_input(point.input_shape)})


def names(found: WidthGroups) -> list[tuple[str, int]]:
    return [(group.name, group.width) for group in found.changeable]
