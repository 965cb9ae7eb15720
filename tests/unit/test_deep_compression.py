"""Pruning, weight sharing and centroid training of real networks, up to the file and back."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from hakd.data import load_splits, prepare
from hakd.deep_compression.codec import decode, encode
from hakd.deep_compression.compress import CompressionSettings, compress, prune_weights
from hakd.deep_compression.pruning import Masks, prunable, scores, select
from hakd.deep_compression.sharing import share
from hakd.deep_compression.store import read, write
from hakd.deep_compression.tuning import Centroids, recalibrate, reduce_norms
from hakd.records.errors import HakdError
from hakd.training.loop import TrainingRun, evaluate, fit
from hakd.training.recipe import Recipe

RECIPE = Recipe(lr=0.05, batch_size=64, weight_decay=1e-3, augment=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """scikit-learn's digits, 8 x 8: 1295 images to train on."""
    folder = tmp_path_factory.mktemp("digits")
    prepare({"name": "digits"}, folder)
    return load_splits(folder / "train.npz", folder / "validation.npz", 8)


def network(seed: int = 0) -> nn.Module:
    """A small network with every kind of layer: full, depthwise, pointwise, linear, biases, batch norm."""
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
    fit(module, data, TrainingRun(4, RECIPE, seed=0))
    return module


class TestPruning:
    def test_finds_all_convolutions_and_linear_layers(self):
        weights, kinds = prunable(network())
        assert kinds == {f"{i}.weight": "conv" for i in (0, 3, 6, 9)} | {"12.weight": "linear"}
        assert sum(w.numel() for w in weights.values()) == 144 + 144 + 512 + 9216 + 1280

    def test_refuses_shared_and_missing_weights(self):
        tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        tied[1].weight = tied[0].weight
        with pytest.raises(HakdError, match="share a parameter"):
            prunable(tied)
        with pytest.raises(HakdError, match="no convolution"):
            prunable(nn.BatchNorm1d(3))

    @pytest.mark.parametrize("rule", ["lamp", "std", "global"])
    @pytest.mark.parametrize("density", [1.0, 0.3, 0.01, 1e-9])
    def test_keeps_the_exact_number_by_magnitude_in_every_layer(self, rule, density):
        weights, _ = prunable(network())
        masks = select(scores(weights, rule), density)
        total = sum(w.numel() for w in weights.values())
        assert sum(int(mask.sum()) for mask in masks.values()) == max(len(weights), round(density * total))
        for name, mask in masks.items():
            magnitude = weights[name].detach().abs()
            assert mask.any()
            if not mask.all():
                assert magnitude[mask].min() >= magnitude[~mask].max()

    def test_std_rule_is_one_quality_factor_for_all_layers(self):
        weights, _ = prunable(network())
        masks = select(scores(weights, "std"), 0.4)
        kept = min(
            float(w.detach().abs()[masks[n]].min() / w.detach().std(correction=0)) for n, w in weights.items()
        )
        gone = max(
            float(w.detach().abs()[~masks[n]].max() / w.detach().std(correction=0))
            for n, w in weights.items()
        )
        assert kept >= gone * (1 - 1e-6)

    @pytest.mark.parametrize("rule", ["lamp", "std"])
    def test_ranking_is_blind_to_the_scale_of_a_layer(self, rule):
        module = network()
        weights, _ = prunable(module)
        before = select(scores(weights, rule), 0.3)
        with torch.no_grad():
            weights["0.weight"].mul_(1024)
        after = select(scores(weights, rule), 0.3)
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_lamp_by_hand(self):
        weights = {"w": nn.Parameter(torch.tensor([[3.0, -4.0, 0.0, 1.0]]))}
        assert scores(weights, "lamp")["w"][0].tolist() == pytest.approx([9 / 25, 1.0, 0.0, 1 / 26])

    def test_pruned_weights_stay_pruned_in_the_next_round(self):
        weights, _ = prunable(network())
        first = select(scores(weights, "lamp"), 0.5)
        Masks(weights, first)
        second = select(scores(weights, "lamp"), 0.25)
        assert not any((second[name] & ~first[name]).any() for name in first)

    def test_zeros_stay_zero_under_momentum_and_weight_decay(self, data):
        module = network()
        weights, _ = prunable(module)
        masks = select(scores(weights, "lamp"), 0.2)
        hooks = Masks(weights, masks)
        seen = []

        def after_step(_):
            hooks.after_step(_)
            seen.append(all((w[~masks[n]] == 0).all() for n, w in weights.items()))

        before = {name: w.detach().clone() for name, w in weights.items()}
        run = TrainingRun(1, RECIPE, seed=0, after_backward=hooks.after_backward, after_step=after_step)
        fit(module, data, run)
        assert len(seen) == 21 and all(seen)
        assert all((w[masks[n]] != before[n][masks[n]]).float().mean() > 0.9 for n, w in weights.items())


