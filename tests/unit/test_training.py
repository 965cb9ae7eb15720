"""The training loop, distillation losses, and the path from training to a checked export."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from hakd.data.split import _parts
from hakd.evaluation.export import export, session
from hakd.networks.families import build_graph, full_architecture, network_spec
from hakd.networks.module import new_network, weights_of
from hakd.records.arch import Architecture
from hakd.records.checkpoint import read_checkpoint
from hakd.records.errors import HakdError
from hakd.records.files import atomic, read_json, write_json
from hakd.training.device import training_device
from hakd.training.distil import (
    DistilSettings,
    attention_map,
    attention_points,
    attention_weights,
    distillation_loss,
    standardised,
)
from hakd.training.loop import TrainingRun, evaluate, fit
from hakd.training.matched import steps_of
from hakd.training.recipe import Recipe
from hakd.training.states import KeptState
from hakd.training.students import TrainingJob, train_candidate
from tests.unit.builders import SPECS, TensorData, narrowed

RECIPE = Recipe(lr=0.05, batch_size=32)


def small():
    return new_network(build_graph(full_architecture(SPECS["densenet"]())), 0)


def test_training_learns_and_reports_every_epoch():
    module, data = small(), TensorData()
    before = evaluate(module, data.train)
    rows = fit(module, data, TrainingRun(6, RECIPE, seed=0))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert evaluate(module, data.train) > before
    assert all(row["images"] == len(data.train) for row in rows)


@pytest.mark.parametrize(("count", "batch"), [(96, 32), (97, 32), (98, 32), (100, 64), (20, 64)])
@pytest.mark.parametrize("images", [0, 1, 95, 96, 97, 98, 250, 1000])
def test_steps_see_as_many_images_and_at_most_a_batch_more(count, batch, images):
    epoch = [len(part) for part in _parts(torch.arange(count), batch)]
    found = sum((epoch * (images // count + 1))[: steps_of(images, count, batch)])
    assert images <= found <= images + batch


@pytest.mark.parametrize("killed_in", [1, 2, 3])
def test_a_killed_run_goes_on_and_equals_one_that_was_not(tmp_path, killed_in):
    data, path = TensorData(), tmp_path / "state"
    whole = small()
    rows = fit(whole, data, TrainingRun(4, RECIPE, seed=3))
    steps = 0

    def kill(module):
        nonlocal steps
        steps += 1
        if steps == 3 * killed_in + 1:  # three steps an epoch: in the middle of an epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(small(), data, TrainingRun(4, RECIPE, seed=3, after_step=kill, resume_path=path))
    module = small()
    resumed = fit(module, data, TrainingRun(4, RECIPE, seed=3, resume_path=path))
    assert [row["train_loss"] for row in resumed] == [row["train_loss"] for row in rows]
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], value, rtol=0, atol=0)


def test_a_state_of_another_run_or_a_damaged_one_is_not_used(tmp_path):
    data, path = TensorData(), tmp_path / "state"
    fit(small(), data, TrainingRun(2, RECIPE, seed=3, resume_path=path))
    assert path.exists()
    assert len(fit(small(), data, TrainingRun(2, RECIPE, seed=4, resume_path=path))) == 2
    path.write_bytes(path.read_bytes()[:100])
    assert len(fit(small(), data, TrainingRun(2, RECIPE, seed=3, resume_path=path))) == 2


@pytest.mark.parametrize("change", ["context", "weights", "nothing"])
def test_a_kept_state_belongs_to_its_settings_and_start_weights(tmp_path, change):
    data, steps = TensorData(), 0
    run = TrainingRun(3, RECIPE, seed=3, resume_path=tmp_path / "state", context={"alpha": 0.9})

    def kill(module):
        nonlocal steps
        steps += 1
        if steps == 4:  # in the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(small(), data, replace(run, after_step=kill))
    module = small()
    if change == "context":
        run = replace(run, context={"alpha": 0.5})
    if change == "weights":
        next(module.parameters()).data += 0.01
    steps = 0

    def count(module):
        nonlocal steps
        steps += 1

    fit(module, data, replace(run, after_step=count))
    assert steps == (6 if change == "nothing" else 9)  # gone on from the first epoch, or started over


@pytest.mark.parametrize("change", ["settings", "data", "weights", "order", "nothing"])
def test_a_state_is_read_by_the_same_work_only(tmp_path, change):
    path, state = tmp_path / "state", {"step": 3, "weights": {"a": torch.arange(4.0)}}
    settings, dataset = {"lr": 0.1}, "digits-1"
    weights = {"a": np.ones((2, 3), np.float32), "b": np.zeros(2, np.float32)}
    kept = KeptState(path, settings, SimpleNamespace(train=SimpleNamespace(dataset=dataset)), weights)
    assert kept.read() is None
    kept.write(state | {"step": 2})
    kept.write(state)
    if change == "settings":
        settings = {"lr": 0.2}
    elif change == "data":
        dataset = "digits-2"
    elif change == "weights":
        weights = weights | {"b": np.float32([0, 1])}
    elif change == "order":
        weights = dict(reversed(weights.items()))
    found = KeptState(path, settings, SimpleNamespace(train=SimpleNamespace(dataset=dataset)), weights).read()
    if change in ("order", "nothing"):
        assert found["step"] == 3 and torch.equal(found["weights"]["a"], state["weights"]["a"])
    else:
        assert found is None


def test_a_damaged_state_is_not_read_and_the_next_one_is(tmp_path):
    kept = KeptState(tmp_path / "state", {}, TensorData(), {})
    for damage in (b"", b"damaged", None):
        kept.write({"step": 1})
        content = kept.path.read_bytes()
        kept.path.write_bytes(content[: len(content) // 2] if damage is None else damage)
        assert kept.read() is None
    torch.save(["no dictionary"], kept.path)
    assert kept.read() is None
    kept.write({"step": 1})
    assert kept.read()["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_without_a_path_no_state_is_kept():
    kept = KeptState(None, {}, TensorData(), {})
    kept.write({"step": 1})
    assert kept.read() is None


def test_divergence_stops_with_epoch_and_learning_rate():
    with pytest.raises(HakdError, match=r"epoch \d+ at learning rate .*Lower `lr`"):
        fit(small(), TensorData(), TrainingRun(3, Recipe(lr=1e30, batch_size=32), seed=0))


def test_schedules():
    cosine, step = Recipe(lr=1.0), Recipe(lr=1.0, schedule="step", milestones=(0.3, 0.6), gamma=0.1)
    assert cosine.lr_at(0) == 1 and cosine.lr_at(0.5) == pytest.approx(0.5)
    assert cosine.lr_at(1) == pytest.approx(0)
    assert [step.lr_at(p) for p in (0, 0.29, 0.3, 0.7)] == pytest.approx([1, 1, 0.1, 0.01])
    linear = Recipe(lr=1.0, schedule="linear", warmup=0.2)
    assert [linear.lr_at(p) for p in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert Recipe(lr=1.0, warmup=0.5).lr_at(0.75) == pytest.approx(0.5)


def test_attention_weights_are_the_published_ones_for_three_points():
    np.testing.assert_allclose(attention_weights(3), [0.977, 3.906, 15.625], rtol=1e-3)
    assert attention_weights(5)[[0, -1]] == pytest.approx([0.977 * 3 / 5, 15.625 * 3 / 5], rel=1e-3)


def test_attention_points_end_each_resolution():
    spec = network_spec("densenet", {"depth": 16, "growth": 4, "input_size": 16}, 1, 10)
    graph = build_graph(full_architecture(spec))
    points = attention_points(graph)
    assert points == ["transition1.conv", "transition2.conv", "head.relu"]
    assert [graph.tensors[name].size for name in points] == [(16, 16), (8, 8), (4, 4)]


def teacher_and_student():
    spec = SPECS["mobilenet"](16)
    teacher = new_network(build_graph(full_architecture(spec)), 0)
    student = new_network(build_graph(Architecture(spec, narrowed(spec))), 1).eval()
    return teacher, student, torch.randn(5, 1, 16, 16), torch.arange(5)


def test_logit_loss_is_the_published_formula():
    teacher, student, images, labels = teacher_and_student()
    loss = distillation_loss("logits", teacher, DistilSettings(alpha=0.9, temperature=4))
    t, s = teacher(images), student(images)
    soft = -(F.softmax(t / 4, 1) * F.log_softmax(s / 4, 1)).sum(1).mean()
    expected = 0.1 * F.cross_entropy(s, labels) + 0.9 * 16 * soft
    torch.testing.assert_close(loss(student, images, labels), expected)


def test_attention_loss_is_the_published_formula():
    teacher, student, images, labels = teacher_and_student()
    loss = distillation_loss("at", teacher, DistilSettings())
    points, found = attention_points(teacher.graph), {}
    for name, module in (("t", teacher), ("s", student)):
        found[name] = {}

        def tap(tensor, value, kept=found[name]):
            kept[tensor] = value
            return value

        module(images, tap)
    expected = F.cross_entropy(student(images), labels)
    for beta, point in zip(attention_weights(len(points)), points, strict=True):
        difference = attention_map(found["t"][point]) - attention_map(found["s"][point])
        expected = expected + beta * difference.norm(dim=1).square().mean()
    torch.testing.assert_close(
        loss(student, images, labels).double(), expected.double(), rtol=1e-5, atol=1e-6
    )


def test_mixed_loss_is_the_sum_of_its_terms():
    teacher, student, images, labels = teacher_and_student()
    settings = DistilSettings()
    s, t = student(images), teacher.eval()(images)
    at = distillation_loss("at", teacher, settings)(student, images, labels) - F.cross_entropy(s, labels)
    kl = F.kl_div(F.log_softmax(s / 4, 1), F.softmax(t / 4, 1), reduction="batchmean")
    expected = 0.1 * F.cross_entropy(s, labels) + 2 * 0.9 * 16 / 10 * kl + at
    found = distillation_loss("at+logits", teacher, settings)(student, images, labels)
    torch.testing.assert_close(found, expected)


def test_standardised_loss_is_the_published_formula_and_blind_to_shift_and_scale():
    teacher, student, images, labels = teacher_and_student()
    s, t = student(images), teacher.eval()(images)
    zs, zt = ((x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-7) / 2 for x in (s, t))
    soft = (F.softmax(zt, 1) * (F.log_softmax(zt, 1) - F.log_softmax(zs, 1))).sum(1).mean()
    expected = 0.1 * F.cross_entropy(s, labels) + 9 * 4 * soft
    found = distillation_loss("logits-std", teacher, DistilSettings())(student, images, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(standardised(3 * t + 5), standardised(t), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["logits", "at", "at+logits", "logits-std"])
def test_a_student_learns_from_its_teacher_and_the_teacher_stays_as_it_is(name):
    data = TensorData()
    teacher = small()
    fit(teacher, data, TrainingRun(4, RECIPE, seed=0))
    before = weights_of(teacher)
    spec = SPECS["densenet"]()
    student = new_network(build_graph(Architecture(spec, narrowed(spec))), 1)
    loss = distillation_loss(name, teacher, DistilSettings())
    rows = fit(student, data, TrainingRun(4, RECIPE, seed=1, loss=loss))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert all(np.array_equal(before[key], value) for key, value in weights_of(teacher).items())


def candidate(tmp_path, **changes):
    spec = SPECS["densenet"]()
    architecture = Architecture(spec, narrowed(spec))
    path = tmp_path / "student.safetensors"
    rows = train_candidate(architecture, TensorData(), TrainingJob(path, 2, RECIPE, seed=0, **changes))
    return architecture, path, rows


def test_from_training_to_a_checked_export(tmp_path):
    table = tmp_path / "student.csv"
    architecture, path, rows = candidate(tmp_path, teacher_macs=1000, metrics_path=table)
    assert list(pd.read_csv(table)["train_loss"]) == pytest.approx([row["train_loss"] for row in rows])
    found = read_checkpoint(path, architecture.spec)
    assert found.architecture.arch == architecture.arch
    images, macs = 2 * 96, build_graph(architecture).macs()
    assert found.facts["train_images"] == images
    assert found.facts["train_macs"] == images * (3 * macs + 1000)
    assert found.facts["val_accuracy"] == rows[-1]["val_accuracy"]
    assert not path.with_name(path.name + ".resume").exists()
    onnx_path = tmp_path / "student.onnx"
    error = export(
        onnx_path, found.architecture, found.weights, found.facts["probe_logits"], {}, found.provenance
    )
    assert error < 1e-4
    run = session(onnx_path.read_bytes())
    assert run.run(None, {"input": np.zeros((7, 1, 8, 8), np.float32)})[0].shape == (7, 10)


def test_an_export_that_differs_from_torch_is_refused_and_not_written(tmp_path):
    _, path, _ = candidate(tmp_path)
    found = read_checkpoint(path)
    wrong = np.asarray(found.facts["probe_logits"]) + 0.01
    with pytest.raises(HakdError, match=r"differ from torch's by 0\.01"):
        export(tmp_path / "x.onnx", found.architecture, found.weights, wrong.tolist(), {}, {})
    assert not (tmp_path / "x.onnx").exists()


def test_wrong_checkpoints_are_refused(tmp_path):
    _, path, _ = candidate(tmp_path)
    with pytest.raises(HakdError, match="another network"):
        read_checkpoint(path, SPECS["mobilenet"]())
    with pytest.raises(HakdError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "missing.safetensors")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(HakdError, match="not a readable checkpoint"):
        read_checkpoint(path)


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, "thing", {"x": 1})
    with pytest.raises(TypeError), atomic(path) as temporary:
        temporary.write_bytes("half")
    assert read_json(path, "thing")["x"] == 1
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, "thing", {"x": float("nan")})
    assert read_json(path, "thing")["x"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    for kind, text in (
        ("other", None),
        ("thing", "{"),
        ("thing", "[]"),
        ("thing", '{"kind": "thing", "format": 9}'),
    ):
        if text is not None:
            path.write_text(text)
        with pytest.raises(HakdError, match=r"a\.json"):
            read_json(path, kind)


def test_the_training_device_is_cuda_where_there_is_one():
    there = torch.cuda.is_available()
    assert training_device("cpu").type == "cpu"
    assert training_device("auto").type == ("cuda" if there else "cpu")
    if not there:
        with pytest.raises(HakdError, match=r"training\.device"):
            training_device("cuda")
