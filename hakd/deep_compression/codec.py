"""The file format of compressed networks; numpy only, and self-contained.

    magic, format version, directory length, file length                      22 bytes
    directory: zlib-compressed JSON (names, shapes, counts, the caller's header)
    per quantised weight tensor: codebook, two code tables, codes, index differences
    per sparse weight tensor: float32 values, packed index differences
    every other array in the shortest form that gives back every bit
    CRC-32 of all bytes before it                                              4 bytes

A weight tensor is flattened and stored as the sequence of its non-zero codes (or values) and, for each, the number of
zeros before it (Han et al., section 2 and figure 2). A run of zeros too long for the index bits is broken by
filler entries of code 0, which is reserved for them. Where zeros are few, all of them may be such entries, whichever
takes fewer bytes. Of quantised tensors both sequences are Huffman-coded
(section 4). Zeros after the last entry follow from the shape. Decoding gives `codebook[codes]` bit for bit.

A file may come from anywhere: whatever its bytes are, reading it ends with the arrays or with one HakdError, in memory
of the order of what `_most_bytes` allows for its size.
"""

import contextlib
import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hakd.deep_compression import huffman
from hakd.deep_compression.tensors import (
    MAX_BITS,
    QuantisedTensor,
    SparseTensor,
    Tensor,
    entries,
    from_entries,
)
from hakd.records.errors import HakdError, make_again

MAGIC = b"\x89HAKD-DC"
VERSION = 2
PARTS = ("codes", "indices", "codebooks", "tables", "values", "others", "header")
_PREFIX = struct.Struct("<8sHIQ")
_DIRECTORY_BYTES = 1 << 24  # of JSON; the largest networks have some hundred kilobytes
_AXES = 8
_STREAMS = (5, 2)  # of a quantised tensor, of a sparse one


