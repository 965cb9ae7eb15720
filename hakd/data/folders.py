"""Folders of images as users have them: service folders left out, links followed, copies found by their content."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hakd.records.errors import HakdError
from hakd.records.files import file_digest
from hakd.records.text import printable

logger = logging.getLogger(__name__)

Listing = list[tuple[Path, int]]
"""Files with their class numbers, in order of their paths."""

# What file servers, systems and notebooks put beside images, beside all names that begin with a dot; in small letters.
SERVICE = {
    "__macosx",
    "__pycache__",
    "@eadir",
    "@recycle",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "lost+found",
    "system volume information",
    "desktop.ini",
    "thumbs.db",
}
ORDER = (
    "test",
    "validation",
    "train",
    "tree",
)  # an image that is in several splits stays in the first of these


class Tally:
    """Paths by note; reported in one line with a count and an example each."""

    def __init__(self) -> None:
        self._paths: dict[str, list[object]] = {}

    def add(self, what: str, path: object) -> None:
        """Count one path."""
        self._paths.setdefault(what, []).append(path)

    def report(self, head: object) -> None:
        """Warn of all of them; says nothing where there are none."""
        parts = [f"{what} ({len(paths)}, such as {paths[0]})" for what, paths in self._paths.items()]
        if parts:
            logger.warning("%s: %s", head, printable("; ".join(parts)))


def is_hidden(name: str) -> bool:
    """Whether an entry of this name is left out."""
    return name.startswith(".") or name.lower() in SERVICE


def visible(folder: Path, left_out: Tally) -> Iterator[Path]:
    """The entries of a folder, sorted, without hidden and service ones.

    Raises:
        HakdError: a folder that cannot be listed, a link whose target is missing.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        problem = f"the folder cannot be listed ({error.strerror})"
        raise HakdError(problem, where=folder, remedy="Make it readable or remove it") from None
    for entry in entries:
        if is_hidden(entry.name):
            left_out.add("hidden and service entries", entry)
        elif os.path.exists(entry):
            yield entry
        else:
            problem = "a link whose target is missing or cannot be reached"
            raise HakdError(problem, where=entry, remedy="Repair the link or remove it")


def files_below(folder: Path, left_out: Tally) -> list[Path]:
    """All visible files below a folder, sorted. Links are followed, but no folder is entered twice: links may loop."""
    real = folder.resolve()
    entered = {real, *real.parents}
    files, waiting = [], [folder]
    while waiting:
        for entry in visible(waiting.pop(), left_out):
            if not entry.is_dir():
                files.append(entry)
            elif entry.resolve() in entered:
                left_out.add("links to folders that were already read", entry)
            else:
                entered.add(entry.resolve())
                waiting.append(entry)
    return sorted(files)


def keep_once(listed: Mapping[str, Listing], classes: Sequence[str], root: Path) -> dict[str, Listing]:
    """Leave out links to and copies of images that are listed already, so that no image is in two splits.

    Files are the same image where they hold the same bytes. The test split stays whole.

    Args:
        listed: files by split (`tree` before there are splits).
        classes: their names.
        root: named in an error.

    Raises:
        HakdError: an image in two classes, a class of a split without any image left, a file that cannot be read.
    """
    content = _contents([path for listing in listed.values() for path, _ in listing])
    first: dict[object, tuple[Path, int, str]] = {}
    kept: dict[str, Listing] = {}
    left_out, conflicts = Tally(), []
    for split in sorted(listed, key=ORDER.index):
        kept[split] = []
        for path, label in listed[split]:
            other, other_label, other_split = first.setdefault(content[path], (path, label, split))
            if other == path:
                kept[split].append((path, label))
            elif other_label != label:
                conflicts.append((path, other))
            elif other_split == split:
                left_out.add("copies of other images", f"{path}, the same as {other}")
            else:
                left_out.add(
                    f"images of {split} that are in {other_split} too", f"{path}, the same as {other}"
                )
    if conflicts:
        path, other = conflicts[0]
        more = f" ({len(conflicts)} such files)" if len(conflicts) > 1 else ""
        problem = f"the same image as {other}, which is in another class{more}"
        raise HakdError(problem, where=path, remedy="Keep it in the class that it belongs to")
    left_out.report(f"{root}: left out")
    for split, listing in kept.items():
        for label in sorted(set(range(len(classes))) - {label for _, label in listing}):
            problem = f"all images of class `{classes[label]}` in {split} are in another split too"
            raise HakdError(problem, where=root, remedy="Give every split its own images")
    return kept


def _contents(paths: Sequence[Path]) -> dict[Path, object]:
    """What distinguishes the content of files: the size where only one file has it, else a hash of the bytes."""
    try:
        sizes = {path: path.stat().st_size for path in paths}
        count = Counter(sizes.values())
        return {path: size if count[size] == 1 else file_digest(path, 64) for path, size in sizes.items()}
    except OSError as error:
        problem = f"image cannot be read ({error.strerror})"
        remedy = "Repair it or remove it from the folder"
        raise HakdError(problem, where=error.filename, remedy=remedy) from None
