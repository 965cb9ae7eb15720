"""A user's ONNX file, read; errors name what is wrong with it."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor, uses_external_data

from hakd.importing.kinds import bodies
from hakd.records.errors import HakdError

_POINTER = b"version https://git-lfs"
_DATA = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_SUFFIXES = {
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".tflite": "LiteRT",
    ".pb": "TensorFlow",
    ".h5": "Keras",
    ".keras": "Keras",
    ".mlmodel": "Core ML",
    ".param": "ncnn",
    ".xml": "OpenVINO",
}


def read_proto(path: str | os.PathLike) -> onnx.ModelProto:
    """The model in a file, with the data that lies beside it.

    Raises:
        HakdError: no such file, not ONNX, a file that was cut off or not fetched, data that is missing.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise HakdError(f"cannot read ({reason})", where=path, remedy="Give another path") from None
    if content.startswith(_POINTER):
        remedy = "Fetch the file itself: git lfs pull"
        raise HakdError("a pointer of Git LFS, not the model", where=path, remedy=remedy)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except Exception:  # protobuf has several for what it cannot read
        raise _no_model(path, content) from None
    if not proto.graph.node or not proto.opset_import:
        raise _no_model(path, content)
    _load_beside(proto, path)
    return proto


def _no_model(path: str | os.PathLike, content: bytes) -> HakdError:
    """The error for what is not a model: a file that begins like one was cut off."""
    kind = _SUFFIXES.get(Path(path).suffix.lower())
    if kind:
        remedy = "Export the network to ONNX and give that file"
        return HakdError(f"not an ONNX model, by its name a file of {kind}", where=path, remedy=remedy)
    # Field 1 of a model, its IR version, comes first in what every exporter writes.
    if len(content) > 2 and content[0] == 0x08 and content[1] < 0x20:
        words = f"cut off after {len(content)} bytes: it begins like an ONNX model and does not end like one"
        return HakdError(words, where=path, remedy="Copy or download it again")
    return HakdError("not an ONNX model", where=path, remedy="Give a file that an exporter to ONNX wrote")


def _load_beside(proto: onnx.ModelProto, path: str | os.PathLike) -> None:
    """Put the data that lies in other files into the model."""
    tensors = [tensor for graph in _graphs(proto.graph) for tensor in _tensors(graph)]
    outside = [tensor for tensor in tensors if uses_external_data(tensor)]
    for name in dict.fromkeys(ExternalDataInfo(tensor).location for tensor in outside):
        if not Path(path).parent.joinpath(name).is_file():
            words = f"its data is in another file, {name}, which is not beside it"
            raise HakdError(words, where=path, remedy="Copy that file into the same folder")
    if not outside:
        return
    try:
        for tensor in outside:
            load_external_data_for_tensor(tensor, os.path.dirname(os.path.abspath(path)))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
    except Exception as error:  # a file that is too short, a path that leads out of the folder
        words = f"the data beside it cannot be read ({' '.join(str(error).split())[:200]})"
        raise HakdError(words, where=path, remedy="Copy both files again") from None


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the bodies in it."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from _graphs(body)


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for one in node.attribute:
            yield from ([one.t] if one.HasField("t") else [])
            yield from one.tensors


def array_of(tensor: TensorProto, path: object) -> np.ndarray:
    """The values of an initializer; zeros for floats of which the file has the shape alone.

    Raises:
        HakdError: numbers that decide on shapes, without data.
    """
    shape = tuple(tensor.dims)
    has_data = tensor.HasField("raw_data") or any(len(getattr(tensor, name)) for name in _DATA)
    if has_data or 0 in shape:
        try:
            return numpy_helper.to_array(tensor)
        except ValueError as error:
            words = f"its data does not fit its shape {list(shape)} ({error})"
            raise HakdError(words, where=path, key=tensor.name, remedy="Export the model again") from None
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if not is_float(kind):
        words = "it has no data, and what a model does depends on it"
        raise HakdError(words, where=path, key=tensor.name, remedy="Export the model with its constants")
    return np.broadcast_to(np.zeros((), kind), shape)


def is_float(kind: np.dtype) -> bool:
    """Whether a type of values is a float, those of ONNX that numpy lacks with them."""
    return kind.kind == "f" or "float" in kind.name
