"""Pruning level by level: what it records, that no level depends on others, and its criteria."""

from dataclasses import replace

import numpy as np
import pytest

from hakd.choosing.device_free import choose_device_free, copycat
from hakd.networks.families import build_graph, full_architecture, full_widths, width_groups
from hakd.networks.module import network_with, new_network, weights_of
from hakd.networks.prunable import COUNTS, makers, prunable, prunable_groups
from hakd.pruning.criteria import CRITERIA, RandomOrder
from hakd.pruning.prune import PruneJob, PruneSettings, prune
from hakd.pruning.trajectory import ranking, read_trajectory, regained_saliency, write_trajectory
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from tests.unit.builders import SPECS, TensorData, shaken

SETTINGS = PruneSettings(steps=2, channels=3, batch_size=16, evaluate_every=4)


def run(name="densenet", level=0.7, settings=SETTINGS, **job):
    """Prune an untrained network."""
    teacher = full_architecture(SPECS[name]())
    weights = weights_of(new_network(build_graph(teacher), 0))
    return prune(teacher, weights, TensorData(size=teacher.spec.image[0]), PruneJob(level, settings, **job))


def assert_same(one, other):
    assert one.architecture == other.architecture and one.facts == other.facts
    assert repr(one.rows) == repr(other.rows)  # repr: NaN equals NaN
    assert one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        np.testing.assert_array_equal(other.weights[name], value)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", SPECS)
def test_pruning_keeps_its_records_straight(name, count, tmp_path):
    level, full = 0.6, full_widths(SPECS[name]())
    channels = 12 if name == "mobilenetv2" else SETTINGS.channels  # it has ten times as many
    found = run(name, level, replace(SETTINGS, count=count, channels=channels))
    path = tmp_path / "trajectory.csv"
    write_trajectory(path, found.rows)
    trajectory = read_trajectory(path)
    whole, left = build_graph(full_architecture(SPECS[name]())), build_graph(found.architecture)
    assert COUNTS[count](left) <= level * COUNTS[count](whole)
    assert not trajectory.duplicated(["group", "channel"]).any()
    assert (np.diff(trajectory["macs"]) < 0).all() and (np.diff(trajectory["params"]) < 0).all()
    before = trajectory[
        trajectory["removal"] < trajectory["removal"].max()
    ]  # it stops at the first that fits
    assert (before[count] > level * COUNTS[count](whole)).all()
    network_with(left, found.weights)
    removed = trajectory["group"].value_counts()
    assert {g: full[g] - removed.get(g, 0) for g in full} == dict(found.architecture.widths)
    assert found.facts["prune_images"] == len(trajectory["removal"].unique()) * 2 * 16
    assert (found.facts["level"], found.facts["count"]) == (level, count)
    lowest, order = found.architecture.widths, ranking(trajectory, found.facts["kept"])
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


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_level_is_the_same_from_the_teacher_and_from_any_higher_level(criterion, tmp_path):
    states = [tmp_path / f"{level}.state" for level in (1, 0.85, 0.84, 0.7)]
    direct = run(level=0.7, criterion=criterion, state_path=tmp_path / "direct.state")
    above = None
    for level, state in zip((1, 0.85, 0.84, 0.7), states, strict=True):
        last = run(level=level, criterion=criterion, above_path=above, state_path=state)
        above = state
    assert_same(last, direct)
    assert_same(run(level=0.7, criterion=criterion, above_path=states[1]), direct)
    further = run(level=0.6, criterion=criterion, above_path=states[-1])
    assert_same(further, run(level=0.6, criterion=criterion, above_path=tmp_path / "direct.state"))
    assert repr(further.rows[: len(last.rows) - 1]) == repr(last.rows[:-1])
    assert np.isfinite([last.rows[-1]["val_accuracy"]]).all()


def test_a_state_of_another_pruning_or_a_damaged_one_changes_nothing(tmp_path, caplog):
    whole, state = run(level=0.8), tmp_path / "0.9.state"
    run(level=0.9, seed=1, state_path=state)
    assert_same(run(level=0.8, above_path=state), whole)
    state.write_bytes(b"damaged")
    assert_same(run(level=0.8, above_path=state), whole)
    assert caplog.text.count("0.9.state cannot be used: starting from the full network") == 2


