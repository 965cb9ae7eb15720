"""The file that an engine takes, from one op-level description and weights."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

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


def engine_model(engine: str, graph: Graph, weights: Weights, batch: int = 1) -> bytes:
    """A (folded) graph as `engine` takes it: float32, one input, one output, the batch fixed.

    Raises:
        HakdError: an engine that is not known, or a batch or an op that it cannot do.
    """
    if engine not in _BUILDERS:
        remedy = did_you_mean(engine, _BUILDERS)
        raise HakdError(f"no models can be made for {engine!r}", where="engine", remedy=remedy)
    try:
        return _BUILDERS[engine](graph, weights, batch)
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
