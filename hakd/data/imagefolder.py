"""Any folder tree of images: a folder per class, split already or not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hakd.data.folders import Listing, Tally, files_below, keep_once, visible
from hakd.data.image_files import image_suffixes, read_images
from hakd.data.originals import Originals, stored_splits
from hakd.data.splitting import set_apart
from hakd.data.stored import Augmentation, Stored
from hakd.records.errors import HakdError

# Names of the folders of a tree that is split already; in small letters.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def imagefolder(settings: Mapping[str, Any], where: object) -> list[Stored]:
    """`imagefolder`: `root/train` and `root/test` (and `root/val` or `root/validation`), or one tree split here.

    Raises:
        HakdError: a folder that is missing or empty, classes that differ between splits, an image that cannot be read
            or is in two classes.
    """
    root = Path(settings["root"])
    classes, found = _listed(root)
    listings = _split(keep_once(found, classes, root), classes, settings)
    listed = sorted(pair for listing in listings.values() for pair in listing)
    paths = [path for path, _ in listed]
    number = {path: i for i, path in enumerate(paths)}
    notes = Tally()
    originals = Originals(
        splits={
            split: np.array([number[path] for path, _ in listing], np.int64)
            for split, listing in listings.items()
        },
        labels=np.array([label for _, label in listed], np.int64),
        read=lambda ids: read_images([paths[i] for i in ids], settings["size"], notes),
        classes=classes,
        augmentation=Augmentation(shift=1 / 8, reflected=True, flip=settings["flip"]),
        source={**settings, "root": None, "files": [str(path.relative_to(root)) for path in paths]},
        from_files=True,
        place=root,
    )
    splits = stored_splits(originals, settings, where)
    notes.report(root)
    return splits


def count_train_images(settings: Mapping[str, Any]) -> int:
    """Images of the train split, counted without reading them: copies count, which `imagefolder` leaves out.

    Raises:
        HakdError: as `imagefolder`, for what shows without reading images.
    """
    classes, listed = _listed(Path(settings["root"]))
    return len(_split(listed, classes, settings)["train"])


def _listed(root: Path) -> tuple[tuple[str, ...], dict[str, Listing]]:
    """Class names and images by split, as the folders have them; of one tree for all splits, under `tree`."""
    if not root.is_dir():
        raise HakdError("no such folder", where=root, key="data.root", remedy="Correct data.root")
    folders = _split_folders(root)
    if not folders:
        classes, files = _list(root)
        return classes, {"tree": files}
    listed = {split: _list(folder) for split, folder in folders.items()}
    classes = listed["train"][0]
    for split, (names, _) in listed.items():
        if names != classes:
            odd = min(set(names) ^ set(classes))
            raise HakdError(
                f"class folder `{odd}` is either in `train` or here, not in both",
                where=folders[split],
                remedy="Give every split the same class folders",
            )
    return classes, {split: files for split, (_, files) in listed.items()}


def _split_folders(root: Path) -> dict[str, Path]:
    """The folders of a tree that is split already, by split; none where the tree is to be split here."""
    folders: dict[str, Path] = {}
    left_out = Tally()
    for entry in visible(root, left_out):
        split = SPLIT_NAMES.get(entry.name.lower()) if entry.is_dir() else None
        if split is None:
            left_out.add("entries beside the splits", entry)
        elif split in folders:
            problem = f"`{folders[split].name}` and `{entry.name}` both name the {split} split"
            raise HakdError(problem, where=root, key="data.root", remedy="Keep one of them or merge them")
        else:
            folders[split] = entry
    if len(folders) < 2 and not (root / "train").is_dir():
        return {}  # a class may have the name of a split
    for split in ("train", "test"):
        if split not in folders:
            other = next(iter(folders.values())).name
            raise HakdError(
                f"there is a folder `{other}` but no folder `{split}`",
                where=root,
                key="data.root",
                remedy=f"Add `{split}` with the same class folders, or give a folder that holds the class folders "
                "themselves",
            )
    left_out.report(f"{root}: left out")
    return folders


def _list(folder: Path) -> tuple[tuple[str, ...], Listing]:
    """Class names, sorted, and the images of a folder of class folders; what is left out is reported."""
    left_out = Tally()
    entries = list(visible(folder, left_out))
    classes = tuple(entry.name for entry in entries if entry.is_dir())
    if len(classes) < 2:
        raise HakdError(
            f"{len(classes)} class folders, at least 2 are needed",
            where=folder,
            key="data.root",
            remedy="Give a folder that holds one folder of images for each class",
        )
    for entry in entries:
        if not entry.is_dir():
            left_out.add("files outside a class folder", entry)
    suffixes = image_suffixes()
    files: Listing = []
    for label, name in enumerate(classes):
        below = files_below(folder / name, left_out)
        images = [path for path in below if path.suffix.lower() in suffixes and path.is_file()]
        for path in sorted(set(below) - set(images)):
            left_out.add("files that are not images", path)
        if not images:
            problem = "no images" + (f", only others such as {below[0].name}" if below else "")
            raise HakdError(problem, where=folder / name, remedy="Add images or remove the folder")
        files += [(path, label) for path in images]
    left_out.report(f"{folder}: left out")
    return classes, files


def _split(
    listed: Mapping[str, Listing], classes: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Listing]:
    """The three splits: test and validation images are set apart by seed where there is no folder of them."""
    rest, share = listed.get("train", []), settings["validation"]
    test, validation = listed.get("test", []), listed.get("validation")
    if "tree" in listed:
        rest, test = _apart(listed["tree"], classes, settings["test"], "test", settings)
        share /= 1 - settings["test"]
    if validation is None:
        rest, validation = _apart(rest, classes, share, "validation", settings)
    return {"train": rest, "validation": validation, "test": test}


def _apart(
    files: Listing, classes: Sequence[str], share: float, stream: str, settings: Mapping[str, Any]
) -> tuple[Listing, Listing]:
    """The files that stay, and the `share` of them that is set apart."""
    labels = np.array([label for _, label in files])
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() < 2:
        raise HakdError(
            f"class `{classes[int(counts.argmin())]}` has {counts.min()} image left to split",
            where=settings["root"],
            remedy="Give every class at least three images, one for each split",
        )
    kept, held = set_apart(labels, share, stream, settings["seed"], settings["root"])
    return [files[i] for i in kept], [files[i] for i in held]
