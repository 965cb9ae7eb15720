"""Devices by name from a configuration, or from a device file (`name: {transport: ssh, host: ...}`), checked.

What the command line knows of a study's configuration. A device is checked twice before any process is started for it:
by the configuration's own schema, whose errors name file and key, and by `Device`, which guards the command lines.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from hakd.boards.device import Device
from hakd.records.errors import HakdError
from hakd.records.text import did_you_mean
from hakd.study.configuration import canonical
from hakd.study.files import Configuration, as_options, read_configuration
from hakd.study.measuring import Measuring, device_from
from hakd.study.mistakes import place_of, shown
from hakd.study.schema import check_entry
from hakd.study.spelling import respell
from hakd.study.yaml_files import EXAMPLE, read_yaml


@dataclass(frozen=True)
class Entry:
    """A device with how it is measured, its settings, the file they stand in, and how the command line spells it."""

    device: Device
    measuring: Measuring
    settings: Mapping[str, Any]
    where: str
    spelled: str

    def respelled(self, error: HakdError) -> HakdError:
        """The same error with a remedy that can be copied: `hakd pin FILE:NAME` for a device of a file."""
        return respell(error, self.device.name, self.spelled)


def find_devices(names: Sequence[str], config: Sequence[str | os.PathLike] = ()) -> list[Entry]:
    """The devices that the command line names; all of the configuration's for no name.

    Args:
        names: a name in the configuration, the path of a device file (all its devices), or `PATH:NAME`.
        config: configuration files to lay over the default one.

    Raises:
        HakdError: an unknown name, a file that cannot be read, or a device that is not well-formed.
    """
    if not names:
        found = read_configuration(config)
        everything = found.registry("devices")
        if not everything:
            raise HakdError("no devices", where=found.where, key="devices", remedy=f"Add one: {EXAMPLE}")
        return [_configured(name, found, config) for name in everything]
    return [entry for name in names for entry in _named(name, config)]


def find_device(name: str, config: Sequence[str | os.PathLike] = ()) -> Entry:
    """The one device that the command line names.

    Raises:
        HakdError: as `find_devices`; and a file with several devices, none of which is named.
    """
    found = _named(name, config)
    if len(found) > 1:
        names = ", ".join(entry.device.name for entry in found)
        remedy = f"Name one: {name}:{found[0].device.name}"
        raise HakdError(f"several devices ({names})", where=name, remedy=remedy)
    return found[0]


def changed(entry: Entry, settings: Mapping[str, Any]) -> Entry:
    """An entry with some settings set on the command line; None leaves a setting as it is."""
    given = {key: value for key, value in settings.items() if value is not None}
    if not given:
        return entry
    return replace(
        _entry(entry.device.name, {**entry.settings, **given}, Configuration({}, entry.where)),
        spelled=entry.spelled,
    )


def _named(name: str, config: Sequence[str | os.PathLike]) -> list[Entry]:
    """What one word of the command line stands for."""
    file, _, member = name.rpartition(":")
    if file and _is_path(file) and os.path.exists(file):
        devices = _device_file(file)
        if member not in devices.content:
            _unknown(member, devices.content, file)
        return [replace(_entry(member, devices.content[member], devices), spelled=shlex.quote(name))]
    if _is_path(name):
        devices = _device_file(name)
        found = [_entry(key, settings, devices) for key, settings in devices.content.items()]
        words = [name if len(found) == 1 else f"{name}:{one.device.name}" for one in found]
        return [replace(one, spelled=shlex.quote(word)) for one, word in zip(found, words, strict=True)]
    known = read_configuration(config)
    registry = known.registry("devices")
    if name not in registry:
        _unknown(name, registry, known.where)
    return [_configured(name, known, config)]


def _configured(name: str, known: Configuration, config: Sequence[str | os.PathLike]) -> Entry:
    """A device of the configuration."""
    entry = _entry(name, known.registry("devices")[name], known, "devices.")
    return replace(entry, spelled=f"{name}{as_options(config)}")


def _is_path(name: str) -> bool:
    """Names of devices hold no `/`, and ending in .yaml is what files do."""
    return "/" in name or Path(name).suffix in (".yaml", ".yml", ".json")


def _unknown(name: str, known: Mapping[str, Any], where: str) -> NoReturn:
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


def _entry(name: object, settings: object, config: Configuration, prefix: str = "") -> Entry:
    """Check one device by the schema, then by `Device`; errors name the file and the key in it."""
    plain = canonical(check_entry("devices", name, settings, config, prefix))  # 10.0 rounds are 10
    assert isinstance(name, str)
    try:
        device, measuring = device_from(name, plain)
    except HakdError as error:
        key = place_of(prefix, name, *([error.key] if error.key not in (None, name) else []))
        raise config.blamed(HakdError(error.problem, key=key, remedy=error.remedy)) from None
    return Entry(device, measuring, plain, config.where, name)
