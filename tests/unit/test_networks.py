"""Networks from widths: the published counts, the torch form, folding, slicing, tiles and blocks, ONNX."""

import math

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.networks.families import build_graph, full_architecture, full_widths, network_spec
from hakd.networks.module import Network, network_with, new_network, weights_of
from hakd.networks.onnx_model import fold_weights, stand_in_weights, to_onnx
from hakd.networks.stored import read_network
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.checkpoint import write_checkpoint
from hakd.records.errors import HakdError
from hakd.records.graph import fold_batch_norm
from tests.unit.builders import SPECS, check_slicing, narrowed, shaken

CHAINS = ("mobilenet", "densenet", "vgg16")  # a width of a residual stage has whole blocks between its layers
XS_WIDTHS = [32, 43, 85, 70, 150, 69, 188, 72, 122, 106, 96, 81, 75, 100]


def conv_and_fc_weights(graph):
    shapes = graph.parameter_shapes()
    return sum(math.prod(shape) for shape in shapes.values() if len(shape) > 1)


def mobilenet_v1() -> NetworkSpec:
    return NetworkSpec("mobilenet", "mobilenet", 3, 32, 10, {"multiplier": 1.0})


def test_mobilenet_has_the_published_counts():
    graph = build_graph(full_architecture(mobilenet_v1()))
    assert conv_and_fc_weights(graph) == 3_195_328
    assert graph.params() == 3_217_226
    assert graph.macs() == pytest.approx(46.34e6, rel=5e-4)


def test_mobilenet_at_the_published_pruned_widths():
    spec = mobilenet_v1()
    graph = build_graph(Architecture(spec, dict(zip(full_widths(spec), XS_WIDTHS, strict=True))))
    assert conv_and_fc_weights(graph) == 124_147
    assert graph.params() == 129_113


def test_densenet_bc_100_has_48_layers_of_48_prunable_channels():
    spec = NetworkSpec("densenet", "densenet", 3, 32, 10, {"depth": 100, "growth": 12})
    graph = build_graph(full_architecture(spec))
    assert list(graph.groups().values()) == [48] * 48
    assert graph.params() == 769_162  # 0.8M in Huang et al. 2017, table 2


@pytest.mark.parametrize("name", SPECS)
def test_counts_agree_with_torch(name):
    spec = SPECS[name]()
    for widths in (full_widths(spec), narrowed(spec)):
        graph = build_graph(Architecture(spec, widths))
        module = new_network(graph, 0)
        assert graph.params() == sum(p.numel() for p in module.parameters())
        macs = 0

        def count(layer, inputs, output):
            nonlocal macs
            per_output = layer.weight[0].numel()
            macs += output[0].numel() * per_output

        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.register_forward_hook(count)
        module.eval()(torch.zeros(1, 1, *spec.image))
        assert graph.macs() == macs


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("seed", range(3))
def test_sliced_network_equals_the_masked_one(name, seed):
    """Physical pruning is what masks after batch norm and rectifier describe (eval mode, atol 1e-5)."""
    spec = SPECS[name]()
    module = shaken(new_network(build_graph(full_architecture(spec)), seed), seed).eval()
    check_slicing(spec, module, seed)


@pytest.mark.parametrize("name", SPECS)
def test_onnx_of_the_folded_network_equals_torch(name):
    spec = SPECS[name]()
    graph = build_graph(Architecture(spec, narrowed(spec, 3)))
    module = shaken(new_network(graph, 1)).eval()
    folded, weights = fold_weights(graph, weights_of(module))
    model = to_onnx(folded, weights, "batch").SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    images = torch.randn(3, 1, *spec.image)
    with torch.no_grad():
        expected = module(images)
        torch.testing.assert_close(
            network_with(folded, weights).eval()(images), expected, atol=1e-4, rtol=1e-4
        )
    (found,) = session.run(None, {"input": images.numpy()})
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SPECS)
def test_tiles_partition_the_network(name):
    spec = SPECS[name]()
    graph, _ = fold_batch_norm(build_graph(Architecture(spec, narrowed(spec))))
    tiles = graph.tiles()
    assert sorted(op.name for tile in tiles.values() for op in tile.ops) == sorted(
        op.name for op in graph.ops
    )
    assert sum(tile.macs() for tile in tiles.values()) == graph.macs()


