"""The families against published counts and torchvision's modules; their width groups; images that are no square."""

import pytest
import torch
import torchvision

from hakd.networks.families import (
    build_graph,
    full_architecture,
    full_graph,
    full_widths,
    network_spec,
    width_groups,
)
from hakd.networks.module import network_with, new_network
from hakd.networks.onnx_model import stand_in_weights
from tests.unit.builders import SPECS

LARGE = {"stem": "imagenet", "input_size": 224}
DENSE_121 = {"blocks": [6, 12, 24, 16], "growth": 32}

# family, options, classes, trainable parameters, multiply-accumulates of convolutions and linear layers
ORACLES = [
    ("mobilenet", {}, 10, 3_217_226, 46_354_432),
    ("resnet", {"depth": 18}, 10, 11_173_962, 555_422_720),
    ("resnet", {"depth": 20}, 10, 272_474, 40_813_184),
    ("resnet", {"depth": 32}, 10, 466_906, 69_124_736),
    ("resnet", {"depth": 44}, 10, 661_338, 97_436_288),
    ("resnet", {"depth": 56}, 10, 855_770, 125_747_840),
    ("vgg16", {}, 10, 14_986_698, 313_196_544 + 512 * 512 + 512 * 10),
    ("wrn", {"depth": 40, "multiplier": 2}, 10, 2_243_546, 327_599_360),
    ("wrn", {"depth": 16, "multiplier": 2}, 10, 691_674, 101_106_944),
    ("wrn", {"depth": 40, "multiplier": 1}, 10, 563_930, 83_280_512),
    ("wrn", {"depth": 16, "multiplier": 1}, 10, 175_066, 26_657_408),
    ("densenet", {"depth": 100, "growth": 12}, 10, 769_162, 287_929_692),
    ("densenet", DENSE_121, 10, 6_956_298, 888_350_720),
    ("resnet", {"depth": 18, **LARGE}, 1000, 11_689_512, 1_814_073_344),
    ("resnet", {"depth": 34, **LARGE}, 1000, 21_797_672, 3_663_761_408),
    ("vgg16", {"norm": False, **LARGE}, 1000, 138_357_544, 15_470_264_320),
    ("vgg16", LARGE, 1000, 138_365_992, 15_470_264_320),
    ("densenet", {**DENSE_121, **LARGE}, 1000, 7_978_856, 2_834_161_664),
    ("mobilenetv2", LARGE, 1000, 3_504_872, 300_774_272),
]


@pytest.mark.parametrize(("family", "options", "classes", "params", "macs"), ORACLES)
def test_counts_are_the_published_ones(family, options, classes, params, macs):
    graph = full_graph(network_spec("n", {"family": family, **options}, 3, classes))
    assert (graph.params(), graph.macs()) == (params, macs)
    tiles = graph.tiles().values()
    assert sorted(op.name for tile in tiles for op in tile.ops) == sorted(op.name for op in graph.ops)


@pytest.mark.parametrize(
    ("family", "options", "build"),
    [
        ("resnet", {"depth": 18}, torchvision.models.resnet18),
        ("mobilenetv2", {}, torchvision.models.mobilenet_v2),
        ("densenet", DENSE_121, torchvision.models.densenet121),
    ],
)
def test_logits_are_those_of_torchvisions_module(family, options, build):
    """Both list their weights in network order."""
    graph = full_graph(network_spec("n", {"family": family, **options, **LARGE, "input_size": 64}, 3, 1000))
    theirs, ours = build(weights=None).eval(), new_network(graph, 0).eval()
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", SPECS)
def test_an_image_need_not_be_square(name):
    spec = SPECS[name]()
    height, width = spec.image[0], 2 * spec.image[1]
    spec = network_spec("n", {"family": spec.family, **spec.options, "input_size": [height, width]}, 1, 10)
    assert spec.image == (height, width)
    graph = build_graph(full_architecture(spec))
    module = network_with(graph, stand_in_weights(graph)).eval()
    values = {}
    with torch.no_grad():
        module(torch.randn(1, 1, height, width), lambda name, value: values.setdefault(name, value))
    assert {name: tuple(value.shape[1:]) for name, value in values.items()} == {
        op.output: graph.tensors[op.output].shape for op in graph.ops
    }


def test_a_square_image_is_one_number():
    one, other = (network_spec("wrn", {"input_size": size}, 1, 10) for size in (16, [16, 16]))
    assert one == other and full_architecture(one).arch == full_architecture(other).arch


def test_residual_stages_are_one_group_and_inner_widths_their_own():
    groups = {group.name: group for group in width_groups(network_spec("resnet", {"depth": 20}, 3, 10))}
    assert groups["stage1"].makers == ("stem.conv", *(f"stage1.block{i}.outer.conv" for i in (1, 2, 3)))
    assert groups["stage2"].makers[:2] == ("stage2.block1.outer.conv", "stage2.block1.shortcut.conv")
    assert not groups["stage2"].inner and groups["stage2.block1"].inner
    wide = {group.name: group for group in width_groups(network_spec("wrn", {"depth": 16}, 3, 10))}
    assert wide["stem"].makers == ("stem.conv",)  # a shortcut convolution parts it from the first stage
    narrow = {g.name for g in width_groups(network_spec("wrn", {"depth": 16, "multiplier": 1}, 3, 10))}
    assert "stem" not in narrow


def test_a_fixed_width_says_why():
    fixed = [group for group in width_groups(SPECS["densenet"]()) if group.reason is not None]
    assert {group.name for group in fixed} >= {"stem.conv", "block1.layer1.conv2", "transition1.conv"}
    assert all("growth rate" in group.reason for group in fixed)
    assert not {group.name for group in fixed} & set(full_widths(SPECS["densenet"]()))