def encode(tensors: Sequence[Tensor], others: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> bytes:
    """The whole file.

    Args:
        tensors: the compressed weights.
        others: what is not compressed (biases, batch norm): float32 arrays of any shape.
        header: anything JSON can hold; given back by `decode`.

    Raises:
        HakdError: an array holds NaN or infinity.
        ValueError: a name occurs twice, an array is not float32, or the header does not fit into JSON.
    """
    names = [tensor.name for tensor in tensors] + list(others)
    if len(set(names)) < len(names):
        raise ValueError("a name occurs twice in a compressed network")
    directory: dict[str, Any] = {"header": dict(header), "layers": [], "others": []}
    parts: list[bytes] = []
    for tensor in tensors:
        streams, count = _encode_tensor(tensor)
        parts += streams
        entry = [tensor.name, tensor.kind, list(tensor.shape), tensor.index_bits, count]
        directory["layers"].append(entry + [len(stream) for stream in streams])
    for name, array in others.items():
        array = np.asarray(array)
        if array.dtype != np.float32:
            raise ValueError(f"{name}: is {array.dtype}, the format stores float32")
        if not np.isfinite(array).all():
            raise HakdError("holds NaN or infinity", where=name, remedy="Lower `deep_compression.recipe.lr`")
        form, content = _shortest(array)
        directory["others"].append([name, list(array.shape), form])
        parts.append(content)
    text = json.dumps(directory, separators=(",", ":"), allow_nan=False).encode()
    packed = zlib.compress(text, 9)
    body = packed + b"".join(parts)
    total = _PREFIX.size + len(body) + 4
    content = _PREFIX.pack(MAGIC, VERSION, len(packed), total) + body
    return content + zlib.crc32(content).to_bytes(4, "little")


_FORMS = {"f4": 4, "f2": 2}  # bytes a value


def _shortest(array: np.ndarray) -> tuple[str, bytes]:
    """Form and bytes of an array: one value that all have (`=`), half precision or float32, whichever is exact."""
    single = array.astype("<f4", copy=False).tobytes()
    if array.size > 1 and single == single[:4] * array.size:
        return "=", single[:4]
    with np.errstate(over="ignore"):
        half = array.astype("<f2")
    if half.astype("<f4").tobytes() == single:
        return "f2", half.tobytes()
    return "f4", single


def _encode_tensor(tensor: Tensor) -> tuple[list[bytes], int]:
    """The streams of a tensor and the number of its entries.

    Quantised: codebook without code 0, table and stream of codes, the same of indices. Sparse: values and indices.
    """
    if isinstance(tensor, SparseTensor):
        values, differences = entries(tensor.values.ravel(), tensor.index_bits)
        bits = differences[:, None] >> np.arange(tensor.index_bits)[::-1] & 1
        return [values.astype("<f4").tobytes(), np.packbits(bits.astype(np.uint8)).tobytes()], len(values)
    flat = tensor.codes.ravel()
    forms = [entries(flat, tensor.index_bits)]
    if (
        flat.size < 2 * len(forms[0][0]) < 2 * flat.size
    ):  # zeros that are rare may be entries of their own: indices then cost nothing
        forms.append((flat, np.zeros(flat.size, np.int64)))
    planned = [[huffman.plan_stream(symbols) for symbols in form] for form in forms]
    shortest = min(range(len(forms)), key=lambda place: sum(stream.cost for stream in planned[place]))
    codebook = tensor.codebook[1:].astype("<f4", copy=False).tobytes()
    parts = [part for stream in planned[shortest] for part in (stream.table, stream.encode())]
    return [codebook, *parts], len(forms[shortest][0])


def decode(content: bytes, where: object = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Float32 arrays by name (weights and all others), and the header.

    Args:
        content: the bytes of a file.
        where: the file's name, for errors.

    Raises:
        HakdError: truncated, damaged, of another format version or another kind of file.
    """
    tensors, others, header = decode_tensors(content, where)
    return {tensor.name: tensor.weights() for tensor in tensors} | others, header


def decode_tensors(
    content: bytes, where: object = None
) -> tuple[list[Tensor], dict[str, np.ndarray], dict[str, Any]]:
    """Like `decode`, with the codes and codebooks of the weight tensors."""
    directory, body = _open(content, where)
    with _coherent(where):
        tensors: list[Tensor] = []
        others: dict[str, np.ndarray] = {}
        offset = 0
        for name, kind, shape, index_bits, count, *sizes_ in directory["layers"]:
            streams = []
            for size in sizes_:
                streams.append(body[offset : offset + size])
                offset += size
            tensors.append(_decode_tensor(name, kind, shape, index_bits, count, streams))
        for name, shape, form in directory["others"]:
            size = stored_bytes(shape, form)
            others[name] = _other(body[offset : offset + size], shape, form)
            offset += size
        return tensors, others, directory["header"]


@contextlib.contextmanager
def _coherent(where: object) -> Iterator[None]:
    """What a file with a right checksum and impossible contents becomes: one clear error."""
    try:
        yield
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, zlib.error) as error:
        raise HakdError(f"is inconsistent ({error})", where=where, remedy=make_again(where)) from None
    except HakdError as error:  # of a tensor, whose remedy is for those who compress
        words = f"is inconsistent ({error.where}: {error.problem})"
        raise HakdError(words, where=where, remedy=make_again(where)) from None


def _decode_tensor(
    name: str, kind: str, shape: list[int], index_bits: int, count: int, streams: list[bytes]
) -> Tensor:
    """Inverse of `_encode_tensor`."""
    size = math.prod(shape)
    if len(streams) == _STREAMS[1]:
        values, indices = streams
        bits = np.unpackbits(np.frombuffer(indices, np.uint8))
        if len(bits) // 8 != (count * index_bits + 7) // 8:
            raise ValueError(f"{name}: another number of indices")
        digits = bits[: count * index_bits].reshape(count, index_bits).astype(np.int64)
        differences = digits @ (1 << np.arange(index_bits)[::-1])
        found = np.frombuffer(values, "<f4").astype(np.float32)
        if len(found) != count:
            raise ValueError(f"{name}: another number of values")
        return SparseTensor(name, from_entries(found, differences, size).reshape(shape), kind, index_bits)
    values, code_table, codes, index_table, indices = streams
    codebook = np.concatenate([np.zeros(1, np.float32), np.frombuffer(values, "<f4").astype(np.float32)])
    entry_codes = huffman.decode_stream(code_table, codes, count)
    differences = huffman.decode_stream(index_table, indices, count)
    flat = from_entries(entry_codes, differences, size).reshape(shape)
    return QuantisedTensor(name, flat, codebook, kind, index_bits)


def _other(content: bytes, shape: list[int], form: str) -> np.ndarray:
    """Inverse of `_shortest`."""
    values = np.frombuffer(content, "<f4" if form == "=" else f"<{form}").astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("an array holds NaN or infinity")
    return np.full(shape, values[0], np.float32) if form == "=" else values.reshape(shape)


def stored_bytes(shape: Sequence[int], form: str) -> int:
    """Bytes in the file of an array that is not compressed, by its entry in the directory."""
    return 4 if form == "=" else _FORMS[form] * math.prod(shape)


def _open(content: bytes, where: object) -> tuple[dict[str, Any], bytes]:
    """Check a file as a whole; its directory, whose numbers are possible, and the bytes after it."""
    if content[: len(MAGIC)] != MAGIC[: len(content)] or not content:
        raise HakdError("not a Deep Compression file", where=where, remedy=make_again(where))
    if len(content) < _PREFIX.size:
        raise HakdError(f"truncated after {len(content)} bytes", where=where, remedy=make_again(where))
    _, version, directory_size, total = _PREFIX.unpack_from(content)
    if version != VERSION:
        raise HakdError(
            f"format {version}, this program reads {VERSION}", where=where, remedy=make_again(where)
        )
    if total != len(content):
        raise HakdError(f"has {len(content)} of {total} bytes", where=where, remedy=make_again(where))
    if zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
        raise HakdError("damaged: its checksum does not match", where=where, remedy=make_again(where))
    end = _PREFIX.size + directory_size
    with _coherent(where):
        unpacked = zlib.decompressobj()
        text = unpacked.decompress(content[_PREFIX.size : min(end, len(content) - 4)], _DIRECTORY_BYTES)
        if not unpacked.eof or unpacked.unused_data:
            raise ValueError("its directory is cut off or too large")
        directory = json.loads(text)
        body = content[end:-4]
        _check(directory, len(body), _most_bytes(len(content)))
    return directory, body


def _most_bytes(size: int) -> int:
    """Most bytes of float32 that a file of `size` bytes is decoded to: far more than networks compress."""
    return (1 << 24) + 1024 * size


def _check(directory: Mapping[str, Any], body_bytes: int, most_bytes: int) -> None:
    """Refuse a directory that is not one, or whose numbers cannot all be true.

    Raises:
        ValueError: says what.
        TypeError, KeyError: it has another structure.
    """
    if not isinstance(directory["header"], dict):
        raise ValueError("its header is not an object")
    names, stored, dense = [], 0, 0
    for name, kind, shape, index_bits, count, *streams in directory["layers"]:
        _natural(index_bits, count, *streams)
        if len(streams) not in _STREAMS or not isinstance(kind, str) or index_bits > MAX_BITS:
            raise ValueError("a layer of an unknown form")
        if count > _weights(shape):
            raise ValueError("more entries than weights")
        names.append(name)
        stored, dense = stored + sum(streams), dense + 4 * _weights(shape)
    for name, shape, form in directory["others"]:
        names.append(name)
        dense += 4 * _weights(shape)
        stored += stored_bytes(shape, form)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError("names that are not text, or a name twice")
    if stored != body_bytes:
        raise ValueError("its parts do not add up to its length")
    if dense > most_bytes:
        raise ValueError(f"{dense} bytes of weights in a file of this size")


def _natural(*values: object) -> None:
    """Refuse what is not a whole number from 0."""
    if not all(type(value) is int and value >= 0 for value in values):
        raise ValueError("a number that is not whole, or below 0")


def _weights(shape: list[int]) -> int:
    """How many weights a shape holds."""
    if not isinstance(shape, list) or len(shape) > _AXES:
        raise ValueError("a shape that is not one")
    _natural(*shape)
    if max(shape, default=0) > 1 << 40:  # numpy refuses it even where another side is 0
        raise ValueError("a shape with an impossible side")
    return math.prod(shape)


def sizes(content: bytes, where: object = None) -> dict[str, int]:
    """Bytes of each part of a file; they sum to its length.

    `codes` and `indices` are the streams, `tables` their code tables, `values` those of sparse tensors, `others` what
    is not compressed, `header` the rest: directory, magic, lengths and checksum.
    """
    directory, body = _open(content, where)
    parts = dict.fromkeys(PARTS, 0)
    for streams in layer_bytes(directory).values():
        for part, size in streams.items():
            parts[part] += size
    parts["others"] = len(body) - sum(parts.values())
    parts["header"] = len(content) - len(body)
    return parts


def layer_bytes(directory: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Bytes of each weight tensor of `read_directory`, by name and part."""
    found = {}
    for name, _kind, _shape, _bits, _count, *streams in directory["layers"]:
        if len(streams) == _STREAMS[1]:
            found[name] = {"values": streams[0], "indices": streams[1]}
        else:
            codebook, code_table, codes, index_table, indices = streams
            tables = code_table + index_table
            found[name] = {"codebooks": codebook, "tables": tables, "codes": codes, "indices": indices}
    return found


def read_directory(content: bytes, where: object = None) -> dict[str, Any]:
    """The checked directory of a file: what it says of itself before anything is decoded."""
    return _open(content, where)[0]
