"""Exported networks in int8: calibrated on training images, scored, and checked for integer kernels."""

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from hakd.boards.engines import load
from hakd.data.seeding import numpy_generator
from hakd.evaluation.export import read_back, session
from hakd.networks.int8 import LAYERS, Ranges, calibrate, without_batch_norms
from hakd.networks.int8_files import exported_header, is_tflite, with_header
from hakd.networks.onnx_int8 import WEIGHT_BITS as ONNX_BITS
from hakd.networks.onnx_int8 import to_int8
from hakd.networks.onnx_model import to_onnx
from hakd.networks.tflite_int8 import WEIGHT_BITS as TFLITE_BITS
from hakd.networks.tflite_int8 import to_int8_tflite
from hakd.ops.op import NoForm
from hakd.records.errors import HakdError
from hakd.records.files import write_bytes
from hakd.records.graph import Graph

BATCH = 256


def quantise(
    path: str | os.PathLike, splits: Any, count: int, path_to_int8: str | os.PathLike
) -> dict[str, Any]:
    """Write an exported network in int8 and return its facts.

    Args:
        path: of the ONNX file.
        splits: `hakd.data.split.Splits`; `count` images of its train split calibrate, those of validation are scored.
        count: of images, drawn with the same seed for every network; at most as many as there are.
        path_to_int8: of the file to write, whose ending says for which engine.

    Raises:
        HakdError: an op that engines do not have in int8, a layer without integer kernel, no LiteRT on this machine.
    """
    chosen = numpy_generator("calibration", 0).permutation(len(splits.train))[:count]
    images = splits.train.images[np.sort(chosen)].numpy()
    header, lite = exported_header(path), is_tflite(path_to_int8)
    content, largest = (_tflite if lite else _onnx)(path, images)
    labels = splits.validation.labels.numpy()
    found = classes(content, splits.validation.images.numpy(), lite)
    facts = header["facts"]
    about: dict[str, Any] = {"images": len(images), "weight_bits": TFLITE_BITS if lite else ONNX_BITS}
    about |= {"float32_val_accuracy": facts["val_accuracy"], "largest_logit": largest}
    header["facts"] = facts = {**facts, "val_accuracy": float((found == labels).mean()), "int8": about}
    write_bytes(path_to_int8, with_header(content, header, lite))
    return facts


def _calibrated(
    path: str | os.PathLike, images: np.ndarray
) -> tuple[Graph, Mapping[str, np.ndarray], onnx.ModelProto, Ranges]:
    graph, weights = read_back(path)
    try:
        graph, weights = without_batch_norms(graph, weights)
    except NoForm as problem:
        remedy = "Give the device `precision: float32`, or replace the op in the network"
        words = f"engines do not have the op {problem}"
        raise HakdError(words, where=path, key="precision", remedy=remedy) from None
    model = to_onnx(graph, weights, "batch")
    return graph, weights, model, calibrate(model, [images], [op.output for op in graph.ops])


def _onnx(path: str | os.PathLike, images: np.ndarray) -> tuple[bytes, float]:
    """The file's content, and the largest logit of the images."""
    graph, _, model, ranges = _calibrated(path, images)
    content = to_int8(model, ranges).SerializeToString()
    refuse_float_layers(load("onnxruntime", 1).ops(content), path)
    return content, max(map(abs, ranges[graph.output]))


def _tflite(path: str | os.PathLike, images: np.ndarray) -> tuple[bytes, float]:
    graph, weights, _, ranges = _calibrated(path, images)
    return to_int8_tflite(graph, weights, ranges), max(map(abs, ranges[graph.output]))


def predictions(path: str | os.PathLike, images: np.ndarray) -> np.ndarray:
    """The class that the network in a file gives each image."""
    return classes(Path(path).read_bytes(), images, is_tflite(path))


def classes(content: bytes, images: np.ndarray, lite: bool) -> np.ndarray:
    """The class that a file's content, ONNX or LiteRT, gives each image."""
    if lite:
        interpret = interpreter(content)
        return np.array([interpret(image[None])[0].argmax() for image in images])
    run = session(content)
    logits = [run.run(None, {"input": images[i : i + BATCH]})[0] for i in range(0, len(images), BATCH)]
    return np.concatenate(logits).argmax(axis=1)


def interpreter(content: bytes, plain: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """What computes a LiteRT model's output of an input (1, C, H, W) on this machine.

    Args:
        content: of the file.
        plain: by LiteRT's reference kernels, instead of those that devices use.

    Raises:
        HakdError: LiteRT is not installed.
    """
    try:
        lite = importlib.import_module("ai_edge_litert.interpreter")
    except ImportError:
        remedy = "Install ai-edge-litert here: what a device's files predict is computed on this machine"
        raise HakdError("LiteRT is not installed", where="engine", key="litert", remedy=remedy) from None
    kind = lite.OpResolverType.BUILTIN_REF if plain else lite.OpResolverType.AUTO
    run = lite.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kind)
    run.allocate_tensors()
    source, target = (ends[0]["index"] for ends in (run.get_input_details(), run.get_output_details()))

    def output(images: np.ndarray) -> np.ndarray:
        run.set_tensor(source, images.transpose(0, 2, 3, 1) if images.ndim == 4 else images)
        run.invoke()
        made = run.get_tensor(target)
        return made.transpose(0, 3, 1, 2) if made.ndim == 4 else made

    return output


def refuse_float_layers(ops: Mapping[str, int], where: object) -> None:
    """Refuse a network some of whose layers an engine computes in float32.

    Args:
        ops: how many nodes of each kind ONNX Runtime runs (`hakd.boards.engines.OnnxRuntime.ops`).
        where: for the message.

    Raises:
        HakdError: convolutions or linear layers without integer kernels.
    """
    floats = sorted(kind for kind in ops if kind.rpartition(":")[2].removeprefix("Fused") in LAYERS)
    if floats or not any(kind.rpartition(":")[2] in _INTEGER for kind in ops):
        words = f"ONNX Runtime computes layers of it in float32 ({', '.join(floats) or 'no integer kernels'})"
        remedy = "Give the device `precision: float32`, or another version of ONNX Runtime"
        raise HakdError(words, where=where, key="precision", remedy=remedy)


_INTEGER = frozenset(("QLinearConv", "QGemm"))
