"""Fisher scores against brute force, the choice of what goes, and the weights that are inherited."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hakd.networks.families import (
    build_graph,
    full_architecture,
    full_graph,
    full_widths,
    network_spec,
)
from hakd.networks.module import network_with, new_network, weights_of
from hakd.networks.slicing import slice_weights
from hakd.pruning.fisher import FisherScores, mask_sites
from hakd.pruning.inherit import inherit, kept_channels
from hakd.pruning.prune import choose_removals
from hakd.records.arch import Architecture
from tests.unit.builders import SPECS, shaken


def network(name):
    graph = build_graph(full_architecture(SPECS[name]()))
    return graph, shaken(new_network(graph, 0)).double()


def images_for(graph, count):
    return torch.randn(count, *graph.tensors[graph.inputs[0]].shape).double()


def masked(graph, masks):
    """A tap that multiplies every site of a group by its per-example mask (N, width)."""
    sites = mask_sites(graph)

    def tap(name, value):
        if name in sites:
            factors = torch.ones(len(value), value.shape[1], dtype=value.dtype)
            for group, segment, start in sites[name]:
                assert segment.times == 1
                places = torch.arange(start, start + segment.size)
                factors = factors.index_copy(1, places, masks[group].expand(len(value), -1))
            value = value * factors.reshape(*factors.shape, *[1] * (value.dim() - 2))
        return value

    return tap


@pytest.mark.parametrize("name", SPECS)
def test_scores_equal_brute_force_per_example_gradients_in_eval_mode(name):
    graph, module = network(name)
    module.eval()
    images, labels = images_for(graph, 6), torch.arange(6)
    fisher = FisherScores(graph)
    F.cross_entropy(module(images, fisher.tap), labels).backward()
    fisher.add(len(labels))
    expected = {group: torch.zeros(width).double() for group, width in graph.groups().items()}
    for n in range(len(labels)):  # the loss of ONE example, its mask, its gradient
        masks = {
            g: torch.ones(1, w, requires_grad=True, dtype=torch.double) for g, w in graph.groups().items()
        }
        loss = F.cross_entropy(module(images[n : n + 1], masked(graph, masks)), labels[n : n + 1])
        gradients = torch.autograd.grad(loss, list(masks.values()))
        for group, gradient in zip(masks, gradients, strict=True):
            expected[group] += gradient[0].square() / (2 * len(labels))
    for group, score in fisher.scores().items():
        torch.testing.assert_close(score.double(), expected[group], atol=1e-12, rtol=1e-5)
        assert score.max() > 0


@pytest.mark.parametrize("name", SPECS)
def test_scores_in_train_mode_are_derivatives_by_per_example_masks(name):
    graph, module = network(name)
    module.train()
    images, labels = images_for(graph, 8), torch.arange(8)
    fisher = FisherScores(graph)
    F.cross_entropy(module(images, fisher.tap), labels).backward()
    fisher.add(len(labels))
    masks = {g: torch.ones(8, w, requires_grad=True, dtype=torch.double) for g, w in graph.groups().items()}
    loss = F.cross_entropy(module(images, masked(graph, masks)), labels, reduction="sum")
    gradients = dict(zip(masks, torch.autograd.grad(loss, list(masks.values())), strict=True))
    for group, score in fisher.scores().items():
        expected = gradients[group].square().sum(dim=0) / (2 * 8)
        torch.testing.assert_close(score.double(), expected, atol=1e-12, rtol=1e-5)


def test_sites_are_where_layers_take_a_channel():
    sites = {name: set(mask_sites(network(name)[0])) for name in ("resnet", "wrn", "vgg16")}
    assert {"stem.relu", "stage1.block1.inner.relu", "stage1.block1.relu"} <= sites["resnet"]
    assert not any(site.endswith((".norm", ".add", ".pool")) for site in sites["resnet"] | sites["vgg16"])
    assert sites["wrn"] and all(site.endswith("relu") for site in sites["wrn"])  # the sums go through norms
    linear = mask_sites(full_graph(network_spec("mobilenetv2", {}, 3, 10)))
    assert {"stage2.block1.project.norm", "stage2.block2.add"} <= set(linear)


def test_batch_split_does_not_change_scores():
    """The 1/N of a batch-mean loss is undone: two batches of 4 give what one of 8 gives (eval mode)."""
    graph, module = network("mobilenet")
    module.eval()
    images, labels = images_for(graph, 8), torch.arange(8)
    results = []
    for parts in (1, 2):
        fisher = FisherScores(graph)
        for x, y in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            F.cross_entropy(module(x, fisher.tap), y).backward()
            fisher.add(len(y))
        results.append(fisher.scores())
    for group in results[0]:
        torch.testing.assert_close(results[0][group], results[1][group], atol=1e-12, rtol=1e-5)


def test_a_dead_channel_scores_zero():
    graph, module = network("mobilenet")
    module.eval()
    module.get_submodule("block3.pointwise.norm").weight.data[2] = 0
    module.get_submodule("block3.pointwise.norm").bias.data[2] = -1
    module.get_submodule("block4.depthwise.norm").bias.data[2] = -1
    module.get_submodule("block4.depthwise.norm").weight.data[2] = 0
    fisher = FisherScores(graph)
    F.cross_entropy(module(images_for(graph, 4), fisher.tap), torch.arange(4)).backward()
    fisher.add(4)
    assert fisher.scores()["block3"][2] == 0


def test_cheapest_removal_with_and_without_cost():
    scores = {"a": np.array([3.0, 1.0]), "b": np.array([2.0, 2.5])}
    widths = {"a": 2, "b": 2}

    def macs_of(w):
        return w["a"] + 100 * w["b"]

    assert choose_removals(scores, widths, 1, 0.0, macs_of) == [("a", 1)]
    assert choose_removals(scores, widths, 1, 0.1, macs_of) == [("b", 0)]  # 2 - 10 < 1 - 0.1
    assert choose_removals(scores, widths, 9, 0.0, macs_of) == [("a", 1), ("b", 0)]  # one channel stays


def test_inherited_weights_are_the_pruned_ones_and_the_teachers_where_channels_come_back():
    spec = SPECS["mobilenet"]()
    full = build_graph(full_architecture(spec))
    teacher = weights_of(new_network(full, 0))
    order = {group: np.random.default_rng(1).permutation(width) for group, width in full_widths(spec).items()}
    widths = {group: max(1, width // 2) for group, width in full_widths(spec).items()}
    keep = kept_channels(order, widths)
    pruned = {name: value + 1 for name, value in slice_weights(full, teacher, keep).items()}
    same = inherit(full, teacher, pruned, keep, keep)
    assert all(np.array_equal(same[name], pruned[name]) for name in pruned)
    everything = kept_channels(order, full_widths(spec))
    wide = inherit(full, teacher, pruned, keep, everything)
    norm = "block3.pointwise.norm.bias"
    changed = np.flatnonzero(wide[norm] != teacher[norm])
    assert sorted(changed) == sorted(keep["block3"])
    graph = build_graph(Architecture(spec, widths))
    assert network_with(graph, same) is not None
