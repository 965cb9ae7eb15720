"""Pruning with masks at fixed shapes is pruning by shrinking: the same removals, weights and states."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from hakd.networks.families import build_graph, full_architecture, full_widths
from hakd.networks.module import network_with, new_network, weights_of
from hakd.networks.prunable import COUNTS, counts_of
from hakd.networks.slicing import slice_weights
from hakd.pruning.criteria import CRITERIA
from hakd.pruning.prune import PruneJob, PruneSettings, prune
from hakd.pruning.state import full_state
from hakd.pruning.trainee import Trainee
from hakd.training.loop import TrainingRun, fit
from hakd.training.recipe import Recipe
from hakd.training.statistics import renew_statistics
from tests.unit.builders import SPECS, TensorData, narrowed, shaken

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SETTINGS = PruneSettings(steps=2, channels=4, batch_size=20, evaluate_every=5)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def data_of(spec, device="cpu"):
    """Random images of the tests' number type: four batches of 20 in an epoch and one of 16."""
    data = TensorData(size=spec.image[0])
    for split in (data.train, data.validation):
        split.images = split.images.to(device, torch.get_default_dtype())
        split.labels = split.labels.to(device)
    return data


@cache
def teacher_of(name):
    """A network that was trained a little: in an untrained MobileNet rounding grows by thousands in a few steps."""
    spec = SPECS[name]()
    module = new_network(build_graph(full_architecture(spec)), 0)
    fit(module, data_of(spec), TrainingRun(8, Recipe(lr=0.05, batch_size=20), seed=0))
    return weights_of(module)


def run(name, masks, level=0.3, device="cpu", **job):
    spec = SPECS[name]()
    settings = replace(SETTINGS, channels=24) if name == "mobilenet" else SETTINGS
    job = PruneJob(level, settings, masks=masks, **job)
    return prune(full_architecture(spec), teacher_of(name), data_of(spec, device), job)


def kept_state(path):
    content = torch.load(path)
    return (
        {key: content[key] for key in ("weights", "momentum", "scores")},
        content["kept"],
        content["counters"],
    )


def assert_close(one, other):
    assert one.architecture == other.architecture
    for a, b in zip(one.rows, other.rows, strict=True):
        exact = {"removal", "step", "group", "channel", "macs", "params"}
        assert {key: a[key] for key in exact} == {key: b[key] for key in exact}
        assert a["score"] == pytest.approx(b["score"], rel=1e-6, abs=1e-12)
        assert a["val_accuracy"] == pytest.approx(b["val_accuracy"], nan_ok=True)
    assert one.facts == other.facts
    for name, value in one.weights.items():
        np.testing.assert_allclose(other.weights[name], value, rtol=1e-8, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "criterion"),
    [(name, "fisher") for name in ("mobilenet", "resnet", "densenet", "wrn")]
    + [("resnet", "l1"), ("densenet", "random_order")],
)
def test_masks_remove_the_same_channels_and_leave_the_same_network(
    float64, tmp_path, name, criterion, device
):
    paths = [tmp_path / "shrunk.state", tmp_path / "masked.state"]
    shrunk, masked = (
        run(name, masks, criterion=criterion, state_path=path, device=device)
        for masks, path in zip((False, True), paths, strict=True)
    )
    assert len(shrunk.rows) > 20
    assert_close(shrunk, masked)
    (one, kept, counters), (other, kept_too, counters_too) = (kept_state(path) for path in paths)
    assert counters == counters_too and kept.keys() == kept_too.keys()
    assert all(torch.equal(kept[group], kept_too[group]) for group in kept)
    for key, values in one.items():
        assert values.keys() == other[key].keys()
        for array, value in values.items():
            torch.testing.assert_close(other[key][array], value, rtol=1e-6, atol=1e-8)


def test_a_level_goes_on_from_a_state_whichever_way_it_was_made(float64, tmp_path):
    whole = run("densenet", False, level=0.4)
    for first in (False, True):
        path = tmp_path / f"{first}.state"
        run("densenet", first, level=0.7, state_path=path)
        assert_close(run("densenet", not first, level=0.4, above_path=path), whole)


