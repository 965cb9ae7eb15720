"""A study's configuration as the command line reads it: its files laid over one another."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakd.records.errors import HakdError
from hakd.study.yaml_files import read_yaml

CHECKOUT = Path(__file__).resolve().parents[2]
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
    base = next((path for path in (CONFIG, CHECKOUT / CONFIG) if path.is_file()), None)
    files = [Path(path) for path in ([base] if base is not None else []) + list(paths)]
    content: dict[str, Any] = {}
    for path in files:
        content = _merged(content, read_yaml(path))
    return Configuration(content, ", ".join(map(str, files)) or "configuration")


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found
