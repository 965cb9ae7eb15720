"""The file that an engine takes, from one op-level description and weights, in float32 or int8."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from hakd.boards.device import FLOAT32, INT8
from hakd.networks.int8_parts import onnx_part, tflite_part
from hakd.networks.kernel_model import FORMATS, to_kernels
from hakd.networks.ncnn_model import to_ncnn
from hakd.networks.onnx_model import to_onnx
from hakd.networks.tflite_model import to_tflite
from hakd.ops.op import NoForm
from hakd.records.errors import HakdError
from hakd.records.graph import Graph
from hakd.records.text import did_you_mean

Weights = Mapping[str, np.ndarray]
ONNX_ENGINES = ("onnxruntime", "openvino", "onnxruntime-cuda")


def engine_model(
    engine: str, graph: Graph, weights: Weights, batch: int = 1, precision: str = FLOAT32
) -> bytes:
    """A (folded) graph as `engine` takes it: one input, one output, the batch fixed.

    In int8 it is a part of a network: input and output are quantised too, and ranges are those that the input of a
    board (`hakd.boards.packing.board_input`) makes.

    Raises:
        HakdError: an engine that is not known, or a batch or an op that it cannot do.
    """
    builders = _INT8_BUILDERS if precision == INT8 else _BUILDERS
    if precision == INT8 and engine in _BUILDERS and engine not in builders:
        remedy = f"Set `precision: {FLOAT32}`, or `engine` to {' or '.join(builders)}"
        raise HakdError(f"{engine} has no int8 here", where="precision", remedy=remedy)
    if engine not in builders:
        remedy = did_you_mean(engine, builders)
        raise HakdError(f"no models can be made for {engine!r}", where="engine", remedy=remedy)
    try:
        return builders[engine](graph, weights, batch)
    except NoForm as problem:
        remedy = "Set `engine` of the device to another one, or replace the op in the network"
        raise HakdError(
            f"{engine} does not have the op {problem}", where="engine", remedy=remedy
        ) from problem


def _onnx(graph: Graph, weights: Weights, batch: int) -> bytes:
    return to_onnx(graph, weights, batch).SerializeToString()


def _ncnn(graph: Graph, weights: Weights, batch: int) -> bytes:
    if batch != 1:
        remedy = "Set `batch: 1` for the device, or use another engine"
        raise HakdError(f"ncnn takes one image at a time, not {batch}", where="engine", remedy=remedy)
    return to_ncnn(graph, weights)


_BUILDERS: Mapping[str, Callable[[Graph, Weights, int], bytes]] = {
    **dict.fromkeys(ONNX_ENGINES, _onnx),
    "litert": to_tflite,
    "ncnn": _ncnn,
    **{engine: partial(to_kernels, engine) for engine in FORMATS},
}
_INT8_BUILDERS: Mapping[str, Callable[[Graph, Weights, int], bytes]] = {
    "onnxruntime": onnx_part,
    "litert": tflite_part,
}
