"""Data sets that need nothing from outside: splits, files, batches, augmentation, drawing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.data import load, prepare
from hakd.data.clutter import CANVAS, Difficulty, draw
from hakd.data.digits import plain
from hakd.data.settings import complete
from hakd.data.split import Split, resize
from hakd.data.splitting import channel_statistics, set_apart
from hakd.data.stored import SPLITS, Augmentation, Stored, read
from hakd.records.errors import HakdError
from tests.unit.studies import CLUTTERED


def split_of(
    count: int, size: int = 8, channels: int = 1, policy: Augmentation | None = None, numbered: bool = False
) -> Split:
    """A split of noise whose labels are the images' numbers, so that a batch tells which images it holds."""
    images = np.random.default_rng(0).integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    if numbered:
        images[:] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    ids = np.arange(count)
    classes = tuple(map(str, range(max(2, count))))
    mean, std = (0.0,) * channels, (1.0,) * channels
    stored = Stored("made", "train", images, ids, ids, classes, mean, std, policy or Augmentation(), 0, "x")
    return Split(stored, size, torch.device("cpu"))


def gathered(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """All batches of an epoch, as one."""
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "cluttered"])
def test_splits_share_no_original(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    ids = {split: set(read(folder / f"{split}.npz").ids.tolist()) for split in SPLITS}
    assert sum(map(len, ids.values())) == len(set.union(*ids.values()))


def test_digits_are_the_scans_of_scikit_learn_split_as_said(digits: Path) -> None:
    from sklearn.datasets import load_digits

    scans = load_digits()
    parts = {split: read(digits / f"{split}.npz") for split in SPLITS}
    assert sum(len(part.labels) for part in parts.values()) == 1797
    assert len(parts["test"].labels) == pytest.approx(0.2 * 1797, abs=5)
    assert len(parts["validation"].labels) == pytest.approx(0.08 * 1797, abs=5)
    for part in parts.values():
        np.testing.assert_array_equal(part.labels, scans.target[part.ids])
        np.testing.assert_allclose(part.images[:, 0], scans.images[part.ids] * 255 / 16, atol=0.5)
        share = np.bincount(part.labels, minlength=10) / len(part.labels)
        np.testing.assert_allclose(share, np.bincount(scans.target) / 1797, atol=0.01)


def test_splits_follow_the_seed(digits: Path, tmp_path: Path) -> None:
    prepare({"name": "digits", "seed": 0}, tmp_path / "same")
    prepare({"name": "digits", "seed": 1}, tmp_path / "other")
    for split in SPLITS:
        assert (tmp_path / "same" / f"{split}.npz").read_bytes() == (digits / f"{split}.npz").read_bytes()
        assert set(read(tmp_path / "other" / f"{split}.npz").ids) != set(read(digits / f"{split}.npz").ids)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.floats(0.01, 0.9), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_set_apart_partitions_and_leaves_no_class_out(values: list[int], share: float, seed: int) -> None:
    labels = np.array(values)
    counts = np.bincount(labels)
    if counts[counts > 0].min() < 2:
        with pytest.raises(HakdError, match="left to split"):
            set_apart(labels, share, "test", seed, "here")
        return
    kept, apart = set_apart(labels, share, "test", seed, "here")
    assert sorted([*kept, *apart]) == list(range(len(labels)))
    for label in np.unique(labels):
        inside = int((labels[apart] == label).sum())
        assert 1 <= inside < counts[label]
        assert abs(inside - share * counts[label]) <= 1


def test_validation_and_test_are_drawn_independently() -> None:
    labels = np.zeros(100, np.int64)
    assert set(set_apart(labels, 0.2, "test", 0, "")[1]) != set(
        set_apart(labels, 0.2, "validation", 0, "")[1]
    )


# --- normalisation ---------------------------------------------------------------------------------------------------


def test_normalisation_comes_from_the_train_split_alone(digits: Path) -> None:
    train = read(digits / "train.npz")
    everything = np.concatenate([read(digits / f"{split}.npz").images for split in SPLITS])
    assert train.mean[0] == pytest.approx(train.images.mean())
    assert train.std[0] == pytest.approx(train.images.std())
    assert abs(train.mean[0] - everything.mean()) > 1e-3  # so the two can be told apart
    for split in ("validation", "test"):
        assert (read(digits / f"{split}.npz").mean, read(digits / f"{split}.npz").std) == (
            train.mean,
            train.std,
        )


def test_other_pixels_in_the_test_split_change_no_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    from hakd.data import digits as module

    config = complete({"name": "digits"})
    before = plain(config, "here")
    images, labels = module._scans()
    images[before[2].ids] = 255 - images[before[2].ids]
    monkeypatch.setattr(module, "_scans", lambda: (images, labels))
    after = plain(config, "here")
    assert not np.array_equal(after[2].images, before[2].images)
    assert [part.mean for part in after] == [part.mean for part in before]


@given(st.integers(1, 3), st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_channel_statistics_are_numpys(channels: int, count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, channels, 3, 3), dtype=np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 2, 3)))
    np.testing.assert_allclose(std, images.std((0, 2, 3)), atol=1e-9)


