"""Networks of the user's: torchvision's and hand-written ones through the importer, and back as ONNX files."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from hakd.boards import engines
from hakd.boards.packing import board_input
from hakd.evaluation.export import export, for_engine
from hakd.importing.modules import build_module
from hakd.networks.doors import import_network
from hakd.networks.families import full_architecture, full_graph, full_widths, network_spec, width_groups
from hakd.networks.imported import Images
from hakd.networks.module import network_with, new_network, weights_of
from hakd.networks.onnx_model import fold_weights, to_onnx
from hakd.networks.stored import read_network
from hakd.records.checkpoint import write_checkpoint
from hakd.records.errors import HakdError
from hakd.study.doors import files_of
from hakd.training.students import probe_logits
from tests.unit.builders import check_slicing, shaken
from tests.unit.onnx_nets import Net

NETS = "tests.unit.own_nets"
IMAGES = Images(3, (32, 32), 5)
GROUPED = {"regnet_y_400mf": r"grouped convolution ", "shufflenet_v2_x1_0": r"shuffle \("}

# Of torchvision's modules with 1000 classes: trainable parameters, MACs of convolutions and linear layers at 224 x 224.
ORACLES = {
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "vgg16_bn": (138_365_992, 15_470_264_320),
    "densenet121": (7_978_856, 2_834_161_664),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "mobilenet_v3_small": (2_542_856, 56_510_400),
    "squeezenet1_0": (1_248_424, 818_924_576),
    "googlenet": (6_624_904, 1_498_376_192),
    "efficientnet_b0": (5_288_548, 385_814_752),
    "regnet_y_400mf": (4_344_144, 401_842_848),
    "mnasnet1_0": (4_383_312, 314_415_872),
    "shufflenet_v2_x1_0": (2_278_604, 144_907_992),
}


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    scale = float(theirs.abs().max())
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * scale)


def free_share(graph) -> float:
    """Share of the convolutions' MACs that touch a width which can be changed."""
    convs = [op for op in graph.ops if op.kind == "conv"]
    touching = [
        op
        for op in convs
        for name in (*op.inputs, op.output)
        if any(s.group for s in graph.tensors[name].channels)
    ]
    return sum(map(graph.op_macs, {op.name: op for op in touching}.values())) / sum(map(graph.op_macs, convs))


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.filterwarnings("ignore")
def test_torchvisions_networks(name):
    module = build_module(f"{NETS}:{name}")
    found = import_network("n", {"module": f"{NETS}:{name}"}, Images(3, (64, 64), 1000))
    graph = full_graph(found.spec)
    network = network_with(graph, found.weights).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        close(network(images), module(images))
    large = full_graph(replace(found.spec, input_size=224))
    assert (large.params(), large.macs()) == ORACLES[name]
    state = module.state_dict()
    assert all(tuple(state[key].shape) == value.shape for key, value in found.weights.items())
    fixed = [group for group in width_groups(found.spec) if group.reason is not None]
    if name in GROUPED:
        assert fixed and all(re.match(GROUPED[name], group.reason) for group in fixed)
        assert free_share(large) > 0.8
    else:
        assert not fixed and free_share(large) == 1
    tiles = [op.name for tile in graph.tiles().values() for op in tile.ops]
    assert sorted(tiles) == sorted(op.name for op in graph.ops)
    check_slicing(found.spec, network, 0)


@pytest.mark.parametrize(
    ("name", "fixed"),
    [
        ("Mixed", {"mixed.0", "grouped.0"}),
        ("Activations", set()),
        ("Halves", {"narrow.0", "parts.other.0"}),
        ("Dense", set()),
    ],
)
def test_hand_written_networks(name, fixed, tmp_path):
    settings = {"module": f"{NETS}:{name}", "weights": "own"}
    found = import_network("mine", settings, IMAGES)
    module = build_module(f"{NETS}:{name}")
    graph = full_graph(found.spec)
    network = network_with(graph, found.weights).eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        close(network(images), module(images))
    names = {key for key in module.state_dict() if not key.endswith("num_batches_tracked")}
    assert set(found.weights) == names
    assert graph.params() == sum(value.numel() for value in module.parameters())
    assert {group.name for group in width_groups(found.spec) if group.reason} == fixed
    check_slicing(found.spec, shaken(network), 1)
    path = tmp_path / "network.safetensors"
    write_checkpoint(path, full_architecture(found.spec), found.weights, {})
    again = read_network(path, found.spec)
    assert again.architecture == full_architecture(found.spec)
    assert again.architecture.arch == full_architecture(found.spec).arch


