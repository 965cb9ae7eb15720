"""Export of candidates to ONNX, checked against torch's logits; no torch is imported to do it."""

import importlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from hakd.networks.engine_model import ONNX_ENGINES, engine_model
from hakd.networks.families import build_graph
from hakd.networks.int8_files import is_tflite
from hakd.networks.onnx_model import fold_weights, to_onnx
from hakd.records.arch import Architecture, NetworkSpec, architecture_from
from hakd.records.errors import HakdError, make_again
from hakd.records.files import write_bytes
from hakd.records.graph import Graph, fold_batch_norm
from hakd.records.probe import probe_images

TOLERANCE = 1e-4
CHANNELS = {1: "grey", 3: "RGB"}


def session(model: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU with a fixed number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def with_input(facts: Mapping[str, Any], spec: NetworkSpec, image_side: int) -> dict[str, Any]:
    """The facts of a training, whose `images` then hold all that is needed to make an input from a photo.

    To mean, deviation (per channel) and classes come: `pixels`, the range that mean and deviation are in; `channels`,
    their order; `stored_size`, (height, width) that an image is fitted to first; `size`, that of the input, which the
    fitted image is resized to; `layout` and `dtype` of the input.

    Args:
        facts: of the checkpoint.
        spec: of its network.
        image_side: height and width of the data set's images in pixels.
    """
    form = {"pixels": [0, 255], "channels": CHANNELS[spec.input_channels], "stored_size": [image_side] * 2}
    form |= {"size": list(spec.image), "layout": "NCHW", "dtype": "float32"}
    return {**facts, "images": {**facts["images"], **form}}


def export(
    path: str | os.PathLike,
    architecture: Architecture,
    weights: Mapping[str, np.ndarray],
    probe_logits: list[list[float]],
    facts: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> float:
    """Write the network as ONNX (dynamic batch, batch norm folded) and return its largest deviation from torch.

    `facts` and `provenance` of the training are stored in the file's metadata.

    Raises:
        HakdError: ONNX Runtime's logits of the probe images differ from torch's by more than 1e-4 (absolute, and
            relative to the largest logit).
    """
    graph, folded = fold_weights(build_graph(architecture), weights)
    model = to_onnx(graph, folded, batch="batch")
    header = {**architecture.to_dict(), "facts": dict(facts), "provenance": dict(provenance)}
    onnx.helper.set_model_props(model, {"hakd": json.dumps(header, allow_nan=False)})
    content = model.SerializeToString()
    expected = np.asarray(probe_logits, dtype=np.float32)
    (found,) = session(content).run(None, {"input": probe_images(graph.tensors[graph.inputs[0]].shape)})
    error = float(np.abs(found - expected).max())
    if not error <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise HakdError(
            f"the exported network's logits differ from torch's by {error:.2g}",
            where=path,
            remedy="Train it again (`-R` and its checkpoint at the end of the study's command); if it stays, report it",
        )
    write_bytes(path, content)
    return error


def fix_batch(content: bytes, batch: int) -> bytes:
    """The same model with its dynamic batch axis fixed to the device's batch, as it is timed."""
    model = onnx.load_model_from_string(content)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return model.SerializeToString()


def for_engine(path: str | os.PathLike, engine: str, batch: int) -> bytes:
    """An exported network for an engine: the file with its batch fixed, or a model made from it; LiteRT's own as it is.

    Raises:
        HakdError: `export` did not write the file, or the engine cannot run that batch.
    """
    if is_tflite(path):
        return Path(path).read_bytes()
    if engine in ONNX_ENGINES:
        return fix_batch(Path(path).read_bytes(), batch)
    return engine_model(engine, *read_back(path), batch)


def weight_bytes(path: str | os.PathLike) -> int:
    """Bytes of all weights of a network's file (ONNX or LiteRT) once they are in memory, each in its own number format.

    That of the file itself is larger by the graph and its metadata, and smaller where the file is compressed. Engines
    may keep a second copy in their own order, which the measured memory has.
    """
    if is_tflite(path):
        schema = importlib.import_module("ai_edge_litert.schema_py_generated")  # what quantised it is here
        model = schema.Model.GetRootAs(Path(path).read_bytes())
        return sum(int(model.Buffers(i).DataLength()) for i in range(model.BuffersLength()))
    numbers = onnx.helper.tensor_dtype_to_np_dtype
    arrays = onnx.load(path).graph.initializer
    return sum(math.prod(array.dims) * numbers(array.data_type).itemsize for array in arrays)


def read_back(path: str | os.PathLike) -> tuple[Graph, dict[str, np.ndarray]]:
    """Op-level description and weights of an exported network, from the file alone.

    The file's ops must be those of the architecture in its metadata: the model is made again from it and compared.

    Raises:
        HakdError: they differ.
    """
    model = onnx.load(path)
    header = {entry.key: entry.value for entry in model.metadata_props}.get("hakd", "null")
    architecture = architecture_from(json.loads(header), path)
    graph, _ = fold_batch_norm(build_graph(architecture))
    weights = {array.name: onnx.numpy_helper.to_array(array) for array in model.graph.initializer}
    shapes = {name: array.shape for name, array in weights.items()}
    if shapes != graph.parameter_shapes() or to_onnx(graph, weights, batch="batch").graph != model.graph:
        raise HakdError("does not match its own metadata", where=path, remedy=make_again(path))
    return graph, weights
