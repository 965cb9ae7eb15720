"""What the prepared data depend on: settings without places, and the user's own images.

Read by the rules at planning time: no heavy imports.

Images are compared by path, size and time of change. Where only the time differs, the bytes decide, so a copy or a
checkout of the folder prepares nothing again. A folder that is away cannot be compared and counts as unchanged.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hakd.data.folders import is_hidden
from hakd.data.settings import complete
from hakd.records.errors import HakdError
from hakd.records.files import digest, file_digest, read_json, write_json

PLACES = ("root", "download")  # the files of published sets are checked by md5, wherever they are
NOTE, KIND = "images.json", "images"
_UNREADABLE = [-1, -1]


def content_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a data set that its content depends on, with defaults, so that a default may be written out.

    Raises:
        HakdError: as `hakd.data.settings.complete`.
    """
    return {key: value for key, value in complete(settings).items() if key not in PLACES}


def places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The other settings: where the files are."""
    return {key: settings[key] for key in PLACES if key in settings}


def images_state(settings: Mapping[str, Any], folder: str | os.PathLike) -> str | None:
    """A digest of the user's images that changes when they do; None where a data set is not read from a folder of them.

    Args:
        settings: of the data set.
        folder: of the prepared data, with the note of what they were made from.
    """
    if settings["name"] != "imagefolder":
        return None
    found, noted = _listed(settings["root"]), _noted(folder)
    if noted and (not found or _are_same(found, noted["files"], settings["root"])):
        return str(noted["state"])
    return digest(found)


def note_images(settings: Mapping[str, Any], state: str | None, folder: str | os.PathLike) -> None:
    """Keep for `images_state` what the data were prepared from.

    Raises:
        HakdError: the note cannot be written.
    """
    if state is not None:
        root = settings["root"]
        files = {
            name: [*about, file_digest(os.path.join(root, name), 32)]
            for name, about in _listed(root).items()
            if about != _UNREADABLE
        }
        write_json(Path(folder, NOTE), KIND, {"state": state, "files": files})


def _noted(folder: str | os.PathLike) -> dict[str, Any] | None:
    try:
        return read_json(Path(folder, NOTE), KIND)
    except HakdError:  # none, or damaged
        return None


def _are_same(found: Mapping[str, list[int]], noted: Mapping[str, list[Any]], root: str) -> bool:
    """Whether files hold what was noted; only those are read whose time differs."""
    if found.keys() != noted.keys() or any(found[name][0] != noted[name][0] for name in found):
        return False
    touched = [name for name, about in found.items() if about[1] != noted[name][1]]
    try:
        return all(file_digest(os.path.join(root, name), 32) == noted[name][2] for name in touched)
    except OSError:
        return False


def _listed(root: str) -> dict[str, list[int]]:
    """{path below the folder: [size in bytes, time of change in ns]} of the files that `imagefolder` may read."""
    from hakd.data.image_files import image_suffixes

    suffixes = image_suffixes()
    found: dict[str, list[int]] = {}
    entered: set[str] = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        real = os.path.realpath(f"{root}/{below}")
        if real in entered:  # links may loop
            continue
        entered.add(real)
        for entry in _entries(real):
            name = below + entry.name
            if is_hidden(entry.name):
                continue
            if entry.is_dir():
                waiting.append(f"{name}/")
            elif os.path.splitext(entry.name)[1].lower() in suffixes:
                found[name] = _about(entry)
    return found


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    """Sorted, so that the same link is followed each time; none of a folder that cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _about(entry: "os.DirEntry[str]") -> list[int]:
    try:
        about = entry.stat()
    except OSError:  # the job that reads it says what is wrong
        return _UNREADABLE
    return [about.st_size, about.st_mtime_ns]
