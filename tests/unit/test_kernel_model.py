"""The model file of the engines csr, bitmap and im2col: its formats against scipy, its buffers, what it holds."""

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_matrix

from hakd.boards import engines, kernels, packing
from hakd.networks.engine_model import engine_model
from hakd.networks.families import build_graph
from hakd.networks.kernel_model import FORMATS, MAGIC, to_kernels
from hakd.networks.onnx_model import stand_in_weights
from hakd.ops.tensors import Segment
from hakd.records.arch import Architecture
from hakd.records.graph import Builder, Graph, fold_batch_norm
from tests.unit.builders import SPECS, narrowed

sparse_filters = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 70)),
    elements=st.sampled_from([0.0, -0.0, 1.5, -2.25]),
)


def layer(outs: int, ins: int, size: int = 3, kernel: int = 1) -> Graph:
    b = Builder(ins, size)
    return b.graph(b.conv(b.input, "conv", Segment(None, outs), kernel))


def read(content: bytes) -> tuple[dict, kernels.Model]:
    model = kernels.Model(content)
    return model.header["steps"][0], model


def test_the_writer_and_the_reader_agree_on_the_magic_number():
    assert MAGIC == kernels.MAGIC == kernels.EMPTY[0][: len(MAGIC)]


@given(weight=sparse_filters)
def test_csr_is_scipys(weight):
    expected = csr_matrix(weight)
    expected.eliminate_zeros()
    step, model = read(to_kernels("csr", layer(*weight.shape), {"conv.weight": weight[:, :, None, None]}))
    assert np.array_equal(model.array(step, "rows"), expected.indptr)
    assert np.array_equal(model.array(step, "index"), expected.indices)
    assert np.array_equal(model.array(step, "weight"), expected.data)
    assert model.array(step, "index").dtype == np.uint16