def test_masked_networks_shrink_when_their_macs_have_halved(float64):
    spec = SPECS["mobilenet"]()
    architecture, count = full_architecture(spec), counts_of(spec)
    weights = weights_of(new_network(build_graph(architecture), 0))
    state, job = full_state(architecture, weights), PruneJob(0.1, SETTINGS, masks=True)
    trainee, widths = Trainee(state, job, torch.device("cpu")), dict(architecture.widths)
    sizes = [sum(one.numel() for one in trainee.parameters())]
    full = count({})["macs"]
    for group in list(widths) * 2:
        widths[group] -= widths[group] // 2
        macs = count(widths)["macs"]
        held = trainee.network.graph.macs()
        trainee.remove({group: np.arange(widths[group])}, macs)
        assert trainee.network.graph.macs() == (macs if macs <= held / 2 else held)
        sizes.append(sum(one.numel() for one in trainee.parameters()))
    assert len(set(sizes)) > 2 and macs < full / 8
    trainee.keep(state)
    keep = {group: np.arange(width) for group, width in widths.items()}
    expected = slice_weights(build_graph(architecture), weights, keep)
    assert all(np.array_equal(state.weights[name], value) for name, value in expected.items())


@pytest.mark.parametrize("name", SPECS)
def test_a_trainee_computes_what_the_network_without_the_channels_does(float64, name):
    spec = SPECS[name]()
    architecture = full_architecture(spec)
    graph = build_graph(architecture)
    weights = weights_of(shaken(new_network(graph, 0)))
    rng = np.random.default_rng(0)
    widths = narrowed(spec)
    keep = {
        group: np.sort(rng.permutation(full)[: widths[group]]) for group, full in full_widths(spec).items()
    }
    trainee = Trainee(
        full_state(architecture, weights), PruneJob(0.1, SETTINGS, masks=True), torch.device("cpu")
    )
    trainee.remove(keep, graph.macs())
    small = network_with(build_graph(architecture.at(widths)), slice_weights(graph, weights, keep))
    narrow = network_with(graph, weights)
    narrow.narrow(keep)
    images = data_of(spec).train.images[:8]
    for train in (True, False):  # in train mode the statistics of the batch count, of each channel alone
        expected = small.train(train)(images)
        torch.testing.assert_close(trainee.train(train)(images), expected, rtol=1e-9, atol=1e-9)
        assert torch.equal(narrow.train(train)(images), expected)
    assert repr(narrow) == repr(small)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_scores_of_a_masked_network_are_those_of_the_shrunk_one(float64, criterion):
    spec = SPECS["resnet"]()
    architecture, data = full_architecture(spec), data_of(SPECS["resnet"]())
    states = [
        full_state(architecture, weights_of(new_network(build_graph(architecture), 0))) for _ in range(2)
    ]
    keep = {group: np.arange(width)[1::2] for group, width in architecture.widths.items() if width > 1}
    settings = replace(SETTINGS, steps=3)
    for state, masks in zip(states, (False, True), strict=True):
        trainee = Trainee(
            state, PruneJob(0.1, settings, criterion=criterion, masks=masks), torch.device("cpu")
        )
        trainee.remove(keep, trainee.network.graph.macs())
        trainee.train_cycle(iter(data.train.batches(20, 0, 0)), state, 1)
        state.removals += 1
        trainee.train_cycle(iter(data.train.batches(20, 0, 1)), state, 1)
    for group, values in states[0].scores.items():
        np.testing.assert_allclose(states[1].scores[group], values, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", SPECS)
def test_counts_equal_those_of_the_graph(name):
    spec = SPECS[name]()
    count = counts_of(spec)
    for seed in range(20):
        widths = narrowed(spec, seed)
        graph = build_graph(full_architecture(spec).at(widths))
        assert count(widths) == {name: function(graph) for name, function in COUNTS.items()}
    some = dict(list(widths.items())[::2])
    assert (
        count(some)["macs"] == build_graph(full_architecture(spec).at({**full_widths(spec), **some})).macs()
    )


def test_renewed_statistics_are_means_over_the_batches_and_nothing_else_changes(float64):
    spec = SPECS["mobilenet"]()
    module, data = shaken(new_network(build_graph(full_architecture(spec)), 0)).eval(), data_of(spec)
    before = weights_of(module)
    renew_statistics(module, data.train, 20, 3, batches=2)
    assert not module.training
    after, norm = weights_of(module), "stem.norm"
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {
        name for name in before if name.endswith(("running_mean", "running_var"))
    }
    batches = list(data.train.batches(20, 3, 0))[:2]
    made = [module.get_submodule("stem.conv")(images) for images, _ in batches]
    expected = torch.stack([one.mean(dim=(0, 2, 3)) for one in made]).mean(dim=0)
    np.testing.assert_allclose(after[f"{norm}.running_mean"], expected.detach().numpy(), rtol=1e-9)
    expected = torch.stack([one.var(dim=(0, 2, 3)) for one in made]).mean(dim=0)
    np.testing.assert_allclose(after[f"{norm}.running_var"], expected.detach().numpy(), rtol=1e-9)
    assert module.get_submodule(norm).momentum == 0.1
