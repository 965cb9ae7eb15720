"""Networks in int8: what is quantised, by which scales, and which kernels engines take."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hakd.boards import Device, engines, store
from hakd.boards.packing import board_input
from hakd.networks.engine_model import engine_model
from hakd.networks.families import full_architecture
from hakd.networks.int8 import (
    TOLERANCE,
    WHOLE_TOLERANCE,
    activation,
    calibrate,
    plan,
    quantised_weights,
    without_batch_norms,
)
from hakd.networks.int8_parts import onnx_part, reference_output, tflite_part
from hakd.networks.onnx_int8 import to_int8
from hakd.networks.onnx_model import stand_in_weights, to_onnx
from hakd.records.errors import HakdError
from hakd.records.graph import Builder, Graph
from hakd.study.precisions import form_of, forms, is_int8
from hakd.sweeping.parts import engine_graph, point
from tests.unit.builders import SPECS

ENGINES = ("onnxruntime", "litert")


def whole(family: str) -> Graph:
    return engine_graph(full_architecture(SPECS[family]()))


def output(engine: str, graph: Graph, x: np.ndarray) -> np.ndarray:
    model = engine_model(engine, graph, stand_in_weights(graph), precision="int8")
    prepared = engines.load(engine, 1).prepare(model, x)
    prepared.call()
    return prepared.output()


# --- the scheme


@pytest.mark.parametrize(
    "limits", [(-1.0, 3.0), (0.0, 6.0), (-2.0, 0.0), (0.5, 2.0), (0.0, 0.0), (-1e-45, 0.0)]
)
def test_in_int8_zero_has_a_number_of_its_own_and_the_ends_are_reached(limits):
    scale, zero = activation(limits)
    assert scale > 0 and 0 <= zero <= 255
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    if high > low and scale > 1e-30:
        assert (0 - zero) * scale <= low + scale and (255 - zero) * scale >= high - scale


@pytest.mark.parametrize(("bits", "most"), [(7, 63), (8, 127)])
def test_in_int8_each_filter_has_its_own_scale(bits, most):
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    weight *= np.array([1, 10, 100, 0], np.float32)[:, None, None, None]
    bias = np.array([0.5, -3, 7, 2e6], np.float32)
    values, scales, shifts = quantised_weights(weight, 0, bits, np.float32(0.1), bias)
    assert values.dtype == np.int8 and shifts.dtype == np.int32
    assert np.abs(values).reshape(4, -1).max(1).tolist() == [most] * 3 + [0]
    halves = scales.astype(np.float64) * (0.5 + 1e-6)
    assert (np.abs(values * scales[:, None, None, None] - weight).max(axis=(1, 2, 3)) <= halves).all()
    assert (
        np.abs(shifts * np.float64(np.float32(0.1)) * scales - bias) <= 0.1 * halves + 1e-6 * abs(bias)
    ).all()


def test_a_rectifier_is_left_out_only_where_its_output_is_cut_off_all_the_same():
    """Beside a tensor with negative values a concatenation would give it their range."""
    b = Builder(4, 6)
    plain = b.conv(b.input, "plain", 4, 1)
    cut = b.add("relu6", "cut", b.conv(b.input, "layer", 4, 1))
    graph = b.graph(b.conv(b.concat([plain, cut], "both"), "last", 4, 1))
    weights = stand_in_weights(graph)
    weights["layer.weight"] *= 20
    x = board_input((1, 4, 6, 6))
    for engine in ENGINES:
        found = engines.load(engine, 1).prepare(engine_model(engine, graph, weights, precision="int8"), x)
        found.call()
        expected = engines.load("onnxruntime", 1).prepare(to_onnx(graph, weights).SerializeToString(), x)
        expected.call()
        assert np.abs(found.output() - expected.output()).max() <= 0.05 * np.abs(expected.output()).max()


def test_pools_and_reshapes_share_a_scale_in_int8():
    model = to_onnx(*_with_weights(whole("vgg16")))
    planned = plan(model)
    kept = [node for node in planned.nodes if node.op_type in ("MaxPool", "Flatten", "Reshape")]
    assert kept and all(planned.same[n.input[0]] == planned.same[n.output[0]] for n in kept)


def _with_weights(graph: Graph) -> tuple[Graph, dict[str, np.ndarray]]:
    return without_batch_norms(graph, stand_in_weights(graph))


# --- models


@pytest.mark.parametrize("family", sorted(SPECS))
@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_in_int8_computes_what_its_scheme_says(family, engine):
    graph = whole(family)
    x = board_input((1, *graph.tensors[graph.inputs[0]].shape))
    expected = reference_output(engine, graph, stand_in_weights(graph), x)
    assert np.abs(output(engine, graph, x) - expected).max() <= WHOLE_TOLERANCE * max(
        1.0, np.abs(expected).max()
    )


@pytest.mark.parametrize("family", sorted(SPECS))
def test_layers_in_int8_have_integer_kernels(family):
    graph = whole(family)
    ops = engines.load("onnxruntime", 1).ops(onnx_part(graph, stand_in_weights(graph), 1))
    layers = [op for op in graph.ops if op.kind in ("conv", "batch_norm")]
    found = {kind.rpartition(":")[2]: count for kind, count in ops.items()}
    assert found["QLinearConv"] == len(layers)
    assert found["QGemm"] == sum(op.kind == "linear" for op in graph.ops)
    assert not found.keys() & {"Conv", "Gemm", "FusedConv", "FusedGemm", "BatchNormalization", "Relu", "Clip"}
    whole_file = to_int8(*_calibrated(graph)).SerializeToString()
    assert _layers(engines.load("onnxruntime", 1).ops(whole_file)) == _layers(ops)


def _calibrated(graph: Graph) -> tuple[onnx.ModelProto, dict]:
    model = to_onnx(*_with_weights(graph))
    return model, calibrate(model, [board_input((1, *graph.tensors[graph.inputs[0]].shape))])


def _layers(ops: dict[str, int]) -> dict[str, int]:
    return {kind: count for kind, count in ops.items() if kind.startswith(("QLinear", "com.microsoft:Q"))}


def test_weights_in_int8_have_a_scale_for_each_filter_in_both_formats():
    from ai_edge_litert.interpreter import Interpreter

    graph = whole("mobilenet")
    model = onnx.load_model_from_string(onnx_part(graph, stand_in_weights(graph), 1))
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = [name for name in arrays if name.endswith(".weight.int8")]
    assert len(weights) == sum(op.kind in ("conv", "linear") for op in graph.ops)
    for name in weights:
        assert arrays[name].dtype == np.int8 and np.abs(arrays[name]).max() <= 63
        assert len(arrays[name.replace(".int8", ".scale")]) == len(arrays[name])
        assert not arrays[name.replace(".int8", ".zero")].any()
    run = Interpreter(model_content=tflite_part(graph, stand_in_weights(graph), 1))
    run.allocate_tensors()
    kinds = {np.dtype(tensor["dtype"]).name for tensor in run.get_tensor_details() if tensor["name"]}
    assert kinds <= {"int8", "int32"}
    named = {t["name"]: t for t in run.get_tensor_details() if t["name"].endswith(".weight")}
    for op in graph.ops:
        if op.kind in ("conv", "linear"):
            about = named[f"{op.name}.weight"]["quantization_parameters"]
            assert len(about["scales"]) == graph.placed(op).out.shape[0]
            assert about["quantized_dimension"] == (3 if op.depthwise else 0)


# --- devices, keys and forms


@pytest.mark.parametrize("engine", ["ncnn", "openvino"])
def test_engines_without_int8_say_so(engine):
    with pytest.raises(HakdError, match=rf"precision: 'int8' is not accepted. {engine} has no int8 here"):
        Device("one", engine=engine, precision="int8")
    graph = whole("mobilenet")
    with pytest.raises(HakdError, match=f"^precision: {engine} has no int8 here"):
        engine_model(engine, graph, {}, precision="int8")


def test_a_virtual_device_and_a_batch_of_litert_have_no_int8():
    model = {"cost_model": {"peak_gmacs": 1}}
    with pytest.raises(HakdError, match=r"precision: .* virtual"):
        Device("one", transport="virtual", precision="int8", **model)
    with pytest.raises(HakdError, match=r"batch: .* one image"):
        Device("one", engine="litert", batch=2, precision="int8")


def test_int8_is_part_of_the_key_of_every_measurement():
    """The store's folder and the fingerprint, by which tables, priors and choices tell devices apart."""
    float32, int8 = Device("one"), Device("one", precision="int8")
    print_ = [store.fingerprint({"machine": "x"}, "1", 1, one.precision) for one in (float32, int8)]
    assert print_[0] == store.fingerprint({"machine": "x"}, "1", 1) != print_[1]
    assert store.identity(float32, "x", "1") != store.identity(int8, "x", "1")
    assert float32.settings() != int8.settings()


def test_a_point_in_int8_is_the_same_shape_with_another_model():
    graph = whole("densenet").tiles()["head"]
    float32, int8 = (point(graph, "head", Device("one", precision=p)) for p in ("float32", "int8"))
    assert float32.key == int8.key and float32.model() != int8.model()
    assert int8.tolerance == TOLERANCE and float32.tolerance is None
    doors = json.loads(
        next(
            p.value
            for p in onnx.load_model_from_string(int8.model()).metadata_props
            if p.key == engines.INT8_DOORS
        )
    )
    assert len(doors) == 2


def test_each_engine_has_a_form_of_files_in_int8():
    devices = {
        "a": {"engine": "onnxruntime"},
        "b": {"precision": "int8"},
        "c": {"engine": "litert", "precision": "int8"},
    }
    assert [form_of(one) for one in devices.values()] == ["", ".int8.onnx", ".int8.tflite"]
    assert forms({"devices": devices, "run": {"devices": ["a", "c"]}}) == [".int8.tflite"]
    assert is_int8("results/n/teacher/0.int8.onnx") and not is_int8("results/n/teacher/0.onnx")