@given(weight=sparse_filters)
def test_a_bitmap_has_a_bit_for_each_weight_and_the_values_in_order(weight):
    step, model = read(to_kernels("bitmap", layer(*weight.shape), {"conv.weight": weight[:, :, None, None]}))
    words = model.array(step, "index").reshape(len(weight), -1)
    assert words.shape[1] == math.ceil(weight.shape[1] / 64)
    bits = [[int(row[k // 64]) >> k % 64 & 1 for k in range(64 * len(row))] for row in words]
    found = np.zeros((len(weight), 64 * words.shape[1]), np.float32)
    found[np.array(bits, bool)] = model.array(step, "weight")
    assert np.array_equal(found[:, : weight.shape[1]], weight) and not found[:, weight.shape[1] :].any()
    assert np.array_equal(model.array(step, "rows"), csr_matrix(weight != 0).indptr)


@pytest.mark.parametrize("engine", ["csr", "bitmap"])
@settings(max_examples=30)
@given(weight=sparse_filters, pixels=st.integers(1, 90))
def test_csr_and_bitmap_multiply_as_scipy_does(engine, weight, pixels):
    """Every number of pixels, so that tiles of each width are met."""
    outs, ins = weight.shape
    b = Builder(ins, (1, pixels))
    graph = b.graph(b.conv(b.input, "conv", Segment(None, outs), 1))
    x = packing.board_input((1, ins, 1, pixels))
    content = engine_model(engine, graph, {"conv.weight": weight[:, :, None, None]})
    prepared = engines.load(engine, 1).prepare(content, x)
    prepared.call()
    expected = csr_matrix(weight) @ x.reshape(ins, pixels)
    np.testing.assert_allclose(prepared.output().reshape(outs, pixels), expected, atol=1e-4)


def test_csr_takes_wider_indices_where_rows_are_longer():
    b = Builder(70_000, ())
    graph = b.graph(b.linear(b.input, "fc", 2))
    weights = stand_in_weights(graph, 0.01)
    weights["fc.weight"][0, -1] = 7.0
    content, x = engine_model("csr", graph, weights), packing.board_input((1, 70_000))
    step, model = read(content)
    assert model.array(step, "index").dtype == np.uint32
    prepared = engines.load("csr", 1).prepare(content, x)
    prepared.call()
    expected = x @ weights["fc.weight"].T + weights["fc.bias"]
    np.testing.assert_allclose(prepared.output(), expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("name", ["mobilenet", "resnet"])
def test_csr_of_two_threads_gives_what_one_gives(name):
    """Shared by tiles, and by rows where an image has fewer tiles than there are threads."""
    spec = SPECS[name]()
    graph, _ = fold_batch_norm(build_graph(Architecture(spec, narrowed(spec))))
    x = packing.board_input((1, *graph.tensors[graph.inputs[0]].shape))
    for engine in ("im2col", "csr", "bitmap"):
        content, found = engine_model(engine, graph, stand_in_weights(graph, 0.4)), []
        for threads in (1, 2):
            prepared = engines.load(engine, threads).prepare(content, x)
            prepared.call()
            found.append(prepared.output())
        np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_the_size_of_csr_and_bitmap_follows_from_the_density(density):
    outs, ins = 32, 128
    weight = np.ones(outs * ins, np.float32)
    weight[round(density * weight.size) :] = 0
    sizes = {}
    for engine in ("im2col", "csr", "bitmap"):
        content = to_kernels(engine, layer(outs, ins), {"conv.weight": weight.reshape(outs, ins, 1, 1)})
        places = kernels.Model(content).header["arrays"]
        sizes[engine] = sum(int(dtype[2]) * count for dtype, count, _ in places)
    values, rows = 4 * round(density * outs * ins), 4 * (outs + 1)
    assert sizes == {
        "im2col": 4 * outs * ins,
        "csr": values * 3 // 2 + rows,  # two bytes of index for each value of four
        "bitmap": values + outs * ins // 8 + rows,
    }


def test_all_weights_zero_in_csr_and_bitmap():
    graph, x = layer(5, 3, 7, 3), packing.board_input((1, 3, 7, 7))
    for engine in ("csr", "bitmap"):
        prepared = engines.load(engine, 1).prepare(
            engine_model(engine, graph, {"conv.weight": np.zeros((5, 3, 3, 3), np.float32)}), x
        )
        prepared.call()
        assert not prepared.output().any()


@pytest.mark.parametrize("name", SPECS)
def test_buffers_are_shared_and_none_is_overwritten_while_it_is_needed(name):
    spec = SPECS[name]()
    graph, _ = fold_batch_norm(build_graph(Architecture(spec, narrowed(spec))))
    header = kernels.Model(to_kernels("im2col", graph, stand_in_weights(graph))).header
    assert len(header["buffers"]) < len(header["steps"]) / 2
    for number, step in enumerate(header["steps"]):
        assert step["out"] != header["input"]
        assert step["x"] != step["out"] or step["kind"] == "add", number


def test_an_input_of_another_size_and_weights_of_another_format_are_refused():
    content = to_kernels("csr", layer(4, 3), stand_in_weights(layer(4, 3)))
    with pytest.raises(ValueError, match=r"an input of shape \(1, 3, 4, 4\) does not fit the model"):
        engines.load("csr", 1).prepare(content, packing.board_input((1, 3, 4, 4)))
    with pytest.raises(ValueError, match="a model with csr weights, not bitmap"):
        engines.load("bitmap", 1).prepare(content, packing.board_input((1, 3, 3, 3)))
    size = struct.unpack_from("<I", content, len(MAGIC))[0]
    assert json.loads(content[len(MAGIC) + 4 :][:size])["format"] == FORMATS["csr"]


def test_stand_in_weights_of_a_density_for_csr():
    graph = layer(40, 30, kernel=3)
    weights = stand_in_weights(graph, 0.25)["conv.weight"]
    assert np.count_nonzero(weights) == weights.size / 4
    whole = stand_in_weights(graph)["conv.weight"]
    assert np.array_equal(weights[weights != 0], whole[weights != 0])
    assert np.array_equal(weights, stand_in_weights(graph, 0.25)["conv.weight"])