@pytest.mark.parametrize("name", SPECS)
def test_tiles_run_one_after_the_other_give_the_network(name):
    spec = SPECS[name]()
    graph, _ = fold_batch_norm(build_graph(Architecture(spec, narrowed(spec, 5))))
    weights = stand_in_weights(graph)
    x = torch.randn(2, 1, *spec.image)
    with torch.no_grad():
        expected, value = network_with(graph, weights).eval()(x), x
        for tile in graph.tiles().values():
            own = {key: weights[key] for key in tile.parameter_shapes()}
            value = network_with(tile, own).eval()(value)
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_parts_are_the_same_nodes_as_in_the_exported_network(name):
    """The exporter of networks and the builder of tiles and blocks cannot disagree: node by node."""
    spec = SPECS[name]()
    graph, _ = fold_batch_norm(build_graph(Architecture(spec, narrowed(spec))))
    whole = {node.name: node for node in to_onnx(graph, stand_in_weights(graph)).graph.node}
    parts = list(graph.tiles().values()) + [graph.block(group) for group in graph.groups()]
    for part in parts:
        for node in to_onnx(part, stand_in_weights(part)).graph.node:
            same = whole[node.name]
            assert (node.op_type, list(node.output)) == (same.op_type, list(same.output))
            assert list(node.attribute) == list(same.attribute)
            renamed = [(a, b) for a, b in zip(node.input, same.input, strict=True) if a != b]
            assert all(a == "input" for a, _ in renamed)


@pytest.mark.parametrize("name", SPECS)
def test_a_block_holds_exactly_what_its_width_shapes(name):
    spec = SPECS[name]()
    widths = full_widths(spec)
    graph, _ = fold_batch_norm(build_graph(Architecture(spec, widths)))
    for group, width in widths.items():
        narrower, _ = fold_batch_norm(build_graph(Architecture(spec, {**widths, group: width - 1})))
        changed = {
            op.name
            for op, other in zip(graph.ops, narrower.ops, strict=True)
            if op.kind in ("conv", "linear") and graph.parameter_axes(op) != narrower.parameter_axes(other)
        }
        inside = {op.name for op in graph.block(group).ops if op.kind in ("conv", "linear")}
        assert inside == changed if spec.family in CHAINS else inside >= changed


def test_shape_key_is_blind_to_names_and_sees_every_width():
    spec = SPECS["mobilenet"]()
    widths = full_widths(spec) | {"block3": 12, "block5": 12, "block2": 16, "block4": 16}
    tiles = fold_batch_norm(build_graph(Architecture(spec, widths)))[0].tiles()
    keys = {tile: part.shape_key() for tile, part in tiles.items()}
    assert keys["block8"] == keys["block9"]
    wider = fold_batch_norm(build_graph(Architecture(spec, widths | {"block7": 63})))[0].tiles()
    differing = {tile for tile in tiles if wider[tile].shape_key() != keys[tile]}
    assert differing == {"block7", "block8"}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(SPECS)))
def test_architecture_hash_follows_content(seed, name):
    spec = SPECS[name]()
    widths = narrowed(spec, seed)
    one = Architecture(spec, widths)
    assert one.arch == Architecture(spec, dict(reversed(list(widths.items())))).arch
    group = next(iter(widths))
    other = widths | {group: widths[group] % full_widths(spec)[group] + 1}
    if other != widths:
        assert one.arch != Architecture(spec, other).arch


