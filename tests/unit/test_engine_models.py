"""Models for every engine: what each makes of any small graph equals torch, and the files are what they should be."""

import hashlib
import json
import re
import struct
import sys
import threading
import time
import types

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.boards import engines, packing, worker
from hakd.boards.opencl import OPENCL
from hakd.evaluation.export import fix_batch, for_engine, read_back, session
from hakd.networks.engine_model import engine_model
from hakd.networks.families import build_graph
from hakd.networks.fusing import fuse
from hakd.networks.module import weights_of
from hakd.networks.ncnn_model import param_and_bin
from hakd.networks.onnx_model import fold_weights, stand_in_weights
from hakd.networks.tflite_model import to_tflite
from hakd.ops.litert import ACTIVATION, OPERATORS, PADDING, TYPE
from hakd.ops.tensors import Segment
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.records.graph import Builder, Graph, fold_batch_norm
from tests.unit.builders import SPECS, exported, narrowed
from tests.unit.reference import torch_output

# bitmap and im2col differ from csr in the product alone, see test_kernel_model.py; OpenCL: test_opencl.py.
ENGINES = sorted(engines.ENGINES.keys() - {"bitmap", "im2col", "onnxruntime-cuda", *OPENCL})
KINDS = ("conv", "depthwise", "batch_norm", "relu", "relu6", "concat", "add", "avg_pool", "max_pool")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A chain of ops with branches that meet again in concatenations; some end in a classifier."""
    widths, sizes = st.integers(1, 40), st.integers(1, 13)
    builder = Builder(draw(widths), draw(sizes))
    x, before = builder.input, []
    for number in range(draw(st.integers(1, 6))):
        name, kind = f"op{number}", draw(st.sampled_from(KINDS))
        size = builder.tensors[x].size
        before.append(x)
        if kind == "conv":
            shape = {"kernel": draw(st.sampled_from([1, 3, 5])), "stride": draw(st.integers(1, 3))}
            x = builder.conv(x, name, Segment(None, draw(widths)), **shape)
        elif kind == "depthwise":
            x = builder.depthwise(x, name, draw(st.sampled_from([3, 5])), draw(st.integers(1, 2)))
        elif kind == "concat":
            fitting = [other for other in before if builder.tensors[other].size == size]
            x = builder.concat((x, *draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=2))), name)
        elif kind == "add":
            fitting = [other for other in before if builder.tensors[other].shape == builder.tensors[x].shape]
            x = builder.add(
                kind, name, (x, *draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=2)))
            )
        elif kind == "relu6":
            x = builder.add(kind, name, x)
        elif kind.endswith("pool") and min(size) < 2:
            x = builder.relu(x, name)
        elif kind == "max_pool":
            shape = {"kernel": draw(st.sampled_from([2, 3])), "stride": draw(st.integers(1, 3))}
            x = builder.max_pool(x, name, **shape, padding=draw(st.integers(shape["kernel"] - 2, 1)))
        else:
            x = getattr(builder, kind)(x, name)
    if draw(st.booleans()):
        x = builder.linear(builder.global_avg_pool(x, "pool"), "classifier", draw(widths))
        if draw(st.booleans()):
            x = builder.relu(x, "positive")
    graph = builder.graph(x)
    return fold_batch_norm(graph)[0] if draw(st.booleans()) else graph


def outputs(engine: str, model: bytes, x: np.ndarray) -> np.ndarray:
    """What the worker's own code makes of a model, at the second call."""
    prepared = engines.load(engine, 1).prepare(model, x)
    prepared.call()
    first = prepared.output()
    prepared.call()
    assert np.array_equal(first, prepared.output())
    return first


def check(found: np.ndarray, expected: np.ndarray) -> None:
    """As the worker checks it."""
    packed = {"shape": list(expected.shape), "data": packing.pack(expected.astype("<f4").tobytes())}
    assert worker.check_output(np, found, packed) <= 1e-4 * max(1.0, float(np.abs(expected).max()))


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60)
@given(graph=graphs(), batch=st.integers(1, 3))
def test_an_engine_computes_what_torch_computes(engine, graph, batch):
    batch = 1 if engine == "ncnn" else batch
    weights = stand_in_weights(graph)
    x = packing.board_input((batch, *graph.tensors[graph.inputs[0]].shape))
    check(outputs(engine, engine_model(engine, graph, weights, batch), x), torch_output(graph, weights, x))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SPECS)
