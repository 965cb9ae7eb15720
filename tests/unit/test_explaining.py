"""A user's model taken_apart apart: its width groups, their blocks at other widths, and what is refused."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from hakd.boards import Device, engines
from hakd.boards.packing import board_input
from hakd.boards.virtual import layers_of
from hakd.cli import parser
from hakd.explaining.blocks import block_of, block_point, whole_point
from hakd.importing.groups import Group, WidthGroups, take_apart
from hakd.importing.model import load_model
from hakd.networks.families import build_graph, full_widths, width_groups
from hakd.networks.onnx_model import fold_weights, stand_in_weights, to_onnx
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.records.graph import fold_batch_norm
from tests.unit.builders import SPECS
from tests.unit.command import HEAVY, loaded, run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's older exporter


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, as in a ResNet; batch norms that no exporter folds away."""

    def __init__(self, ins: int, inner: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.down = nn.Identity() if ins == out and stride == 1 else nn.Conv2d(ins, out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.down(x))


def resnet(stem: int = 9, inner: int = 13, stage: int = 17, last: int = 5) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, stem, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), Residual(stem, inner, stem),
        Residual(stem, 7, stage, 2), Residual(stage, last, stage), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(stage, 10),
    )  # fmt: skip


def inverted(stem: int = 9, hidden: int = 27, out: int = 6) -> nn.Module:
    """Expansion, depthwise, projection, as in a MobileNetV2."""
    return nn.Sequential(
        nn.Conv2d(3, stem, 3, 2, 1), nn.ReLU6(), nn.Conv2d(stem, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU6(),
        nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish(),
        nn.Conv2d(hidden, out, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(out, 4),
    )  # fmt: skip


class Excited(nn.Module):
    """A squeeze and excitation: the channels of an image times one number each."""

    def __init__(self, wide: int = 11, squeezed: int = 3) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, wide, 3), nn.Conv2d(wide, squeezed, 1)
        self.up, self.last = nn.Conv2d(squeezed, wide, 1), nn.Conv2d(wide, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        scale = self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True))))
        return self.last(x * torch.sigmoid(scale))


