"""Points of small real models, and a protocol that measures them quickly."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hakd.boards import Point, Protocol

QUICK = Protocol(processes=2, rounds=3, burst_ms=0.3, warmup_ms=0.5, point_timeout_s=20)


def _model(nodes: list, shape: tuple, out_shape: tuple | None, weights: dict[str, np.ndarray]) -> bytes:
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "test",
        [tensor("input", TensorProto.FLOAT, shape)],
        [tensor("output", TensorProto.FLOAT, out_shape or shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def pointwise(width: int, inputs: int = 8, size: int = 8, wrong_by: float = 0.0) -> Point:
    """A 1 x 1 convolution, whose expected output numpy knows."""
    weight = (np.arange(width * inputs, dtype=np.float32) % 13 - 6).reshape(width, inputs) / 8
    shape, out_shape = (1, inputs, size, size), (1, width, size, size)

    def model() -> bytes:
        node = helper.make_node("Conv", ["input", "w"], ["output"])
        return _model([node], shape, out_shape, {"w": weight.reshape(width, inputs, 1, 1)})

    def reference(x: np.ndarray) -> np.ndarray:
        return np.einsum("oi,nihw->nohw", weight, x) + wrong_by

    key = f"pointwise-{inputs}-{width}-{size}-{wrong_by}"
    return Point(key, key, model, reference, shape)


def endless(turns: int = 1 << 62) -> Point:
    """A model that adds 1 this number of times: a hang that no engine can optimise away."""

    def model() -> bytes:
        value = helper.make_tensor_value_info
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go"], ["still"]),
                helper.make_node("Add", ["x", "one"], ["y"]),
            ],
            "body",
            [
                value("i", TensorProto.INT64, []),
                value("go", TensorProto.BOOL, []),
                value("x", TensorProto.FLOAT, [1]),
            ],
            [value("still", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, [1])],
        )
        node = helper.make_node("Loop", ["turns", "", "input"], ["output"], body=body)
        weights = {"turns": np.array(turns, np.int64), "one": np.ones(1, np.float32)}
        return _model([node], (1,), None, weights)

    return Point(f"endless-{turns}", "endless", model, None, (1,))
