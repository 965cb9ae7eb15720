"""Fisher scores against brute force, and pruning against what it claims."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hakd.networks.families import build_graph, full_architecture, full_widths
from hakd.networks.module import network_with, new_network, weights_of
from hakd.networks.slicing import slice_weights
from hakd.pruning.fisher import FisherScores, mask_sites
from hakd.pruning.inherit import inherit, kept_channels
from hakd.pruning.prune import PruneSettings, choose_removals, prune
from hakd.pruning.trajectory import ranking, read_trajectory, regained_saliency, write_trajectory
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from tests.unit.builders import SPECS, TensorData, shaken


def network(name):
    graph = build_graph(full_architecture(SPECS[name]()))
    return graph, shaken(new_network(graph, 0)).double()


def masked(graph, masks):
    """A tap that multiplies every site of a group by its per-example mask (N, width)."""
    sites = mask_sites(graph)

    def tap(name, value):
        for group, start, end in sites.get(name, []):
            assert (start, end) == (0, value.shape[1])
            value = value * masks[group][:, :, None, None]
        return value

    return tap


@pytest.mark.parametrize("name", SPECS)
def test_scores_equal_brute_force_per_example_gradients_in_eval_mode(name):
    graph, module = network(name)
    module.eval()
    images, labels = torch.randn(6, 1, 8, 8).double(), torch.arange(6)
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
    images, labels = torch.randn(8, 1, 8, 8).double(), torch.arange(8)
    fisher = FisherScores(graph)
    F.cross_entropy(module(images, fisher.tap), labels).backward()
    fisher.add(len(labels))
    masks = {g: torch.ones(8, w, requires_grad=True, dtype=torch.double) for g, w in graph.groups().items()}
    loss = F.cross_entropy(module(images, masked(graph, masks)), labels, reduction="sum")
    gradients = dict(zip(masks, torch.autograd.grad(loss, list(masks.values())), strict=True))
    for group, score in fisher.scores().items():
        expected = gradients[group].square().sum(dim=0) / (2 * 8)
        torch.testing.assert_close(score.double(), expected, atol=1e-12, rtol=1e-5)


def test_batch_split_does_not_change_scores():
    """The 1/N of a batch-mean loss is undone: two batches of 4 give what one of 8 gives (eval mode)."""
    graph, module = network("mobilenet")
    module.eval()
    images, labels = torch.randn(8, 1, 8, 8).double(), torch.arange(8)
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
    F.cross_entropy(module(torch.randn(4, 1, 8, 8).double(), fisher.tap), torch.arange(4)).backward()
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


@pytest.mark.parametrize("name", SPECS)
def test_pruning_keeps_its_records_straight(name, tmp_path):
    spec = SPECS[name]()
    data = TensorData()
    teacher = full_architecture(spec)
    weights = weights_of(new_network(build_graph(teacher), 0))
    settings = PruneSettings(steps=2, channels=3, batch_size=16, evaluate_every=4)
    rows, levels = prune(teacher, weights, data, [0.8, 0.6], settings, seed=0)
    path = tmp_path / "trajectory.csv"
    write_trajectory(path, rows)
    trajectory = read_trajectory(path)
    full, full_macs = full_widths(spec), build_graph(teacher).macs()
    assert not trajectory.duplicated(["group", "channel"]).any()
    assert (np.diff(trajectory["macs"]) < 0).all()
    for level, state in levels.items():
        macs = build_graph(state.architecture).macs()
        assert macs <= level * full_macs
        before = trajectory[trajectory["macs"] > macs]
        first = before.groupby("removal")["macs"].min()
        assert (first[first.index < before["removal"].max()] > level * full_macs).all()
        network_with(build_graph(state.architecture), state.weights)
        removed = trajectory[trajectory["macs"] >= macs]["group"].value_counts()
        assert {g: full[g] - removed.get(g, 0) for g in full} == dict(state.architecture.widths)
        assert 0 < state.images <= len(trajectory) * 2 * 16
    lowest = levels[0.6].architecture.widths
    order = ranking(trajectory, full)
    for group in full:
        assert sorted(order[group]) == list(range(full[group]))
        gone = trajectory.loc[trajectory["group"] == group, "channel"]
        assert set(order[group][: lowest[group]]).isdisjoint(gone)
    group = max(full, key=lambda g: full[g] - lowest[g])
    recorded = trajectory.loc[trajectory["group"] == group, "score"]
    assert regained_saliency(trajectory, full, group, lowest[group], full[group]) == pytest.approx(
        recorded.sum()
    )
    assert regained_saliency(trajectory, full, group, lowest[group], lowest[group] + 1) == recorded.iloc[-1]


def test_a_level_is_as_it_was_when_it_was_reached_however_far_the_pruning_goes_on():
    spec, data = SPECS["densenet"](), TensorData()
    teacher = full_architecture(spec)
    weights = weights_of(new_network(build_graph(teacher), 0))
    settings = PruneSettings(steps=2, channels=2, batch_size=16)
    _, alone = prune(teacher, weights, data, [0.8], settings, seed=0)
    _, further = prune(teacher, weights, data, [0.8, 0.7], settings, seed=0)
    assert further[0.8].architecture == alone[0.8].architecture
    for name, value in alone[0.8].weights.items():
        np.testing.assert_array_equal(further[0.8].weights[name], value)


def test_a_killed_pruning_goes_on_where_it_was(tmp_path, monkeypatch):
    spec, data = SPECS["densenet"](), TensorData()
    teacher = full_architecture(spec)
    weights = weights_of(new_network(build_graph(teacher), 0))
    settings = PruneSettings(steps=2, channels=2, batch_size=16, evaluate_every=3)
    whole = prune(teacher, weights, data, [0.7], settings, seed=0)
    import hakd.pruning.prune as module

    kept, calls = tmp_path / "state", 0
    real = module.choose_removals

    def interrupted(*arguments):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "choose_removals", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prune(teacher, weights, data, [0.7], settings, seed=0, resume_path=kept)
    assert kept.exists()
    monkeypatch.setattr(module, "choose_removals", real)
    resumed = prune(teacher, weights, data, [0.7], settings, seed=0, resume_path=kept)
    assert repr(resumed[0]) == repr(whole[0])  # repr: NaN equals NaN
    for name, value in whole[1][0.7].weights.items():
        np.testing.assert_array_equal(resumed[1][0.7].weights[name], value)
    kept.write_bytes(b"damaged")
    assert len(prune(teacher, weights, data, [0.9], settings, seed=0, resume_path=kept)[0]) > 0


def test_a_level_out_of_reach_is_an_error():
    spec = SPECS["densenet"]()
    teacher = full_architecture(spec)
    weights = weights_of(new_network(build_graph(teacher), 0))
    with pytest.raises(HakdError, match=r"run.levels: 0.01"):
        prune(
            teacher, weights, TensorData(), [0.01], PruneSettings(steps=1, channels=40, batch_size=16), seed=0
        )


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