class Joined(nn.Module):
    """A concatenation of three, one of them used elsewhere too."""

    def __init__(self, a: int = 5, b: int = 7) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, a, 1), nn.Conv2d(4, b, 3, padding=1)
        self.norm, self.next, self.last = (
            nn.BatchNorm2d(4 + a + b),
            nn.Conv2d(4 + a + b, 6, 1),
            nn.Conv2d(6 + a, 2, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        a = self.a(x)
        y = self.next(torch.relu(self.norm(torch.cat([x, a, self.b(x)], 1))))
        return self.last(torch.cat([y, a], 1))


class Flat(nn.Module):
    """Images flattened with their pixels, a scale for each channel, a transposed convolution, hidden layers."""

    def __init__(self, width: int = 6, hidden: int = 9) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, width, 3, 2, 1), nn.ConvTranspose2d(width, width + 1, 2, 2)
        self.slope, self.scale = (
            nn.PReLU(width),
            nn.Parameter(torch.arange(1.0, width + 2).reshape(1, -1, 1, 1)),
        )
        self.first, self.second = (
            nn.Linear((width + 1) * 16, hidden),
            nn.Linear(hidden, hidden - 2, bias=False),
        )
        self.last = nn.Linear(hidden - 2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.avg_pool2d(self.up(self.slope(self.conv(x))) * self.scale, 4)
        x = torch.tanh(self.first(x.reshape(x.shape[0], -1)))
        return torch.log_softmax(self.last(self.second(x)), 1)


class Shuffled(nn.Module):
    """Groups and reordered channels between plain layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.narrow = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 1)
        self.wide, self.grouped, self.last = (
            nn.Conv2d(5, 8, 1),
            nn.Conv2d(8, 8, 3, groups=2),
            nn.Conv2d(8, 2, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.grouped(self.wide(torch.relu(self.narrow(torch.relu(self.stem(x))))))
        n, c, h, w = x.shape
        return self.last(x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))


def save(module: nn.Module, folder: Path, size: int = 16, **options) -> Path:
    """As a user exports it."""
    path = folder / f"{len(list(folder.iterdir()))}.onnx"
    images = torch.randn(1, 3, size, size)
    torch.onnx.export(module.eval(), (images,), str(path), dynamo=False, **options)
    return path


def taken_apart(module: nn.Module, folder: Path, **options) -> WidthGroups:
    path = save(module, folder, **options)
    return take_apart(load_model(path), path)


def group(found: WidthGroups, name: str) -> Group:
    return next(one for one in found.groups if one.name.startswith(name))


NETWORKS = [
    (resnet, "0 (+1 tied)", "stem", 9), (resnet, "/3/conv1", "inner", 13), (resnet, "/4/conv2", "stage", 17),
    (resnet, "/5/conv1", "last", 5), (inverted, "0", "stem", 9), (inverted, "/2/Conv", "hidden", 27),
    (inverted, "8", "out", 6), (Excited, "first", "wide", 11), (Excited, "down", "squeezed", 3),
    (Joined, "a", "a", 5), (Joined, "b", "b", 7),
]  # fmt: skip


@pytest.mark.parametrize(("network", "name", "key", "width"), NETWORKS)
def test_a_block_at_another_width_is_that_of_a_network_exported_at_it(network, name, key, width, tmp_path):
    ours = taken_apart(network(), tmp_path)
    found = group(ours, name)
    assert (found.width, found.reason) == (width, None)
    for other in (2, width - 1, width, width + 8):  # with one channel a depthwise convolution is a dense one
        theirs = taken_apart(network(**{key: other}), tmp_path)
        same = next(one for one in theirs.groups if one.producers == found.producers)
        assert same.width == other
        assert block_point(ours, found, other).key == block_point(theirs, same, other).key
        assert block_of(ours, found, other).model() == block_of(theirs, same, other).model()


def test_what_is_flattened_reshaped_and_scaled_follows_its_width(tmp_path):
    found = taken_apart(Flat(), tmp_path)
    assert [one.width for one in found.groups] == [6, 7, 9, 7]
    wider = taken_apart(Flat(hidden=12), tmp_path)
    hidden, theirs = group(found, "first"), group(wider, "first")
    assert block_point(found, hidden, 12).key != block_point(found, hidden, 9).key
    assert [layer.cout for layer in layers_of(block_of(found, hidden, 12).model())] == [12, 7]
    assert [layer.cout for layer in layers_of(block_of(wider, theirs, 12).model())] == [12, 10]
    for one in found.groups:
        for width in (1, one.width, one.width + 5):
            model = onnx.load_from_string(block_of(found, one, width).model())
            onnx.checker.check_model(model)
            onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
            out = onnxruntime.InferenceSession(model.SerializeToString()).run(
                None, {"input": np.ones(found.model.shapes[one.section.source], np.float32)}
            )[0]
            assert out.shape == found.model.shapes[one.section.target]


@pytest.mark.parametrize("family", SPECS)
def test_a_candidate_of_a_study_has_the_groups_and_blocks_that_its_sweep_times(family, tmp_path):
    spec = SPECS[family](32 if family == "vgg16" else 16)
    makers = {group.name: group.makers[0] for group in width_groups(spec)}
    widths = {name: max(2, width - 3) for name, width in full_widths(spec).items()}

    def written(widths: dict[str, int]) -> tuple:
        graph = build_graph(Architecture(spec, widths))
        folded, weights = fold_weights(graph, stand_in_weights(graph))
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
        onnx.save(to_onnx(folded, weights, "batch"), path)
        return folded, take_apart(load_model(path), path)

    _, found = written(widths)
    by_producer = {one.producers[0]: one for one in found.groups}
    for name in widths:
        for channels in (widths[name], widths[name] + 2):
            folded, _ = written({**widths, name: min(channels, full_widths(spec)[name])})
            block = fold_batch_norm(folded)[0].block(name)
            ours = by_producer[makers[name]]
            assert ours.width == widths[name] and not ours.reason
            wanted = layers_of(to_onnx(block, stand_in_weights(block)).SerializeToString())
            width = min(channels, full_widths(spec)[name])
            assert layers_of(block_of(found, ours, width).model()) == wanted


def test_equal_blocks_are_one_point_whatever_they_are_called(tmp_path):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = Residual(6, 9, 6), Residual(6, 9, 6)
            self.first, self.last = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.right(self.left(self.first(x))))

    found = taken_apart(Twice(), tmp_path)
    left, right = group(found, "/left/conv1"), group(found, "/right/conv1")
    assert left != right
    assert block_point(found, left, 12).key == block_point(found, right, 12).key
    assert block_point(found, left, 12).key != block_point(found, right, 13).key


@pytest.mark.parametrize("engine", ["onnxruntime", "litert"])
def test_on_a_device_in_int8_blocks_and_the_whole_model_are_quantised(tmp_path, engine):
    found, device = taken_apart(inverted(), tmp_path), Device("one", engine=engine, precision="int8")
    one = next(one for one in found.groups if one.section is not None)
    whole = whole_point(found, {}, "", device)
    assert engines.load(engine, 1).prepare(whole.model(), board_input(whole.input_shape)).call() is None
    point = block_point(found, one, one.width + 2, device=device)
    x = board_input(point.input_shape)
    prepared = engines.load(engine, 1).prepare(point.model(), x)
    prepared.call()
    expected = point.reference(x)
    largest = max(1.0, np.abs(expected).max())
    assert np.abs(prepared.output() - expected).max() <= point.tolerance * largest
    if engine == "onnxruntime":
        kinds = engines.load(engine, 1).ops(point.model())
        assert "com.microsoft:QLinearConv" in kinds and not any("Fused" in kind for kind in kinds)


def test_names_of_layers_are_those_of_the_file(tmp_path):
    found = taken_apart(inverted(), tmp_path)
    hidden = group(found, "/2/Conv")
    assert (hidden.producers, hidden.depthwise, hidden.consumers) == (
        ("/2/Conv",),
        ("/5/Conv",),
        ("/8/Conv",),
    )
    nodes = {node.name for node in onnx.load(save(inverted(), tmp_path)).graph.node}
    assert {*hidden.producers, *hidden.depthwise, *hidden.consumers} <= nodes


def test_what_cannot_be_changed_is_named_with_the_reason(tmp_path):
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.mid, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 1), nn.Conv2d(5, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.mid(torch.flip(self.stem(x), (1,))))

    found = taken_apart(Turned(), tmp_path)
    assert [one.name for one in found.groups] == ["stem", "mid"]
    assert (found.changeable, found.fixed) == (found.groups[1:], found.groups[:1])
    assert "Slice (/Slice) does not keep channels apart" in found.groups[0].reason


def test_groups_of_a_convolution_and_a_shuffle_change_together(tmp_path):
    found = taken_apart(Shuffled(), tmp_path)
    assert [(one.name, one.width, one.reason) for one in found.groups] == [
        ("stem", 8, None), ("narrow", 5, None), ("wide[2 x 4]", 4, None), ("grouped[2 x 4]", 4, None),
    ]  # fmt: skip
    for one in found.groups:
        model = onnx.load_from_string(block_of(found, one, one.width + 2).model())
        groups = [a.i for n in model.graph.node for a in n.attribute if a.name == "group" and a.i > 1]
        assert groups in ([], [2])
        block_point(found, one, one.width + 2).reference(
            np.ones((1, *found.model.shapes[one.section.source][1:]), np.float32)
        )


def test_widths_that_no_layer_makes_can_be_tied(tmp_path):
    """As in a transformer: what two ops that are not followed put out is added."""

    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.mid, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(16, 5, 1), nn.Conv2d(5, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            return self.last(self.mid(x.transpose(1, 2) + torch.flip(x, (3,)).transpose(1, 2)))

    found = taken_apart(Swapped(), tmp_path)
    assert [(one.name, one.width) for one in found.changeable] == [("mid", 5)]
    assert "along another axis" in group(found, "stem").reason


def test_a_width_of_which_two_outputs_are_made_is_not_examined(tmp_path):
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.mid = nn.Conv2d(3, 5, 1), nn.Conv2d(5, 6, 1)
            self.left, self.right = nn.Conv2d(6, 2, 1), nn.Conv2d(6, 3, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = self.mid(self.stem(x))
            return self.left(x), self.right(x)

    found = taken_apart(Forked(), tmp_path)
    assert [one.reason for one in found.groups] == [None, "it leads to several outputs of the model"]
    assert (
        len(found.model.outputs) == 2
        and len(onnx.load_from_string(whole_point(found, {}, "").model()).graph.output) == 2
    )


def test_the_batch_is_the_devices(tmp_path):
    path = save(resnet(), tmp_path, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    found = WidthGroups(load_model(path, batch=3))
    point = block_point(found, found.groups[0], 4)
    assert point.input_shape[0] == 3
    x = np.ones(point.input_shape, np.float32)
    assert point.reference(x).shape[0] == 3


def test_a_batch_that_the_file_fixes_is_replaced_in_its_reshapes_too(tmp_path):
    path = save(Flat(), tmp_path)
    model = onnx.load(path)
    reshapes = [node for node in model.graph.node if node.op_type in ("Reshape", "Flatten")]
    shape = numpy_helper.from_array(np.array([1, -1]), "shape")
    for node in reshapes:  # as the newer exporter of torch writes it
        node.op_type = "Reshape"
        del node.attribute[:]
        node.input[:] = [node.input[0], "shape"]
    model.graph.initializer.append(shape)
    onnx.save(model, path)
    one, three = (WidthGroups(load_model(path, batch)) for batch in (1, 3))
    assert [(g.name, g.width, g.reason) for g in one.groups] == [
        (g.name, g.width, g.reason) for g in three.groups
    ]
    found = group(three, "first")
    point = block_point(three, found, 11)
    assert point.input_shape[0] == 3 == point.reference(np.ones(point.input_shape, np.float32)).shape[0]


def test_sizes_that_are_left_open_have_to_be_given(tmp_path):
    path = save(resnet(), tmp_path, input_names=["x"], dynamic_axes={"x": {2: "h", 3: "w"}})
    with pytest.raises(HakdError, match=r"x: the input's sizes are left open\. .*--input 3,224,224"):
        load_model(path)
    with pytest.raises(HakdError, match=r"an input of 1,16,16 does not fit the model's 3,\?,\?"):
        load_model(path, image=(1, 16, 16))
    fixed = WidthGroups(load_model(path, image=(3, 16, 16)))
    plain = taken_apart(resnet(), tmp_path)
    assert [block_point(fixed, one, 5).key for one in fixed.groups] == [
        block_point(plain, one, 5).key for one in plain.groups
    ]


def _file(path: Path, kind: int = TensorProto.FLOAT, inputs: int = 1) -> Path:
    names = [f"x{i}" for i in range(inputs)]
    sources = [helper.make_tensor_value_info(name, kind, (1, 3, 8, 8)) for name in names]
    target = helper.make_tensor_value_info("y", kind, (1, 2, 8, 8))
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    nodes = [helper.make_node("Conv", [names[0], "w"], ["y"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", sources, [target], [weight])), path)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "cannot read"),
        (lambda path: path.write_bytes(b"no model") and path, "not an ONNX model"),
        (lambda path: path.write_bytes(b"") or path, "not an ONNX model"),
        (lambda path: _file(path, TensorProto.STRING), "x0: the input is not a tensor of numbers"),
        (lambda path: _file(path, inputs=2), r"needs one input, this has 2 \(x0, x1\)"),
        (lambda path: _file(path), "no width of it can be changed .it has no hidden convolution"),
    ],
)
def test_a_file_that_cannot_be_explained_is_one_clear_error(make, message, tmp_path):
    path = make(tmp_path / "model.onnx")
    with pytest.raises(HakdError, match=rf"model\.onnx: .*{message}"):
        take_apart(load_model(path), path)


def test_the_help_has_examples_and_loads_nothing_heavy():
    assert loaded(["explain", "--help"], HEAVY) == (0, [])
    text = run("explain", "--help").stdout
    lines = re.findall(r"^ {2}(hakd explain .+)$", text, re.MULTILINE)
    assert "exit status:" in text and len(lines) == 3
    for line in lines:
        assert parser().parse_args(line.split()[1:]), line


@pytest.mark.parametrize(
    "words",
    [
        ["model.onnx"],
        ["model.onnx", "--device", "local", "--top", "0"],
        ["model.onnx", "--device", "local", "--input", "3,x"],
        ["model.onnx", "--device", "local", "--input", "3,0,4"],
        ["model.onnx", "--device", "local", "--processes", "1"],
    ],
)
def test_a_command_line_that_is_not_understood_is_status_2(words):
    done = run("explain", *words)
    assert done.returncode == 2 and "usage: hakd explain" in done.stderr and not done.stdout


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    done = run("explain", "model.onnx", "--device", "local", cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert re.match(r"error: model\.onnx: cannot read \(No such file.*\n$", done.stderr), done.stderr
