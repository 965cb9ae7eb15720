"""Bit strings in numpy: packing codewords of varying length, and looking at every bit position in one operation."""

import numpy as np

MAX_LENGTH = 16  # bits of one codeword; a codeword and its offset in a byte then fit in three bytes


def pack(values: np.ndarray, lengths: np.ndarray) -> bytes:
    """Concatenate codewords, most significant bit first; the last byte is filled up with zeros.

    Args:
        values: codewords as integers, shape (N,).
        lengths: bits of each codeword, 0 to 16, shape (N,).
    """
    sizes, words = np.asarray(lengths, np.uint64), np.asarray(values, np.uint64)
    if len(sizes) % 2:
        sizes, words = np.append(sizes, np.uint64(0)), np.append(words, np.uint64(0))
    second = sizes[
        1::2
    ]  # two codewords at a time: at most 32 bits, so that each pair touches two words of 32
    pairs, sizes = (words[::2] << second) | words[1::2], sizes[::2] + second
    ends = np.cumsum(sizes)
    size = (int(ends[-1]) + 7) // 8 if len(ends) else 0
    starts = ends - sizes
    # A pair of no bits is 0 whatever the shift, which 64 would be too many of.
    spread = pairs << np.minimum(np.uint64(64) - sizes - (starts & np.uint64(31)), np.uint64(63))
    first, count = (starts >> np.uint64(5)).astype(np.int64), size // 4 + 2
    # No two codewords share a bit, so adding is the same as or-ing; sums below 2 ** 32 are exact.
    packed = np.bincount(first, weights=spread >> np.uint64(32), minlength=count)
    packed[1:] += np.bincount(first, weights=spread & np.uint64(0xFFFFFFFF), minlength=count)[:-1]
    return packed.astype(">u4").tobytes()[:size]


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
