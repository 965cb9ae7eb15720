"""Copies of a study's configuration in its results: one for each hash that provenance may name. No heavy imports."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hakd.records.errors import HakdError
from hakd.records.files import read_json, write_json
from hakd.study.configuration import canonical, config_digest

FOLDER, KIND = "configurations", "configuration"


def kept_path(results: str | os.PathLike, config_hash: str) -> Path:
    """Where the copy of the configuration with this hash lies."""
    return Path(results) / FOLDER / f"{config_hash}.json"


def check_networks(networks: Iterable[str], where: str) -> None:
    """Refuse a network whose results would lie among the copies.

    Not part of `hakd.study.configuration`, on which prunings depend: a change there prunes again.

    Raises:
        HakdError: it has the name of their folder.
    """
    if FOLDER in networks:
        key, remedy = f"networks.{FOLDER}", "Rename it"
        raise HakdError("is a folder of the results", where=where, key=key, remedy=remedy)


def keep_configuration(config: Mapping[str, Any]) -> None:
    """Keep a copy of a study's configuration in the results of the working directory, once.

    A disk that takes no copy does not stop the study: its jobs say what is wrong with it.
    """
    path = kept_path("results", config_digest(config))
    if not path.exists():
        with contextlib.suppress(HakdError):
            write_json(path, KIND, {"configuration": canonical(config)})


def kept_configuration(results: str | os.PathLike, config_hash: str | None) -> dict[str, Any] | None:
    """The configuration with this hash; None where the study kept no copy of it, as older versions did.

    Raises:
        HakdError: a copy that cannot be read.
    """
    path = kept_path(results, config_hash or "")
    return read_json(path, KIND)["configuration"] if config_hash and path.exists() else None


def differing(a: Any, b: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """Of two configurations the values that differ, by dotted key; None where one has no such key."""
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        return {} if a == b else {key: (a, b)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*a, *b]):
        found |= differing(a.get(name), b.get(name), f"{key}.{name}" if key else str(name))
    return found
