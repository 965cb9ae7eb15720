"""What is said of a user's file beside its widths: its weights, its mode, and what is no model at all."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hakd.explaining.blocks import whole_point
from hakd.importing.groups import take_apart
from hakd.importing.model import load_model
from hakd.records.errors import HakdError
from tests.unit.onnx_nets import IMAGE, SCORES, Net, checked, names, run


def test_denormal_and_mostly_zero_weights_are_spoken_of(tmp_path):
    net = Net()
    net.head(net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two"), 5)
    weight = numpy_helper.to_array(net.arrays[0])
    net.arrays[0].CopyFrom(numpy_helper.from_array((weight * 1e-40).astype(np.float32), "one.weight"))
    (said,) = load_model(net.save(tmp_path, IMAGE, SCORES)).remarks
    assert "denormal numbers (below 1.2e-38): one.weight (100%)" in said
    for tensor in net.arrays[:2]:
        value = numpy_helper.to_array(tensor).copy()
        value[1:] = 0
        tensor.CopyFrom(numpy_helper.from_array(np.where(value, 1, 0).astype(np.float32), tensor.name))
    (said,) = load_model(net.save(tmp_path, IMAGE, SCORES)).remarks
    assert "% of its layers' weights are zeros" in said


def test_a_file_in_training_mode_is_timed_as_in_inference(tmp_path):
    net = Net()
    x = net.conv("image", 3, 6, "one")
    norm = [net.const(f"bn{i}", np.ones(6, np.float32)) for i in range(4)]
    x = net.op("BatchNormalization", x, *norm, out=["n", "mean", "var"], training_mode=1)
    x = net.op("Dropout", x, net.const("rate", 0.5, np.float32), net.const("training", True))
    net.head(net.conv(x, 6, 5, "two"), 5)
    found = checked(net.save(tmp_path, IMAGE, SCORES))
    assert "exported in training mode" in found.model.remarks[0] and not found.fixed


def test_quantised_layers_stay_as_they_are(tmp_path):
    net = Net()
    x = net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two")
    scale, zero = net.const("scale", 0.05, np.float32), net.const("zero", 0, np.int8)
    x = net.op("DequantizeLinear", net.op("QuantizeLinear", x, scale, zero), scale, zero)
    weight = net.op("DequantizeLinear", net.const("q", np.full((4, 5, 1, 1), 77, np.int8)), scale, zero)
    net.op("Conv", x, weight, name="quantised", out="scores")
    found = checked(net.save(tmp_path, IMAGE, {"scores": [1, 4, 16, 16]}))
    kinds = [node.op_type for node in onnx.load_from_string(whole_point(found, {}, "").model()).graph.node]
    assert kinds.count("DequantizeLinear") == 2 and names(found) == [("one", 6)]
    assert "it is quantised (DequantizeLinear, QuantizeLinear)" in found.model.remarks[0]


# --- files that are none


def test_a_file_without_its_data_says_what_is_missing(tmp_path):
    net = Net()
    net.head(net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two"), 5)
    path = net.save(tmp_path, IMAGE, SCORES)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HakdError, match=r"cut off after \d+ bytes.*download it again"):
        load_model(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(HakdError, match=r"a pointer of Git LFS, not the model\. .*git lfs pull"):
        load_model(path)
    onnx.save_model(
        onnx.load_from_string(whole),
        path,
        save_as_external_data=True,
        location="beside.data",
        size_threshold=0,
    )
    assert len(take_apart(load_model(path), path).changeable) == 2
    (tmp_path / "beside.data").unlink()
    with pytest.raises(HakdError, match=r"beside\.data, which is not beside it.*Copy that file"):
        load_model(path)


def test_a_structure_without_data_is_enough(tmp_path):
    net = Net()
    net.head(net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two"), 5)
    for tensor in net.arrays:
        tensor.ClearField("raw_data")
    found = checked(net.save(tmp_path, IMAGE, SCORES))
    assert names(found) == [("one", 6), ("two", 5)] and not found.model.remarks


def test_data_of_constant_nodes_may_lie_beside_the_file(tmp_path):
    net = Net()
    weight = numpy_helper.from_array(np.ones((6, 3, 1, 1), np.float32), "w")
    net.nodes.append(helper.make_node("Constant", [], ["one.weight"], value=weight))
    net.head(net.conv(net.op("Conv", "image", "one.weight", name="/one/Conv"), 6, 5, "two"), 5)
    path = net.save(tmp_path, IMAGE, SCORES)
    onnx.save_model(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="beside",
        size_threshold=0,
        convert_attribute=True,
    )
    assert names(checked(path)) == [("one", 6), ("two", 5)]


def test_outputs_that_no_layer_makes_and_nodes_that_nobody_uses_do_no_harm(tmp_path):
    net = Net()
    x = net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two")
    net.conv(x, 5, 3, "dead")
    net.op("Identity", "image", out="same")
    net.op("TopK", net.head(x, 5, out="flat"), net.sizes("k", 2), out=["scores", "unused"])
    found = checked(net.save(tmp_path, IMAGE, {"scores": [1, 2], "same": [1, 3, 16, 16]}))
    assert names(found) == [("one", 6), ("two", 5)] and [one.name for one in found.fixed] == ["head"]


def test_nothing_that_a_node_holds_in_texts_bodies_or_lists_is_sent(tmp_path):
    net = Net()
    marker = np.full(12, 0.12345678, np.float32)
    x = net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two")
    values = numpy_helper.from_array(marker[:2], "v")
    places = numpy_helper.from_array(np.array([0, 7], np.int64), "p")
    net.nodes.append(
        helper.make_node(
            "Constant", [], ["sparse"], sparse_value=helper.make_sparse_tensor(values, places, [5, 4])
        )
    )
    y = net.op("MatMul", net.op("Flatten", net.op("GlobalAveragePool", x)), "sparse")
    flag = net.op("Cast", net.op("ReduceMax", y, keepdims=0), to=9)
    bodies = {}
    for name in ("then_branch", "else_branch"):
        inside = [
            helper.make_node("Constant", [], ["input"], name="secretname", value_floats=marker[:4].tolist()),
            helper.make_node("Mul", [y, "input"], ["t0"], doc_string="secretname"),
        ]
        out = helper.make_tensor_value_info("t0", 1, None)
        bodies[name] = helper.make_graph(inside, "secretname", [], [out])
    y = net.op("If", flag, **bodies)
    y = net.op("LeakyRelu", y, alpha=0.12345678)
    labels = net.const("labels", np.array([b"secretname"] * 4, object))
    whole = net.op(
        "Mul", net.op("Cast", y, to=7), net.const("ints", np.arange(4321, 4333).reshape(12, 1, 1), np.int64)
    )
    net.op("ReduceSum", net.op("Cast", whole, to=1), out="scores")
    net.op("Gather", labels, net.op("ArgMax", y, axis=1), out="named")
    found = take_apart(
        load_model(net.save(tmp_path, IMAGE, {"scores": [1, 1, 1], "named": (8, [1, 1])})), "m"
    )
    sent = whole_point(found, {}, "").model()
    assert b"secretname" not in sent and marker[:1].tobytes() not in sent and run(found, {})
    assert (
        np.arange(4321, 4323).tobytes() not in sent
        and bytes(helper.make_attribute("x", 4322).SerializeToString()[3:]) not in sent
    )


def test_a_group_norm_of_its_own_is_followed(tmp_path):
    net = Net()
    scales = [net.const(name, np.ones(6, np.float32)) for name in ("scale", "shift")]
    x = net.op("GroupNormalization", net.conv("image", 3, 6, "one"), *scales, num_groups=2)
    net.head(net.conv(x, 6, 5, "two"), 5)
    assert names(checked(net.save(tmp_path, IMAGE, SCORES, opset=21, ir=10))) == [
        ("one[2 x 3]", 3),
        ("two", 5),
    ]


def test_a_depthwise_transposed_convolution_carries_its_width(tmp_path):
    net = Net()
    weight = net.const("up.weight", np.ones((6, 1, 2, 2), np.float32))
    x = net.op("ConvTranspose", net.conv("image", 3, 6, "one"), weight, strides=[2, 2], group=6)
    net.head(net.conv(x, 6, 5, "two"), 5)
    assert names(checked(net.save(tmp_path, IMAGE, SCORES))) == [("one", 6), ("two", 5)]