@pytest.mark.parametrize("name", ["Named", "Nested", "Kept", "Unused", "Normed", "Probable", "Apart"])
def test_oddities_are_read(name):
    """The importer itself compares what it has read with the module."""
    found = import_network("mine", {"module": f"{NETS}:{name}"}, IMAGES)
    state = build_module(f"{NETS}:{name}").state_dict()
    names = {key for key in state if not key.endswith(("num_batches_tracked", "times"))}
    assert {*found.weights} == names
    check_slicing(found.spec, shaken(network_with(full_graph(found.spec), found.weights)).eval(), 0)


def test_what_lies_behind_a_head_that_is_replaced_is_replaced_too():
    found = import_network("n", {"module": f"{NETS}:Normed", "weights": "own"}, Images(3, (32, 32), 9))
    shapes = {name: value.shape for name, value in found.weights.items()}
    assert shapes == full_graph(found.spec).parameter_shapes()
    assert (found.weights["last.2.weight"] == 0.25).all() and (found.weights["last.1.running_var"] == 1).all()


def test_dropout_stays_for_training_and_activations_are_one_op():
    kinds = [op.kind for op in full_graph(import_network("n", {"module": f"{NETS}:Mixed"}, IMAGES).spec).ops]
    assert kinds.count("dropout") == 1 and kinds.count("gelu") == 1 and "unflatten" in kinds
    spec = import_network("n", {"module": f"{NETS}:Activations"}, IMAGES).spec
    kinds = [op.kind for op in full_graph(spec).ops]
    wanted = {
        "silu",
        "hardswish",
        "hardsigmoid",
        "gelu",
        "relu6",
        "prelu",
        "leaky_relu",
        "pad",
        "adaptive_avg_pool",
    }
    assert wanted <= {*kinds} and kinds.count("hardswish") == 2 and kinds.count("avg_pool") == 2


def test_a_dense_block_is_a_tile_a_layer():
    tiles = full_graph(import_network("n", {"module": f"{NETS}:Dense"}, IMAGES).spec).tiles()
    assert list(tiles) == ["stem", "convs.0", "convs.1", "convs.2", "head"]
    assert all(len(tile.inputs) == 1 for tile in tiles.values())


def test_a_residual_block_is_a_tile():
    spec = import_network("n", {"module": "torchvision.models:resnet18"}, Images(3, (32, 32), 1000)).spec
    assert list(full_graph(spec).tiles()) == [
        "conv1", *(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)), "fc"
    ]  # fmt: skip


# --- ONNX files


@pytest.mark.parametrize("name", ["Mixed", "Activations", "Halves", "Dense"])
def test_what_hakd_exports_it_reads_again(name, tmp_path):
    """Batch norms are folded in the file: the same network with biases, at other names of the ops between layers."""
    spec = import_network("mine", {"module": f"{NETS}:{name}"}, IMAGES).spec
    module = shaken(network_with(full_graph(spec), weights_of_module(name))).eval()
    graph, weights = fold_weights(module.graph, weights_of(module))
    path = tmp_path / "model.onnx"
    path.write_bytes(to_onnx(graph, weights, "N").SerializeToString())
    again = import_network("again", {"onnx": str(path)}, IMAGES)
    made = full_graph(again.spec)
    kinds = [op.kind for op in graph.ops if op.kind != "dropout"]
    assert [op.kind for op in made.ops] == kinds
    assert list(full_widths(again.spec).values()) == list(full_widths(spec).values())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        close(network_with(made, again.weights).eval()(images), module(images))


def weights_of_module(name):
    state = build_module(f"{NETS}:{name}").state_dict()
    return {key: value.numpy() for key, value in state.items() if not key.endswith("num_batches_tracked")}


