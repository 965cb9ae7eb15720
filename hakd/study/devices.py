"""Devices by name from a configuration, or from a device file (`name: {transport: ssh, host: ...}`), checked.

What the command line knows of a study's configuration. A device is checked twice before any process is started for it:
by the configuration's own schema, whose errors name file and key, and by `Device`, which guards the command lines.
"""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from hakd.boards.device import Device
from hakd.records.errors import HakdError
from hakd.records.text import did_you_mean
from hakd.study.axes import axes_of, families
from hakd.study.configuration import canonical
from hakd.study.files import Configuration, as_options, read_configuration
from hakd.study.measuring import Measuring, device_from
from hakd.study.mistakes import place_of, shown
from hakd.study.schema import check_entry
from hakd.study.spelling import respell
from hakd.study.yaml_files import EXAMPLE, read_yaml


@dataclass(frozen=True)
class Entry:
    """A device with how it is measured, its settings, the file they stand in, and how the command line spells it.

    `written` is the name of its entry there, which differs from the device's where the entry has axes.
    """

    device: Device
    measuring: Measuring
    settings: Mapping[str, Any]
    where: str
    spelled: str
    written: str

    def respelled(self, error: HakdError) -> HakdError:
        """The same error with a remedy that can be copied: `hakd pin FILE:NAME` for a device of a file."""
        return respell(error, self.device.name, self.spelled)


def find_devices(names: Sequence[str], config: Sequence[str | os.PathLike] = ()) -> list[Entry]:
    """The devices that the command line names; all of the configuration's for no name.

    Args:
        names: a name in the configuration, the path of a device file (all its devices), or `PATH:NAME`. The name of an
            entry with axes stands for all its devices.
        config: configuration files to lay over the default one.

    Raises:
        HakdError: an unknown name, a file that cannot be read, or a device that is not well-formed.
    """
    if not names:
        found = read_configuration(config)
        everything = found.registry("devices")
        if not everything:
            raise HakdError("no devices", where=found.where, key="devices", remedy=f"Add one: {EXAMPLE}")
        return [entry for name in everything for entry in _configured(name, found, config)]
    return [entry for name in names for entry in _named(name, config)]


def find_device(name: str, config: Sequence[str | os.PathLike] = (), reach_only: bool = False) -> Entry:
    """The one device that the command line names.

    Args:
        name: as for `find_devices`.
        config: likewise.
        reach_only: only how it is reached counts, so that any device of an entry with axes will do.

    Raises:
        HakdError: as `find_devices`; and several devices, none of which is named.
    """
    found = _named(name, config)
    if len(found) > 1 and not (reach_only and len({entry.written for entry in found}) == 1):
        names = ", ".join(entry.device.name for entry in found)
        remedy = f"Name one: {found[0].spelled}"
        raise HakdError(f"several devices ({names})", where=name, remedy=remedy)
    return found[0]


def changed(entry: Entry, settings: Mapping[str, Any]) -> Entry:
    """An entry with some settings set on the command line; None leaves a setting as it is."""
    given = {key: value for key, value in settings.items() if value is not None}
    if not given:
        return entry
    name, where = entry.device.name, Configuration({}, entry.where)
    plain = canonical(check_entry("devices", name, {**entry.settings, **given}, where))
    return replace(_entry(name, entry.written, plain, where), spelled=entry.spelled)


def _named(name: str, config: Sequence[str | os.PathLike]) -> list[Entry]:
    """What one word of the command line stands for."""
    file, _, member = name.rpartition(":")
    if file and _is_path(file) and os.path.exists(file):
        devices = _device_file(file)
        found = _of_name(member, devices.content, devices)
        words = [f"{file}:{one.device.name}" for one in found]
        return [replace(one, spelled=shlex.quote(word)) for one, word in zip(found, words, strict=True)]
    if _is_path(name):
        devices = _device_file(name)
        found = [entry for key in devices.content for entry in _of_name(key, devices.content, devices)]
        words = [name if len(found) == 1 else f"{name}:{one.device.name}" for one in found]
        return [replace(one, spelled=shlex.quote(word)) for one, word in zip(found, words, strict=True)]
    return _configured(name, read_configuration(config), config)


def _configured(name: str, known: Configuration, config: Sequence[str | os.PathLike]) -> list[Entry]:
    """The devices that a name of the configuration stands for."""
    found = _of_name(name, known.registry("devices"), known, "devices.")
    return [replace(entry, spelled=f"{entry.device.name}{as_options(config)}") for entry in found]


def _of_name(name: str, registry: Mapping[str, Any], config: Configuration, prefix: str = "") -> list[Entry]:
    """The devices that a name stands for: of an entry all that its axes make, else the one of that name.

    Only entries that the name may belong to are checked.
    """
    near = [
        key
        for key, settings in registry.items()
        if key == name or (axes_of(settings) and f"{name}".startswith(f"{key}-"))
    ]
    checked = {key: canonical(check_entry("devices", key, registry[key], config, prefix)) for key in near}
    try:
        made = families(checked, prefix)
        taken = {member for members in made.values() for member in members} & registry.keys()
        families(checked | {key: {} for key in taken - checked.keys()}, prefix)
    except HakdError as error:
        raise config.blamed(error) from None
    found = [
        _entry(member, key, settings, config, prefix)
        for key, members in made.items()
        for member, settings in members.items()
        if name in (key, member)
    ]
    if not found:
        _unknown(
            name, [*registry, *(member for members in made.values() for member in members)], config.where
        )
    return found


def _is_path(name: str) -> bool:
    """Names of devices hold no `/`, and ending in .yaml is what files do."""
    return "/" in name or Path(name).suffix in (".yaml", ".yml", ".json")


def _unknown(name: str, known: Iterable[str], where: str) -> NoReturn:
    remedy = f"{did_you_mean(name, known)}; or give the path of a device file"
    raise HakdError(f"unknown device {shown(name)}", where=where, remedy=remedy)


def _device_file(path: str) -> Configuration:
    content = read_yaml(Path(path))
    if isinstance(content.get("devices"), Mapping):
        remedy = f"Use it as one: --config {path} and a device's name; a device file holds devices alone: {EXAMPLE}"
        raise HakdError("a configuration, not a device file", where=path, key="devices", remedy=remedy)
    if not content:
        raise HakdError("no devices", where=path, remedy=f"Write one: {EXAMPLE}")
    return Configuration(content, path, [(path, content)])


def _entry(
    name: str, written: str, settings: Mapping[str, Any], config: Configuration, prefix: str = ""
) -> Entry:
    """A device whose entry the schema lets pass, checked by `Device`; errors name the file and the key in it."""
    try:
        device, measuring = device_from(name, settings)
    except HakdError as error:
        key = place_of(prefix, written, *([error.key] if error.key not in (None, name) else []))
        raise config.blamed(HakdError(error.problem, key=key, remedy=error.remedy)) from None
    return Entry(device, measuring, settings, config.where, name, written)
