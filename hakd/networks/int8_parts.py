"""Parts of networks in int8, for timing shapes: ranges come from a run in float32 on the input that a board uses."""

from collections.abc import Mapping

import numpy as np
import onnx

from hakd.boards.packing import board_input
from hakd.networks import onnx_int8, tflite_int8
from hakd.networks.int8 import Ranges, calibrate, without_batch_norms
from hakd.networks.onnx_int8 import to_int8
from hakd.networks.onnx_model import to_onnx
from hakd.networks.tflite_int8 import to_int8_tflite
from hakd.records.graph import Graph

Weights = Mapping[str, np.ndarray]
WEIGHT_BITS = {"onnxruntime": onnx_int8.WEIGHT_BITS, "litert": tflite_int8.WEIGHT_BITS}


def onnx_part(graph: Graph, weights: Weights, batch: int) -> bytes:
    """A part for ONNX Runtime."""
    _, _, model, ranges = calibrated(graph, weights, batch)
    return to_int8(model, ranges, part=True).SerializeToString()


def tflite_part(graph: Graph, weights: Weights, batch: int) -> bytes:
    """A part for LiteRT."""
    graph, weights, _, ranges = calibrated(graph, weights, batch)
    return to_int8_tflite(graph, weights, ranges, batch, part=True)


def reference_output(engine: str, graph: Graph, weights: Weights, images: np.ndarray) -> np.ndarray:
    """What a part for an engine makes of an input where each node is computed in float32 between two roundings."""
    _, _, model, ranges = calibrated(graph, weights, len(images))
    return plain_output(to_int8(model, ranges, WEIGHT_BITS[engine]).SerializeToString(), images)


def calibrated(graph: Graph, weights: Weights, batch: int) -> tuple[Graph, Weights, onnx.ModelProto, Ranges]:
    """A (folded) graph as it is quantised, with its weights, its float model, and the ranges of its activations.

    Raises:
        NoForm: a layer that no engine has in int8.
    """
    graph, weights = without_batch_norms(graph, weights)
    model = to_onnx(graph, weights, batch)
    images = board_input((batch, *graph.tensors[graph.inputs[0]].shape))
    return graph, weights, model, calibrate(model, [images], [op.output for op in graph.ops])


def plain_output(model: bytes, images: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of images with every node computed as it stands: no integer kernels."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]