def test_a_file_of_another_exporter(tmp_path):
    """Padding SAME with a stride, biases that are added, weights the other way round, a softmax at the end."""
    net = Net()
    weight = net.const("w1", net.random.standard_normal((8, 3, 3, 3)), np.float32)
    x = net.op("Conv", "image", weight, strides=[2, 2], auto_pad="SAME_UPPER")
    x = net.op("Add", x, net.const("b1", net.random.standard_normal((1, 8, 1, 1)), np.float32))
    low, high = net.const("low", 0, np.float32), net.const("high", 6, np.float32)
    x = net.op("Clip", x, low, high)
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    x = net.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    x = net.op("MatMul", x, net.const("w2", net.random.standard_normal((8, 4)), np.float32))
    x = net.op("Add", x, net.const("b2", net.random.standard_normal(4), np.float32))
    path = net.save(tmp_path, {"image": [1, 3, 16, 15]}, {net.op("Softmax", x, out="scores"): [1, 4]})
    images = Images(3, (16, 15), 4)
    found = import_network("n", {"onnx": str(path)}, images)
    assert found.remarks == ("the Softmax at its end is left out: training works on logits",)
    assert [op.kind for op in full_graph(found.spec).ops] == [
        "pad", "conv", "relu6", "max_pool", "global_avg_pool", "linear"
    ]  # fmt: skip
    assert list(full_widths(found.spec).values()) == [8]


def test_factors_and_summands_behind_layers_become_part_of_them(tmp_path):
    """Batch norms in two steps and scales after them, as converters of older formats write them; an image of logits."""
    net = Net()

    def each(name: str, *shape: int) -> str:
        return net.const(name, net.random.uniform(0.5, 2, shape), np.float32)

    x = net.op("Conv", "image", each("w1", 8, 3, 3, 3), pads=[1] * 4)
    x = net.op(
        "Mul", net.op("Add", net.op("Div", x, each("d", 8, 1, 1)), each("a", 1, 8, 1, 1)), each("m", 8, 1, 1)
    )
    x = net.op("BatchNormalization", net.op("Relu", x), *(each(f"n{i}", 8) for i in range(4)))
    x = net.op("Sub", net.op("Mul", x, each("s", 8, 1, 1)), each("t", 8, 1, 1))
    x = net.op("Conv", net.op("Relu", x), each("w2", 4, 8, 1, 1), net.const("b2", np.zeros(4), np.float32))
    x = net.op("Mul", x, net.const("half", 0.5, np.float32))
    path = net.save(
        tmp_path, {"image": [1, 3, 8, 8]}, {net.op("GlobalAveragePool", x, out="scores"): [1, 4, 1, 1]}
    )
    graph = full_graph(import_network("n", {"onnx": str(path)}, Images(3, (8, 8), 4)).spec)
    assert [op.kind for op in graph.ops] == ["conv", "relu", "batch_norm", "relu", "conv", "global_avg_pool"]
    assert graph.tensors[graph.output].shape == (4,)


def test_an_onnx_file_has_its_own_size_and_brings_its_own_weights(tmp_path):
    net = Net()
    path = net.save(tmp_path, {"image": [1, 3, 16, 16]}, {net.head(net.conv("image", 3, 8, "a"), 8): [1, 4]})
    assert import_network("n", {"onnx": str(path), "input_size": 16}, Images(3, (28, 28), 4)).spec.image == (
        16,
        16,
    )
    with pytest.raises(HakdError, match=r"an input of 3,28,28 does not fit the model's 3,16,16"):
        import_network("n", {"onnx": str(path)}, Images(3, (28, 28), 4))
    with pytest.raises(HakdError, match=r"an ONNX file brings its own weights. Write `weights: own`"):
        import_network("n", {"onnx": str(path), "weights": "x.pth"}, Images(3, (16, 16), 4))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "litert", "ncnn"])
