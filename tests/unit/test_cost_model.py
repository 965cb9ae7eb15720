"""The virtual device's truth: the formula, layer by layer, and what of its settings is refused."""

import math
from itertools import product

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hakd.boards import Device
from hakd.boards.cost_model import CostedLayer, CostModel, Hump, cost_model_from
from hakd.boards.virtual import layers_of
from hakd.networks.families import full_architecture, network_spec
from hakd.networks.onnx_model import stand_in_weights, to_onnx
from hakd.records.errors import HakdError
from hakd.sweeping.parts import engine_graph

WHOLE = {
    "overhead_us": 3.0,
    "us_per_mmac": 12.0,
    "depthwise_us_per_mmac": 30.0,
    "tile_out": 16,
    "tile_in": 4,
    "penalty_in": 1.35,
    "humps": [{"out": [49, 64], "factor": 1.15}],
    "noise": {
        "sigma": 0.01,
        "spike_probability": 0.03,
        "spike_factor": 1.5,
        "drift": 0.05,
        "process_sigma": 0.01,
        "interference_share": 0.2,
        "interference_factor": 1.4,
    },
    "faults": {"crash_every": 0, "hang_every": 0, "drop_link_every": 0},
    "seed": 7,
}


@pytest.mark.parametrize(
    ("layer", "expected_us"),
    [
        (CostedLayer(16, 8, 9, 100), 3 + 12 * 16 * 8 * 9 * 100 / 1e6),
        (CostedLayer(17, 8, 9, 100), 3 + 12 * 32 * 8 * 9 * 100 / 1e6),
        (CostedLayer(16, 7, 1, 100), 3 + 1.35 * 12 * 16 * 7 * 100 / 1e6),
        (CostedLayer(48, 8, 1, 100), 3 + 12 * 48 * 8 * 100 / 1e6),
        (CostedLayer(49, 8, 1, 100), 3 + 1.15 * 12 * 64 * 8 * 100 / 1e6),
        (CostedLayer(64, 8, 1, 100), 3 + 1.15 * 12 * 64 * 8 * 100 / 1e6),
        (CostedLayer(65, 8, 1, 100), 3 + 12 * 80 * 8 * 100 / 1e6),
        (CostedLayer(50, 50, 9, 100, groups=50), 3 + 30 * 50 * 9 * 100 / 1e6),
        (CostedLayer(100, 50, 9, 100, groups=50), 3 + 30 * 100 * 9 * 100 / 1e6),
        (CostedLayer(16, 1, 9, 100), 3 + 1.35 * 12 * 16 * 9 * 100 / 1e6),
        (CostedLayer(32, 8, 5, 100, groups=2), 3 + 2 * 12 * 16 * 4 * 5 * 100 / 1e6),
        (CostedLayer(34, 8, 5, 100, groups=2), 3 + 2 * 12 * 32 * 4 * 5 * 100 / 1e6),
        (CostedLayer(32, 12, 5, 100, groups=2), 3 + 1.35 * 2 * 12 * 16 * 6 * 5 * 100 / 1e6),
        (CostedLayer(64, 8, 5, 100, groups=2), 3 + 1.15 * 2 * 12 * 32 * 4 * 5 * 100 / 1e6),
    ],
)
def test_the_formula(layer, expected_us):
    assert cost_model_from(WHOLE).cost_us([layer]) == pytest.approx(expected_us, rel=1e-12)


def test_a_graph_pays_the_overhead_once():
    model = cost_model_from(WHOLE)
    one = model.cost_us([CostedLayer(16, 8, 9, 100)])
    assert model.cost_us([CostedLayer(16, 8, 9, 100)] * 3) == pytest.approx(3 * one - 2 * 3.0)
    assert model.cost_us([]) == 3.0


def macs(layer: CostedLayer) -> int:
    """Multiply-accumulates of a layer."""
    return layer.cout * layer.cin // layer.groups * layer.area * layer.pixels


@given(st.data())
def test_the_formula_is_a_count_of_what_every_group_computes(data):
    groups, tile_out, area, pixels = (data.draw(st.integers(1, most)) for most in (4, 5, 3, 3))
    ins, outs = (data.draw(st.integers(1, 7)) for _ in range(2))
    layer = CostedLayer(outs * groups, ins * groups, area, pixels, groups)
    count = 0
    for _ in range(groups):
        made = 0
        while made < outs:  # a kernel makes a whole tile of outputs
            count += sum(1 for _ in product(range(tile_out), range(ins), range(area), range(pixels)))
            made += tile_out
    if ins == 1 < groups:
        count = sum(1 for _ in product(range(groups), range(outs), range(area), range(pixels)))
    model = CostModel(overhead_us=0, us_per_mmac=1e6, depthwise_us_per_mmac=1e6, tile_out=tile_out)
    assert model.cost_us([layer]) == pytest.approx(count, rel=1e-12)


