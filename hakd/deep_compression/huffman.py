"""Canonical Huffman coding of small alphabets, with codewords of at most 16 bits.

A code is its codeword lengths: `lengths[s]` bits for symbol s, 0 for a symbol that does not occur. Codewords
follow from the lengths (canonical: by length, then by symbol), so a file stores the lengths only. A stream in
which one symbol alone occurs takes no bits at all: its table names the symbol and the reader knows the count.
"""

import numpy as np

from hakd.deep_compression.bits import MAX_LENGTH, pack, windows

MAX_SYMBOLS = 4096
_FIRST_LENGTH = 8  # what the first length of a table is compared with
_SPARSE = 0x8000  # flag in a table's symbol count: some symbols do not occur
_CHUNK_BYTES = 1 << 17  # read in one step when decoding: bounds the memory, one megabit of positions


def code_lengths(counts: np.ndarray, max_length: int = MAX_LENGTH) -> np.ndarray:
    """Lengths of the best prefix code for symbols that occur `counts` times, at most `max_length`.

    The package-merge method (Larmore and Hirschberg 1990): the same lengths as Huffman's whenever those fit.
    Leaves are sorted by weight, so the leaves among the m cheapest items of a level are always its first k:
    it is enough to remember where leaves stand in each level.

    Args:
        counts: occurrences by symbol, shape (S,), S at most 4096.

    Returns:
        uint8 of shape (S,). A single symbol gets length 1 by convention.
    """
    counts = np.asarray(counts, np.int64)
    symbols = np.flatnonzero(counts)
    if len(symbols) > min(MAX_SYMBOLS, 1 << max_length):
        raise ValueError(f"{len(symbols)} symbols do not fit in codewords of {max_length} bits")
    lengths = np.zeros(len(counts), np.uint8)
    if len(symbols) < 2:
        lengths[symbols] = 1
        return lengths
    symbols = symbols[np.argsort(counts[symbols], kind="stable")]
    leaves = counts[symbols]
    level, leaf_flags = leaves, [np.ones(len(leaves), bool)]
    for _ in range(max_length - 1):
        packages = level[: len(level) // 2 * 2].reshape(-1, 2).sum(1)
        items = np.concatenate([leaves, packages])
        order = np.argsort(items, kind="stable")
        level = items[order]
        leaf_flags.append(order < len(leaves))
    wanted = 2 * len(leaves) - 2
    for is_leaf in reversed(leaf_flags):
        chosen = int(is_leaf[:wanted].sum())
        lengths[symbols[:chosen]] += 1
        wanted = 2 * (wanted - chosen)
    return lengths


def codewords(lengths: np.ndarray) -> np.ndarray:
    """Canonical codewords as integers, shape (S,): ascending by (length, symbol)."""
    order = _canonical_order(lengths)
    words = np.zeros(len(lengths), np.int64)
    if len(order):
        sizes = lengths[order].astype(np.int64)
        steps = np.int64(1) << (sizes.max() - sizes)
        words[order] = (np.cumsum(steps) - steps) >> (sizes.max() - sizes)
    return words


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """Code a stream of symbols, shape (N,); no bytes where one symbol alone occurs."""
    if np.count_nonzero(lengths) < 2:
        return b""
    return pack(codewords(lengths)[symbols], lengths[symbols])


def decode(content: bytes, lengths: np.ndarray, count: int) -> np.ndarray:
    """Read `count` symbols back.

    Every bit position of a chunk is looked up in one operation, as if a codeword began there; what is left to do one
    by one is to walk from each codeword to the next.

    Returns:
        uint16 of shape (count,).

    Raises:
        ValueError: the bytes hold fewer or more symbols than `count`.
    """
    order = _canonical_order(lengths)
    if len(order) < 2:
        if content or (count and not len(order)):
            raise ValueError("a stream does not fit its code table")
        return np.full(count, order[0] if len(order) else 0, np.uint16)
    longest = int(lengths.max())
    repeats = np.int64(1) << (longest - lengths[order].astype(np.int64))
    symbol_of = np.repeat(order, repeats).astype(np.uint16)
    length_of = np.repeat(lengths[order], repeats)
    padded = np.frombuffer(content + b"\0\0", np.uint8)
    parts, position, missing = [], 0, count
    for start in range(0, len(content), _CHUNK_BYTES):
        stop = min(start + _CHUNK_BYTES, len(content))
        seen = windows(padded, start, stop, longest)
        begins = _walk(length_of[seen].tobytes(), position - 8 * start)[:missing]
        missing -= len(begins)
        parts.append(symbol_of[seen[begins]])
        if len(begins):
            position = 8 * start + int(begins[-1]) + int(length_of[seen[begins[-1]]])
    if missing or (position + 7) // 8 != len(content):
        raise ValueError("a stream does not hold as many symbols as it says")
    return np.concatenate(parts) if parts else np.zeros(0, np.uint16)


def _walk(steps: bytes, position: int) -> np.ndarray:
    """Positions reached from `position` by repeating `position += steps[position]`, up to the end."""
    reached: list[int] = []
    visit, end = reached.append, len(steps)
    while position < end:
        visit(position)
        position += steps[position]
    return np.array(reached, np.int64)


def _canonical_order(lengths: np.ndarray) -> np.ndarray:
    """Symbols that occur, by (length, symbol)."""
    used = np.flatnonzero(lengths)
    return used[np.argsort(lengths[used], kind="stable")]


def encode_table(lengths: np.ndarray) -> bytes:
    """Store a code compactly: two bytes of symbol count, which symbols occur, differences of their lengths.

    Neighbouring symbols have similar lengths (codebooks are sorted, long gaps are rare), so each length is
    stored as its difference to the one before: 0, -1, +1, -2, ... as 0, 1, 2, 3, ... ones and a zero. The
    bitmap of symbols that occur is left out where all do.
    """
    used = np.flatnonzero(lengths)
    count = int(used[-1]) + 1 if len(used) else 0
    sparse = len(used) < count
    text = "".join("1" if length else "0" for length in lengths[:count]) if sparse else ""
    previous = _FIRST_LENGTH
    for length in lengths[used].tolist():
        change, previous = length - previous, length
        text += "1" * (2 * change if change >= 0 else -2 * change - 1) + "0"
    body = np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tobytes()
    return (count | (_SPARSE if sparse else 0)).to_bytes(2, "little") + body


def decode_table(content: bytes) -> np.ndarray:
    """Read the lengths back, shape (highest symbol + 1,).

    Raises:
        ValueError: not the table of a complete prefix code.
    """
    count = int.from_bytes(content[:2], "little")
    bits = np.unpackbits(np.frombuffer(content[2:], np.uint8))
    used = np.arange(count & (_SPARSE - 1))
    if count & _SPARSE:
        used, bits = np.flatnonzero(bits[: len(used)]), bits[len(used) :]
    zeros = np.flatnonzero(bits == 0)[: len(used)]
    if len(zeros) < len(used) or (len(used) and used[-1] + 1 != count & (_SPARSE - 1)):
        raise ValueError("a code table is cut short")
    ones = np.diff(zeros, prepend=-1) - 1
    values = _FIRST_LENGTH + np.cumsum(np.where(ones % 2, -(ones + 1) // 2, ones // 2))
    if len(used) and (values.min() < 1 or values.max() > MAX_LENGTH):
        raise ValueError("a code table holds impossible lengths")
    if len(used) > 1 and int((1 << (MAX_LENGTH - values)).sum()) != 1 << MAX_LENGTH:
        raise ValueError("a code table is not a complete prefix code")
    lengths = np.zeros(count & (_SPARSE - 1), np.uint8)
    lengths[used] = values
    return lengths
