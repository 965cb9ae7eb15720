"""The file format of compressed networks; numpy only, and self-contained.

    magic, format version, directory length, file length                      22 bytes
    directory: zlib-compressed JSON (names, shapes, counts, the caller's header)
    per weight tensor: codebook, two code tables, codes, index differences
    every other array, raw float32
    CRC-32 of all bytes before it                                              4 bytes

A weight tensor is flattened and stored as the sequence of its non-zero codes and, for each, the number of
zeros before it (Han et al., section 2 and figure 2). A run of zeros too long for the index bits is broken by
filler entries of code 0, which is reserved for them. Both sequences are Huffman-coded (section 4). Zeros
after the last entry follow from the shape. Decoding gives `codebook[codes]` bit for bit.
"""

import contextlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hakd.deep_compression import huffman
from hakd.records.errors import HakdError, make_again

MAGIC = b"\x89HAKD-DC"
VERSION = 1
INDEX_BITS = {"conv": 8, "linear": 5}  # the paper's; kinds of weight tensors
MAX_BITS = 12
PARTS = ("codes", "indices", "codebooks", "tables", "others", "header")
_PREFIX = struct.Struct("<8sHIQ")


@dataclass(frozen=True)
class QuantisedTensor:
    """A quantised weight tensor.

    Args:
        name: its name in the state of the network, e.g. `features.0.weight`.
        codes: integers in the tensor's shape; 0 for a weight that was pruned.
        codebook: float32, shape (K,): the value of each code; `codebook[0]` is 0.0.
        kind: `conv` or `linear`; sets the default of `index_bits`.
        index_bits: bits of an index difference, 1 to 12; longer runs of zeros get fillers.
    """

    name: str
    codes: np.ndarray
    codebook: np.ndarray
    kind: str
    index_bits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in INDEX_BITS:
            raise ValueError(f"{self.name}: kind {self.kind!r} is not one of {sorted(INDEX_BITS)}")
        object.__setattr__(self, "index_bits", self.index_bits or INDEX_BITS[self.kind])
        if not 1 <= self.index_bits <= MAX_BITS:
            raise ValueError(f"{self.name}: index_bits {self.index_bits} is not within 1..{MAX_BITS}")
        codes, codebook = np.asarray(self.codes), np.asarray(self.codebook)
        if codebook.dtype != np.float32 or codebook.ndim != 1 or not 1 <= len(codebook) <= 1 << MAX_BITS:
            raise ValueError(f"{self.name}: a codebook is 1 to {1 << MAX_BITS} float32 values")
        if codebook[:1].tobytes() != bytes(4):
            raise ValueError(f"{self.name}: code 0 is reserved for 0.0, it stands for {codebook[0]}")
        if not np.isfinite(codebook).all():
            raise HakdError(
                "a shared weight is not finite", where=self.name, remedy="Lower `deep_compression.recipe.lr`"
            )
        if codes.dtype.kind not in "iu" or (
            codes.size and not 0 <= codes.min() <= codes.max() < len(codebook)
        ):
            raise ValueError(f"{self.name}: codes are integers within 0..{len(codebook) - 1}")
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "codebook", codebook)

    def weights(self) -> np.ndarray:
        """The quantised weights: float32 in the tensor's shape."""
        return self.codebook[self.codes]


