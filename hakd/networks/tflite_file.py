"""The LiteRT (TFLite) file format: tensors, constants and operators written as a flatbuffer.

Written from TensorFlow Lite's `schema.fbs`, of which the numbers below are a small part; a test compares them with
the schema that ai-edge-litert carries, and reads the files back with it.
"""

from collections.abc import Sequence

import flatbuffers
import numpy as np

SCHEMA_VERSION, FILE_IDENTIFIER = 3, b"TFL3"
# BuiltinOperator, and the BuiltinOptions of each with its name in the schema
OPERATORS = {
    "ADD": (0, 11, "AddOptions"),
    "AVERAGE_POOL_2D": (1, 5, "Pool2DOptions"),
    "CONCATENATION": (2, 10, "ConcatenationOptions"),
    "CONV_2D": (3, 1, "Conv2DOptions"),
    "DEPTHWISE_CONV_2D": (4, 2, "DepthwiseConv2DOptions"),
    "FULLY_CONNECTED": (9, 8, "FullyConnectedOptions"),
    "MUL": (18, 21, "MulOptions"),
    "RELU": (19, 0, "NONE"),
    "PAD": (34, 22, "PadOptions"),
    "MEAN": (40, 27, "ReducerOptions"),
}
# Fields of a table by their place: the writer of the flatbuffers library, and the value
Fields = dict[int, tuple[str, int]]
PADDING = {"SAME": 0, "VALID": 1}
ACTIVATION = {"NONE": 0, "RELU": 1}
TYPE = {"FLOAT32": 0, "INT32": 2}


class TfliteModel:
    """Tensors, constants and operators, collected and then written back to front, as a flatbuffer wants it."""

    def __init__(self) -> None:
        self.tensors: list[tuple[str, tuple[int, ...], str, int]] = []  # name, shape, type, buffer
        self.buffers: list[np.ndarray] = []  # the file's buffer 0, which is empty, is left out here
        self.operators: list[tuple[str, Fields, list[int], int]] = []

    def tensor(self, name: str, shape: tuple[int, ...], kind: str = "FLOAT32", buffer: int = 0) -> int:
        """Add a tensor; buffer 0 means that it is computed. Returns its index."""
        self.tensors.append((name, shape, kind, buffer))
        return len(self.tensors) - 1

    def constant(self, name: str, values: np.ndarray) -> int:
        """Add a float32 or int32 constant; returns its tensor's index."""
        kind = "INT32" if values.dtype.kind == "i" else "FLOAT32"
        values = np.ascontiguousarray(values, dtype="<i4" if kind == "INT32" else "<f4")
        self.buffers.append(values)
        return self.tensor(name, values.shape, kind, len(self.buffers))

    def operator(self, kind: str, options: Fields, inputs: list[int], output: int) -> None:
        """Add an operator with the fields of its options."""
        self.operators.append((kind, options, inputs, output))

    def finish(self, source: int, output: int) -> bytes:
        """The file."""
        b = flatbuffers.Builder(sum(values.nbytes for values in self.buffers) + 4096)
        buffers = _offsets(b, [self._buffer(b, values) for values in (None, *self.buffers)])
        tensors = _offsets(b, [self._tensor(b, *tensor) for tensor in self.tensors])
        kinds = sorted({kind for kind, *_ in self.operators})
        operators = _offsets(b, [self._operator(b, kinds, *operator) for operator in self.operators])
        ends = [_ints(b, [end]) for end in (source, output)]
        name = b.CreateString("main")
        fields: Fields = dict(enumerate(("UOffsetTRelative", at) for at in (tensors, *ends, operators, name)))
        subgraphs = _offsets(b, [_table(b, fields)])
        codes = [OPERATORS[kind][0] for kind in kinds]
        # Deprecated code, version, code: old runtimes read the first, which new ones still want.
        made = [_table(b, {0: ("Int8", code), 2: ("Int32", 1), 3: ("Int32", code)}) for code in codes]
        table = _offsets(b, made)
        parts = (("Uint32", SCHEMA_VERSION), ("UOffsetTRelative", table), ("UOffsetTRelative", subgraphs))
        description = ("UOffsetTRelative", b.CreateString("hakd"))
        root = _table(b, dict(enumerate((*parts, description, ("UOffsetTRelative", buffers)))))
        b.Finish(root, file_identifier=FILE_IDENTIFIER)
        return bytes(b.Output())

    @staticmethod
    def _buffer(b: flatbuffers.Builder, values: np.ndarray | None) -> int:
        if values is None:
            return _table(b, {})
        b.Prep(16, values.nbytes)  # the schema's force_align: kernels read weights in place
        data = b.CreateNumpyVector(values.reshape(-1).view(np.uint8))
        return _table(b, {0: ("UOffsetTRelative", data)})

    @staticmethod
    def _tensor(b: flatbuffers.Builder, name: str, shape: tuple[int, ...], kind: str, buffer: int) -> int:
        offsets = [("UOffsetTRelative", _ints(b, shape)), ("UOffsetTRelative", b.CreateString(name))]
        return _table(b, {0: offsets[0], 1: ("Int8", TYPE[kind]), 2: ("Uint32", buffer), 3: offsets[1]})

    @staticmethod
    def _operator(
        b: flatbuffers.Builder, kinds: list[str], kind: str, options: Fields, inputs: list[int], output: int
    ) -> int:
        number = OPERATORS[kind][1]
        offsets = [_ints(b, inputs), _ints(b, [output])]
        fields: Fields = {0: ("Uint32", kinds.index(kind)), 3: ("Uint8", number)}
        fields |= {place: ("UOffsetTRelative", at) for place, at in enumerate(offsets, 1)}
        if number:
            fields[4] = ("UOffsetTRelative", _table(b, options))
        return _table(b, fields)


def _table(b: flatbuffers.Builder, fields: Fields) -> int:
    """Write a table. 0 is the default of every field used here that may be 0, and is left out."""
    b.StartObject(max(fields, default=-1) + 1)
    for place, (kind, value) in fields.items():
        getattr(b, f"Prepend{kind}Slot")(place, value, 0)
    return b.EndObject()


def _ints(b: flatbuffers.Builder, values: Sequence[int]) -> int:
    return b.CreateNumpyVector(np.asarray(values, dtype="<i4"))


def _offsets(b: flatbuffers.Builder, offsets: list[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()