@pytest.mark.parametrize("name", ["Mixed", "Dense", "Halves", "Activations"])
def test_a_candidate_runs_on_every_engine(name, engine, tmp_path):
    """As the study exports it, and as a benchmark reads it back from the file; what an engine lacks is named."""
    spec = import_network("mine", {"module": f"{NETS}:{name}"}, IMAGES).spec
    module = shaken(network_with(full_graph(spec), weights_of_module(name))).eval()
    path, weights = tmp_path / "candidate.onnx", weights_of(module)
    export(path, full_architecture(spec), weights, probe_logits(module.graph, weights), {}, {})
    if name == "Activations" and engine in ("litert", "ncnn"):
        with pytest.raises(
            HakdError, match=rf"{engine} does not have the op adaptive_avg_pool \(\w+: windows of"
        ):
            for_engine(path, engine, 1)
        return
    images = board_input((1, 3, 32, 32))
    prepared = engines.load(engine, 1).prepare(for_engine(path, engine, 1), images)
    prepared.call()
    with torch.no_grad():
        expected = module(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(prepared.output(), expected, atol=1e-4 * max(1, np.abs(expected).max()))


# --- weights, classes, frozen layers


@pytest.mark.parametrize("form", ["plain.pth", "wrapped.pth", "parallel.pt", "w.safetensors"])
def test_weights_come_from_a_file(form, tmp_path):
    state = shaken(build_module(f"{NETS}:Mixed")).state_dict()
    contents = {
        "wrapped.pth": {"epoch": 3, "state_dict": state},
        "parallel.pt": {f"module.{key}": value for key, value in state.items()},
    }
    (save_file if form.endswith("safetensors") else torch.save)(contents.get(form, state), tmp_path / form)
    found = import_network("n", {"module": f"{NETS}:Mixed", "weights": form}, IMAGES, [tmp_path])
    assert all(
        (found.weights[key] == value.numpy()).all() for key, value in state.items() if key in found.weights
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("deep.0.weight"), r"deep\.0\.weight: the network has it, the file does not"),
        (
            lambda state: state.update(more=torch.zeros(1)),
            r"more: the file has it, the network does not\. Known: stem",
        ),
        (
            lambda state: state.update({"classifier.3.bias": torch.zeros(7)}),
            r"classifier\.3\.bias: 7 in the file, 5 in the network\. Give the weights of this network",
        ),
    ],
)
def test_weights_that_do_not_fit(change, message, tmp_path):
    state = dict(build_module(f"{NETS}:Mixed").state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(HakdError, match=message):
        import_network("n", {"module": f"{NETS}:Mixed", "weights": str(tmp_path / "w.pth")}, IMAGES)


def test_files_that_hold_no_weights(tmp_path):
    torch.save(build_module(f"{NETS}:Mixed"), tmp_path / "whole.pth")
    (tmp_path / "text.safetensors").write_text("weights")
    for name, message in (
        ("whole.pth", r"without running code .*Save the weights alone: torch\.save\(network\.state_dict\(\)"),
        ("text.safetensors", r"not a safetensors file"),
        ("none.pth", "no such file of weights"),
    ):
        with pytest.raises(HakdError, match=message):
            import_network("n", {"module": f"{NETS}:Mixed", "weights": str(tmp_path / name)}, IMAGES)


def test_a_family_takes_weights_too(tmp_path):
    settings = {"family": "mobilenet", "multiplier": 0.125, "input_size": 8}
    weights = weights_of(new_network(full_graph(network_spec("m", settings, 1, 10)), 3))
    save_arrays(weights, tmp_path / "w.safetensors")
    images = Images(1, (8, 8), 10)
    found = import_network("m", {**settings, "weights": str(tmp_path / "w.safetensors")}, images)
    assert found.spec == network_spec("m", settings, 1, 10) and not found.replaced
    assert all((found.weights[key] == value).all() for key, value in weights.items())


@pytest.mark.parametrize(("name", "head"), [("Mixed", "classifier.3"), ("Dense", "head")])
def test_the_head_is_replaced_for_other_classes(name, head):
    settings = {"module": f"{NETS}:{name}", "weights": "own"}
    found, own = (import_network("n", settings, Images(3, (32, 32), classes)) for classes in (9, 5))
    assert found.replaced and not own.replaced
    assert found.remarks == (f"its head {head} gives 5 values: replaced by one for 9 classes",)
    graph = full_graph(found.spec)
    assert graph.tensors[graph.output].shape == (9,)
    assert network_with(graph, found.weights)(torch.zeros(1, 3, 32, 32)).shape == (1, 9)
    changed = {key for key in own.weights if not np.array_equal(own.weights[key], found.weights[key])}
    assert changed == {f"{head}.weight", f"{head}.bias"}


def test_frozen_layers_keep_their_widths():
    settings = {"module": "torchvision.models:resnet18", "frozen": ["layer1.0.conv1", "layer4"]}
    found = import_network("n", settings, Images(3, (32, 32), 1000))
    reasons = {group.name: group.reason for group in width_groups(found.spec) if group.reason}
    assert set(reasons) == {"layer1.0.conv1", "layer4.0.conv1", "layer4.0.conv2", "layer4.1.conv1"}
    assert set(reasons.values()) == {"the configuration freezes it"}
    free = import_network("n", {"module": "torchvision.models:resnet18"}, Images(3, (32, 32), 1000))
    assert full_architecture(free.spec).arch != full_architecture(found.spec).arch
    with pytest.raises(HakdError, match=r"networks\.n\.frozen: no layer 'layr4'\. Did you mean 'layer4'\?"):
        import_network("n", {**settings, "frozen": ["layr4"]}, Images(3, (32, 32), 1000))


# --- what cannot be read: one clear error that names the place


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Same", r"no op for Conv \(/twice_1/Conv\): it shares its weights with another layer, twice"),
        (
            "Decides",
            r"it reads a number out of a tensor in tests/unit/own_nets\.py, line \d+, so that what it does",
        ),
        ("Two", r"its forward takes 2 inputs \(left, right\)\. Give a network that takes only images"),
        (
            "Batch",
            r"no op for Reshape \(/Reshape\): it makes \[2, 1, 4\] of \[1, 8\]: the batch is no longer a separate axis",
        ),
        (
            "Sorts",
            r"no op for CumSum \(/CumSum\)\. Write the network without it \(docs/networks\.md\)",
        ),
        ("Pair", r"its forward gives 2 tensors \(tuple\)\. Give a network that returns only its logits"),
        ("Pictures", r"gives 8 x 32 x 32 values, a classifier one for each class"),
        ("Scaled", r"no op for Mul \(/Mul\): a number that everything is multiplied by"),
        ("Columns", r"no op for Add \(/Add\): a constant for each channel or pixel"),
        ("Slopes", r"no op for PRelu \(/slopes_1/PRelu\): it shares its weights with another layer, slopes"),
        (
            "Random",
            r"its output for the same image changes with each call\. Make `eval\(\)` switch off everything",
        ),
        ("leaves", r"it fails in tests/unit/own_nets\.py, line \d+ \(SystemExit: usage: nets\.py"),
        ("fails", r"it fails in tests/unit/own_nets\.py, line \d+ \(RuntimeError: no such depth\)"),
        ("nothing", r"returns NoneType, not a torch\.nn\.Module"),
        ("number", r"tests\.unit\.own_nets has no function 'number'"),
    ],
)
def test_what_cannot_be_read_is_named(name, message):
    with pytest.raises(HakdError, match=message) as caught:
        import_network("n", {"module": f"{NETS}:{name}"}, IMAGES)
    assert str(caught.value).startswith(f"{NETS}:{name}: ") and "\n" not in str(caught.value)


