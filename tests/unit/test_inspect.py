"""`hakd inspect`: the bytes of a compressed file by layer and stage, and files that were made to do harm."""

import json
import math
import re
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.cli import main
from hakd.deep_compression import codec
from hakd.deep_compression.codec import decode, encode, sizes
from hakd.deep_compression.inspecting import STAGES, as_dict, as_text, inspect_file
from hakd.deep_compression.tensors import QuantisedTensor, SparseTensor
from hakd.records.errors import HakdError


def network() -> bytes:
    """A file with a shared and a sparse tensor, a batch norm and a bias."""
    rng = np.random.default_rng(0)
    codes = np.where(rng.random((16, 8, 3, 3)) < 0.2, rng.integers(1, 16, (16, 8, 3, 3)), 0)
    codebook = np.concatenate([[0], np.sort(rng.standard_normal(15))]).astype(np.float32)
    values = np.where(rng.random((10, 32)) < 0.25, rng.standard_normal((10, 32)), 0).astype(np.float32)
    tensors = [
        QuantisedTensor("a.weight", codes, codebook, "conv"),
        SparseTensor("c.weight", values, "linear"),
    ]
    others = {
        "b.weight": rng.standard_normal(16).astype(np.float16).astype(np.float32),
        "b.bias": rng.standard_normal(16).astype(np.float32),
        "b.running_mean": np.zeros(16, np.float32),
        "b.running_var": np.ones(16, np.float32),
        "c.bias": rng.standard_normal(10).astype(np.float32),
    }
    return encode(tensors, others, {"classes": 10})


