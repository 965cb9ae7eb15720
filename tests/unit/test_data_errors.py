"""What the data layer refuses: settings, files and folders that are wrong, each with one error."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hakd.data import load, load_splits, prepare
from hakd.data.digits import plain
from hakd.data.settings import SETTINGS, complete
from hakd.data.stored import Stored, check
from hakd.records.errors import HakdError


@pytest.mark.parametrize(
    ("config", "key", "part"),
    [
        ({}, "data.name", "no data set"),
        ({"name": "mnist"}, "data.name", "unknown data set 'mnist'"),
        ({"name": ["digits"]}, "data.name", "unknown data set"),
        ({"name": "digits", "rooot": "x"}, "data.rooot", "no such setting"),
        ({"name": "digits", "download": True}, "data.download", "no such setting"),
        ({"name": "digits", "seed": -1}, "data.seed", "is not in"),
        ({"name": "digits", "seed": True}, "data.seed", "whole number"),
        ({"name": "digits", "seed": "0"}, "data.seed", "whole number"),
        ({"name": "digits", "validation": 0}, "data.validation", "is not in"),
        ({"name": "digits", "validation": float("nan")}, "data.validation", "is not in"),
        ({"name": "digits", "train_size": 0.5}, "data.train_size", "whole number"),
        ({"name": "digits", "mean": [0.5]}, "data.mean", "is given without data.std. Give both"),
        ({"name": "digits", "mean": 0.5, "std": [0.5]}, "data.mean", "0.5 is not a list"),
        ({"name": "digits", "mean": [0.5], "std": [128]}, "data.std", "128 is not in 0.001 to 1"),
        (
            {"name": "digits", "mean": [0.5, 0.5], "std": [0.5]},
            "data.mean",
            "2 numbers, the images have 1 channel",
        ),
        ({"name": "digits", "train_size": 1}, "data.train_size", "is not in"),
        ({"name": "digits", "train_size": 9}, "data.train_size", "9 images for 10 classes"),
        ({"name": "digits", "train_size": 1296}, "data.train_size", "the train split has 1295"),
        ({"name": "cluttered-digits", "train_size": 1296}, "data.train_size", "the train split has 1295"),
        ({"name": "cifar10", "download": "no"}, "data.download", "true or false"),
        ({"name": "imagefolder"}, "data.root", "needs this setting"),
        ({"name": "imagefolder", "root": "x", "size": 1.5}, "data.size", "whole number"),
        (
            {"name": "imagefolder", "root": "x", "validation": 0.6, "test": 0.4},
            "data.validation",
            "nothing to train",
        ),
    ],
)
def test_wrong_settings_are_one_error_and_write_nothing(
    config: dict, key: str, part: str, tmp_path: Path
) -> None:
    with pytest.raises(HakdError, match=part) as caught:
        prepare(config, tmp_path / "out", where="config/config.yaml")
    assert (caught.value.where, caught.value.key) == ("config/config.yaml", key)
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    for name, keys in SETTINGS.items():
        section = text.split(f"## `{name}`")[1].split("\n## ")[0]
        common = text.split("Keys of every data set")[1].split("\n## ")[0]
        missing = [key for key in keys if f"`{key}`" not in section + common]
        assert not missing, (name, missing)


def rewritten(
    path: Path, target: Path, meta: dict | None = None, drop: str = "", **arrays: np.ndarray
) -> Path:
    """A copy of an npz with other metadata or arrays."""
    content = dict(np.load(path))
    found = {**json.loads(content["meta"].tobytes()), **(meta or {})}
    content |= {"meta": np.frombuffer(json.dumps(found).encode(), np.uint8), **arrays}
    np.savez(target, **{key: value for key, value in content.items() if key != drop})
    return target


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(HakdError, match="no such file") as caught:
        load(tmp_path / "train.npz", 32)
    assert caught.value.where == tmp_path / "train.npz"


@pytest.mark.parametrize("share", [0, 1, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_one_error(share: float, digits: Path, tmp_path: Path) -> None:
    whole = (digits / "validation.npz").read_bytes()
    path = tmp_path / "validation.npz"
    path.write_bytes(whole[: int(share * len(whole)) if share < 1 else 1])
    with pytest.raises(HakdError, match=r"truncated|no npz") as caught:
        load(path, 32)
    assert caught.value.where == path


def test_a_flipped_byte_is_one_error(digits: Path, tmp_path: Path) -> None:
    content = bytearray((digits / "validation.npz").read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "validation.npz"
    path.write_bytes(content)
    with pytest.raises(HakdError, match="damaged"):
        load(path, 32)


def test_other_files_are_one_error(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    np.savez(tmp_path / "objects.npz", meta=np.array([{}], dtype=object))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("array.npy", "other.npz", "objects.npz", "text.npz", "."):
        with pytest.raises(HakdError) as caught:
            load(tmp_path / name, 32)
        assert caught.value.remedy


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"meta": {"format": 99}}, "format 99, this program reads 1"),
        ({"meta": {"kind": "something"}}, "not a split"),
        ({"meta": {"classes": ["0"]}}, "1 class"),
        ({"meta": {"mean": []}}, "finite numbers"),
        ({"meta": {"mean": None}}, "damaged metadata"),
        ({"meta": {"std": [0.0]}}, "same everywhere"),
        ({"meta": {"split": "testing"}}, "not one of train"),
        ({"meta": {"augmentation": {"zoom": 1}}}, "damaged metadata"),
        ({"drop": "ids"}, "array is missing"),
        ({"labels": np.zeros(3, np.int64)}, "not int64"),
        ({"labels": np.full(143, 10)}, "do not fit 10 classes"),
        ({"images": np.zeros((143, 8, 8), np.uint8)}, "not uint8"),
        ({"images": np.zeros((143, 1, 8, 8), np.float32)}, "not uint8"),
        ({"images": np.zeros((0, 1, 8, 8), np.uint8)}, "no images"),
    ],
)
def test_inconsistent_files_are_one_error(change: dict, part: str, digits: Path, tmp_path: Path) -> None:
    path = rewritten(digits / "validation.npz", tmp_path / "changed.npz", **change)
    with pytest.raises(HakdError, match=part) as caught:
        load(path, 32)
    assert caught.value.where == path


def test_a_copy_that_changes_nothing_loads(digits: Path, tmp_path: Path) -> None:
    """The copies of the test above fail for what was changed, not for being copies."""
    copy = load(rewritten(digits / "validation.npz", tmp_path / "copy.npz"), 32)
    assert torch.equal(copy.images, load(digits / "validation.npz", 32).images)


def test_splits_of_two_preparations_or_in_wrong_places_are_refused(
    digits: Path, cluttered: Path, tmp_path: Path
) -> None:
    found = load_splits(digits / "train.npz", digits / "validation.npz", 16)
    assert (found.train.split, found.validation.split) == ("train", "validation")
    with pytest.raises(HakdError, match="holds the test split, not validation"):
        load_splits(digits / "train.npz", digits / "test.npz", 16)
    prepare({"name": "digits", "seed": 5}, tmp_path)
    for other in (tmp_path, cluttered):
        with pytest.raises(HakdError, match="was not prepared together"):
            load_splits(digits / "train.npz", other / "validation.npz", 16)


def test_wrong_sizes_devices_and_batches_are_one_error(digits: Path) -> None:
    with pytest.raises(HakdError, match="0 pixels"):
        load(digits / "test.npz", 0)
    for device in ("toaster", "cuda:99"):
        with pytest.raises(HakdError, match=device):
            load(digits / "test.npz", 8, device)
    with pytest.raises(HakdError, match="batch_size"):
        next(load(digits / "test.npz", 8).batches(0, 0, 0))


def test_nothing_is_half_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write, calls = np.savez, []

    def fails_at_the_third(*args: object, **arrays: np.ndarray) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        write(*args, **arrays)

    monkeypatch.setattr(np, "savez", fails_at_the_third)
    with pytest.raises(HakdError, match="No space left"):
        prepare({"name": "digits"}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HakdError, match="cannot write"):
        prepare({"name": "digits"}, tmp_path / "file")


def test_sets_without_images_or_classes_are_refused() -> None:
    config = complete({"name": "digits"})
    part = plain(config, "here")[0]
    with pytest.raises(HakdError, match="at least 2"):
        check(Stored(**{**vars(part), "classes": ("0",)}), "here")
    empty = {"images": part.images[:0], "labels": part.labels[:0], "ids": part.ids[:0]}
    with pytest.raises(HakdError, match="no images"):
        check(Stored(**{**vars(part), **empty}), "here")