@pytest.mark.parametrize("criterion", ["fisher", "random_order"])
def test_a_killed_pruning_goes_on_where_it_was(criterion, tmp_path, monkeypatch):
    import hakd.pruning.prune as module

    settings = replace(SETTINGS, channels=2, evaluate_every=3)
    whole = run(settings=settings, criterion=criterion)
    kept, calls, real = tmp_path / "state", 0, module.choose_removals

    def interrupted(*arguments):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "choose_removals", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(settings=settings, criterion=criterion, resume_path=kept)
    assert kept.exists()
    before, calls = calls, 5
    assert_same(run(settings=settings, criterion=criterion, resume_path=kept), whole)
    assert (
        before + (calls - 5) == len({row["removal"] for row in whole.rows}) + 2
    )  # 1 was lost and done again


def test_a_level_out_of_reach_is_an_error():
    with pytest.raises(HakdError, match=r"run.levels: 0.01"):
        run(level=0.01, settings=PruneSettings(steps=1, channels=40, batch_size=16))


def test_criteria_train_alike_and_choose_differently():
    found = {criterion: run(criterion=criterion) for criterion in CRITERIA}
    rates = [one.facts["prune_images"] / (1 + one.rows[-1]["removal"]) for one in found.values()]
    assert len(set(rates)) == 1
    orders = [[(row["group"], row["channel"]) for row in one.rows] for one in found.values()]
    assert all(
        a[:9] != b[:9] for a, b in ((orders[0], orders[1]), (orders[1], orders[2]), (orders[0], orders[2]))
    )


@pytest.mark.parametrize("name", SPECS)
def test_l1_is_the_mean_absolute_weight_of_the_filters(name):
    graph = build_graph(full_architecture(SPECS[name]()))
    module = shaken(new_network(graph, 0))
    weights = weights_of(module)
    scores = CRITERIA["l1"](module, 0, 0).scores()
    assert set(scores) == set(graph.groups())
    for group, values in scores.items():
        layers = next(found.makers for found in width_groups(SPECS[name]()) if found.name == group)
        filters = [weights[f"{layer}.weight"] for layer in layers]
        expected = [sum(np.abs(layer[k]).mean() for layer in filters) for k in range(len(values))]
        np.testing.assert_allclose(values.numpy(), expected, rtol=1e-5)


def test_random_scores_are_a_function_of_seed_and_removal():
    graph = build_graph(full_architecture(SPECS["densenet"]()))
    first, again, later, other = (
        RandomOrder(graph, *draw).scores() for draw in ((0, 3), (0, 3), (0, 4), (1, 3))
    )
    for group, width in graph.groups().items():
        assert first[group].shape == (width,) and first[group].equal(again[group])
        assert not first[group].equal(later[group]) and not first[group].equal(other[group])


def test_inner_groups_go_through_no_sum_and_no_concatenation():
    inner = {name: set(prunable(build(), "inner").full) for name, build in SPECS.items()}
    for name in ("mobilenet", "densenet", "vgg16"):
        assert inner[name] == set(full_widths(SPECS[name]()))
    for name in ("resnet", "wrn"):  # a convolution as shortcut parts the stem of a WRN from its first stage
        blocks = {group for group in full_widths(SPECS[name]()) if ".block" in group}
        assert inner[name] == blocks | {"stem"} & full_widths(SPECS[name]()).keys()
    made = makers(build_graph(full_architecture(SPECS["resnet"]())))
    assert [op.name for op in made["stage2"]] == ["stage2.block1.outer.conv", "stage2.block1.shortcut.conv"]


def test_a_network_without_inner_widths_is_refused(monkeypatch):
    spec = SPECS["resnet"]()
    stages = [group for group in width_groups(spec) if not group.inner]
    monkeypatch.setattr("hakd.networks.prunable.width_groups", lambda spec: stages)
    with pytest.raises(
        HakdError, match=r"config: prune\.groups: nothing to prune: resnet has no inner width group"
    ):
        prunable(spec, "inner")


def test_groups_that_may_not_be_pruned_stay_full(monkeypatch):
    import hakd.networks.prunable as module

    real = prunable_groups
    monkeypatch.setattr(
        module,
        "prunable_groups",
        lambda spec, which: real(spec)[::2] if which == "inner" else real(spec),
    )
    full = full_widths(SPECS["densenet"]())
    found = run(level=0.85, settings=replace(SETTINGS, groups="inner")).architecture.widths
    assert all(found[group] == full[group] for group in list(full)[1::2])
    assert any(found[group] < full[group] for group in list(full)[::2])
    pruned = Architecture(SPECS["densenet"](), found)
    for method, chosen in choose_device_free(pruned, 0.85, 0, "inner").items():
        assert all(chosen.widths[group] == full[group] for group in list(full)[1::2]), method
    assert choose_device_free(pruned, 0.85, 0, "inner")["uniform"].widths != full
    assert all(copycat(pruned, 0.8, "inner").widths[group] == full[group] for group in list(full)[1::2])
