"""Canonical Huffman coding of small alphabets, with codewords of at most 16 bits.

A code is its codeword lengths: `lengths[s]` bits for symbol s, 0 for a symbol that does not occur. Codewords
follow from the lengths (canonical: by length, then by symbol), so a file stores the lengths only. A stream in
which one symbol alone occurs takes no bits at all: its table names the symbol and the reader knows the count.

A codeword has a whole number of bits, so a symbol that fills nearly all of a stream costs far more than its entropy
(two values of a ternary network, no zeros before most weights). There, several symbols share a codeword: an extension
of the source (Shannon 1948; Cover and Thomas, section 5.4), which comes within 1 / k of a bit of the entropy.

A long stream begins with the bits of each lane of 1024 symbols, 0.2 % of its size. All lanes are then decoded side by
side.
"""

from dataclasses import dataclass

import numpy as np

from hakd.deep_compression.bits import MAX_LENGTH, pack, windows

MAX_SYMBOLS = 4096
_FIRST_LENGTH = 8  # what the first length of a table is compared with
_SPARSE = 0x8000  # flag in a table's symbol count: some symbols do not occur
_GOOD = 1.02  # times the entropy: a code that is no longer needs no extension
_LANE = 1024  # symbols of a lane: their bits fit in two bytes
_LANED = 128 * _LANE  # symbols from which lanes are faster than walking
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


@dataclass(frozen=True)
class Planned:
    """A stream that can be coded.

    Args:
        table: symbols a codeword, 1 byte; the alphabet, 2 bytes, where these are several; the table of `encode_table`.
        symbols: what a codeword stands for, each.
        lengths: of the codewords.
        bits: of the code alone.
    """

    table: bytes
    symbols: np.ndarray
    lengths: np.ndarray
    bits: int

    def encode(self) -> bytes:
        """The code."""
        return encode(self.symbols, self.lengths)

    @property
    def cost(self) -> int:
        """Bits of table and code."""
        return 8 * len(self.table) + self.bits


def plan_stream(symbols: np.ndarray) -> Planned:
    """The shortest way to code a stream of symbols, shape (N,): with as many symbols a codeword as make it shortest."""
    alphabet = int(symbols.max()) + 1 if len(symbols) else 0
    found: list[Planned] = []
    size = 1
    while size == 1 or (1 < alphabet**size <= MAX_SYMBOLS and size <= len(symbols)):
        together = _joined(symbols, alphabet, size)
        counts = np.bincount(together)
        lengths = code_lengths(counts)
        head = bytes([size]) + (alphabet.to_bytes(2, "little") if size > 1 else b"")
        bits = int(counts @ lengths.astype(np.int64)) if np.count_nonzero(counts) > 1 else 0
        found.append(Planned(head + encode_table(lengths), together, lengths, bits))
        if size == 1 and bits <= _GOOD * _entropy_bits(counts):
            break
        size += 1
    return min(found, key=lambda planned: planned.cost)


def encode_stream(symbols: np.ndarray) -> tuple[bytes, bytes]:
    """Code table and code of a stream of symbols, see `plan_stream`."""
    planned = plan_stream(symbols)
    return planned.table, planned.encode()


