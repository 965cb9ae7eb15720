"""The LiteRT (TFLite) file format: a model written as a flatbuffer, back to front.

Written from TensorFlow Lite's `schema.fbs`; a test reads the files back with the schema that ai-edge-litert carries.
"""

from collections.abc import Sequence

import flatbuffers
import numpy as np

from hakd.ops.litert import OPERATORS, TYPE, Fields, LiteRtModel, Quantised

SCHEMA_VERSION, FILE_IDENTIFIER = 3, b"TFL3"
_NEW_CODE = 127  # stands in the old field of an operator's code that is too large for it


def written(model: LiteRtModel, source: int, output: int) -> bytes:
    """The file of a model; `source` and `output` are indices of tensors."""
    b = flatbuffers.Builder(sum(values.nbytes for values in model.buffers) + 4096)
    buffers = _offsets(b, [_buffer(b, values) for values in (None, *model.buffers)])
    tensors = _offsets(b, [_tensor(b, *tensor) for tensor in model.tensors])
    kinds = sorted({kind for kind, *_ in model.operators})
    operators = _offsets(b, [_operator(b, kinds, *operator) for operator in model.operators])
    ends = [_ints(b, [end]) for end in (source, output)]
    name = b.CreateString("main")
    fields: Fields = dict(enumerate(("UOffsetTRelative", at) for at in (tensors, *ends, operators, name)))
    subgraphs = _offsets(b, [_table(b, fields)])
    codes = [OPERATORS[kind][0] for kind in kinds]
    # Deprecated code, version, code: old runtimes read the first, which new ones still want.
    made = [
        _table(b, {0: ("Int8", min(code, _NEW_CODE)), 2: ("Int32", 1), 3: ("Int32", code)}) for code in codes
    ]
    table = _offsets(b, made)
    parts = (("Uint32", SCHEMA_VERSION), ("UOffsetTRelative", table), ("UOffsetTRelative", subgraphs))
    description = ("UOffsetTRelative", b.CreateString("hakd"))
    root = _table(b, dict(enumerate((*parts, description, ("UOffsetTRelative", buffers)))))
    b.Finish(root, file_identifier=FILE_IDENTIFIER)
    return bytes(b.Output())


def _buffer(b: flatbuffers.Builder, values: np.ndarray | None) -> int:
    if values is None:
        return _table(b, {})
    b.Prep(16, values.nbytes)  # the schema's force_align: kernels read weights in place
    data = b.CreateNumpyVector(values.reshape(-1).view(np.uint8))
    return _table(b, {0: ("UOffsetTRelative", data)})


def _tensor(
    b: flatbuffers.Builder,
    name: str,
    shape: tuple[int, ...],
    kind: str,
    buffer: int,
    quantised: Quantised | None,
) -> int:
    fields: Fields = {
        0: ("UOffsetTRelative", _ints(b, shape)),
        1: ("Int8", TYPE[kind]),
        2: ("Uint32", buffer),
    }
    fields[3] = ("UOffsetTRelative", b.CreateString(name))
    if quantised is not None:
        fields[4] = ("UOffsetTRelative", _quantisation(b, quantised))
    return _table(b, fields)


def _quantisation(b: flatbuffers.Builder, quantised: Quantised) -> int:
    scales = b.CreateNumpyVector(np.asarray(quantised.scales, dtype="<f4"))
    zeros = b.CreateNumpyVector(np.full(len(quantised.scales), quantised.zero, dtype="<i8"))
    vectors: Fields = {2: ("UOffsetTRelative", scales), 3: ("UOffsetTRelative", zeros)}
    return _table(b, {**vectors, 6: ("Int32", quantised.axis)})


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
