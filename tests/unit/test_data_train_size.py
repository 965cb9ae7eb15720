"""`train_size`: a stratified part of the train split, of every data set."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.data import load, prepare
from hakd.data.settings import SETTINGS, complete
from hakd.data.splitting import part_of
from hakd.data.stored import SPLITS, read
from hakd.records.errors import HakdError
from tests.unit.image_trees import make_tree
from tests.unit.studies import CLUTTERED
from tests.unit.train_parts import part_of_train


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(1, 250), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_a_part_has_its_size_and_the_proportions_of_the_whole(
    values: list[int], size: int, seed: int
) -> None:
    labels = np.array(values)
    found, counts = np.unique(labels, return_counts=True)
    if not len(found) <= size <= len(labels):
        with pytest.raises(HakdError, match=str(len(labels) if size > len(labels) else len(found))) as caught:
            part_of(labels, size, seed, "here")
        assert (caught.value.where, caught.value.key) == ("here", "data.train_size")
        return
    kept = part_of(labels, size, seed, "here")
    assert kept.tolist() == sorted({*kept.tolist()})
    assert len(kept) == size
    of = [int((labels[kept] == label).sum()) for label in found]
    assert min(of) >= 1
    rest = (size - len(found)) / max(1, len(labels) - len(found))
    np.testing.assert_allclose(of, 1 + rest * (counts - 1), atol=0.999)
    np.testing.assert_array_equal(kept, part_of(labels, size, seed, "here"))


def test_a_part_follows_the_seed() -> None:
    labels = np.arange(100) % 4
    assert part_of(labels, 20, 0, "").tolist() != part_of(labels, 20, 1, "").tolist()
    assert part_of(labels, 100, 0, "").tolist() == list(range(100))


def test_every_data_set_has_it() -> None:
    assert all("train_size" in keys for keys in SETTINGS.values())
    assert "train_size" not in complete({"name": "digits", "train_size": None})  # as one that is not given


@pytest.mark.parametrize(("name", "dataset"), [("digits", "e08d20d89497"), ("cluttered", "8fafe6e7a0d3")])
def test_files_of_older_preparations_stay_valid(
    name: str, dataset: str, request: pytest.FixtureRequest
) -> None:
    """The hashes from before there was a `train_size`."""
    folder = request.getfixturevalue(name)
    assert {read(folder / f"{split}.npz").dataset for split in SPLITS} == {dataset}


def test_a_part_of_the_digits(tmp_path: Path) -> None:
    part_of_train({"name": "digits", "seed": 2}, 100, tmp_path)


def test_a_part_of_the_scans_that_cluttered_digits_are_drawn_from(tmp_path: Path) -> None:
    _, part = part_of_train(CLUTTERED, 30, tmp_path)
    assert part.drawn_images == CLUTTERED["epoch_images"]
    split = load(tmp_path / "part" / "train.npz", 32)
    assert set(split.ids.tolist()) == set(part.ids.tolist())
    assert len(split) == 300


def test_of_a_folder_only_the_part_is_read(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree", 20)
    config = {"name": "imagefolder", "root": str(root), "size": 8}
    full, part = part_of_train(config, 7, tmp_path)
    left = sorted(set(full.ids.tolist()) - set(part.ids.tolist()))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    files[left[0]].write_bytes(b"not an image")
    prepare({**config, "train_size": 7}, tmp_path / "again")
    np.testing.assert_array_equal(read(tmp_path / "again" / "train.npz").images, part.images)
    with pytest.raises(HakdError, match="image cannot be read"):
        prepare(config, tmp_path / "none")


def test_normalisation_constants_can_be_given(tmp_path):
    """As the weights of a network from elsewhere want them; the hash of the data says so."""
    for folder, more in (("own", {}), ("given", {"mean": [0.5], "std": [0.25]})):
        prepare({"name": "digits", **more}, tmp_path / folder)
    own, told = (read(tmp_path / folder / "test.npz") for folder in ("own", "given"))
    assert (told.mean, told.std) == ((127.5,), (63.75,)) and (own.images == told.images).all()
    assert own.mean != told.mean and own.dataset != told.dataset
    split = load(tmp_path / "given" / "test.npz", 8)
    assert torch.equal(split.images, (torch.from_numpy(told.images).float() - 127.5) / 63.75)
    assert split.about() == {"mean": [127.5], "std": [63.75], "classes": [str(digit) for digit in range(10)]}