CONVOLUTIONS = {  # op, shape of the weight, size of the image, groups, strides, dilations -> cout, cin, area, depthwise
    "plain": ("Conv", (7, 6, 3, 3), (8, 9), 1, (1, 1), (1, 1), (7, 6, 9, False)),
    "rectangular": ("Conv", (7, 6, 1, 7), (8, 9), 1, (2, 1), (1, 1), (7, 6, 7, False)),
    "one-dimensional": ("Conv", (7, 6, 5), (20,), 1, (2,), (2,), (7, 6, 5, False)),
    "three-dimensional": ("Conv", (7, 6, 1, 2, 3), (4, 5, 6), 1, (1, 1, 1), (1, 1, 1), (7, 6, 6, False)),
    "grouped": ("Conv", (8, 3, 3, 3), (8, 9), 2, (1, 1), (2, 2), (8, 6, 9, False)),
    "depthwise": ("Conv", (6, 1, 5), (20,), 6, (1,), (1,), (6, 6, 5, True)),
    "depthwise, two outputs of each": ("Conv", (12, 1, 3, 3), (8, 9), 6, (1, 1), (1, 1), (12, 6, 9, True)),
    "one channel": ("Conv", (1, 1, 3, 3), (8, 9), 1, (1, 1), (1, 1), (1, 1, 9, False)),
    "transposed": ("ConvTranspose", (6, 7, 2, 3), (8, 9), 1, (2, 2), (1, 1), (7, 6, 6, False)),
    "transposed, grouped": ("ConvTranspose", (6, 5, 3), (20,), 2, (2,), (1,), (10, 6, 3, False)),
    "transposed, depthwise": ("ConvTranspose", (6, 1, 3), (20,), 6, (2,), (1,), (6, 6, 3, True)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_of_any_form_is_charged_what_it_computes(name):
    """Of ones and without padding, the sum of all outputs is the number of products."""
    op, shape, size, groups, strides, dilations, (cout, cin, area, depthwise) = CONVOLUTIONS[name]
    image = (2, cin, *size)
    node = helper.make_node(op, ["x", "w"], ["y"], group=groups, strides=strides, dilations=dilations)
    x, y = (
        helper.make_tensor_value_info(end, TensorProto.FLOAT, form)
        for end, form in (("x", image), ("y", None))
    )
    weight = numpy_helper.from_array(np.ones(shape, np.float32), "w")
    opset = [helper.make_opsetid("", 17)]
    graph = helper.make_graph([node], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    (layer,) = layers_of(model)
    assert (layer.cout, layer.cin, layer.area, layer.depthwise) == (cout, cin, area, depthwise)
    (made,) = onnxruntime.InferenceSession(model).run(None, {"x": np.ones(image, np.float32)})
    assert macs(layer) == made.sum()


@pytest.mark.parametrize("family", ["mobilenet", "densenet"])
def test_layers_come_out_of_the_model_that_travels(family):
    """The layers' multiply-accumulates, times batch, are those of the description."""
    options = {"multiplier": 0.25} if family == "mobilenet" else {"depth": 22, "growth": 8}
    spec = network_spec("n", {"family": family, "input_size": 32, **options}, channels=3, num_classes=10)
    graph = engine_graph(full_architecture(spec))
    layers = layers_of(to_onnx(graph, stand_in_weights(graph), 2).SerializeToString())
    assert sum(map(macs, layers)) == 2 * graph.macs()
    assert any(layer.depthwise for layer in layers) == (family == "mobilenet")


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 32), st.integers(1, 8), st.floats(1, 3))
def test_cost_is_a_staircase_over_output_and_a_comb_over_input(cout, cin, tile_out, tile_in, penalty):
    model = CostModel(tile_out=tile_out, tile_in=tile_in, penalty_in=penalty)
    here = model.cost_us([CostedLayer(cout, cin, 1, 64)])
    tread_end = math.ceil(cout / tile_out) * tile_out
    assert model.cost_us([CostedLayer(tread_end, cin, 1, 64)]) == here
    plain = CostModel(tile_out=tile_out).cost_us([CostedLayer(cout, cin, 1, 64)])
    assert here == pytest.approx(3 + (plain - 3) * (penalty if cin % tile_in else 1))


def test_a_whole_entry_survives_the_wire():
    model = cost_model_from(WHOLE)
    assert cost_model_from(model.to_dict()) == model and model.humps == (Hump((49, 64), 1.15),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tile_out", 0),
        ("tile_out", 2.0),
        ("penalty_in", -1),
        ("us_per_mmac", "12"),
        ("us_per_mmac", math.nan),
        ("humps", {"out": [1, 2]}),
        ("humps", [{"out": [64, 49], "factor": 1.1}]),
        ("humps", [{"out": [1, 2]}]),
        ("noise", {"sigma": -0.1}),
        ("noise", {"spread": 0.1}),
        ("noise", {"interference_share": 1.1}),
        ("noise", {"interference_factor": 0.0}),
        ("faults", {"crash_every": 1.5}),
        ("seed", -1),
        ("tiles", 16),
        ("noise", None),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(key, value):
    with pytest.raises(HakdError, match="cost_model") as caught:
        Device.from_config("vdev", {"transport": "virtual", "cost_model": {**WHOLE, key: value}})
    assert caught.value.where == "device vdev" and caught.value.remedy


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"transport": "virtual"}, "either cost_model or table"),
        ({"transport": "virtual", "cost_model": WHOLE, "table": "x.parquet"}, "either cost_model or table"),
        ({"transport": "virtual", "cost_model": WHOLE, "engine": "ncnn"}, "reads ONNX"),
        ({"transport": "local", "cost_model": WHOLE}, "Only for `transport: virtual`"),
        ({"transport": "virtual", "table": "-x"}, "table"),
    ],
)
def test_what_a_virtual_device_needs(settings, words):
    with pytest.raises(HakdError, match=words):
        Device.from_config("vdev", settings)