def _joined(symbols: np.ndarray, alphabet: int, size: int) -> np.ndarray:
    """`size` symbols as one number each, the first as the lowest digit; the last is filled up with zeros."""
    if size == 1:
        return symbols
    padded = np.zeros(-(-len(symbols) // size) * size, np.int64)
    padded[: len(symbols)] = symbols
    return padded.reshape(-1, size) @ alphabet ** np.arange(size)


def _entropy_bits(counts: np.ndarray) -> float:
    """Bits of a stream whose symbols occur `counts` times, by their entropy."""
    used = counts[counts > 0]
    return float((used * np.log2(used.sum() / used)).sum()) if len(used) else 0.0


def decode_stream(table: bytes, content: bytes, count: int) -> np.ndarray:
    """Read back `count` symbols of `encode_stream`: uint16, shape (count,).

    Raises:
        ValueError: a table or a code that is not one, or of another number of symbols.
    """
    size = table[0] if table else 0
    if size < 2:
        if size != 1:
            raise ValueError("a code table has no beginning")
        return decode(content, decode_table(table[1:]), count)
    alphabet, lengths = int.from_bytes(table[1:3], "little"), decode_table(table[3:])
    if size > MAX_LENGTH or alphabet < 2 or not len(lengths) <= alphabet**size <= MAX_SYMBOLS:
        raise ValueError("a code table has too many symbols")
    together = decode(content, lengths, -(-count // size)).astype(np.int64)
    digits = together[:, None] // alphabet ** np.arange(size) % alphabet
    return digits.ravel()[:count].astype(np.uint16)


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """Code a stream of symbols, shape (N,); no bytes where one symbol alone occurs."""
    if np.count_nonzero(lengths) < 2:
        return b""
    sizes = lengths[symbols]
    code = pack(codewords(lengths)[symbols], sizes)
    if len(symbols) < _LANED:
        return code
    lanes = np.add.reduceat(sizes.astype(np.int64), np.arange(0, len(symbols), _LANE))
    return lanes[:-1].astype("<u2").tobytes() + code


def decode(content: bytes, lengths: np.ndarray, count: int) -> np.ndarray:
    """Read `count` symbols back.

    A short stream is looked up at every bit position of a chunk in one operation, as if a codeword began there; what
    is left to do one by one is to walk from each codeword to the next. Of a long one all lanes take a step at a time.

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
    if count > 8 * len(content):
        raise ValueError(_OTHER_COUNT)
    longest = int(lengths.max())
    repeats = np.int64(1) << (longest - lengths[order].astype(np.int64))
    symbol_of = np.repeat(order, repeats).astype(np.uint16)
    length_of = np.repeat(lengths[order], repeats)
    if count >= _LANED:
        return _decode_lanes(content, symbol_of, length_of, count)
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
        raise ValueError(_OTHER_COUNT)
    return np.concatenate(parts) if parts else np.zeros(0, np.uint16)


_OTHER_COUNT = "a stream does not hold as many symbols as it says"


def _decode_lanes(content: bytes, symbol_of: np.ndarray, length_of: np.ndarray, count: int) -> np.ndarray:
    """As `decode`, of a stream with lanes; `symbol_of` and `length_of` say what a window of bits begins with."""
    lanes = -(-count // _LANE)
    bits = np.frombuffer(content[: 2 * lanes - 2], "<u2").astype(np.int64)
    code = np.frombuffer(content[2 * lanes - 2 :] + bytes(2 * _LANE + 4), np.uint8).astype(np.uint32)
    size = len(code) - (2 * _LANE + 4)
    starts = np.concatenate([[0], np.cumsum(bits)])
    if len(bits) != lanes - 1 or starts[-1] > 8 * size:
        raise ValueError(_OTHER_COUNT)
    words = (code[:-2] << 16) | (code[1:-1] << 8) | code[2:]
    longest = len(symbol_of).bit_length() - 1
    both = symbol_of.astype(np.int64) << 8 | length_of
    mask, position = len(symbol_of) - 1, starts.copy()
    found, rest = np.empty((_LANE, lanes), np.uint16), count - (lanes - 1) * _LANE
    end = 0  # of the last lane, which may be a shorter one
    for step in range(_LANE):
        seen = both[(words[position >> 3] >> (24 - longest - (position & 7))) & mask]
        found[step] = seen >> 8
        position += seen & 0xFF
        if step + 1 == rest:
            end = int(position[-1])
    if (position[:-1] != starts[1:]).any() or (end + 7) // 8 != size:
        raise ValueError(_OTHER_COUNT)
    return found.T.ravel()[:count]


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
