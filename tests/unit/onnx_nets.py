"""Small ONNX graphs written by hand, as no exporter of today writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shapes = dict[str, Any]


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
