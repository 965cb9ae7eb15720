"""A study's configuration as the command line reads it: its files laid over one another."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakd.records.code import CHECKOUT
from hakd.records.errors import HakdError
from hakd.records.text import printable
from hakd.study.spelling import AFTER, BEFORE
from hakd.study.yaml_files import read_yaml, spelling

CONFIG = Path("config", "config.yaml")
STORE = "results/measurements"
ARGUMENTS = "--config"  # the layer of the command line
REFUSED = " is not accepted"  # what a message says of a value
SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Configuration:
    """A study's configuration: its content, the names of what it was merged from, and each of them, the last on top."""

    content: Mapping[str, Any]
    where: str
    layers: Sequence[tuple[str, Mapping[str, Any]]] = ()

    def registry(self, key: str) -> Mapping[str, Any]:
        """`devices` or `networks`.

        Raises:
            HakdError: it is not a mapping.
        """
        found = self.content.get(key) or {}
        if not isinstance(found, Mapping):
            remedy = f"Write `{key}:` and below it a name with its settings"
            raise HakdError("is not a mapping of names", where=self.holder(key), key=key, remedy=remedy)
        return found

    def store(self) -> str:
        """The folder of the measurement store.

        Raises:
            HakdError: it is not text.
        """
        found = self.content.get("store") or STORE
        if not isinstance(found, str):
            raise HakdError("is not a path", where=self.holder("store"), key="store", remedy="Give a folder")
        return found

    def holder(self, key: str) -> str:
        """The file at fault for what is wrong at a dotted key: the last that holds it, or else what is around it."""
        steps = _steps(self.content, key)
        value = _at(self.content, steps)
        for name, layer in reversed(self.layers if steps else ()):
            other = _at(layer, steps)
            if other == value or (isinstance(value, Mapping) and isinstance(other, Mapping)):
                return name
        return self.where

    def written(self, key: str) -> str | None:
        """The value of a dotted key as its file spells it; None where no file holds it."""
        holder = self.holder(key)
        return spelling(Path(holder), key) if holder in dict(self.layers) and holder != ARGUMENTS else None

    def blamed(self, error: HakdError) -> HakdError:
        """The same error with the one file at fault for its key, and the value as that file spells it."""
        where, problem = self.where, error.problem
        if error.key:
            where, value = self.holder(str(error.key)), self.written(str(error.key))
            if value and problem.endswith(REFUSED):
                problem = f"{printable(value, SHOWN)}{REFUSED}"
        return HakdError(problem, where=where, key=error.key, remedy=error.remedy)


def read_configuration(paths: Sequence[str | os.PathLike] = ()) -> Configuration:
    """The configuration of the working directory (else of the checkout), with `paths` laid over it in order.

    As `snakemake --configfile` does it: dictionaries are merged, everything else is replaced.

    Raises:
        HakdError: a file that is missing, not YAML or not a mapping.
    """
    files = [*_default(), *map(Path, paths)]
    return _layered([(str(path), read_yaml(path)) for path in files])


def merged_configuration(content: Mapping[str, Any], paths: Sequence[str | os.PathLike]) -> Configuration:
    """A configuration that the workflow engine has merged, with its files read again to find mistakes in them.

    Args:
        content: what was merged; what no file holds came from the command line.
        paths: of the files, the last on top.

    Raises:
        HakdError: as `read_configuration`; also for a key given twice, which the engine lets pass.
    """
    here = Path.cwd()
    names = [str(path.relative_to(here) if path.is_relative_to(here) else path) for path in map(Path, paths)]
    found = _layered([(name, read_yaml(Path(name))) for name in names])
    given = _beyond(content, found.content)
    layers = [*found.layers, *([(ARGUMENTS, given)] if given else [])]
    return Configuration(content, ", ".join(name for name, _ in layers), layers)


def _layered(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> Configuration:
    content: dict[str, Any] = {}
    for _, layer in layers:
        content = _merged(content, layer)
    return Configuration(content, ", ".join(name for name, _ in layers) or "configuration", layers)


def _default() -> list[Path]:
    """The configuration that is there without any option: of the working directory, else of the checkout."""
    return [path for path in (CONFIG, CHECKOUT / CONFIG) if path.is_file()][:1]


def as_options(paths: Sequence[str | os.PathLike]) -> str:
    """Configuration files as the command line takes them."""
    return "".join(f" --config {shlex.quote(str(path))}" for path in paths)


def note_start(directory: object, paths: Sequence[str | os.PathLike]) -> None:
    """Note for the jobs of a study, which inherit the environment, how `hakd` is called for its devices.

    A remedy that names a command has to work where the study was started, whatever folder its jobs run in.

    Args:
        directory: of `snakemake --directory`; None without it.
        paths: configuration files as Snakemake has them: those of its command line, then the workflow's.
    """
    *given, own = map(Path, paths)
    other = [path for path in (own, *given) if not any(path.samefile(base) for base in _default())]
    os.environ[BEFORE] = "" if directory is None else f"cd {shlex.quote(os.getcwd())} && "
    os.environ[AFTER] = as_options(other)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


def _beyond(whole: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What of a mapping is not in another."""
    found = {}
    for key, value in whole.items():
        other = known.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            value = _beyond(value, other)
            if not value:
                continue
        elif key in known and value == other:
            continue
        found[key] = value
    return found


def _steps(content: Any, key: str) -> list[Any]:
    """The names in a dotted key as far as the content has them; names of devices may hold dots."""
    steps: list[Any] = []
    while isinstance(content, Mapping):
        names = [name for name in content if f"{key}.".startswith(f"{name}.")]
        if not names:
            break
        steps.append(max(names, key=lambda name: len(str(name))))
        content, key = content[steps[-1]], key[len(str(steps[-1])) + 1 :]
    return steps


def _at(content: Any, steps: Sequence[Any]) -> Any:
    for step in steps:
        content = content.get(step) if isinstance(content, Mapping) else None
    return content
