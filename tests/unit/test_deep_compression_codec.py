"""The Deep Compression file: bit-exact roundtrips, Huffman's properties, and every damage noticed."""

import heapq
import json
import time
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hakd.deep_compression import codec, huffman
from hakd.deep_compression.bits import pack, windows
from hakd.deep_compression.codec import decode, decode_tensors, encode, sizes
from hakd.deep_compression.dense import quantise_and_encode
from hakd.deep_compression.store import Compressed, read, write
from hakd.deep_compression.tensors import QuantisedTensor, SparseTensor, entries, from_entries
from hakd.records.errors import HakdError


def huffman_cost(counts: list[int]) -> tuple[int, int]:
    """Total bits and longest codeword of Huffman's own algorithm, by repeated merging."""
    heap = [(count, 0) for count in counts if count]
    heapq.heapify(heap)
    total, longest = 0, 0
    while len(heap) > 1:
        (a, deep_a), (b, deep_b) = heapq.heappop(heap), heapq.heappop(heap)
        total += a + b
        longest = max(deep_a, deep_b) + 1
        heapq.heappush(heap, (a + b, longest))
    return total, longest


counts_lists = st.lists(st.integers(0, 5000), min_size=1, max_size=300)


class TestHuffman:
    @given(counts_lists)
    def test_is_as_short_as_huffman_and_a_complete_prefix_code(self, counts):
        lengths = huffman.code_lengths(np.array(counts)).astype(int)
        used = np.flatnonzero(counts)
        assert (lengths > 0).tolist() == [count > 0 for count in counts]
        if len(used) < 2:
            return
        total, longest = huffman_cost(counts)
        cost = int((lengths * counts).sum())
        assert cost == total if longest <= 16 else cost >= total
        assert sum(2.0 ** -lengths[used]) == 1.0  # Kraft: nothing wasted
        share = np.array(counts)[used] / sum(counts)
        entropy = -(share * np.log2(share)).sum()
        assert entropy - 1e-9 <= cost / sum(counts) <= entropy + 1
        words = huffman.codewords(lengths.astype(np.uint8))
        assert (words[used] >> lengths[used] == 0).all()
        texts = sorted(format(words[s], f"0{lengths[s]}b") for s in used)
        assert not any(b.startswith(a) for a, b in pairwise(texts))

    @pytest.mark.parametrize("symbols", [17, 24, 40])
    def test_no_codeword_is_longer_than_16_bits(self, symbols):
        fibonacci = [1, 1]
        while len(fibonacci) < symbols:
            fibonacci.append(fibonacci[-1] + fibonacci[-2])
        counts = np.array(fibonacci)
        lengths = huffman.code_lengths(counts).astype(int)
        assert lengths.max() <= 16
        assert sum(2.0**-lengths) == 1.0
        total, longest = huffman_cost(fibonacci)
        assert longest == symbols - 1  # Huffman's own would be this deep
        assert total <= (lengths * counts).sum() <= 1.001 * total

    def test_length_limit_is_optimal_against_all_codes(self):
        """Every complete code of 5 symbols with at most 3 bits, by brute force."""
        counts = np.array([1, 1, 2, 4, 30])
        found = huffman.code_lengths(counts, max_length=3).astype(int)
        grids = np.array(np.meshgrid(*[[1, 2, 3]] * 5)).reshape(5, -1).T
        complete = grids[(2.0**-grids).sum(1) <= 1]
        assert (found * counts).sum() == (complete * counts).sum(1).min()

    @given(counts_lists)
    def test_table_roundtrip(self, counts):
        lengths = huffman.code_lengths(np.array(counts))
        back = huffman.decode_table(huffman.encode_table(lengths))
        assert back.tolist() == lengths[: len(back)].tolist()
        assert not lengths[len(back) :].any()

    @given(hnp.arrays(np.int64, st.integers(1, 400), elements=st.integers(0, 300)))
    def test_stream_roundtrip(self, symbols):
        lengths = huffman.code_lengths(np.bincount(symbols))
        content = huffman.encode(symbols, lengths)
        assert huffman.decode(content, lengths, len(symbols)).tolist() == symbols.tolist()
        bits = int(lengths[symbols].astype(int).sum()) if len(set(symbols.tolist())) > 1 else 0
        assert len(content) == -(-bits // 8)

    def test_streams_of_many_chunks(self, monkeypatch):
        monkeypatch.setattr(huffman, "_CHUNK_BYTES", 3)
        symbols = np.random.default_rng(0).geometric(0.2, 5000)
        lengths = huffman.code_lengths(np.bincount(symbols))
        content = huffman.encode(symbols, lengths)
        assert huffman.decode(content, lengths, 5000).tolist() == symbols.tolist()

    def test_refuses_a_wrong_count_and_an_incomplete_table(self):
        symbols = np.arange(100) % 7
        lengths = huffman.code_lengths(np.bincount(symbols))
        content = huffman.encode(symbols, lengths)
        for count in (10, 120):
            with pytest.raises(ValueError, match="as many symbols"):
                huffman.decode(content, lengths, count)
        with pytest.raises(ValueError, match="complete prefix"):
            huffman.decode_table(huffman.encode_table(np.array([3, 3, 3], np.uint8)))
        with pytest.raises(ValueError, match="cut short"):
            huffman.decode_table(huffman.encode_table(lengths)[:2])


@given(st.lists(st.integers(0, 16).flatmap(lambda n: st.tuples(st.integers(0, (1 << n) - 1), st.just(n)))))
def test_packing_is_concatenation_of_bits(words):
    text = "".join(format(value, f"0{length}b") for value, length in words if length)
    packed = pack(np.array([v for v, _ in words]), np.array([n for _, n in words], int))
    assert "".join(format(byte, "08b") for byte in packed) == text + "0" * (-len(text) % 8)
    content = np.frombuffer(packed + b"\0\0", np.uint8)
    padded = text + "0" * (-len(text) % 8) + "0" * 16
    expected = [int(padded[p : p + 13], 2) for p in range(8 * len(packed))]
    assert windows(content, 0, len(packed), 13).tolist() == expected


@given(
    hnp.arrays(np.uint16, st.integers(0, 600), elements=st.sampled_from([0] * 20 + [1, 5, 9])),
    st.integers(1, 9),
)
def test_gaps_and_fillers(codes, index_bits):
    entry_codes, differences = entries(codes, index_bits)
    assert (differences < 1 << index_bits).all()
    fillers = entry_codes == 0
    assert (differences[fillers] == (1 << index_bits) - 1).all()
    assert entry_codes[~fillers].tolist() == codes[codes != 0].tolist()
    runs = "".join("x" if code else "." for code in codes).split("x")[
        :-1
    ]  # runs of zeros that a code follows
    assert int(fillers.sum()) == sum(len(run) >> index_bits for run in runs)
    assert from_entries(entry_codes, differences, len(codes)).tolist() == codes.tolist()


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def tensors(draw, name="weight"):
    """Any tensor of codes: conv or linear, of any sparsity, with any index bits."""
    kind = draw(st.sampled_from(["conv", "linear"]))
    axes = 4 if kind == "conv" else 2
    shape = draw(hnp.array_shapes(min_dims=axes, max_dims=axes, min_side=1, max_side=7))
    values = draw(st.lists(finite, max_size=40))
    codebook = np.array([0.0, *values], np.float32)
    top = len(codebook) - 1
    zeros = draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    seed = draw(st.integers(0, 1 << 32))
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random(shape) < zeros, 0, rng.integers(min(1, top), top + 1, shape))
    return QuantisedTensor(name, codes, codebook, kind, draw(st.integers(1, 12)))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal in shape and in every bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def stream_entropy_bytes(symbols: np.ndarray) -> float:
    """Entropy of a stream in bytes, by counting."""
    shares = np.unique(symbols, return_counts=True)[1] / len(symbols)
    return float(-(shares * np.log2(shares)).sum() * len(symbols) / 8)