class TestCentroids:
    def test_gradient_is_the_sum_over_members(self):
        """Against the gradient of a network written in terms of its codebook."""
        torch.manual_seed(0)
        layer = nn.Linear(6, 5, bias=False)
        codes, codebook = share(layer.weight.detach().numpy(), np.abs(layer.weight.detach().numpy()) > 0.1, 3)
        centroids = Centroids({"weight": layer.weight}, {"weight": (codes, codebook)}, step="sum")
        x = torch.randn(7, 6)
        layer(x).square().sum().backward()
        centroids.after_backward(None)
        book = torch.tensor(codebook, requires_grad=True)
        (x @ book[torch.tensor(codes.astype(int))].T).square().sum().backward()
        expected = book.grad.clone()
        expected[0] = 0  # code 0 is no centroid
        assert torch.allclose(layer.weight.grad, expected[torch.tensor(codes.astype(int))], rtol=1e-5)

    def test_mean_step_is_the_sum_over_the_number_of_members(self):
        layer = nn.Linear(3, 1, bias=False)
        codes, codebook = np.array([[1, 1, 2]], np.uint16), np.array([0, 0.5, 1.0], np.float32)
        centroids = Centroids({"weight": layer.weight}, {"weight": (codes, codebook)})
        layer.weight.grad = torch.tensor([[1.0, 3.0, 5.0]])
        centroids.after_backward(None)
        assert layer.weight.grad.tolist() == [[2.0, 2.0, 5.0]]

    def test_members_stay_equal_to_the_bit_whatever_the_optimiser_did(self):
        module = network()
        weights, _ = prunable(module)
        masks = select(scores(weights, "lamp"), 0.4)
        shared = {n: share(w.detach().numpy(), masks[n].numpy(), 3) for n, w in weights.items()}
        centroids = Centroids(weights, shared)
        with torch.no_grad():
            for weight in weights.values():
                weight.add_(torch.randn_like(weight))
        centroids.after_step(None)
        for name, (codes, codebook) in centroids.finish().items():
            assert weights[name].detach().numpy().tobytes() == codebook[codes].tobytes()
            assert len(codebook) == len(shared[name][1])
            assert ((codes == 0) == (shared[name][0] == 0)).all()


def test_batch_norm_statistics_belong_to_the_weights(data):
    module = network()
    module.train()
    momentum = module[1].momentum
    recalibrate(module, data.train, 512)
    assert module.training and module[1].momentum == momentum
    with torch.no_grad():
        x = module[0](data.train.images[:1024])  # the last 271 of 1295 fill more than half a batch
        rest = module[0](data.train.images[1024:])
    parts = [*x.split(512), rest]
    mean = torch.stack([part.mean((0, 2, 3)) for part in parts]).mean(0)
    variance = torch.stack([part.transpose(0, 1).flatten(1).var(1) for part in parts]).mean(0)
    assert torch.allclose(module[1].running_mean, mean, atol=1e-5)
    assert torch.allclose(module[1].running_var, variance, rtol=1e-4)


class TestReduceNorms:
    @pytest.mark.parametrize(("how", "tolerance"), [("whole", 0), ("single", 1e-6), ("half", 1e-3)])
    def test_batch_norm_computes_the_same_from_fewer_numbers(self, teacher, data, how, tolerance):
        module = copy.deepcopy(teacher).eval()
        images = data.validation.images[:200]
        before = module(images)
        reduce_norms(module, how)
        after = module(images)
        assert (after - before).abs().max() <= tolerance * before.abs().max()
        norms = [layer for layer in module if isinstance(layer, nn.BatchNorm2d)]
        for layer in norms if how != "whole" else []:
            assert layer.running_mean.eq(0).all() and layer.running_var.eq(1).all()
            halves = torch.equal(layer.weight, layer.weight.half().float())
            assert halves == (how == "half")

    def test_what_half_precision_cannot_hold_stays_float32(self):
        norm = nn.BatchNorm2d(2).eval()
        with torch.no_grad():
            norm.weight.fill_(1e6)
        reduce_norms(nn.Sequential(norm), "half")
        assert norm.weight.tolist() == pytest.approx([1e6, 1e6])


