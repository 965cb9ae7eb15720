"""Files of results/ that no device, network, level, method, seed, recipe or loss of a configuration uses any more.

A file is unused where its path has a form that the rules give, and `hakd.study.belonging` does not have it. All others
are left alone, and so are measurements, logs, data and what the study draws of all devices.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakd.records.checkpoint import read_checkpoint
from hakd.records.errors import HakdError
from hakd.records.files import read_json
from hakd.study.belonging import RACE_FILE, Belonging, belonging
from hakd.study.candidates import by_tables, criteria, densities_key, densities_of
from hakd.study.configuration import config_digest
from hakd.study.fleets import selected
from hakd.study.kept import FOLDER as CONFIGURATIONS
from hakd.study.kept import kept_path
from hakd.study.levels import level_text
from hakd.study.ownership import LOCK, SNAKEMAKES_LOCKS
from hakd.study.precisions import forms
from hakd.study.races import RACE
from hakd.study.recipes import recipe_losses
from hakd.study.result_paths import RESUME, parts_of
from hakd.study.searches import searches

RESULTS = "results"
LEFT = (
    "available",
    CONFIGURATIONS,
    "data",
    "logs",
    "measurements",
)  # folders of results/ that are left alone
Parts = Mapping[str, str]


@dataclass(frozen=True)
class Unused:
    """A file, or a folder of such files alone.

    Attributes:
        path: from the study's folder.
        reason: why the configuration does not use it.
        files: paths of what is removed: the file, or all in the folder.
        size_bytes: of all of them.
    """

    path: str
    reason: str
    files: tuple[str, ...]
    size_bytes: int


@contextlib.contextmanager
def idle_study() -> Iterator[None]:
    """Take part in the study of the working directory while nothing else works on it.

    Raises:
        HakdError: a Snakemake or one of its jobs runs.
    """
    with contextlib.ExitStack() as stack:
        if _in_use(stack):
            remedy = "Wait until it has ended, or stop it; after a crash run the study's command once"
            raise HakdError("a Snakemake works on this study", where=Path.cwd(), remedy=remedy)
        yield


def _in_use(stack: contextlib.ExitStack) -> bool:
    """Whether a process works on the study; holds a shared lock until the stack is closed (`ownership`)."""
    try:
        stream = stack.enter_context(LOCK.open("r+b"))
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such lock, or a file system without locks
        return any(SNAKEMAKES_LOCKS.glob("*.lock"))
    return False


def unused(config: Mapping[str, Any]) -> tuple[list[Unused], list[str]]:
    """What a checked configuration does not use of the results of the working directory.

    Returns:
        Files and folders by path; and the networks whose choices of widths are not complete, so that any of their
        students and architectures may still be used.

    Raises:
        HakdError: there are no results.
    """
    if not os.path.isdir(RESULTS):
        remedy = "Run this in the folder of a study"
        raise HakdError("no such folder", where=Path(RESULTS).absolute(), remedy=remedy)
    found, known = belonging(config), _Known(config)
    text, reasons = found.text(), {}
    for path in _paths(config):
        parts = parts_of(os.path.relpath(path, RESULTS))
        if parts is not None and known.made_here(parts):
            reason = _reason(config, found, text, path, parts)
            if reason is not None:
                reasons[path] = reason
    return _folded(RESULTS, reasons), sorted(found.open)


def check_known(config: Mapping[str, Any], where: str) -> None:
    """Refuse a configuration that the study of the working directory was never run with: a forgotten `--config`.

    Args:
        where: its files, for the message.

    Raises:
        HakdError: the results hold no copy of it.
    """
    if not kept_path(RESULTS, config_digest(config)).exists():
        problem = "this study was not run with this configuration, so nothing was removed"
        remedy = (
            "Give the files of its last run with --config, or run the study with this configuration first"
        )
        raise HakdError(problem, where=where, remedy=remedy)


def remove(entries: Iterable[Unused]) -> None:
    """Remove what `unused` found, and the folders that this leaves empty.

    Raises:
        HakdError: a file that cannot be removed.
    """
    for path in (path for entry in entries for path in entry.files):
        try:
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            remedy = "Make its folder writable, then run the same command again"
            raise HakdError(f"cannot remove ({error.strerror})", where=path, remedy=remedy) from None
        with contextlib.suppress(OSError):  # not empty
            for folder in Path(path).parents:
                if folder == Path(RESULTS):
                    break
                folder.rmdir()


def _paths(config: Mapping[str, Any]) -> Iterator[str]:
    """Files that may be looked at, and folders of kept states. Links to folders are not followed."""
    store = os.path.realpath(config["store"])
    for folder, folders, files in os.walk(RESULTS):
        left = LEFT if folder == RESULTS else ()
        inside = [name for name in folders if os.path.realpath(os.path.join(folder, name)) != store]
        folders[:] = sorted(name for name in inside if name not in left and not name.endswith(RESUME))
        states = [name for name in inside if name.endswith(RESUME)]
        yield from (os.path.join(folder, name) for name in sorted([*files, *states]))


def _reason(config: Mapping[str, Any], found: Belonging, text: str, path: str, parts: Parts) -> str | None:
    """Why a file of a known form is not used; None: it is, or may be."""
    if os.path.splitext(path.removesuffix(RESUME))[0] in found.stems:
        return None
    if list(parts) == ["arch"]:
        chosen = found.open or parts["arch"] in text
        return None if chosen else "no choice of widths has this architecture"
    reason = next(_stranger(config, parts), None)
    if reason is None and "arch" in parts:
        return (
            None if parts["network"] in found.open else "no candidate has these widths, recipe, loss and seed"
        )
    return reason or "no job of the configuration makes or reads it"


def _stranger(config: Mapping[str, Any], parts: Parts) -> Iterator[str]:
    """What of a path the configuration does not have, in words."""
    run = config["run"]
    for name in ("network", "device", "fleet"):
        known = selected(config) if name == "fleet" else run[f"{name}s"]
        if name in parts and parts[name] not in known:
            yield f"{name} {parts[name]} is not in run.{name}s"
    if "form" in parts and parts["form"] not in forms(config):
        yield f"no device of run.devices takes {parts['form']}"
    if parts.get("search", "") not in [search.folder for search in searches(config)]:
        yield f"no search of seed {parts['search'].strip('/').removeprefix('search')} by run.search_seeds"
    yield from (f"method {name} is not in run.methods" for name in _methods(config, parts))
    if "level" in parts and parts["level"] not in map(level_text, run["levels"]):
        yield f"level {parts['level']} is not in run.levels"
    if "density" in parts:
        known = densities_of(config, parts["compression"])
        if parts["density"] not in map(level_text, known):
            yield f"density {parts['density']} is not in {densities_key(parts['compression'])}.densities"
    if "seed" in parts and int(parts["seed"]) not in run["seeds"]:
        yield f"seed {parts['seed']} is not in run.seeds"
    if "recipe" in parts:
        yield from _recipes(config, parts["recipe"], parts["loss"])
    if int(parts.get("rung", 0)) > config["race"]["rungs"]:
        yield f"rung {parts['rung']} is beyond race.rungs"


def _methods(config: Mapping[str, Any], parts: Parts) -> Iterator[str]:
    """The methods that a path is of and that the configuration does not select."""
    if "criterion" in parts and parts["criterion"] not in criteria(config):
        yield parts["criterion"]
    if ("rung" in parts or parts.get("file") == RACE_FILE) and RACE not in by_tables(config):
        yield RACE
    name = parts.get("method", parts.get("compression"))
    if name is not None and name not in config["run"]["methods"]:
        yield name


def _recipes(config: Mapping[str, Any], recipe: str, loss: str) -> Iterator[str]:
    """What of a student's training no selected method has."""
    methods = [*config["run"]["methods"], *(["joint"] if selected(config) else [])]
    recipes = config["students"]["recipes"]
    known = {
        pair for method in methods if method in recipes for pair in recipe_losses(config["students"], method)
    }
    if recipe not in {one for one, _ in known}:
        yield f"recipe {recipe} is not in students.recipes of a selected method"
    if loss not in {one for _, one in known}:
        yield f"loss {loss} is not in students.losses or students.recipes"