class TestStream:
    @settings(deadline=None)
    @given(
        st.integers(1, 300), st.integers(0, 2000), st.sampled_from([0.0, 0.6, 0.97]), st.integers(0, 1 << 32)
    )
    def test_roundtrip_whatever_shares_a_codeword(self, alphabet, count, zeros, seed):
        rng = np.random.default_rng(seed)
        symbols = np.where(rng.random(count) < zeros, 0, rng.integers(0, alphabet, count))
        table, content = huffman.encode_stream(symbols)
        assert huffman.decode_stream(table, content, count).tolist() == symbols.tolist()

    @pytest.mark.parametrize("extra", [0, 1, 517])
    @pytest.mark.parametrize("symbols", [2, 3, 250])
    def test_roundtrip_of_lanes(self, monkeypatch, symbols, extra):
        monkeypatch.setattr(huffman, "_LANED", 4 * huffman._LANE)
        stream = np.random.default_rng(0).integers(0, symbols, 7 * huffman._LANE + extra)
        lengths = huffman.code_lengths(np.bincount(stream))
        content = huffman.encode(stream, lengths)
        assert huffman.decode(content, lengths, len(stream)).tolist() == stream.tolist()
        for damaged in (content[:-1], content + b"\0", b"\xff\xff" + content[2:], b""):
            with pytest.raises(ValueError, match="as many symbols"):
                huffman.decode(damaged, lengths, len(stream))

    def test_refuses_tables_that_are_none(self):
        table, content = huffman.encode_stream(np.arange(100) % 7)
        for damaged in (b"", b"\0" + table[1:], b"\xff" + table[1:], b"\x03\xff\xff" + table[1:]):
            with pytest.raises(ValueError, match="code table"):
                huffman.decode_stream(damaged, content, 100)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0])