class TestWeightPruning:
    @pytest.fixture(scope="class")
    @staticmethod
    def result(data, teacher):
        module = copy.deepcopy(teacher)
        settings = CompressionSettings(rounds=2, epochs=1)
        return module, prune_weights(module, data, density=0.25, settings=settings, recipe=RECIPE, seed=3)

    def test_weight_pruning_is_the_first_part_of_deep_compression(self, result, data, teacher):
        settings = CompressionSettings(rounds=2, epochs=1, sharing_epochs=0)
        whole = compress(copy.deepcopy(teacher), data, density=0.25, settings=settings, recipe=RECIPE, seed=3)
        for one, other in zip(result[1].tensors, whole.tensors, strict=True):
            assert np.array_equal(one.values != 0, other.codes != 0)
        assert result[1].metrics["val_accuracy_pruned"] == whole.metrics["val_accuracy_pruned"]
        assert result[1].metrics["nonzero_params"] == whole.metrics["nonzero_params"]

    def test_a_file_of_weight_pruning_decodes_to_exactly_the_module(self, result, data):
        module, made = result
        arrays, _ = decode(encode(made.tensors, made.others, {}))
        state = {n: v for n, v in module.state_dict().items() if not n.endswith("num_batches_tracked")}
        assert sorted(arrays) == sorted(state)
        assert all(arrays[name].tobytes() == value.numpy().tobytes() for name, value in state.items())
        assert evaluate(module, data.validation) == made.metrics["val_accuracy"] > 0.7

    def test_weight_pruning_stores_a_float32_and_an_index_for_each_weight(self, result):
        made = result[1]
        total = 144 + 144 + 512 + 9216 + 1280
        assert made.metrics["nonzero_weights"] == round(0.25 * total)
        content = encode(made.tensors, made.others, {})
        others = sum(array.nbytes for array in made.others.values())
        assert 5 * 0.25 * total <= len(content) <= 5.1 * 0.25 * total + others + 1000