class TestInspect:
    def test_inspect_counts_every_byte(self, tmp_path, capsys):
        path = tmp_path / "net.hakdc"
        path.write_bytes(network())
        assert main(["inspect", str(path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert sum(found["parts"].values()) == found["total"]["coded"] == path.stat().st_size
        assert found["total"]["dense"] == 4 * (16 * 8 * 9 + 10 * 32 + 4 * 16 + 10)
        layers = {one["name"]: one["stages"] for one in found["layers"]}
        in_layers = sum(one["coded"] for one in layers.values())
        others = sum(one["coded"] for one in found["others"].values())
        assert in_layers + others + found["parts"]["header"] == path.stat().st_size
        assert found["others"]["batch norm"] == {"dense": 4 * 4 * 16, "coded": 2 * 16 + 4 * 16 + 4 + 4}

    def test_inspect_stages_by_hand(self):
        """Eight weights, three of them left behind runs of zeros: 3 entries of 8 index bits and codes of 2 bits."""
        codes = np.array([[0, 0, 2, 0, 1, 3, 0, 0]])
        tensor = QuantisedTensor("w", codes, np.array([0, -1, 0.5, 2], np.float32), "conv")
        (layer,) = inspect_file(encode([tensor], {}, {})).layers
        assert (layer.weights, layer.nonzero, layer.entries, layer.code_bits) == (8, 3, 3, 2)
        assert layer.stages["dense"] == 32 and layer.stages["pruned"] == 15  # 3 x (4 + 1) bytes
        assert layer.stages["shared"] == math.ceil(3 * 10 / 8) + 12

    def test_inspect_counts_fillers(self):
        tensor = QuantisedTensor("w", np.eye(1, 1000, 999, dtype=int), np.array([0, 1], np.float32), "conv")
        (layer,) = inspect_file(encode([tensor], {}, {})).layers
        assert layer.nonzero == 1 and layer.entries == 1 + 999 // 256
        assert layer.stages["pruned"] == 5 * layer.entries

    def test_inspect_prints_rates_and_names(self, tmp_path, capsys):
        path = tmp_path / "net.hakdc"
        path.write_bytes(network())
        assert main(["inspect", str(path)]) == 0
        text = capsys.readouterr().out
        inspection = inspect_file(path.read_bytes())
        totals = [inspection.total(stage) for stage in STAGES]
        assert totals[0] > totals[1] > totals[2] > totals[3] - inspection.parts["header"]
        (line,) = [one for one in text.splitlines() if one.startswith("total")]
        assert line.split()[-1] == f"{totals[0] / totals[3]:.1f}"
        for name in ("a.weight", "c.weight", "batch norm", "P+Q+H", "header"):
            assert name in text
        assert as_dict(inspection)["parts"] == sizes(path.read_bytes())
        assert re.search(rf"The file's {totals[3]:,} bytes: codes", as_text(inspection)[-1])

    def test_inspect_of_another_file_is_one_line(self, tmp_path, capsys):
        path = tmp_path / "net.onnx"
        path.write_bytes(b"something else")
        assert main(["inspect", str(path)]) == 1
        assert capsys.readouterr().err.startswith(f"error: {path}: not a Deep Compression file. ")


def sealed(content: bytes) -> bytes:
    """The bytes with a length and a checksum that fit."""
    body = bytearray(content[:-4])
    body[14:22] = len(content).to_bytes(8, "little")
    return bytes(body) + zlib.crc32(bytes(body)).to_bytes(4, "little")


def rewritten(change) -> bytes:
    """The network with another directory, under a checksum that fits."""
    content = network()
    start = codec._PREFIX.size
    size = codec._PREFIX.unpack_from(content)[2]
    directory = json.loads(zlib.decompress(content[start : start + size]))
    change(directory)
    packed = zlib.compress(json.dumps(directory).encode())
    made = codec._PREFIX.pack(codec.MAGIC, codec.VERSION, len(packed), 0) + packed + content[start + size :]
    return sealed(made)


def put(path: list, value) -> object:
    """A change of a directory: another value at a place in it."""

    def change(directory):
        place = directory
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def outcome(content: bytes) -> dict[str, np.ndarray] | str:
    """The arrays of a file, or the text of its error; any other exception is the test's failure."""
    try:
        return decode(content, "net.hakdc")[0]
    except HakdError as error:
        return str(error)


HUGE = 1 << 41
LIES = {
    "a shape of terabytes": put(["layers", 0, 2], [HUGE, 1]),
    "a shape beyond 64 bits": put(["layers", 0, 2], [1 << 62, 1 << 62]),
    "many axes": put(["layers", 0, 2], [1] * 70),
    "a negative side": put(["layers", 0, 2], [-16, -8, 3, 3]),
    "an empty tensor with a huge side": put(["others", 0, 1], [0, 1 << 63]),
    "a constant of terabytes": put(["others", 2, 1], [HUGE]),
    "entries without end": put(["layers", 0, 4], HUGE),
    "no entries": put(["layers", 0, 4], 0),
    "index bits without end": put(["layers", 0, 3], HUGE),
    "a fraction": put(["layers", 0, 4], 1.5),
    "a truth value": put(["layers", 0, 4], True),
    "streams that overlap": put(["layers", 0, 5], -4),
    "text for a number": put(["layers", 0, 4], "many"),
    "another kind": put(["layers", 0, 1], "dense"),
    "a list for a kind": put(["layers", 0, 1], []),
    "another form": put(["others", 0, 2], "f8"),
    "a list for a name": put(["layers", 0, 0], []),
    "a name twice": put(["layers", 0, 0], "c.weight"),
    "no header": put(["header"], 5),
    "a number for the layers": put(["layers"], 7),
    "nothing in a layer": put(["layers", 0], []),
    "a missing stream": lambda directory: directory["layers"][0].pop(),
}


class TestHostile:
    @pytest.mark.parametrize("lie", LIES)
    def test_inspect_and_decode_refuse_a_lie_under_a_right_checksum(self, lie):
        content = rewritten(LIES[lie])
        for read in (decode, inspect_file):
            with pytest.raises(HakdError, match=r"^net\.hakdc: is inconsistent \(.*Give another file"):
                read(content, "net.hakdc")

    @pytest.mark.parametrize("text", [b"[" * 200_000, b"\xff\xfe", b"null", b"[1, 2]", b"{}", b"1" * 5000])
    def test_decode_refuses_a_directory_that_is_none(self, text):
        packed = zlib.compress(text)
        made = codec._PREFIX.pack(codec.MAGIC, codec.VERSION, len(packed), 0) + packed + bytes(4)
        with pytest.raises(HakdError, match="is inconsistent"):
            decode(sealed(made))

    def test_decode_does_not_unpack_a_bomb(self):
        packed = zlib.compress(bytes(1 << 26), 9)
        made = codec._PREFIX.pack(codec.MAGIC, codec.VERSION, len(packed), 0) + packed + bytes(4)
        with pytest.raises(HakdError, match="cut off or too large"):
            decode(sealed(made))

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_decode_of_altered_bytes_ends_with_arrays_or_one_error(self, data):
        """Bytes behind the prefix are altered, and the checksum is made to fit."""
        content = bytearray(network())
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(codec._PREFIX.size, len(content) - 5))
            content[place] = data.draw(st.integers(0, 255))
        found = outcome(sealed(bytes(content)))
        if isinstance(found, str):
            assert found.startswith("net.hakdc: is inconsistent")
        else:
            assert all(np.isfinite(array).all() for array in found.values())

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_decode_of_a_directory_with_other_numbers_ends_with_arrays_or_one_error(self, data):
        numbers = st.integers(-2, 300) | st.sampled_from([HUGE, None, [], "x", 1e300, 2**70])

        def change(directory):
            row = data.draw(st.sampled_from([*directory["layers"], *directory["others"]]))
            row[data.draw(st.integers(1, len(row) - 1))] = data.draw(numbers | st.lists(numbers, max_size=5))

        content = rewritten(change)
        found = outcome(content)
        if isinstance(found, str):
            assert found.startswith("net.hakdc: is inconsistent")
        else:
            assert sum(array.nbytes for array in found.values()) <= codec._most_bytes(len(content))