def test_cluttered_training_images_are_normalised(cluttered: Path) -> None:
    images, _ = gathered(load(cluttered / "train.npz", CANVAS).batches(64, 0, 0))
    assert abs(float(images.mean())) < 0.05
    assert float(images.std()) == pytest.approx(1, abs=0.05)


# --- loading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_split_loads_alone_at_any_size(split: str, size: int, digits: Path, tmp_path: Path) -> None:
    alone = tmp_path / f"{split}.npz"
    alone.write_bytes((digits / f"{split}.npz").read_bytes())
    found = load(alone, size)
    assert found.images.shape == (len(found), 1, size, size)
    assert found.images.dtype == torch.float32
    assert found.labels.dtype == torch.int64
    assert (found.num_classes, found.channels, found.image, found.name) == (10, 1, (size, size), "digits")
    assert found.split == split


def test_resizing_keeps_bytes_at_the_same_size_and_means_when_pixels_get_fewer() -> None:
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    assert resize(images, 32) is images
    stripes = torch.zeros(1, 1, 32, 32)
    stripes[..., ::4] = 255  # every fourth column: a bare sample would see all of it or nothing
    np.testing.assert_allclose(resize(stripes, 8)[..., 1:-1], 255 / 4, atol=1)


def test_importing_and_preparing_digits_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys; from hakd.data import prepare; prepare({'name': 'digits'}, sys.argv[1]); "
    check_modules = "assert 'torch' not in sys.modules"
    arguments = [sys.executable, "-c", code + check_modules, str(tmp_path)]
    subprocess.run(arguments, check=True, cwd=Path(__file__).parents[2])


# --- batches ---------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 20), st.integers(0, 3), st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 3)
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_every_image_once(
    size: int, whole: int, rest: int, augment: bool, shuffle: bool, seed: int
) -> None:
    count = max(1, whole * size + rest)
    split = split_of(count, policy=Augmentation(0.2, True, True))
    batches = list(split.batches(size, seed, 3, augment=augment, shuffle=shuffle))
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(count))
    assert all(len(images) == len(labels) for images, labels in batches)
    assert max(len(labels) for _, labels in batches) <= size + 1
    if size > 1 and count > 1:
        assert min(len(labels) for _, labels in batches) > 1


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    split = split_of(9)
    assert [len(labels) for _, labels in split.batches(4, 0, 0)] == [4, 5]
    assert [len(labels) for _, labels in split.batches(3, 0, 0)] == [3, 3, 3]
    assert [len(labels) for _, labels in split_of(1).batches(4, 0, 0)] == [1]


def test_unshuffled_batches_are_the_split_in_order() -> None:
    split = split_of(10)
    images, labels = gathered(split.batches(4, 0, 0, augment=False, shuffle=False))
    assert labels.tolist() == list(range(10))
    assert torch.equal(images, split.images)


@pytest.mark.parametrize("name", ["digits", "cluttered"])
def test_batches_depend_on_seed_and_epoch_only(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name) / "train.npz"
    first = gathered(load(path, 16).batches(32, 1, 5))
    split = load(path, 16)
    torch.manual_seed(99)
    list(split.batches(32, 1, 4))
    again = gathered(split.batches(32, 1, 5))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for seed, epoch in ((1, 6), (2, 5)):
        images, labels = gathered(split.batches(32, seed, epoch))
        assert not torch.equal(labels, first[1])
        assert not torch.equal(images, first[0])


def test_augmentation_of_an_image_depends_on_neither_batch_size_nor_order() -> None:
    split = split_of(20, policy=Augmentation(0.25, False, True))
    one = gathered(split.batches(7, 1, 1, shuffle=False))
    other = gathered(split.batches(4, 1, 1))
    assert torch.equal(one[0], other[0][other[1].argsort()])


def test_labels_stay_with_their_images() -> None:
    split = split_of(40, policy=Augmentation(1 / 8, True, True), numbered=True)
    images, labels = gathered(split.batches(7, 0, 0))
    assert torch.equal(images[:, 0, 0, 0].long(), labels)
    assert images.amin((1, 2, 3)).equal(images.amax((1, 2, 3)))  # reflection brings in nothing foreign


