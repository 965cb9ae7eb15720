"""Ternary networks: the paper's equations, a file that holds exactly the ternary weights, and what stays float."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from hakd.data import load_splits, prepare
from hakd.deep_compression.codec import decode, decode_tensors, encode, sizes
from hakd.deep_compression.ternary import Ternary, TernarySettings, ternarise
from hakd.networks.families import build_graph, full_architecture
from hakd.networks.module import new_network, weights_of
from hakd.records.errors import HakdError
from hakd.training.loop import TrainingRun, evaluate, fit
from hakd.training.recipe import Recipe
from tests.unit.builders import SPECS

RECIPE = Recipe(lr=0.02, batch_size=64)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """scikit-learn's digits, 8 x 8."""
    folder = tmp_path_factory.mktemp("digits")
    prepare({"name": "digits"}, folder)
    return load_splits(folder / "train.npz", folder / "validation.npz", 8)


def network(seed: int = 0) -> nn.Module:
    """A small network with full, depthwise, pointwise and linear layers, one of them without batch norm behind it."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


@pytest.fixture(scope="module")
def teacher(data):
    module = network()
    fit(module, data, TrainingRun(4, Recipe(lr=0.05, batch_size=64), seed=0))
    return module


def of(weight: torch.Tensor, threshold: float, positive: float, negative: float) -> Ternary:
    """A parametrisation with given values of Wp and Wn."""
    made = Ternary(weight, threshold)
    with torch.no_grad():
        for place, value in enumerate((positive, negative)):
            made.scaled[place] = value * made._roots[place]
    return made


def gradient_of(made: Ternary, place: int) -> float:
    """Of Wp (0) or Wn (1), from that of the trained parameter."""
    return float(made.scaled.grad[place]) * made._roots[place]


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-4, 4, width=32)))
def test_ternary_weights_are_the_signs_where_the_threshold_is_zero(values):
    weight = torch.from_numpy(values)
    assert torch.allclose(of(weight, 0.0, 1.0, 1.0)(weight), weight.sign())


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(2, 80), elements=st.floats(-4, 4, width=32)),
    st.floats(0, 0.9),
    st.floats(0.125, 2),
    st.floats(0.125, 2),
)
def test_ternary_weights_by_a_plain_loop_and_as_codes(values, threshold, positive, negative):
    weight = torch.from_numpy(values)
    made = of(weight, threshold, positive, negative)
    limit = threshold * weight.abs().max()
    plain = [positive if w > limit else -negative if w < -limit else 0.0 for w in weight]
    assert made(weight).tolist() == pytest.approx(plain)
    codes, codebook = made.shared(weight)
    assert codebook[codes].tobytes() == (made(weight) + 0.0).detach().numpy().tobytes()
    assert len(codebook) <= 3


@pytest.mark.parametrize("place", [0, 1], ids=["positive", "negative"])
def test_ternary_values_have_the_gradients_of_finite_differences(place):
    """With frozen sets: the latent weights do not move."""
    torch.manual_seed(0)
    weight, x = torch.randn(5, 7, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    values, step = [0.8, 1.1], 1e-5

    def loss(made: Ternary) -> torch.Tensor:
        return (x @ made(weight).T).pow(3).sum()

    made = of(weight, 0.3, *values)
    loss(made).backward()
    found = []
    for shift in (step, -step):
        moved = [value + shift * (one == place) for one, value in enumerate(values)]
        found.append(float(loss(of(weight, 0.3, *moved)).detach()))
    assert gradient_of(made, place) == pytest.approx((found[0] - found[1]) / (2 * step), rel=1e-6)


def test_ternary_values_take_the_step_of_the_mean_gradient():
    """Of thousands of weights as of a few: the trained parameter is Wp times the root of the members."""
    weight = torch.cat([torch.ones(900), -torch.ones(100)])
    made = of(weight, 0.05, 2.0, 2.0)
    (made(weight) * 0.5).sum().backward()
    before = [float(value.detach()) for value in made.values]
    with torch.no_grad():
        made.scaled -= 0.1 * made.scaled.grad
    after = [float(value.detach()) for value in made.values]
    assert [b - a for a, b in zip(after, before, strict=True)] == pytest.approx([0.05, -0.05], rel=1e-4)


def test_ternary_latent_weights_have_the_gradient_scaled_by_their_set():
    latent = torch.tensor([2.0, -1.5, 0.1, -0.2], requires_grad=True)
    made = of(latent.detach(), 0.5, 3.0, 5.0)
    given_ = torch.tensor([0.1, -0.2, 0.3, 0.4])
    (made(latent) * given_).sum().backward()
    assert latent.grad.tolist() == pytest.approx([3 * 0.1, 5 * -0.2, 0.3, 0.4])
    assert gradient_of(made, 0) == pytest.approx(0.1) and gradient_of(made, 1) == pytest.approx(0.2)


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.99])
def test_ternary_sparsity_is_the_fraction_of_zeros(sparsity):
    torch.manual_seed(0)
    weight = torch.randn(40, 25)
    made = Ternary(weight, 0.05, sparsity)
    assert int((made(weight) == 0).sum()) == round(sparsity * 1000)
    kept = weight[made(weight) > 0]
    positive = float(made.values[0].detach())
    assert positive == pytest.approx(float(kept.mean()))  # the start is the nearest network


class TestTernarise:
    @pytest.fixture(scope="class")
    @staticmethod
    def made(data, teacher):
        module = copy.deepcopy(teacher)
        made = ternarise(module, data, settings=TernarySettings(epochs=3), recipe=RECIPE, seed=1)
        return module, made

    def test_the_ternary_file_decodes_to_exactly_the_module(self, made, data):
        module, compressed = made
        content = encode(compressed.tensors, compressed.others, {})
        arrays, _ = decode(content)
        state = weights_of(module)
        fresh = network(seed=9)
        fresh.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items()}, strict=False)
        assert sorted(arrays) == sorted(state)
        assert all(arrays[name].tobytes() == value.tobytes() for name, value in state.items())
        assert evaluate(fresh, data.validation) == compressed.metrics["val_accuracy"]

    def test_ternary_layers_have_three_values_and_cost_less_than_two_bits(self, made):
        compressed = made[1]
        content = encode(compressed.tensors, compressed.others, {})
        parts, weights = sizes(content), 0
        for tensor in decode_tensors(content)[0]:
            values = np.unique(tensor.weights())
            assert len(values) == 3 and values[1] == 0 and values[0] < 0 < values[2]
            weights += tensor.codes.size
        assert 8 * (parts["codes"] + parts["indices"]) < 2 * weights
        assert parts["codebooks"] == 8 * len(compressed.tensors)  # Wp and Wn of each

    def test_the_first_the_last_and_depthwise_layers_are_not_ternary(self, made):
        assert [one.name for one in made[1].tensors] == ["6.weight", "9.weight"]
        assert {"0.weight", "3.weight", "12.weight"} <= set(made[1].others)

    @pytest.mark.parametrize("depthwise", ["float", "ternary"])
    def test_ternary_layers_follow_the_order_in_which_layers_run(self, data, depthwise):
        module = new_network(build_graph(full_architecture(SPECS["mobilenet"]())), 0)
        ops = [op for op in module.graph.ops if op.kind in ("conv", "linear")][1:-1]
        wanted = {f"{op.name}.weight" for op in ops if depthwise == "ternary" or not op.depthwise}
        settings_ = TernarySettings(epochs=0, depthwise=depthwise)
        made = ternarise(module, data, settings=settings_, recipe=RECIPE, seed=1)
        assert any(op.depthwise for op in ops) and {one.name for one in made.tensors} == wanted
        assert sorted([*made.others, *wanted]) == sorted(module.graph.parameter_shapes())

    def test_ternary_training_gains_and_is_counted(self, made, teacher, data):
        metrics = made[1].metrics
        assert metrics["val_accuracy"] > metrics["val_accuracy_ternary"]
        assert metrics["val_accuracy"] > evaluate(teacher, data.validation) - 0.03 > 0.8
        assert metrics["train_images"] == 3 * len(data.train)
        zeros = sum(int((one.codes == 0).sum()) for one in made[1].tensors)
        assert metrics["nonzero_params"] == sum(p.numel() for p in network().parameters()) - zeros
        assert metrics["zeros"] == pytest.approx(zeros / sum(one.codes.size for one in made[1].tensors))

    def test_a_killed_ternary_run_goes_on_to_the_same_file(self, data, teacher, tmp_path):
        def run(train, directory):
            source = SimpleNamespace(train=train, validation=data.validation)
            made = ternarise(
                copy.deepcopy(teacher), source, settings=TernarySettings(epochs=2), recipe=RECIPE, seed=1,
                resume_directory=directory,
            )  # fmt: skip
            return encode(made.tensors, made.others, {})

        with pytest.raises(KeyboardInterrupt):
            run(Killed(data.train, 1.5), tmp_path)
        assert run(data.train, tmp_path) == run(data.train, None)

    def test_a_network_without_a_layer_between_is_refused_as_ternary(self, data):
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10))
        with pytest.raises(HakdError, match=r"no layer to make ternary .*`ternary\.depthwise`"):
            ternarise(module, data, settings=TernarySettings(epochs=0), recipe=RECIPE, seed=1)


@pytest.mark.parametrize(("key", "value"), [("threshold", 1.0), ("sparsity", -0.1), ("depthwise", "maybe")])
def test_ternary_settings_out_of_range_are_refused(key, value):
    with pytest.raises(HakdError, match=key):
        TernarySettings(**{key: value})


class Killed:
    """A split whose owner presses Ctrl-C after so many epochs."""

    def __init__(self, split, epochs):
        self.split, self.left = split, int(len(split) * epochs)

    def __len__(self):
        return len(self.split)

    def batches(self, *args, **kwargs):
        for images, labels in self.split.batches(*args, **kwargs):
            self.left -= len(labels)
            if self.left < 0:
                raise KeyboardInterrupt
            yield images, labels