def entries(codes: np.ndarray, index_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Sparse form of a flat code array: codes of its entries, and the zeros before each.

    Returns:
        Two arrays of shape (entries,): codes (0 for fillers) and index differences, below 2 ** index_bits.
    """
    span = 1 << index_bits
    places = np.flatnonzero(codes)
    gaps = np.diff(places, prepend=-1) - 1
    ends = np.cumsum(gaps // span + 1) - 1
    count = int(ends[-1]) + 1 if len(ends) else 0
    entry_codes = np.zeros(count, np.int64)
    differences = np.full(count, span - 1, np.int64)
    entry_codes[ends] = codes[places]
    differences[ends] = gaps % span
    return entry_codes, differences


def from_entries(entry_codes: np.ndarray, differences: np.ndarray, size: int) -> np.ndarray:
    """The flat code array (uint16, shape (size,)) that `entries` was made from."""
    places = np.cumsum(differences.astype(np.int64) + 1) - 1
    if len(places) and places[-1] >= size:
        raise ValueError("an index lies outside its tensor")
    codes = np.zeros(size, np.uint16)
    codes[places] = entry_codes
    return codes


def encode(
    tensors: Sequence[QuantisedTensor], others: Mapping[str, np.ndarray], header: Mapping[str, Any]
) -> bytes:
    """The whole file.

    Args:
        tensors: the quantised weights.
        others: what is not quantised (biases, batch norm): float32 arrays of any shape.
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
        entry = [tensor.name, tensor.kind, list(tensor.codes.shape), tensor.index_bits, count]
        directory["layers"].append(entry + [len(stream) for stream in streams])
    for name, array in others.items():
        array = np.asarray(array)
        if array.dtype != np.float32:
            raise ValueError(f"{name}: is {array.dtype}, the format stores float32")
        if not np.isfinite(array).all():
            raise HakdError("holds NaN or infinity", where=name, remedy="Lower `deep_compression.recipe.lr`")
        directory["others"].append([name, list(array.shape)])
        parts.append(array.astype("<f4", copy=False).tobytes())
    text = json.dumps(directory, separators=(",", ":"), allow_nan=False).encode()
    packed = zlib.compress(text, 9)
    body = packed + b"".join(parts)
    total = _PREFIX.size + len(body) + 4
    content = _PREFIX.pack(MAGIC, VERSION, len(packed), total) + body
    return content + zlib.crc32(content).to_bytes(4, "little")


def _encode_tensor(tensor: QuantisedTensor) -> tuple[list[bytes], int]:
    """Codebook without code 0, table and stream of codes, the same of indices; the number of entries."""
    entry_codes, differences = entries(tensor.codes.ravel(), tensor.index_bits)
    streams = [tensor.codebook[1:].astype("<f4", copy=False).tobytes()]
    for symbols in (entry_codes, differences):
        lengths = huffman.code_lengths(np.bincount(symbols))
        streams += [huffman.encode_table(lengths), huffman.encode(symbols, lengths)]
    return streams, len(entry_codes)


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
) -> tuple[list[QuantisedTensor], dict[str, np.ndarray], dict[str, Any]]:
    """Like `decode`, with the codes and codebooks of the weight tensors."""
    directory, body = _open(content, where)
    with _coherent(where):
        tensors, offset = [], 0
        for name, kind, shape, index_bits, count, *sizes in directory["layers"]:
            streams = []
            for size in sizes:
                streams.append(body[offset : offset + size])
                offset += size
            tensors.append(_decode_tensor(name, kind, shape, index_bits, count, streams))
        others = {}
        for name, shape in directory["others"]:
            size = 4 * int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(body[offset : offset + size], "<f4").astype(np.float32)
            others[name], offset = array.reshape(shape), offset + size
        if offset != len(body):
            raise ValueError("its parts do not add up to its length")
        return tensors, others, directory["header"]


@contextlib.contextmanager
def _coherent(where: object) -> Iterator[None]:
    """What a file with a right checksum and impossible contents becomes: one clear error."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, zlib.error) as error:
        raise HakdError(f"is inconsistent ({error})", where=where, remedy=make_again(where)) from None


def _decode_tensor(
    name: str, kind: str, shape: list[int], index_bits: int, count: int, streams: list[bytes]
) -> QuantisedTensor:
    """Inverse of `_encode_tensor`."""
    values, code_table, codes, index_table, indices = streams
    codebook = np.concatenate([np.zeros(1, np.float32), np.frombuffer(values, "<f4").astype(np.float32)])
    entry_codes = huffman.decode(codes, huffman.decode_table(code_table), count)
    differences = huffman.decode(indices, huffman.decode_table(index_table), count)
    size = int(np.prod(shape, dtype=np.int64))
    return QuantisedTensor(
        name, from_entries(entry_codes, differences, size).reshape(shape), codebook, kind, index_bits
    )


def _open(content: bytes, where: object) -> tuple[dict[str, Any], bytes]:
    """Check a file as a whole; its directory and the bytes after it."""
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
        directory = json.loads(zlib.decompress(content[_PREFIX.size : end]))
    return directory, content[end:-4]


def sizes(content: bytes, where: object = None) -> dict[str, int]:
    """Bytes of each part of a file; they sum to its length.

    `codes` and `indices` are the Huffman streams, `tables` their code tables, `others` what is not quantised,
    `header` the rest: directory, magic, lengths and checksum.
    """
    directory, body = _open(content, where)
    parts = dict.fromkeys(PARTS, 0)
    with _coherent(where):
        for _name, _kind, _shape, _bits, _count, *streams in directory["layers"]:
            codebook, code_table, codes, index_table, indices = streams
            parts["codebooks"] += codebook
            parts["tables"] += code_table + index_table
            parts["codes"] += codes
            parts["indices"] += indices
    parts["others"] = len(body) - sum(parts.values())
    parts["header"] = len(content) - len(body)
    return parts
