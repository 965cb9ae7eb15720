"""What is said of a user's file beside its widths: its weights, its mode, and what is no model at all."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hakd.explaining.blocks import whole_point
from hakd.importing.groups import take_apart
from hakd.importing.model import load_model
from hakd.records.errors import HakdError
from tests.unit.onnx_nets import IMAGE, SCORES, Net, checked, names


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