@pytest.mark.parametrize("values", [2, 31, 255])
def test_coded_size_is_within_5_percent_of_the_entropy_of_its_streams(density, values):
    """Tables and all. 2 values: a ternary network. The values are distributed as shared weights are: around zero."""
    rng = np.random.default_rng(0)
    size = 1 << 18
    chosen = np.clip(np.round(rng.standard_normal(size) * values / 6 + values / 2), 1, values).astype(int)
    codes = np.where(rng.random(size) < density, chosen, 0)
    codebook = np.concatenate([[0], np.linspace(-1, 1, values)]).astype(np.float32)
    parts = sizes(encode([QuantisedTensor("w", codes.reshape(512, 512), codebook, "conv")], {}, {}))
    entropy = sum(stream_entropy_bytes(stream) for stream in entries(codes, 8))
    assert parts["codes"] + parts["indices"] + parts["tables"] <= 1.05 * entropy


class TestFile:
    @settings(max_examples=150, deadline=None)
    @given(tensors("a"), tensors("b"), hnp.arrays(np.float32, hnp.array_shapes(min_dims=0), elements=finite))
    def test_roundtrip_is_bit_exact(self, a, b, bias):
        header = {"network": "mobilenet", "widths": {"stem": 3}, "nothing": None}
        content = encode([a, b], {"bias": bias}, header)
        arrays, found = decode(content)
        assert found == header
        assert list(arrays) == ["a", "b", "bias"]
        assert (
            same(arrays["a"], a.weights()) and same(arrays["b"], b.weights()) and same(arrays["bias"], bias)
        )
        back, _, _ = decode_tensors(content)
        assert [(tensor.kind, tensor.index_bits) for tensor in back] == [
            (x.kind, x.index_bits) for x in (a, b)
        ]
        assert back[0].codes.tolist() == a.codes.tolist() and same(back[0].codebook, a.codebook)
        assert sum(sizes(content).values()) == len(content)

    @settings(deadline=None)
    @given(hnp.arrays(np.float32, (7, 9), elements=finite | st.sampled_from([0.0, -0.0])), st.integers(1, 12))
    def test_sparse_tensors_keep_every_bit(self, values, index_bits):
        sparse = SparseTensor("w", values, "linear", index_bits)
        content = encode([sparse], {}, {})
        (back,), _, _ = decode_tensors(content)
        assert same(back.weights(), values) and back.index_bits == index_bits
        count = len(entries(values.ravel(), index_bits)[0])
        assert sizes(content)["values"] == 4 * count
        assert sizes(content)["indices"] == -(-count * index_bits // 8)

    @pytest.mark.parametrize(
        ("array", "size_bytes"),
        [
            ([0.0] * 9, 4),
            ([1.5, -0.25, 65504.0], 6),
            ([1.5, -0.0], 4),
            ([0.0, -0.0], 4),
            ([0.1, 0.2], 8),
            ([1e6, 0.5], 8),
            ([0.1], 4),
            ([0.5], 2),
            ([], 0),
        ],
    )
    def test_other_arrays_take_the_shortest_exact_form(self, array, size_bytes):
        array = np.array(array, np.float32)
        content = encode([], {"b": array}, {})
        assert sizes(content)["others"] == size_bytes
        assert same(decode(content)[0]["b"], array)

    @pytest.mark.parametrize(
        "codes",
        [
            np.zeros((3, 2, 3, 3), int),
            np.ones((3, 2, 3, 3), int),
            np.ones((1, 1), int),
            np.zeros((1, 1), int),
            np.zeros((0, 5), int),
            np.eye(1, 5000, 4999, dtype=int),  # a run of zeros many fillers long
            np.eye(1, 5000, 0, dtype=int),  # trailing zeros
            np.arange(256).reshape(16, 16),
        ],
        ids=[
            "all zero",
            "one symbol",
            "one weight",
            "one zero",
            "empty",
            "long run",
            "trailing",
            "all codes",
        ],
    )
    @pytest.mark.parametrize("index_bits", [1, 5, 8])
    def test_corner_cases(self, codes, index_bits):
        codebook = np.concatenate([[0], np.linspace(-1, 1, 255)]).astype(np.float32)
        layer = QuantisedTensor("w", codes, codebook, "linear", index_bits)
        assert same(decode(encode([layer], {}, {}))[0]["w"], layer.weights())

    def test_negative_zero_subnormals_and_extremes_survive(self):
        codebook = np.array([0.0, -0.0, 1e-45, -3.4e38, 0.0], np.float32)
        layer = QuantisedTensor("w", np.array([[1, 2, 3, 4, 0]]), codebook, "linear")
        assert same(decode(encode([layer], {}, {}))[0]["w"], codebook[[[1, 2, 3, 4, 0]]])

    def test_sizes_are_those_of_the_paper_s_scheme(self):
        """4000 of 40000 weights at random places: known entropies bound each stream."""
        rng = np.random.default_rng(1)
        codes = np.where(rng.random((200, 200)) < 0.1, rng.integers(1, 256, (200, 200)), 0)
        codebook = np.concatenate([[0], np.sort(rng.standard_normal(255))]).astype(np.float32)
        parts = sizes(
            encode([QuantisedTensor("w", codes, codebook, "conv")], {"b": np.zeros(7, np.float32)}, {})
        )
        left = np.count_nonzero(codes)
        assert parts["codebooks"] == 255 * 4 and parts["others"] == 4
        assert 0.99 * left <= parts["codes"] <= 1.01 * left  # uniform over 255 codes: 8 bits each
        entropy = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)) / 0.1 / 8  # of a geometric gap, in bytes
        assert entropy * left * 0.97 <= parts["indices"] <= (entropy + 0.02) * left
        assert parts["tables"] < 160 and parts["header"] < 150

    def test_a_million_weights_take_seconds(self):
        """Of this process's own time, so that a busy machine does not fail it."""
        codes = np.random.default_rng(0).binomial(255, 0.4, (1000, 1000))
        layer = QuantisedTensor("w", codes, np.arange(256, dtype=np.float32), "conv")
        start = time.process_time()
        arrays, _ = decode(encode([layer], {}, {}))
        assert time.process_time() - start < 5
        assert same(arrays["w"], layer.weights())

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_any_damaged_byte_is_noticed(self, data):
        content = bytearray(_example())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        with pytest.raises(HakdError, match=r"net\.dc") as raised:
            decode(bytes(content), where="net.dc")
        assert raised.value.remedy

    def test_every_truncation_is_noticed(self):
        content = _example()
        for size in range(len(content)):
            with pytest.raises(HakdError, match=r"net\.dc"):
                decode(content[:size], where="net.dc")
        with pytest.raises(HakdError, match="of"):
            decode(content + b"\0")

    def test_foreign_files_and_versions(self):
        with pytest.raises(HakdError, match="not a Deep Compression file"):
            decode(b"PK\x03\x04 and so on, a long zip file", where="a.zip")
        content = bytearray(_example())
        content[8] = 99
        with pytest.raises(HakdError, match="format 99"):
            decode(bytes(content))

    def test_a_lie_with_a_right_checksum_is_one_clear_error(self):
        """A directory that says another shape, or misses a key, under a checksum that matches."""
        for change in (_shrink_shape, lambda d: d.pop("others"), lambda d: d["layers"][0].pop()):
            content = _rewrite(_example(), change)
            with pytest.raises(HakdError, match="inconsistent"):
                decode(content, where="net.dc")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_refuses_what_is_not_finite(self, value):
        with pytest.raises(HakdError, match="w: "):
            QuantisedTensor("w", np.ones((1, 1), int), np.array([0, value], np.float32), "conv")
        with pytest.raises(HakdError, match="bias: "):
            encode([], {"bias": np.array([value], np.float32)}, {})
        with pytest.raises(HakdError, match=r"a\.weight: "):
            quantise_and_encode({"a.weight": np.full((2, 2), value, np.float32)}, {})

    @pytest.mark.parametrize(
        ("codes", "codebook", "kind", "bits"),
        [
            ([[2]], [0, 1], "conv", 8),
            ([[-1]], [0, 1], "conv", 8),
            ([[1]], [1, 2], "conv", 8),
            ([[1]], [0, 1], "dense", 8),
            ([[1]], [0, 1], "conv", 13),
            ([[0.5]], [0, 1], "conv", 8),
        ],
    )
    def test_refuses_codes_without_a_meaning(self, codes, codebook, kind, bits):
        with pytest.raises(ValueError, match="w: "):
            QuantisedTensor("w", np.array(codes), np.array(codebook, np.float32), kind, bits)

    def test_refuses_two_arrays_of_one_name_and_other_types(self):
        layer = QuantisedTensor("w", np.ones((1, 1), int), np.array([0, 1], np.float32), "conv")
        with pytest.raises(ValueError, match="twice"):
            encode([layer], {"w": np.zeros(1, np.float32)}, {})
        with pytest.raises(ValueError, match="float64"):
            encode([], {"b": np.zeros(1)}, {})