@pytest.mark.parametrize(
    "policy", [Augmentation(0.25, True, True), Augmentation(0.25), Augmentation(0, False, True)]
)
def test_augmentation_is_what_padding_cropping_and_flipping_give(policy: Augmentation) -> None:
    split = split_of(64, channels=3, policy=policy)
    images, labels = gathered(split.batches(16, 0, 0))
    reach = round(policy.shift * 8)
    padded = np.pad(
        split.images.numpy(),
        ((0, 0), (0, 0), (reach, reach), (reach, reach)),
        "reflect" if policy.reflected else "constant",
    )
    seen = set()
    for image, label in zip(images.numpy(), labels.tolist(), strict=True):
        matches = [
            (top, left, flip)
            for top in range(2 * reach + 1)
            for left in range(2 * reach + 1)
            for flip in ((False, True) if policy.flip else (False,))
            if np.array_equal(
                image, padded[label, :, top : top + 8, left : left + 8][:, :, :: -1 if flip else 1]
            )
        ]
        assert matches
        seen |= {(bool(top - reach), bool(left - reach), flip) for top, left, flip in matches[:1]}
    assert any(flip for _, _, flip in seen) == policy.flip
    assert any(moved for moved, _, _ in seen) == bool(reach)


def test_digits_are_shifted_and_never_flipped(digits: Path) -> None:
    policy = load(digits / "train.npz", 32).augmentation
    assert policy.shift > 0
    assert not policy.flip


# --- cluttered digits ------------------------------------------------------------------------------------------------


def test_cluttered_files_are_the_same_for_the_same_seed(cluttered: Path, tmp_path: Path) -> None:
    prepare(CLUTTERED, tmp_path / "again")
    prepare({**CLUTTERED, "seed": 3}, tmp_path / "other")
    for split in SPLITS:
        assert (tmp_path / "again" / f"{split}.npz").read_bytes() == (cluttered / f"{split}.npz").read_bytes()
    here, other = read(cluttered / "test.npz"), read(tmp_path / "other" / "test.npz")
    assert here.images.shape == other.images.shape == (400, 1, CANVAS, CANVAS)
    assert not np.array_equal(here.images, other.images)


def test_cluttered_training_images_are_fresh_each_epoch_and_fixed_without_augmentation(
    cluttered: Path,
) -> None:
    split = load(cluttered / "train.npz", CANVAS)
    first, labels = gathered(split.batches(64, 0, 0, shuffle=False))
    second, _ = gathered(split.batches(64, 0, 1, shuffle=False))
    assert len(split) == len(first) == 300
    assert torch.equal(labels, split.labels)
    assert (first != second).flatten(1).any(1).all()
    fixed = [gathered(split.batches(64, 0, epoch, augment=False, shuffle=False))[0] for epoch in (0, 1)]
    assert torch.equal(fixed[0], fixed[1])
    assert torch.equal(fixed[0], split.images)


def test_cluttered_labels_are_those_of_the_scans(cluttered: Path) -> None:
    from sklearn.datasets import load_digits

    target = load_digits().target
    for split in SPLITS:
        found = load(cluttered / f"{split}.npz", CANVAS)
        assert found.labels.tolist() == target[found.ids].tolist()


def test_without_clutter_a_drawing_is_its_scan_placed() -> None:
    still = Difficulty((16.0, 16.0), 0, 0, 0, (1, 1), fragments=0, strokes=0, noise=0)
    scans = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8)
    images = draw(scans, torch.arange(30), torch.Generator().manual_seed(0), still)
    for scan, image in zip(scans, images, strict=True):
        assert float(image.double().sum()) == pytest.approx(4 * float(scan.double().sum()), rel=0.03)
        rows, columns = torch.nonzero(image[0].amax(1)), torch.nonzero(image[0].amax(0))
        assert rows[-1] - rows[0] <= 18
        assert columns[-1] - columns[0] <= 18


def test_a_turned_drawing_is_turned_by_the_angle_it_says() -> None:
    """An upright bar, turned only: its axis of inertia leans by at most the bound, and reaches most of it."""
    bound = 25.0
    turned = Difficulty((20.0, 20.0), 0, bound, 0, (1, 1), fragments=0, strokes=0, noise=0)
    bar = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    bar[:, :, :, 3:5] = 255
    images = draw(bar, torch.zeros(200, dtype=torch.long), torch.Generator().manual_seed(0), turned)[
        :, 0
    ].double()
    at = torch.arange(CANVAS, dtype=torch.double)
    mass = images.sum((1, 2))
    y = at[:, None] - ((images * at[:, None]).sum((1, 2)) / mass)[:, None, None]
    x = at[None, :] - ((images * at[None, :]).sum((1, 2)) / mass)[:, None, None]
    lean = 0.5 * torch.atan2(2 * (images * x * y).sum((1, 2)), (images * (y**2 - x**2)).sum((1, 2)))
    degrees = torch.rad2deg(lean).abs()
    assert degrees.max() < bound + 2
    assert degrees.max() > bound - 4


def test_clutter_comes_from_the_given_scans_only() -> None:
    quiet = Difficulty(strokes=0, noise=0)
    dark = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    assert int(draw(dark, torch.arange(5), generator, quiet).max()) == 0
    assert int(draw(dark, torch.arange(5), generator, Difficulty(noise=0)).max()) > 0  # the strokes
