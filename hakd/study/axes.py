"""Axes of a device: a list of values stands for a device for each of them, all on one board.

    pi4: {transport: ssh, host: pi4, threads: [1, 2, 4], engine: [onnxruntime, litert]}

is `pi4-onnxruntime-t1`, `pi4-onnxruntime-t2`, ... `pi4-litert-t4`: the name in the file, then a value for each list, in
the order of `AXES`. Expanded once, after the schema has checked what the user wrote. No heavy imports.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hakd.records.errors import HakdError

AXES: Mapping[str, Callable[[Any], str]] = {"engine": str, "precision": str, "threads": "t{:g}".format}

Settings = Mapping[str, Any]


def axes_of(settings: object) -> list[str]:
    """The keys of an entry that are lists; none of what is not a mapping."""
    return [key for key in AXES if isinstance(settings, Mapping) and isinstance(settings.get(key), list)]


def family(name: str, settings: Settings, prefix: str = "devices.") -> dict[str, Settings]:
    """The devices that an entry stands for, by name: the entry itself where none of its settings is an axis.

    Of `cpus`, a device takes the first ones, as many as it has threads.

    Args:
        name: of the entry.
        settings: of the entry, as the schema lets them pass.
        prefix: of the entry's key in its file.

    Raises:
        HakdError: fewer `cpus` than the most threads.
    """
    axes = {key: settings[key] for key in axes_of(settings)}
    if not axes:
        return {name: settings}
    cpus = settings.get("cpus") if "threads" in axes else None
    if cpus is not None and len(cpus) < max(axes["threads"]):
        remedy = f"Give at least {max(axes['threads']):g} CPUs: each device takes the first ones"
        raise HakdError("fewer CPUs than threads", key=f"{prefix}{name}.cpus", remedy=remedy)
    found: dict[str, Settings] = {}
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        suffix = "-".join(AXES[key](value) for key, value in chosen.items())
        pinned = {} if cpus is None else {"cpus": cpus[: int(chosen["threads"])]}
        found[f"{name}-{suffix}"] = {**settings, **chosen, **pinned}
    return found


def families(devices: Mapping[str, Settings], prefix: str = "devices.") -> dict[str, dict[str, Settings]]:
    """The devices of every entry, by the entry's name; `prefix` as for `family`.

    Raises:
        HakdError: as `family`; two entries stand for a device of one name.
    """
    found = {name: family(name, settings, prefix) for name, settings in devices.items()}
    owners: dict[str, str] = {}
    for name, members in found.items():
        for member in (name, *members):
            other = owners.setdefault(member, name)
            if other != name:
                listed, single = (name, other) if member != name else (other, name)
                axis = axes_of(devices[listed])[-1]
                raise HakdError(
                    f"stands for a device {member!r}, as does `{prefix}{single}`",
                    key=f"{prefix}{listed}.{axis}",
                    remedy=f"Rename {listed!r} or {single!r}",
                )
    return found


def expanded(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A study's configuration with its axes as single devices.

    Where `run.devices` or a fleet names an entry with axes, that means all its devices; `budgets` of a fleet likewise.

    Args:
        config: as the schema lets it pass.

    Returns:
        The configuration, and by device that is not in it as such the entry that it comes from.

    Raises:
        HakdError: as `families`; a fleet that is named like an entry with axes.
    """
    found = families(config["devices"])
    several = {name: list(members) for name, members in found.items() if list(members) != [name]}
    if not several:
        return dict(config), {}

    def all_of(names: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(one for name in names for one in several.get(name, [name])))

    fleets = {}
    for fleet, entry in config.get("fleets", {}).items():
        if fleet.lower() in map(str.lower, several):
            raise HakdError("has the name of a device", key=f"fleets.{fleet}", remedy="Rename it")
        budgets = entry.get("budgets", {})
        shared = {one: budgets[name] for name in budgets if name in several for one in several[name]}
        single = {name: budget for name, budget in budgets.items() if name not in several}
        fleets[fleet] = {**entry, "devices": all_of(entry.get("devices", []))}
        if budgets:
            fleets[fleet]["budgets"] = shared | single
    made = {
        **config,
        "devices": {name: one for members in found.values() for name, one in members.items()},
        "run": {**config["run"], "devices": all_of(config["run"]["devices"])},
    }
    if fleets:
        made["fleets"] = fleets
    return made, {member: name for name, members in several.items() for member in members}


def as_written(error: HakdError, origins: Mapping[str, str]) -> HakdError:
    """The same error with its key as the file has it: `devices.pi4.cpus` for `devices.pi4-t2.cpus`.

    Args:
        error: about an expanded configuration.
        origins: as `expanded` returns them.
    """
    key = f"{error.key}."
    member = max((one for one in origins if key.startswith(f"devices.{one}.")), key=len, default=None)
    if member is None:
        return error
    written = f"devices.{origins[member]}{key.removeprefix(f'devices.{member}')[:-1]}"
    return HakdError(error.problem, where=error.where, key=written, remedy=error.remedy)