class TestCompress:
    @pytest.fixture(scope="class")
    @staticmethod
    def result(data, teacher):
        module = copy.deepcopy(teacher)
        settings = CompressionSettings(rounds=2, epochs=2, sharing_epochs=2, conv_bits=5, linear_bits=4)
        made = compress(module, data, density=0.15, settings=settings, recipe=RECIPE, seed=3)
        return module, made

    def test_the_file_decodes_to_exactly_the_module(self, result, tmp_path):
        module, made = result
        write(tmp_path / "net.dc", made, {"classes": 10})
        arrays, header = read(tmp_path / "net.dc")
        assert header["classes"] == 10
        state = {n: v for n, v in module.state_dict().items() if not n.endswith("num_batches_tracked")}
        assert sorted(arrays) == sorted(state)
        assert all(arrays[name].tobytes() == value.numpy().tobytes() for name, value in state.items())

    def test_the_decoded_network_scores_what_was_reported(self, result, data, teacher):
        made = result[1]
        arrays, _ = decode(encode(made.tensors, made.others, {}))
        fresh = network(seed=99)
        fresh.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items()}, strict=False)
        assert evaluate(fresh, data.validation) == made.metrics["val_accuracy"]
        assert made.metrics["val_accuracy"] > evaluate(teacher, data.validation) - 0.05 > 0.8

    def test_density_and_counts(self, result):
        made = result[1]
        total = 144 + 144 + 512 + 9216 + 1280
        nonzero = sum(int((layer.weights() != 0).sum()) for layer in made.tensors)
        assert made.metrics["weights"] == total
        assert made.metrics["nonzero_weights"] == nonzero == round(0.15 * total)
        assert made.metrics["density"] == nonzero / total
        biases_and_norms = 16 + 32 + 10 + 2 * (16 + 16 + 32)
        assert made.metrics["nonzero_params"] == nonzero + biases_and_norms
        assert made.metrics["train_images"] == 6 * 1295 == sum(row["images"] for row in made.history)

    def test_at_most_two_to_the_bits_values_a_layer(self, result):
        for layer in result[1].tensors:
            assert len(np.unique(layer.weights())) <= 2 ** (4 if layer.kind == "linear" else 5)
            assert (layer.codes > 0).any()
        conv = result[1].tensors[3]  # the large one uses all of them: 31 shared weights and zero
        assert len(conv.codebook) == 32

    def test_the_file_is_far_smaller_than_the_network(self, result):
        made = result[1]
        content = encode(made.tensors, made.others, {})
        weights = sum(layer.codes.size for layer in made.tensors)
        others = sum(array.nbytes for array in made.others.values())
        assert len(content) - others < 4 * weights / 10

    def test_same_seed_same_file(self, data, teacher):
        settings = CompressionSettings(rounds=1, epochs=1, sharing_epochs=1)
        files = []
        for seed in (1, 1, 2):
            made = compress(
                copy.deepcopy(teacher), data, density=0.3, settings=settings, recipe=RECIPE, seed=seed
            )
            files.append(encode(made.tensors, made.others, {}))
        assert files[0] == files[1] != files[2]

    def test_a_killed_run_goes_on_to_the_same_file(self, data, teacher, tmp_path):
        settings = CompressionSettings(rounds=1, epochs=2, sharing_epochs=2)

        def run(images, directory):
            source = SimpleNamespace(train=images, validation=data.validation)
            made = compress(
                copy.deepcopy(teacher),
                source,
                density=0.3,
                settings=settings,
                recipe=RECIPE,
                seed=1,
                resume_directory=directory,
            )
            return encode(made.tensors, made.others, {})

        for epochs_until_killed in (1.5, 2.5):  # in each phase; finished ones repeat their last epoch
            with pytest.raises(KeyboardInterrupt):
                run(Killed(data.train, epochs_until_killed), tmp_path)
        goes_on = Killed(data.train, 3)  # one epoch of each phase, and batch norm's statistics
        assert run(goes_on, tmp_path) == run(data.train, None)
        with pytest.raises(KeyboardInterrupt):
            run(Killed(data.train, 3), None)

    def test_quantising_alone(self, data, teacher):
        module = copy.deepcopy(teacher)
        settings = CompressionSettings(rounds=1, epochs=0, sharing_epochs=0, members_per_cluster=1)
        made = compress(module, data, density=1, settings=settings, recipe=RECIPE, seed=0)
        assert made.metrics["density"] == 1 and made.metrics["train_images"] == 0
        assert made.metrics["val_accuracy_pruned"] == evaluate(teacher, data.validation)
        assert made.history == []

    def test_nothing_is_pruned_or_trained_before_sharing_where_all_weights_stay(self, data, teacher):
        module = copy.deepcopy(teacher)
        settings = CompressionSettings(rounds=3, epochs=2, sharing_epochs=1)
        made = compress(module, data, density=1, settings=settings, recipe=RECIPE, seed=0)
        assert [row["phase"] for row in made.history] == ["centroids"]
        assert made.metrics["density"] == 1 and made.metrics["train_images"] == len(data.train)
        assert made.metrics["val_accuracy_pruned"] == evaluate(teacher, data.validation)
        assert made.metrics["val_accuracy"] > evaluate(teacher, data.validation) - 0.05

    def test_refuses_other_types_before_training(self, data):
        with pytest.raises(HakdError, match=r"0\.weight: is torch\.float64"):
            compress(
                network().double(),
                data,
                density=0.5,
                settings=CompressionSettings(),
                recipe=RECIPE,
                seed=0,
            )

    @pytest.mark.parametrize("density", [0, -0.5, 1.5, float("nan")])
    def test_refuses_a_density_outside_0_1(self, data, density):
        with pytest.raises(HakdError, match="level"):
            compress(network(), data, density=density, settings=CompressionSettings(), recipe=RECIPE, seed=0)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("rounds", 0),
            ("epochs", -1),
            ("conv_bits", 13),
            ("linear_bits", 0),
            ("rounds", 1.5),
            ("rounds", True),
            ("threshold", "magic"),
            ("centroid_step", "max"),
            ("colour", "red"),
            ("members_per_cluster", 0),
        ],
    )
    def test_refuses_settings_out_of_range(self, key, value):
        with pytest.raises(HakdError, match=key):
            CompressionSettings.from_config({key: value})


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