def _example() -> bytes:
    rng = np.random.default_rng(3)
    codes = np.where(rng.random((6, 4, 3, 3)) < 0.3, rng.integers(1, 8, (6, 4, 3, 3)), 0)
    codebook = np.arange(8, dtype=np.float32)
    return encode(
        [QuantisedTensor("w", codes, codebook, "conv")], {"b": np.ones(3, np.float32)}, {"classes": 10}
    )


def _shrink_shape(directory: dict) -> None:
    directory["layers"][0][2] = [1, 1, 3, 3]


def _rewrite(content: bytes, change) -> bytes:
    """The same file with another directory and a right checksum."""
    magic, version, size, _ = codec._PREFIX.unpack_from(content)
    start = codec._PREFIX.size
    directory = json.loads(zlib.decompress(content[start : start + size]))
    change(directory)
    packed = zlib.compress(json.dumps(directory).encode())
    body = packed + content[start + size : -4]
    made = codec._PREFIX.pack(magic, version, len(packed), start + len(body) + 4) + body
    return made + zlib.crc32(made).to_bytes(4, "little")


class TestStore:
    def test_write_and_read(self, tmp_path):
        layer = QuantisedTensor("w", np.eye(4, dtype=int), np.array([0, 0.25], np.float32), "linear")
        compressed = Compressed([layer], {"b": np.ones(4, np.float32)})
        path = tmp_path / "deep" / "net.dc"
        size = write(path, compressed, {"arch": "abc"})
        assert size == path.stat().st_size
        arrays, header = read(path)
        assert header["arch"] == "abc" and "commit" in header["provenance"]
        assert all(same(arrays[name], value) for name, value in compressed.state().items())
        assert [p.name for p in path.parent.iterdir()] == ["net.dc"]

    def test_errors_name_the_file(self, tmp_path):
        with pytest.raises(HakdError, match=r"none\.dc: cannot be read"):
            read(tmp_path / "none.dc")
        path = tmp_path / "net.dc"
        path.write_bytes(_example()[:-9])
        with pytest.raises(HakdError, match=r"net\.dc: has \d+ of \d+ bytes"):
            read(path)

    def test_nothing_is_left_of_a_write_that_fails(self, tmp_path):
        bad = Compressed([], {"b": np.full(2, np.nan, np.float32)})
        with pytest.raises(HakdError):
            write(tmp_path / "net.dc", bad, {})
        assert not list(tmp_path.iterdir())