def test_every_tile_and_block_runs_in_every_engine(engine, name):
    spec = SPECS[name]()
    graph, _ = fold_batch_norm(build_graph(Architecture(spec, narrowed(spec))))
    parts = [graph, *graph.tiles().values(), *(graph.block(group) for group in graph.groups())]
    for part in parts:
        weights = stand_in_weights(part)
        x = packing.board_input((1, *part.tensors[part.inputs[0]].shape))
        check(outputs(engine, engine_model(engine, part, weights), x), torch_output(part, weights, x))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_flat_input(engine):
    builder = Builder(7, ())
    graph = builder.graph(builder.linear(builder.input, "fc", 5))
    weights, x = stand_in_weights(graph), packing.board_input((1, 7))
    check(
        outputs(engine, engine_model(engine, graph, weights), x),
        x @ weights["fc.weight"].T + weights["fc.bias"],
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_the_empty_model_is_one_op_on_one_number(engine):
    model, shape = engines.ENGINES[engine].empty
    x = packing.board_input(shape)
    assert outputs(engine, model, np.abs(x)) == pytest.approx(np.abs(x))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_no_model_is_an_exception_and_no_crash(engine):
    prepare = engines.load(engine, 1).prepare
    for content in (b"\x00" * 64, struct.pack("<I", 9) + b"7767517\nx"):
        with pytest.raises(Exception, match=r"(?i)model|protobuf|parse"):
            prepare(content, packing.board_input((1, 1, 1, 1)))


def test_models_are_refused_that_an_engine_cannot_take():
    builder = Builder(1, 1)
    graph = builder.graph(builder.relu(builder.input, "relu"))
    with pytest.raises(HakdError, match="ncnn takes one image at a time, not 2"):
        engine_model("ncnn", graph, {}, 2)
    with pytest.raises(
        HakdError, match=r"'tvm'.*Known: onnxruntime, openvino, onnxruntime-cuda, litert, ncnn"
    ):
        engine_model("tvm", graph, {})


# --- LiteRT


def test_the_numbers_of_the_schema_are_those_of_litert():
    for name, (code, options, options_name) in OPERATORS.items():
        assert code == getattr(schema.BuiltinOperator, name)
        assert options == getattr(schema.BuiltinOptions, options_name)
    for ours, theirs in (
        (PADDING, schema.Padding),
        (ACTIVATION, schema.ActivationFunctionType),
        (TYPE, schema.TensorType),
    ):
        assert ours == {name: getattr(theirs, name) for name in ours}


def operators(graph: Graph, batch: int = 1) -> list[tuple[str, object]]:
    """Names and options of a model's operators, read by LiteRT's own code."""
    content = to_tflite(graph, stand_in_weights(graph), batch)
    assert content[4:8] == b"TFL3"
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (sub,) = model.subgraphs
    assert model.version == 3 and model.buffers[0].data is None
    names = {code: name for name, (code, *_) in OPERATORS.items()}
    for tensor in sub.tensors:
        if tensor.buffer:
            assert len(model.buffers[tensor.buffer].data) == 4 * np.prod(tensor.shape)
    raw = schema.Model.GetRootAs(content, 0)
    for i in range(1, raw.BuffersLength()):  # kernels read weights in place: the schema wants 16 bytes
        table = raw.Buffers(i)._tab
        assert table.Vector(table.Offset(4)) % 16 == 0
    codes = [(c.deprecatedBuiltinCode, c.builtinCode, c.version) for c in model.operatorCodes]
    assert all(old == min(new, 127) and version == 1 for old, new, version in codes)
    return [(names[codes[op.opcodeIndex][1]], op.builtinOptions) for op in sub.operators]


def test_a_pre_activation_becomes_a_product_and_a_rectified_sum():
    builder = Builder(5, 8)
    x = builder.relu(builder.batch_norm(builder.input, "bn"), "relu")
    (mul, product), (add, total) = operators(builder.graph(x))
    assert (mul, add) == ("MUL", "ADD")
    assert (product.fusedActivationFunction, total.fusedActivationFunction) == (0, 1)


@pytest.mark.parametrize(
    ("size", "stride", "depthwise", "expected"),
    [
        (8, 1, False, "SAME"),
        (8, 2, False, "PAD"),
        (7, 2, False, "SAME"),
        (8, 2, True, "PAD"),
        (1, 2, True, "SAME"),
    ],
)
def test_padding_is_torchs_not_tensorflows(size, stride, depthwise, expected):
    builder = Builder(4, size)
    if depthwise:
        x = builder.depthwise(builder.input, "conv", 3, stride)
    else:
        x = builder.conv(builder.input, "conv", Segment(None, 4), 3, stride)
    found = operators(builder.graph(builder.relu(x, "relu")))
    assert [name for name, _ in found][:-1] == (["PAD"] if expected == "PAD" else [])
    name, options = found[-1]
    assert name == ("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D")
    assert options.padding == PADDING["SAME" if expected == "SAME" else "VALID"]
    assert (options.strideW, options.strideH) == (stride, stride)
    assert (options.dilationWFactor, options.dilationHFactor, options.fusedActivationFunction) == (1, 1, 1)
    assert not depthwise or options.depthMultiplier == 1


def test_pools_and_classifier():
    builder = Builder(4, 9)
    x = builder.global_avg_pool(builder.avg_pool(builder.input, "pool"), "mean")
    found = operators(builder.graph(builder.linear(x, "fc", 3)), batch=2)
    assert [name for name, _ in found] == ["AVERAGE_POOL_2D", "MEAN", "FULLY_CONNECTED"]
    pool = found[0][1]
    assert (pool.filterWidth, pool.filterHeight, pool.strideW, pool.strideH) == (2, 2, 2, 2)
    assert pool.padding == PADDING["VALID"] and not found[1][1].keepDims


def test_litert_falls_back_to_tflite_runtime(monkeypatch):
    """What 32-bit ARM boards have; here it is LiteRT's own interpreter under that name."""
    from ai_edge_litert import interpreter

    old = types.ModuleType("tflite_runtime")
    old.__version__ = "2.14.0"
    for name, module in {
        "ai_edge_litert": None,
        "tflite_runtime": old,
        "tflite_runtime.interpreter": interpreter,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    engine = engines.load("litert", 1)
    assert engine.version == "tflite_runtime 2.14.0"
    model, shape = engine.empty
    prepared = engine.prepare(model, np.full(shape, 3, np.float32))
    prepared.call()
    assert prepared.output() == [3]
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    with pytest.raises(ImportError, match="ai_edge_litert"):
        engines.load("litert", 1)


# --- ncnn


def test_ncnn_splits_what_is_used_twice_and_fuses_rectifiers():
    builder = Builder(2, 4)
    conv = builder.relu(builder.conv(builder.input, "conv", Segment(None, 3), 3), "relu")
    graph = builder.graph(builder.concat((conv, builder.input, conv), "cat"))
    text, content = param_and_bin(graph, stand_in_weights(graph))
    assert text.splitlines() == [
        "7767517",
        "5 7",
        "Input input 0 1 in0",
        "Split split_in0 1 2 in0 in0_0 in0_1",
        "Convolution l0 1 1 in0_0 b0 0=3 1=3 3=1 4=1 5=0 6=54 9=1",
        "Split split_b0 1 2 b0 b0_0 b0_1",
        "Concat l1 3 1 b0_0 in0_1 b0_1 out0 0=0",
    ]
    assert content == bytes(4) + stand_in_weights(graph)["conv.weight"].tobytes()


# --- both


def test_activations_are_fused_by_the_engines_that_can():
    builder = Builder(2, 4)
    conv = builder.add("hardswish", "swish", builder.conv(builder.input, "conv", Segment(None, 2), 3))
    total = builder.add("add", "sum", (builder.add("dropout", "drop", conv), builder.input))
    graph = builder.graph(builder.add("relu6", "relu6", total))
    (kinds, options) = zip(*operators(graph), strict=True)
    assert kinds == ("CONV_2D", "HARD_SWISH", "ADD")
    assert [options[place].fusedActivationFunction for place in (0, 2)] == [0, ACTIVATION["RELU6"]]
    text, _ = param_and_bin(graph, stand_in_weights(graph))
    names, ends = zip(*((line.split()[0], line.split()[-1]) for line in text.splitlines()[2:]), strict=True)
    assert names == ("Input", "Split", "Convolution", "BinaryOp", "Clip")
    assert ends[2] == f"-23310=2,{1 / 6},0.5" and ends[-1] == "1=6.0"


def test_rectifiers_are_fused_only_where_nothing_else_reads_what_comes_before():
    builder = Builder(2, 4)
    first = builder.conv(builder.input, "first", Segment(None, 3), 3)
    second = builder.conv(builder.relu(first, "a"), "second", Segment(None, 3), 3)
    graph = builder.graph(builder.relu(builder.concat((first, builder.relu(second, "b")), "cat"), "c"))
    left, fused = fuse(graph, "ncnn")
    assert fused == {"second": (1,)}
    assert [op.name for op in left.ops] == ["first", "a", "second", "cat", "c"]
    assert left.output == graph.output


# --- threads and versions


def test_the_cpu_clock_is_exact_for_a_thread_that_runs_elsewhere():
    busy = threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha256", b"", b"", 2_000_000))
    busy.start()
    own, read = time.pthread_getcpuclockid(busy.ident), worker.cpu_clock([busy.native_id])
    values = []
    for _ in range(5):
        time.sleep(0.01)
        values += [time.clock_gettime_ns(own), read(), time.clock_gettime_ns(own)]
    busy.join()
    assert values == sorted(values) and values[-1] > values[0]
    deadline = time.monotonic() + 10
    while read():  # a thread that has ended counts no more
        assert time.monotonic() < deadline


def test_boards_are_told_the_versions_of_the_lock(root):
    lock = dict(re.findall(r"^(\S+)==(\S+)", (root / "requirements.lock").read_text(), re.MULTILINE))
    for path in ("envs/board.yaml", "docs/engines.md"):
        named = dict(re.findall(r"([a-z-]+)==([\w.]+)", (root / path).read_text()))
        assert named.pop("tflite-runtime") == "2.14.0"
        assert {"ai-edge-litert", "ncnn", "openvino"} <= named.keys()
        assert named == {name: lock[name] for name in named}


# --- candidates


@pytest.fixture(scope="module", params=SPECS)
def network(request, tmp_path_factory):
    """An exported network, and its torch form."""
    path = tmp_path_factory.mktemp("export") / "network.onnx"
    return path, exported(path, SPECS[request.param]())


def test_an_exported_network_is_read_back_whole(network):
    path, module = network
    graph, weights = read_back(path)
    folded, expected = fold_weights(module.graph, weights_of(module))
    assert graph == folded and weights.keys() == expected.keys()
    assert all(np.array_equal(weights[name], expected[name]) for name in weights)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_exported_network_gives_the_same_logits_in_every_engine(network, engine):
    path, _ = network
    batch = 1 if engine == "ncnn" else 2
    image = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[1:]
    x = packing.board_input((batch, *(axis.dim_value for axis in image)))
    (expected,) = session(fix_batch(path.read_bytes(), batch)).run(None, {"input": x})
    check(outputs(engine, for_engine(path, engine, batch), x), expected)


def test_a_file_that_is_not_what_it_says_is_refused(network, tmp_path):
    path, _ = network
    model = onnx.load(path)
    next(a for a in model.graph.node[0].attribute if a.name == "strides").ints[0] += 1
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(HakdError, match=r"changed.onnx: does not match its own metadata"):
        read_back(tmp_path / "changed.onnx")
    model = onnx.load(path)
    header = json.loads(model.metadata_props[0].value)
    header["widths"][next(iter(header["widths"]))] += 1
    model.metadata_props[0].value = json.dumps(header)
    onnx.save(model, tmp_path / "renamed.onnx")
    with pytest.raises(HakdError, match="widths hash to"):
        read_back(tmp_path / "renamed.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(HakdError, match="not an architecture file"):
        read_back(tmp_path / "bare.onnx")