def test_initialisation_depends_on_the_seed_alone():
    graph = build_graph(full_architecture(SPECS["mobilenet"]()))
    torch.manual_seed(5)
    first = weights_of(new_network(graph, 3))
    torch.rand(10)
    second = weights_of(new_network(graph, 3))
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert any(
        not np.array_equal(first[key], value) for key, value in weights_of(new_network(graph, 4)).items()
    )


@pytest.mark.parametrize(
    ("settings_", "key"),
    [
        ({"family": "lenet"}, "family"),
        ({"family": "resnet", "depth": 21}, "networks.net"),
        ({"family": "wrn", "depth": 17}, "networks.net"),
        ({"family": "densenet", "blocks": [6, 0]}, "networks.net"),
        ({"family": "mobilenetv2", "stem": "large"}, "stem"),
        ({"family": "vgg16", "input_size": 16}, r"input_size: .*Use at least 32 pixels"),
        ({"family": "resnet", "input_size": [2, 32]}, r"input_size: images of 2 x 32 pixels are too small"),
        ({"family": "mobilenet", "depth": 22}, "depth"),
        ({"family": "densenet", "depth": 23, "growth": 8}, "networks.net"),
        ({"family": "mobilenet", "input_size": 4}, "input_size"),
    ],
)
def test_impossible_networks_are_refused(settings_, key):
    with pytest.raises(HakdError, match=key):
        network_spec("net", settings_, 1, 10)


def test_widths_that_do_not_fit_are_refused():
    spec = SPECS["densenet"]()
    full = full_widths(spec)
    group = next(iter(full))
    for widths in (full | {group: 0}, full | {group: full[group] + 1}, full | {"block9": 3}):
        with pytest.raises(HakdError):
            build_graph(Architecture(spec, widths))
    with pytest.raises(ValueError, match="do not fit"):
        network_with(build_graph(full_architecture(spec)), {})


def test_full_widths_of_the_families():
    assert list(full_widths(network_spec("mobilenet", {"multiplier": 0.25}, 3, 10)).values())[:3] == [
        8,
        16,
        32,
    ]
    assert isinstance(Network(build_graph(full_architecture(SPECS["densenet"]()))), torch.nn.Module)


@pytest.mark.parametrize("harm", ["other", "missing", "surplus"])
def test_a_checkpoint_of_other_shapes_is_refused(harm, tmp_path):
    architecture = full_architecture(SPECS["resnet"]())
    weights = weights_of(new_network(build_graph(architecture), 0))
    name, path = "stage2.block1.outer.conv.weight", tmp_path / "teacher.safetensors"
    write_checkpoint(path, architecture, weights, {})
    assert read_network(path).architecture == architecture
    if harm == "other":
        weights[name] = weights[name][:, :5]
    elif harm == "missing":
        del weights[name]
    else:
        name, weights["extra.weight"] = "extra.weight", np.ones(3, np.float32)
    write_checkpoint(path, architecture, weights, {})
    with pytest.raises(HakdError, match=rf"teacher\.safetensors: {name}: is a checkpoint of other shapes"):
        read_network(path)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_narrow_shortcut_with_a_stride_has_the_gradients_of_its_convolution(channels):
    """OneDNN's own kernel for it writes past its memory at such widths on processors with AVX2: the process ends."""
    graph = build_graph(
        Architecture(SPECS["resnet"](), full_widths(SPECS["resnet"]()) | {"stage1": channels})
    )
    layers = [
        m for m in Network(graph).modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (1, 1)
    ]
    layer = next(one for one in layers if one.in_channels == channels)
    plain = torch.nn.Conv2d(channels, layer.out_channels, 1, 2, bias=False)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(64, channels, 28, 28)
    for _ in range(5):
        layer(x.contiguous(memory_format=torch.channels_last)).square().sum().backward()
    with torch.backends.mkldnn.flags(enabled=False):
        plain(x).square().sum().mul(5).backward()
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-2)