class TestWithoutPruning:
    def test_few_values_are_kept_exactly_and_indices_cost_nothing(self):
        rng = np.random.default_rng(0)
        state = {
            "conv.weight": rng.choice(np.array([-0.5, 0.0, 0.125, 3.0], np.float32), (8, 4, 3, 3)),
            "fc.weight": rng.choice(np.array([-1.0, 1.0], np.float32), (10, 8)),
            "bn.weight": rng.standard_normal(8).astype(np.float32),
            "bn.num_batches_tracked": np.array(7),
        }
        content = quantise_and_encode(state, {"classes": 10})
        arrays, header = decode(content)
        assert header == {"classes": 10}
        assert sorted(arrays) == ["bn.weight", "conv.weight", "fc.weight"]
        assert all(np.array_equal(arrays[name], state[name]) for name in arrays)
        parts = sizes(content)
        assert parts["indices"] == 0
        assert parts["codes"] == -(-288 * 2 // 8) + 80 // 8

    def test_many_values_share_at_most_255_and_31(self):
        rng = np.random.default_rng(0)
        state = {"a.weight": rng.standard_normal((64, 32, 3, 3)), "b.weight": rng.standard_normal((100, 50))}
        arrays, _ = decode(quantise_and_encode(state, {}))
        assert len(np.unique(arrays["a.weight"])) == 255
        assert len(np.unique(arrays["b.weight"])) == 31
        assert np.abs(arrays["a.weight"] - state["a.weight"]).max() < 0.05
