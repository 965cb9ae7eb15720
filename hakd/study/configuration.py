"""The configuration of a study: what the schema cannot check, and how rules read it."""

import os
from collections.abc import Mapping
from typing import Any

from hakd.boards.device import Device
from hakd.data.settings import complete
from hakd.networks.prunable import ROOM, check_reach, least_share
from hakd.records.errors import HakdError
from hakd.records.files import digest
from hakd.records.text import did_you_mean
from hakd.study.budgets import check_budgets
from hakd.study.doors import known_spec
from hakd.study.fleets import check_fleets
from hakd.study.levels import level_text
from hakd.study.recipes import check_recipes

WHERE = "configuration"
DEVICE_FILES = (
    "pareto.pdf",
    "staircases.pdf",
    "audit.pdf",
    "certificates.csv",
    "hazards.csv",
    "verification.csv",
)  # in results/devices/{device}, for people
# Folders in results/.
RESERVED = ("architectures", "available", "candidates", "data", "devices", "logs", "measurements")


def check_study(config: Mapping[str, Any], where: str = WHERE) -> None:
    """Refuse what the schema lets pass; note the configuration's hash for the provenance of results.

    Raises:
        HakdError: a name in `run` that its registry does not hold, impossible network options, names that differ in
            case only, a fleet that is not valid.
    """
    os.environ["HAKD_CONFIG_HASH"] = config_digest(config)  # jobs inherit the environment
    complete(config["data"], where)
    for key in ("devices", "networks"):
        for name in config["run"][key]:
            if name not in config[key]:
                remedy = f"{did_you_mean(name, config[key])} (or add it to `{key}`)"
                raise HakdError(f"unknown {key[:-1]} {name!r}", where=where, key=f"run.{key}", remedy=remedy)
        first: dict[str, str] = {}
        for name in config[key]:
            other = first.setdefault(name.lower(), name)
            if other != name:
                problem, place = f"{other!r} and {name!r} differ in case only", f"{key}.{name}"
                raise HakdError(problem, where=where, key=place, remedy="Rename one")
    for name, settings_ in config["devices"].items():
        _check_device(name, settings_, where)
    for name, settings_ in config["networks"].items():
        spec = known_spec(name, settings_, 3, 2, where)
        if spec is not None and name in config["run"]["networks"]:
            try:
                check_reach(spec, min(config["run"]["levels"]), **limits(config))
            except HakdError as error:
                raise HakdError(error.problem, where=where, key=error.key, remedy=error.remedy) from None
        if name in RESERVED:
            raise HakdError(
                "is a folder of the results", where=where, key=f"networks.{name}", remedy="Rename it"
            )
    check_fleets(config, where)
    check_budgets(config, where)
    check_recipes(config, where)
    lists = {"run.levels": config["run"]["levels"]}
    for section in ("deep_compression", "weight_pruning"):
        lists[f"{section}.densities"] = config.get(section, {}).get("densities", [])
    for key, values in lists.items():
        texts = [level_text(value) for value in values]
        if len(set(texts)) < len(texts):
            raise HakdError("duplicate value", where=where, key=key, remedy="Give each value once")


def _check_device(name: str, settings_: Mapping[str, Any], where: str) -> None:
    """Refuse what could reach a command line, before any job starts."""
    try:
        Device.from_config(name, canonical(settings_))
    except HakdError as error:
        key = f"devices.{name}" if error.key in (None, name) else f"devices.{name}.{error.key}"
        raise HakdError(error.problem, where=where, key=key, remedy=error.remedy) from None


def limits(config: Mapping[str, Any]) -> dict[str, str]:
    """What pruning may narrow (`groups`) and what a level counts (`count`), as `hakd.networks.prunable` takes them."""
    pruning = config.get("prune", {})
    return {key: pruning[key] for key in ("groups", "count") if key in pruning}


def reach_level(config: Mapping[str, Any], network: str) -> str:
    """The level down to which a network is pruned for what widths narrower than pruned would lose.

    That is `choosing.reach` times the lowest level, or as far as pruning can go. For a network that has to be
    imported first, the pruning itself finds how far that is.
    """
    lowest = min(config["run"]["levels"])
    spec = known_spec(network, config["networks"][network], 3, 2, WHERE)
    deepest = config["choosing"]["reach"] * lowest
    if spec is not None:
        deepest = max(deepest, ROOM * least_share(spec, **limits(config)))
    return level_text(min(deepest, lowest))


def canonical(value: Any) -> Any:
    """The same value whatever the key order, and 10.0 for 10: what a rule depends on, not how it was typed."""
    if isinstance(value, Mapping):
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def settings(config: Mapping[str, Any], path: str) -> Any:
    """The canonical setting at a `/`-separated path."""
    value: Any = config
    for key in path.split("/"):
        value = value[key]
    return canonical(value)


def config_digest(config: Mapping[str, Any]) -> str:
    """Short hash of the whole configuration."""
    return digest(canonical(config))
