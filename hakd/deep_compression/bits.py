"""Bit strings in numpy: packing codewords of varying length, and looking at every bit position in one operation."""

import numpy as np

MAX_LENGTH = 16  # bits of one codeword; a codeword and its offset in a byte then fit in three bytes


def pack(values: np.ndarray, lengths: np.ndarray) -> bytes:
    """Concatenate codewords, most significant bit first; the last byte is filled up with zeros.

    Args:
        values: codewords as integers, shape (N,).
        lengths: bits of each codeword, 0 to 16, shape (N,).
    """
    lengths = np.asarray(lengths, np.int64)
    ends = np.cumsum(lengths)
    total_bits = int(ends[-1]) if len(ends) else 0
    if total_bits == 0:
        return b""
    starts = ends - lengths
    spread = np.asarray(values, np.int64) << (24 - lengths - (starts & 7))
    size = (total_bits + 7) // 8
    packed = np.zeros(size + 2)
    for byte in range(3):  # no two codewords share a bit, so adding is the same as or-ing
        part = (spread >> (16 - 8 * byte)) & 0xFF
        packed += np.bincount((starts >> 3) + byte, weights=part, minlength=size + 2)[: size + 2]
    return packed[:size].astype(np.uint8).tobytes()


def windows(content: np.ndarray, start: int, stop: int, length: int) -> np.ndarray:
    """The `length` bits that follow every bit position of bytes `start` to `stop`.

    Args:
        content: bytes, uint8, with at least two more bytes after `stop`.
        length: 1 to 16 bits.

    Returns:
        uint32 of shape ((stop - start) * 8,): entry p is the number read at bit 8 * start + p.
    """
    chunk = content[start : stop + 2].astype(np.uint32)
    words = (chunk[:-2] << 16) | (chunk[1:-1] << 8) | chunk[2:]
    shifts = (24 - length - np.arange(8)).astype(np.uint32)
    return ((words[:, None] >> shifts) & np.uint32((1 << length) - 1)).ravel()
