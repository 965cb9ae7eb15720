"""Steps that CUDA can record: the same mathematics as torch's plain SGD. Without CUDA they run unrecorded."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hakd.networks.families import build_graph, full_architecture
from hakd.networks.module import new_network, weights_of
from hakd.training.captured import Step
from hakd.training.distil import DistilSettings, distillation_loss
from hakd.training.loop import TrainingRun, cross_entropy, fit
from hakd.training.recipe import Recipe
from tests.unit.builders import SPECS, TensorData

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
BATCHES = [16, 16, 16, 16, 7]  # an epoch; the last one is short


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def network(name="densenet", seed=0, device="cpu"):
    return new_network(build_graph(full_architecture(SPECS[name]())), seed).to(device)


def steps_of(count, device="cpu"):
    """Batches and learning rates of as many steps."""
    generator = torch.Generator().manual_seed(0)
    for i in range(count):
        size = BATCHES[i % len(BATCHES)]
        images = torch.randn(size, 1, 8, 8, generator=generator).to(device)
        labels = torch.randint(0, 10, (size,), generator=generator).to(device)
        yield images, labels, 0.1 * (1 - i / count)


@pytest.mark.parametrize(
    ("momentum", "weight_decay", "nesterov"),
    [(0.9, 5e-4, False), (0.9, 5e-4, True), (0.9, 0.0, True), (0.0, 1e-3, False)],
)
@pytest.mark.parametrize("loss", ["ce", "at+logits"])
@pytest.mark.parametrize("device", DEVICES)
def test_fixed_steps_equal_plain_ones_of_torch(momentum, weight_decay, nesterov, loss, device):
    given = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
    plain, fixed = network(device=device), network(device=device)
    teacher = network(seed=1, device=device)
    function = cross_entropy if loss == "ce" else distillation_loss(loss, teacher, DistilSettings())
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.1, **given)
    step = Step(fixed, function, fixed=True, **given)
    for images, labels, lr in steps_of(20, device):
        optimiser.param_groups[0]["lr"] = lr
        optimiser.zero_grad()
        expected = function(plain, images, labels)
        expected.backward()
        optimiser.step()
        torch.testing.assert_close(step(images, labels, lr), expected.detach(), rtol=1e-6, atol=1e-9)
    assert (step.recorded, step.problem) == ((True, "") if device == "cuda" else (False, "no CUDA"))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(fixed.state_dict()[name], value, rtol=1e-6, atol=1e-9)
    momenta = (found.state_dict()["state"] for found in (optimiser, step.optimiser))
    for one, other in zip(*(values.values() for values in momenta), strict=True):
        torch.testing.assert_close(one["momentum_buffer"], other["momentum_buffer"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_a_loss_that_waits_for_the_device_is_taken_unrecorded(device):
    def waiting(module, images, labels):
        value = cross_entropy(module, images, labels)
        return value * (1 if float(value.detach()) > 0 else -1)

    modules = network(device=device), network(device=device)
    steps = [
        Step(module, loss, momentum=0.9, weight_decay=0.0, fixed=True)
        for module, loss in zip(modules, (waiting, cross_entropy), strict=True)
    ]
    for images, labels, lr in steps_of(10, device):
        for step in steps:
            step(images, labels, lr)
    assert not steps[0].recorded and steps[0].problem
    for one, other in zip(*(module.parameters() for module in modules), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_unfixed_steps_are_those_of_torch_bit_for_bit():
    plain, stepped = network(), network()
    given = {"momentum": 0.9, "weight_decay": 5e-4}
    optimiser, step = (
        torch.optim.SGD(plain.parameters(), lr=0.1, **given),
        Step(stepped, cross_entropy, **given),
    )
    for images, labels, lr in steps_of(6):
        optimiser.param_groups[0]["lr"] = lr
        optimiser.zero_grad()
        F.cross_entropy(plain(images), labels).backward()
        optimiser.step()
        step(images, labels, lr)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), stepped.parameters(), strict=True))


def test_full_batches_go_through_the_same_memory_and_others_do_not():
    seen = []

    def loss(module, images, labels):
        seen.append((len(images), images.data_ptr()))
        return cross_entropy(module, images, labels)

    step = Step(network(), loss, momentum=0.9, weight_decay=0.0, fixed=True)
    held = [(images, step(images, labels, lr)) for images, labels, lr in steps_of(10)]
    full = {place for size, place in seen if size == BATCHES[0]}
    assert [size for size, _ in seen] == BATCHES * 2 and len(full) == 1
    assert not full & {images.data_ptr() for images, _ in held}
    assert len({float(value) for _, value in held}) == 10  # a loss is not overwritten by the next step


class Data(TensorData):
    """Random images of the tests' number type; five batches of 16 in an epoch, the last one short."""

    def __init__(self):
        super().__init__(count=71)
        for split in (self.train, self.validation):
            split.images = split.images.double()


def run_of(**changes):
    recipe = Recipe(lr=0.05, batch_size=16, nesterov=True)
    return TrainingRun(**({"epochs": 3, "recipe": recipe, "seed": 3} | changes))


def numbers(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("length", [{"epochs": 3}, {"epochs": 0, "steps": 13}])
@pytest.mark.parametrize("fixed", [False, True])
def test_a_run_that_was_killed_goes_on_exactly(tmp_path, fixed, length):
    whole = network()
    rows = fit(whole, Data(), run_of(fixed=fixed, **length))
    taken = 0

    def killing(module, images, labels):
        nonlocal taken
        taken += 1
        if taken == 8:  # in the second epoch
            raise KeyboardInterrupt
        return cross_entropy(module, images, labels)

    path = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        fit(network(), Data(), run_of(fixed=fixed, resume_path=path, loss=killing, **length))
    module, taken = network(), 100
    resumed = fit(module, Data(), run_of(fixed=fixed, resume_path=path, loss=killing, **length))
    assert taken == 100 + 13 - 5 + (2 if "steps" not in length else 0)
    assert numbers(resumed) == numbers(rows)
    for name, value in whole.state_dict().items():
        assert torch.equal(module.state_dict()[name], value), name


def test_fixed_and_plain_runs_agree():
    found = [network(), network()]
    rows = [
        fit(module, Data(), run_of(fixed=fixed)) for module, fixed in zip(found, (False, True), strict=True)
    ]
    for one, other in zip(*rows, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-9)
        assert (one["images"], one["val_accuracy"]) == (other["images"], other["val_accuracy"])
    weights = weights_of(found[1])
    for name, value in weights_of(found[0]).items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-6, atol=1e-9)


def test_a_run_of_steps_ends_within_an_epoch_and_its_schedule_spans_them():
    rates = []

    class Watched(Recipe):
        def lr_at(self, progress):
            rates.append(progress)
            return super().lr_at(progress)

    watched = Watched(**vars(run_of().recipe))
    rows = fit(network(), Data(), run_of(steps=13, recipe=watched))
    assert [row["images"] for row in rows] == [71, 71, 48]
    assert rates == [i / 13 for i in range(13)]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    whole = fit(network(), Data(), run_of(steps=10))
    assert [row["images"] for row in whole] == [71, 71]


def test_a_kept_state_belongs_to_its_number_of_steps(tmp_path):
    path = tmp_path / "state"
    fit(network(), Data(), run_of(steps=8, resume_path=path))
    assert path.exists()  # of the first epoch
    taken = 0

    def counting(module, images, labels):
        nonlocal taken
        taken += 1
        return cross_entropy(module, images, labels)

    fit(network(), Data(), run_of(steps=9, resume_path=path, loss=counting))
    assert taken == 9
