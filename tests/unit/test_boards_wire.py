"""Frames and tagged lines: what the agent writes is read back whole, and nothing else is."""

import ast
import io
import itertools
import json
import math
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.boards import agent, engines, packing, schema, wire, worker
from hakd.records.errors import HakdError
from hakd.records.text import printable

TAG = "0123456789abcdef"
texts = st.text(max_size=30)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
fields = st.dictionaries(st.from_regex(r"[a-m_]{1,8}", fullmatch=True), values, max_size=4)
garbage = st.binary(max_size=80).map(lambda data: data.replace(TAG.encode(), b""))


def said(contents: list[dict]) -> list[bytes]:
    """Lines as the agent writes them."""
    read, write = os.pipe()
    voice = agent.LineWriter(write, TAG)
    lines = []
    for content in contents:
        voice.say("kind", **content)
        lines.append(os.read(read, 1 << 20))
    os.close(read)
    os.close(write)
    return lines


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@given(st.lists(st.tuples(garbage, fields), max_size=6), st.lists(st.integers(0, 10**6), max_size=8))
def test_lines_survive_any_noise_and_any_cutting(items, cuts):
    lines = said([content for _, content in items])
    stream = b"".join(noise + line for (noise, _), line in zip(items, lines, strict=True))
    reader = wire.LineReader(TAG)
    found = [message for piece in pieces(stream, cuts) for message in reader.feed(piece)]
    assert found == [{"t": "kind", **content} for _, content in items]
    assert reader.noise <= sum(noise.count(b"\n") + 1 for noise, _ in items)


@given(fields, st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_is_noticed(content, place, flip):
    (line,) = said([content])
    body = bytearray(line.strip(b"\n"))
    body[place % len(body)] ^= flip
    reader = wire.LineReader(TAG)
    found = reader.feed(b"\n" + bytes(body) + b"\n")
    # The hexadecimal checksum is read in lower case only, so no change at all can pass.
    assert found == []
    assert reader.noise >= 1


def test_repeated_and_overtaken_lines_count_once():
    first, second, third = said([{"a": 1}, {"a": 2}, {"a": 3}])
    reader = wire.LineReader(TAG)
    assert [m["a"] for m in reader.feed(first + first + third + second + third)] == [1, 3]
    assert reader.noise == 3


@pytest.mark.parametrize(
    "body",
    [
        b'{"t":"x","n":1,"v":NaN}',
        b'{"t":"x","n":1,"v":-Infinity}',
        b"[1]",
        b"7",
        b'{"n":1}',
        b'{"t":"x","n":true}',
        b'{"t":"x"}',
        b"[" * 100_000,
        b"{",
    ],
)
def test_strict_json_only(body):
    reader = wire.LineReader(TAG)
    assert reader.feed(b"\n@%s %08x %s\n" % (TAG.encode(), zlib.crc32(body), body)) == []
    assert reader.noise == 1


@given(st.lists(st.integers(0, 400), min_size=1, max_size=20))
def test_long_lines_are_dropped_in_bounded_memory(sizes):
    reader = wire.LineReader(TAG, limit=256)
    for size in sizes:
        reader.feed(b"x" * size)
        assert len(reader._rest) <= 256
    assert reader.noise == 0
    (line,) = said([{"a": 1}])
    assert reader.feed(line) == [{"t": "kind", "a": 1}]
    assert reader.noise == (sum(sizes) > 0)


@given(st.lists(st.dictionaries(texts, values, max_size=4), max_size=4))
def test_frames_are_read_back_by_the_agent(contents):
    stream = io.BufferedReader(io.BytesIO(b"".join(map(wire.frame, contents))))
    assert [agent.read_frame(stream) for _ in contents] == contents
    assert agent.read_frame(stream) is None


@pytest.mark.parametrize("head", [b"-5\n", b"0\n", b"9999999999999\n", b"x\n", b"\n"])
def test_bad_frame_lengths_are_refused(head):
    with pytest.raises(ValueError, match=r"frame|invalid"):
        agent.read_frame(io.BufferedReader(io.BytesIO(head + b"{}")))


@given(st.text())
def test_printable_text_has_no_control_characters(text):
    assert printable(text, 50).isprintable() and len(printable(text, 50)) <= 50
    assert printable(text).isprintable() and len(printable(text)) == len(text)


def test_a_line_break_becomes_a_space_and_what_is_cut_off_leaves_an_ellipsis():
    assert printable("no\tsuch\r\nfile: \x1b[31m\udc80") == "no such  file: ?[31m?"
    assert printable("four", 4) == "four" and printable("fiver", 4) == "fiv…"


@given(values)
def test_plain_data_is_bounded_and_finite(value):
    json.dumps(schema.plain(value), allow_nan=False)
    assert schema.plain(math.inf) is None
    assert schema.plain({"a": [[[[["deep"]]]]]}) == {"a": [[[None]]]}


BURST = {
    "t": "burst",
    "job": 1,
    "key": "k",
    "round": 0,
    "position": 0,
    "reference": False,
    "calls": 5,
    "min_ns": 10,
    "median_ns": 11,
    "switches": 0,
    "clock_mhz": None,
    "cpu_ratio": 0.98,
    "at_ns": 5,
}


def test_a_good_burst_passes():
    assert schema.check(dict(BURST), ["burst"], "device x") == BURST


bad = (
    st.none()
    | st.booleans()
    | texts
    | st.floats(max_value=-1e-9)
    | st.just(math.nan)
    | st.just(math.inf)
    | st.lists(st.integers())
)


@given(st.sampled_from(sorted(BURST.keys() - {"t", "clock_mhz", "key", "reference"})), bad)
def test_a_burst_with_any_bad_number_is_refused(name, value):
    with pytest.raises(HakdError, match="device x"):
        schema.check({**BURST, name: value}, ["burst"], "device x")


@given(st.sampled_from(sorted(BURST.keys() - {"t"})))
def test_a_burst_without_a_field_is_refused(name):
    with pytest.raises(HakdError, match="wrong fields"):
        schema.check({key: value for key, value in BURST.items() if key != name}, ["burst"], "device x")


@pytest.mark.parametrize("module", [agent, *packing.WORKER])
def test_board_code_is_python_38_and_imports_only_what_travels_with_it(module):
    tree = ast.parse(Path(module.__file__).read_text(), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in names if name.startswith("hakd")}
    assert ours <= {one.__name__ for one in packing.WORKER} and (module is not agent or not ours)
    others = {name.split(".")[0] for name in names - ours} - sys.stdlib_module_names
    assert others <= (set() if module is agent else {"numpy"})  # engines are imported by name


def test_the_board_input_is_fixed_for_ever():
    """Client and board compute it apart, with whatever numpy they have."""
    x = worker.pattern(np, (4, 3, 32, 32))
    assert x.dtype == np.float32 and x.shape == (4, 3, 32, 32)
    assert abs(float(x.mean())) < 0.02 and abs(float(x.std()) - 1) < 0.02
    assert zlib.crc32(x.tobytes()) == 0x955DF1C
    assert np.array_equal(worker.pattern(np, (2, 5)).ravel(), worker.pattern(np, (10,)))


def test_the_empty_model_is_one_identity():
    model = onnx.load_from_string(engines.EMPTY_ONNX)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Identity"]
