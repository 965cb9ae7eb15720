"""A study's configuration as the command line reads it: its files laid over one another."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakd.records.code import CHECKOUT
from hakd.records.errors import HakdError
from hakd.study.spelling import AFTER, BEFORE
from hakd.study.yaml_files import read_yaml

CONFIG = Path("config", "config.yaml")
STORE = "results/measurements"


@dataclass(frozen=True)
class Configuration:
    """A study's configuration as far as it was needed: its content and the files it came from."""

    content: Mapping[str, Any]
    where: str

    def registry(self, key: str) -> Mapping[str, Any]:
        """`devices` or `networks`.

        Raises:
            HakdError: it is no mapping.
        """
        found = self.content.get(key) or {}
        if not isinstance(found, Mapping):
            remedy = f"Write `{key}:` and below it a name with its settings"
            raise HakdError("is not a mapping of names", where=self.where, key=key, remedy=remedy)
        return found

    def store(self) -> str:
        """The folder of the measurement store.

        Raises:
            HakdError: it is no text.
        """
        found = self.content.get("store") or STORE
        if not isinstance(found, str):
            raise HakdError("is not a path", where=self.where, key="store", remedy="Give a folder")
        return found


def read_configuration(paths: Sequence[str | os.PathLike] = ()) -> Configuration:
    """The configuration of the working directory (else of the checkout), with `paths` laid over it in order.

    As `snakemake --configfile` does it: dictionaries are merged, everything else is replaced.

    Raises:
        HakdError: a file that is missing, no YAML or no mapping.
    """
    files = [*_default(), *map(Path, paths)]
    content: dict[str, Any] = {}
    for path in files:
        content = _merged(content, read_yaml(path))
    return Configuration(content, ", ".join(map(str, files)) or "configuration")


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
