"""Models as people have them: files that no exporter of today writes, and what is said of each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hakd.boards import Unmeasurable
from hakd.boards.packing import pack_point
from hakd.explaining.blocks import block_of, block_point, whole_point
from hakd.explaining.stand_ins import rounded
from hakd.importing.groups import take_apart
from hakd.importing.model import load_model
from tests.unit.onnx_nets import IMAGE, SCORES, Net, checked, names, run

MARKER = 0.12345678
Made = Callable[[Path], Path]


# --- names are not identity


def shared(folder: Path) -> Path:
    net = Net()
    near = net.conv(net.conv("image", 3, 6, "stem"), 6, 6, "near")
    far = net.conv(near, 6, 6, "far", strides=[2, 2])
    net.const("head.weight", net.random.standard_normal((7, 6, 3, 3)).astype(np.float32))
    net.op("Identity", "head.weight", out="again")
    pooled = []
    for level, weight in ((near, "head.weight"), (far, "again")):
        y = net.op("Relu", net.op("Conv", level, weight, name=f"/head{level}/Conv", pads=[1] * 4))
        pooled.append(net.op("GlobalAveragePool", y))
    net.linear(net.op("Flatten", net.op("Add", *pooled)), 7, 4, "last", out="scores")
    return net.save(folder, IMAGE, SCORES)


def test_layers_that_share_their_weights_are_one_group(tmp_path):
    found = checked(shared(tmp_path))
    assert names(found) == [("stem", 6), ("near (+1 tied)", 6), ("head (+1 tied)", 7)]
    assert len(found.changeable[2].producers) == 2


def test_nodes_of_one_name_make_groups_that_can_be_told_apart(tmp_path):
    net = Net()
    x = "image"
    for i, (ins, outs) in enumerate([(3, 5), (5, 8), (8, 6)]):
        weight = net.const(f"W{i}", np.ones((outs, ins, 1, 1), np.float32))
        x = net.op("Conv", x, weight, name="Conv")
    net.head(x, 6)
    found = checked(net.save(tmp_path, IMAGE, SCORES))
    assert names(found) == [("Conv (t0)", 5), ("Conv (t1)", 8), ("Conv (t2)", 6)]
    assert len({block_point(found, group, 7).key for group in found.groups}) == 3


# --- common files are examined


def split(folder: Path, **more) -> Path:
    net = Net()
    x = net.conv(net.conv("image", 3, 6, "stem"), 6, 8, "wide")
    sizes = [net.sizes("parts", 4, 4)] if not more else []
    net.op("Split", x, *sizes, out=["left", "right"], axis=1, **more)
    net.head(net.conv(net.op("Add", "left", "right"), 4, 5, "next"), 5)
    return net.save(folder, IMAGE, SCORES, opset=18 if more else 17)


@pytest.mark.parametrize("more", [{}, {"num_outputs": 2}])
def test_halves_that_meet_again_are_one_width(more, tmp_path):
    found = checked(split(tmp_path, **more))
    assert names(found) == [("stem", 6), ("wide[2 x 4]", 4), ("next", 5)]
    weights = [
        tensor.dims
        for tensor in onnx.load_from_string(block_of(found, found.groups[1], 9).model()).graph.initializer
    ]
    assert [18, 6, 3, 3] in weights and [5, 9, 3, 3] in weights


def test_parts_of_a_split_have_widths_of_their_own(tmp_path):
    net = Net()
    x = net.conv("image", 3, 8, "wide")
    net.op("Split", x, net.sizes("parts", 5, 3), out=["a", "b"], axis=1)
    y = net.op("Concat", net.conv("a", 5, 4, "inner"), "b", axis=1)
    net.head(net.conv(y, 7, 5, "next"), 5)
    found = checked(net.save(tmp_path, IMAGE, SCORES))
    assert names(found) == [("wide[0:5]", 5), ("wide[5:8]", 3), ("inner", 4), ("next", 5)]


def test_a_slice_of_the_channels_follows_them(tmp_path):
    net = Net()
    x = net.conv("image", 3, 8, "wide")
    ends = [net.sizes("s", 2), net.sizes("e", 7), net.sizes("axis", 1)]
    net.head(net.conv(net.op("Slice", x, *ends), 5, 6, "next"), 6)
    found = checked(net.save(tmp_path, IMAGE, SCORES))
    assert names(found) == [("wide[0:2]", 2), ("wide[2:7]", 5), ("wide[7:8]", 1), ("next", 6)]


def sequences(folder: Path) -> Path:
    net = Net()
    x = net.op("Reshape", net.conv("image", 3, 6, "stem"), net.sizes("flat", 1, 6, 256))
    x = net.op("Transpose", x, perm=[0, 2, 1])
    scale, shift = (
        net.const("ln.scale", np.ones(6, np.float32)),
        net.const("ln.shift", np.ones(6, np.float32)),
    )
    y = net.op("LayerNormalization", x, scale, shift, axis=-1)
    y = net.op(
        "Relu", net.op("Add", net.linear(y, 6, 11, "up"), net.const("up.bias", np.ones(11, np.float32)))
    )
    x = net.op("Add", x, net.linear(y, 11, 6, "down"))
    net.linear(net.op("ReduceMean", x, axes=[1], keepdims=0), 6, 4, "last", out="scores")
    return net.save(folder, IMAGE, SCORES)


def group_norm(folder: Path) -> Path:
    net = Net()
    x = net.conv("image", 3, 8, "stem")
    y = net.op("Reshape", x, net.sizes("groups", 1, 2, -1))
    y = net.op("InstanceNormalization", y, *(net.const(n, np.ones(2, np.float32)) for n in ("s", "b")))
    y = net.op("Reshape", y, net.sizes("back", 1, 8, 16, 16))
    y = net.op("Mul", y, net.const("gn.weight", np.ones((8, 1, 1), np.float32)))
    net.head(net.conv(y, 8, 5, "next"), 5)
    return net.save(folder, IMAGE, SCORES)


def no_bias(folder: Path) -> Path:
    net = Net()
    weight = net.const("one.weight", np.ones((6, 3, 1, 1), np.float32))
    net.head(net.conv(net.op("Conv", "image", weight, "", name="/one/Conv"), 6, 5, "two"), 5)
    return net.save(folder, IMAGE, SCORES)


def masked_dropout(folder: Path) -> Path:
    net = Net()
    x = net.op("Dropout", net.conv("image", 3, 6, "one"), out=["kept", "mask"])
    net.head(net.conv(x, 6, 5, "two"), 5)
    return net.save(folder, IMAGE, SCORES)


def ir3(folder: Path) -> Path:
    net = Net()
    net.head(net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two"), 5)
    return net.save(folder, IMAGE, SCORES, opset=9, ir=3, listed=True)


def unsorted(folder: Path) -> Path:
    net = Net()
    net.head(net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two"), 5)
    net.nodes.reverse()
    return net.save(folder, IMAGE, SCORES)


def functions(folder: Path) -> Path:
    net = Net()
    x = net.op("Twice", net.conv("image", 3, 6, "one"), domain="mine")
    net.head(net.conv(x, 6, 5, "two"), 5)
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    twice = helper.make_function("mine", "Twice", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])
    return net.save(folder, IMAGE, SCORES, domains={"mine": 1}, functions=[twice])


def sparse(folder: Path) -> Path:
    net = Net()
    values = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "one.weight")
    places = numpy_helper.from_array(np.array([0, 7], np.int64), "places")
    net.sparse.append(helper.make_sparse_tensor(values, places, [6, 3, 1, 1]))
    net.head(net.conv(net.op("Conv", "image", "one.weight", name="/one/Conv"), 6, 5, "two"), 5)
    return net.save(folder, IMAGE, SCORES, opset=13)


def unpooled(folder: Path) -> Path:
    net = Net()
    x = net.op(
        "MaxPool", net.conv("image", 3, 6, "one"), out=["small", "where"], kernel_shape=[2, 2], strides=[2, 2]
    )
    x = net.op("MaxUnpool", x, "where", net.sizes("size", 1, 6, 16, 16), kernel_shape=[2, 2], strides=[2, 2])
    net.head(net.conv(x, 6, 5, "two"), 5)
    return net.save(folder, IMAGE, SCORES)


def old_pad(folder: Path) -> Path:
    net = Net()
    x = net.op("Pad", net.conv("image", 3, 6, "one"), pads=[0, 0, 1, 1, 0, 0, 1, 1])
    net.head(net.conv(x, 6, 5, "two"), 5)
    return net.save(folder, IMAGE, SCORES, opset=10, ir=5)


def resized(folder: Path) -> Path:
    net = Net()
    size = net.sizes("size", 1, 6, 24, 24)
    x = net.op("Resize", net.conv("image", 3, 6, "one"), "", "", size, mode="nearest")
    net.head(net.conv(x, 6, 5, "two"), 5)
    return net.save(folder, IMAGE, SCORES, opset=13)


def opset6(folder: Path) -> Path:
    net = Net()
    x = net.op("Conv", "image", net.const("one.weight", np.ones((6, 3, 1, 1), np.float32)), name="/one/Conv")
    x = net.op("Add", x, net.const("offset", np.ones(6, np.float32)), broadcast=1, axis=1)
    x = net.op("PRelu", x, net.const("slope", np.ones(6, np.float32)))
    x = net.conv(x, 6, 5, "two")
    net.op("GlobalAveragePool", net.conv(x, 5, 4, "three"), out="scores")
    return net.save(folder, IMAGE, {"scores": [1, 4, 1, 1]}, opset=6, ir=3, listed=True)


def decided_if(folder: Path) -> Path:
    """A branch whose condition is constant, and which takes a tensor from outside."""
    net = Net()
    x = net.conv("image", 3, 6, "one")
    branches = {}
    for name, kind in (("then_branch", "Sigmoid"), ("else_branch", "Tanh")):
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        branches[name] = helper.make_graph([helper.make_node(kind, [x], [f"{name}_y"])], name, [], [out])
    x = net.op("If", net.const("yes", True), **branches)
    net.head(net.conv(x, 6, 5, "two"), 5)
    return net.save(folder, IMAGE, SCORES)


@pytest.mark.parametrize(
    "make",
    [
        no_bias,
        masked_dropout,
        ir3,
        unsorted,
        functions,
        sparse,
        unpooled,
        old_pad,
        resized,
        opset6,
        decided_if,
    ],
)
def test_a_file_of_an_unusual_kind_is_examined(make: Made, tmp_path):
    found = checked(make(tmp_path))
    assert names(found)[:2] == [("one", 6), ("two", 5)] and not found.fixed


def test_linear_layers_over_sequences_and_group_norms_are_followed(tmp_path):
    found = checked(sequences(tmp_path))
    assert names(found) == [("stem (+1 tied)", 6), ("up", 11)]
    assert names(checked(group_norm(tmp_path))) == [("stem[2 x 4]", 4), ("next", 5)]


def test_what_a_body_takes_from_outside_is_known(tmp_path):
    net = Net()
    x = net.conv("image", 3, 6, "one")
    flag = net.op("Cast", net.op("ReduceMax", x, keepdims=0), to=TensorProto.BOOL)
    marked = net.const("marked", np.full((1, 6, 1, 1), MARKER, np.float32))
    bodies = {}
    for name, kind in (("then_branch", "Mul"), ("else_branch", "Add")):
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        bodies[name] = helper.make_graph(
            [helper.make_node(kind, [x, marked], [f"{name}_y"])], name, [], [out]
        )
    net.head(net.conv(net.op("If", flag, name="branch", **bodies), 6, 5, "two"), 5)
    found = take_apart(load_model(net.save(tmp_path, IMAGE, SCORES)), "m")
    assert names(found) == [("two", 5)] and "ReduceMax (t2)" in found.fixed[0].reason
    assert np.isfinite(run(found, {})[0]).all()
    assert np.float32(MARKER).tobytes() not in whole_point(found, {}, "").model()


# --- element types, ranks, batches


def test_half_precision_is_timed_as_such(tmp_path):
    net = Net()
    x = net.op("Cast", "image", to=TensorProto.FLOAT16)
    x = net.conv(net.conv(x, 3, 6, "one", kind=np.float16), 6, 5, "two", kind=np.float16)
    x = net.op("Mul", x, net.const("half", 0.5, np.float16))
    x = net.op("Conv", x, net.const("three.weight", np.ones((4, 5, 1, 1), np.float16)))
    net.op("Cast", x, to=TensorProto.FLOAT, out="scores")
    found = checked(net.save(tmp_path, IMAGE, {"scores": [1, 4, 16, 16]}))
    assert names(found) == [("one", 6), ("two", 5)] and "float16 inside: timed as such" in found.model.remarks
    model = onnx.load_from_string(block_of(found, found.groups[0], 8).model())
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT16}
    assert pack_point(block_point(found, found.groups[0], 8))["reference"]["tolerance"] == 0.02


def test_a_scalar_index_takes_an_axis_away(tmp_path):
    net = Net()
    x = net.conv("image", 3, 6, "stem")
    side = net.op("Gather", net.conv(x, 6, 4, "side"), net.const("last", 15, np.int64), axis=3)
    side = net.op("Unsqueeze", side, net.sizes("axis", 3))
    x = net.op("Add", net.conv(x, 6, 5, "main"), net.conv(side, 4, 5, "back"))
    net.head(x, 5)
    found = checked(net.save(tmp_path, IMAGE, SCORES))
    assert names(found) == [("stem", 6), ("side", 4), ("main (+1 tied)", 5)]


def test_only_what_follows_the_batch_axis_is_rewritten(tmp_path):
    net = Net()
    bias = net.op("Reshape", net.const("bias", np.ones(6, np.float32)), net.sizes("as_image", 1, 6, 1, 1))
    x = net.op("Add", net.conv("image", 3, 6, "one"), bias)
    x = net.op("Reshape", net.conv(x, 6, 5, "two"), net.sizes("rows", 1, 5, 256))
    net.linear(net.op("Reshape", x, net.sizes("one_row", 1, 1280)), 1280, 4, "last", out="scores")
    path = net.save(tmp_path, IMAGE, SCORES)
    found = checked(path, 3)
    assert run(found, {})[0].shape == (3, 4) and "batch of 1 is replaced" in found.model.remarks[0]
    assert names(found) == names(checked(path))


def test_a_batch_of_minus_one_is_an_open_one(tmp_path):
    net = Net()
    net.head(net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two"), 5, out="flat")
    net.op("Reshape", "flat", net.sizes("boxes", -1, 2), out="scores")
    path = net.save(tmp_path, {"image": [-1, 3, 16, 16]}, {"scores": [-1, 2]})
    assert [run(checked(path, batch), {})[0].shape for batch in (1, 4)] == [(2, 2), (8, 2)]


@pytest.mark.parametrize("kind", ["Log", "Sqrt"])
def test_what_a_logarithm_is_taken_of_stays_positive(kind, tmp_path):
    net = Net()
    power = net.op("Mul", "image", "image")
    bank = net.const("bank.weight", np.abs(net.random.standard_normal((6, 3, 1, 1))).astype(np.float32))
    x = net.op("Add", net.op("Conv", power, bank, name="/bank/Conv"), net.const("tiny", 1e-6, np.float32))
    net.head(net.conv(net.op(kind, x), 6, 5, "next"), 5)
    assert names(checked(net.save(tmp_path, IMAGE, SCORES))) == [("bank", 6), ("next", 5)]


def test_a_block_that_cannot_be_finite_says_so(tmp_path):
    net = Net()
    x = net.op("Log", net.op("Conv", "image", net.const("one.weight", -np.ones((6, 3, 1, 1), np.float32))))
    net.head(net.conv(x, 6, 5, "two"), 5)
    found = take_apart(load_model(net.save(tmp_path, IMAGE, SCORES)), "m")
    with pytest.raises(Unmeasurable, match="not finite"):
        pack_point(block_point(found, found.groups[0], 6))
    assert pack_point(block_point(found, found.groups[1], 6))["reference"]


# --- what cannot be examined has its true reason


def test_outputs_that_are_no_floats_or_of_unknown_length(tmp_path):
    net = Net()
    x = net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two")
    net.op("ArgMax", net.conv(x, 5, 4, "three"), axis=1, keepdims=0, out="classes")
    found = checked(net.save(tmp_path, IMAGE, {"classes": (TensorProto.INT64, [1, 16, 16])}))
    assert names(found) == [("one", 6), ("two", 5)]
    net.op("NonZero", x, out="where")
    found = checked(net.save(tmp_path, IMAGE, {"where": (TensorProto.INT64, [4, None])}))
    assert names(found) == [("one", 6)]


@pytest.mark.parametrize("domains", [{}, {"TRT": 1}])
def test_a_plugin_leaves_the_groups_that_do_not_touch_it(domains, tmp_path):
    net = Net()
    x = net.conv(net.conv("image", 3, 6, "one"), 6, 5, "two")
    net.op("Plugin", net.conv(x, 5, 4, "three"), domain="TRT", name="plugin", out="found")
    found = take_apart(load_model(net.save(tmp_path, IMAGE, {"found": [1, 4]}, domains=domains)), "m")
    assert names(found) == [("one", 6), ("two", 5)]
    assert found.fixed[0].reason == "the sizes around Plugin (plugin) are unknown"


def test_recurrent_weights_do_not_leave_the_machine(tmp_path):
    """Nor do any others: a marker in the constants of many kinds of op is in nothing that is sent."""
    net = Net()
    full = lambda *shape: np.full(shape, MARKER, np.float32)  # noqa: E731
    one = net.op("Conv", "image", net.const("c", full(6, 3, 3, 3)), net.const("cb", full(6)), pads=[1] * 4)
    x = net.op("BatchNormalization", one, *(net.const(f"bn{i}", full(6)) for i in range(4)))
    x = net.op("PRelu", x, net.const("slope", full(6, 1, 1)))
    x = net.op("Mul", x, net.const("scale", full(1, 6, 1, 1)))
    x = net.op("Add", x, net.const("one_number", MARKER, np.float32))
    x = net.op("Conv", x, net.const("dw", full(6, 1, 3, 3)), pads=[1] * 4, group=6)
    x = net.op("ConvTranspose", x, net.const("ct", full(6, 5, 2, 2)), strides=[2, 2])
    x = net.op("InstanceNormalization", x, net.const("in", full(5)), net.const("ib", full(5)))
    x = net.op(
        "Where", net.const("mask", np.ones((1, 5, 1, 1), bool)), x, net.const("other", full(1, 5, 1, 1))
    )
    x = net.op("Reshape", net.conv(x, 5, 7, "after"), net.sizes("flat", 1, 7, 1024))
    x = net.op("Transpose", x, perm=[2, 0, 1])
    lstm = [net.const("w", full(1, 12, 7)), net.const("r", full(1, 12, 3)), net.const("b", full(1, 24))]
    x = net.op("Squeeze", net.op("LSTM", x, *lstm, hidden_size=3), net.sizes("gone", 1))
    table = net.const("table", full(9, 3))
    x = net.op(
        "Add", x, net.op("Gather", table, net.op("Cast", net.op("ReduceMax", x, keepdims=0), to=7), axis=0)
    )
    x = net.op("MatMul", x, net.const("m", full(3, 8)))
    x = net.op("LayerNormalization", x, net.const("ln", full(8)), net.const("lb", full(8)), axis=-1)
    x = net.op("Einsum", x, net.const("e", full(8, 4)), equation="sbi,io->sbo")
    small = net.const("q", np.full((4, 4), 77, np.int8)), net.const("qs", MARKER, np.float32)
    x = net.op("MatMul", x, net.op("DequantizeLinear", *small))
    net.op("Gemm", net.op("Reshape", x, net.sizes("rows", -1, 4)), net.const("g", full(4, 2)), out="scores")
    found = take_apart(load_model(net.save(tmp_path, IMAGE, {"scores": [None, 2]})), "m")
    points = [whole_point(found, {}, "whole"), *(block_point(found, g, g.width) for g in found.changeable)]
    assert len(points) > 1 and np.isfinite(run(found, {})[0]).all()
    for point in points:
        assert np.float32(MARKER).tobytes() not in point.model() and bytes([77] * 16) not in point.model()


@pytest.mark.parametrize(
    ("number", "kept"),
    [(6.0, 6.0), (0.5, 0.5), (0.70710677, 0.70710677), (0.044715, 0.044715), (MARKER, 0.1), (-11.3137, -10), (0, 0)],
)  # fmt: skip
def test_numbers_of_formulas_stay_and_others_are_rounded(number, kept):
    assert rounded(number) == pytest.approx(kept, rel=1e-7)