class _Known:
    """Which names of networks and devices are the study's; a folder that someone has copied has another name."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._names = {kind: dict.fromkeys(config[f"{kind}s"], True) for kind in ("network", "device")}

    def made_here(self, parts: Parts) -> bool:
        """Whether the network and the device that a path names are the study's own."""
        for kind, ask in (("network", _network_of), ("device", _device_of)):
            own = kind == "network" or "file" in parts  # a device within a network's folder is the study's
            name = parts.get(kind)
            if name is not None and own and name not in self._names[kind]:
                self._names[kind][name] = ask(name) == name
            if name is not None and own and not self._names[kind][name]:
                return False
        return True


def _network_of(folder: str) -> str | None:
    """The network whose teachers are in a folder; None: none can be read."""
    for path in sorted(Path(RESULTS, folder, "teacher").glob("*.safetensors")):
        with contextlib.suppress(HakdError):
            return read_checkpoint(path).architecture.spec.name
    return None


def _device_of(folder: str) -> str | None:
    """The device whose benchmark is in a folder; None: none can be read."""
    with contextlib.suppress(HakdError, KeyError):
        return read_json(Path(RESULTS, "devices", folder, "benchmark.json"), "benchmark")["device"]["name"]
    return None


def _folded(folder: str, reasons: Mapping[str, str]) -> list[Unused]:
    """What is unused in a folder; the folder itself where that is all of it, for one reason."""
    entries, others = [], False
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if entry.path in reasons:
            entries.append(Unused(entry.path, reasons[entry.path], (entry.path,), _size(entry.path)))
        elif entry.is_dir(follow_symlinks=False):
            inside = _folded(entry.path, reasons)
            others |= [one.path for one in inside] != [entry.path] and bool(os.listdir(entry.path))
            entries += inside
        else:
            others = True
    if others or len({one.reason for one in entries}) != 1 or folder == RESULTS:
        return entries
    files = tuple(path for one in entries for path in one.files)
    return [Unused(folder, entries[0].reason, files, sum(one.size_bytes for one in entries))]


def _size(path: str) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    return sum(
        os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(path) for name in names
    )