def test_a_size_that_is_written_into_a_reshape_is_named():
    with pytest.raises(
        HakdError, match=r"no op for Reshape \(/Reshape\): it makes \[1, 8, 1024\] of \[1, 8, 32, 32\]"
    ):
        import_network("n", {"module": f"{NETS}:Size"}, IMAGES)
    with pytest.raises(HakdError, match=r"does not take an image of 3,16,16 in .*own_nets\.py, line \d+"):
        import_network("n", {"module": f"{NETS}:Size"}, Images(3, (16, 16), 5))


def test_classes_that_differ_where_no_single_layer_makes_them():
    import_network("n", {"module": f"{NETS}:Sums"}, IMAGES)
    with pytest.raises(
        HakdError, match=r"gives 5 values, the data have 9 classes, and no single layer makes them"
    ):
        import_network("n", {"module": f"{NETS}:Sums"}, Images(3, (32, 32), 9))


def test_a_module_is_followed_to_what_it_imports_beside_it(tmp_path, monkeypatch):
    files = {
        "nets.py": "import torch, blocks, hakd.cli\nfrom pkg.sub import deep\n",
        "blocks.py": "def f():\n    import other\n",
        "other.py": "not Python",
        "pkg/__init__.py": "from . import b",
        "pkg/a.py": "from ..outside import y",
        "pkg/b.py": "",
        "pkg/unused.py": "",
        "pkg/sub/__init__.py": "",
        "pkg/sub/deep.py": "from ..a import x\nimport nets",
        "hakd/cli.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    assert {*files_of({"module": "nets:net"}, [tmp_path])} == {*files} - {"pkg/unused.py", "hakd/cli.py"}
    assert files_of({"module": "torchvision.models:resnet18"}, [tmp_path]) == []
