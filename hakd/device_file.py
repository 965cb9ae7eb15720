"""Devices by name from a configuration, or from a device file (`name: {transport: ssh, host: ...}`), checked.

What the command line knows of a study's configuration. A device is checked twice before any process is started for it:
by the configuration's own schema, whose errors name file and key, and by `Device`, which guards the command lines.
"""

import difflib
import functools
import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

from hakd.boards.device import Device
from hakd.records.errors import HakdError
from hakd.study import canonical
from hakd.sweeping.measuring import Measuring, device_from
from hakd.yaml_files import EXAMPLE, read_yaml

CHECKOUT = Path(__file__).resolve().parents[1]
CONFIG = Path("config", "config.yaml")
SCHEMAS = (  # an installed package carries a copy
    CHECKOUT / "config" / "schemas" / "config.schema.yaml",
    Path(__file__).with_name("config.schema.yaml"),
)
STORE = "results/measurements"
_SHOWN = 60  # characters of a value in a message


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
        remedy = respell(error.remedy or "", self.device.name, self.spelled) or None
        return HakdError(error.problem, where=error.where, key=error.key, remedy=remedy)


def respell(text: str, name: str, spelled: str) -> str:
    """`hakd pin NAME` as it has to be typed."""
    return re.sub(rf"(?<=`hakd pin ){re.escape(name)}(?![\w.-])", lambda match: spelled, text)


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


def configuration(paths: Sequence[str | os.PathLike] = ()) -> Configuration:
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


def find_devices(names: Sequence[str], config: Sequence[str | os.PathLike] = ()) -> list[Entry]:
    """The devices that the command line names; all of the configuration's for no name.

    Args:
        names: a name in the configuration, the path of a device file (all its devices), or `PATH:NAME`.
        config: configuration files to lay over the default one.

    Raises:
        HakdError: an unknown name, a file that cannot be read, or a device that is not well-formed.
    """
    if not names:
        found = configuration(config)
        everything = found.registry("devices")
        if not everything:
            raise HakdError("no devices", where=found.where, key="devices", remedy=f"Add one: {EXAMPLE}")
        return [_entry(name, everything[name], found.where, "devices.") for name in everything]
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
    """An entry with some settings set on the command line; those that are None stay."""
    given = {key: value for key, value in settings.items() if value is not None}
    if not given:
        return entry
    return replace(_entry(entry.device.name, {**entry.settings, **given}, entry.where), spelled=entry.spelled)


def _named(name: str, config: Sequence[str | os.PathLike]) -> list[Entry]:
    """What one word of the command line stands for."""
    file, _, member = name.rpartition(":")
    if file and _is_path(file) and os.path.exists(file):
        content = _device_file(file)
        if member not in content:
            _unknown(member, content, file)
        return [replace(_entry(member, content[member], file), spelled=name)]
    if _is_path(name):
        found = [_entry(key, settings, name) for key, settings in _device_file(name).items()]
        alone = len(found) == 1
        return [replace(one, spelled=name if alone else f"{name}:{one.device.name}") for one in found]
    known = configuration(config)
    registry = known.registry("devices")
    if name not in registry:
        _unknown(name, registry, known.where)
    return [_entry(name, registry[name], known.where, "devices.")]


def _is_path(name: str) -> bool:
    """Names of devices hold no `/`, and ending in .yaml is what files do."""
    return "/" in name or Path(name).suffix in (".yaml", ".yml", ".json")


def _unknown(name: str, known: Mapping[str, Any], where: str) -> NoReturn:
    near = difflib.get_close_matches(name, [str(key) for key in known], 1)
    listed = ", ".join(map(str, known)) or "none"
    remedy = f"Did you mean {near[0]!r}?" if near else f"Known: {listed}; or give the path of a device file"
    raise HakdError(f"unknown device {_shown(name)}", where=where, remedy=remedy)


def _device_file(path: str) -> Mapping[str, Any]:
    content = read_yaml(Path(path))
    if isinstance(content.get("devices"), Mapping):
        remedy = f"Use it as one: --config {path} and a device's name; a device file holds devices alone: {EXAMPLE}"
        raise HakdError("a configuration, not a device file", where=path, key="devices", remedy=remedy)
    if not content:
        raise HakdError("no devices", where=path, remedy=f"Write one: {EXAMPLE}")
    return content


def _entry(name: object, settings: object, where: str, prefix: str = "") -> Entry:
    """Check one device by the schema, then by `Device`; errors name the file and the key in it."""
    check_entry("devices", name, settings, where, prefix)
    assert isinstance(name, str) and isinstance(settings, Mapping)
    try:
        plain = canonical(settings)  # 10.0 rounds are 10
        device, measuring = device_from(name, plain)
    except HakdError as error:
        key = _key(prefix, name, *([error.key] if error.key not in (None, name) else []))
        raise HakdError(error.problem, where=where, key=key, remedy=error.remedy) from None
    return Entry(device, measuring, plain, where, name)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


def _shown(value: object) -> str:
    """A value in a message."""
    return _short(reprlib.repr(value))


def _key(prefix: str, *names: object) -> str:
    """The place of a value in its file, in a message."""
    return prefix + ".".join(_short(str(name)) for name in names)


def _short(text: str) -> str:
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


# --- the schema


def check_entry(registry: str, name: object, settings: object, where: str, prefix: str = "") -> None:
    """Check one entry of `devices` or `networks` as the configuration's schema would.

    Args:
        registry: `devices` or `networks`.
        name: of the entry.
        settings: of the entry.
        where: the file, for messages.
        prefix: of the key in that file.

    Raises:
        HakdError: a name that is none, an unknown key, a value that does not fit.
    """
    from jsonschema import Draft202012Validator

    if not isinstance(name, str):
        remedy = "Put it in quotes, or choose another"
        raise HakdError(
            f"the name {_shown(name)} is not text", where=where, key=prefix or None, remedy=remedy
        )
    if isinstance(settings, Mapping) and not all(isinstance(key, str) for key in settings):
        raise HakdError("a key that is not text", where=where, key=_key(prefix, name), remedy="Mend it")
    schema = {**study_schema(), "required": []}
    errors = Draft202012Validator(schema).iter_errors({registry: {name: settings}})
    first = min(errors, key=lambda error: (len(error.absolute_path), str(error.absolute_path)), default=None)
    if first is None:
        return
    place = list(first.absolute_path)[1:]
    if not place:
        _refuse_name(registry, name, first.schema, where)
    key = _key(prefix, *place)
    if first.validator == "additionalProperties":
        _refuse_unknown(first, where, key)
    problem = "is missing" if first.validator == "required" else f"{_shown(first.instance)} is not accepted"
    raise HakdError(problem, where=where, key=key, remedy=_remedy(first))


@functools.cache
def study_schema() -> dict[str, Any]:
    """The schema of the configuration."""
    path = next((path for path in SCHEMAS if path.is_file()), None)
    if path is None:
        raise HakdError("the schema is missing", where=SCHEMAS[0], remedy="Install hakd again")
    return yaml.safe_load(path.read_text())


def _refuse_name(registry: str, name: str, schema: Mapping[str, Any], where: str) -> NoReturn:
    pattern = next(iter(schema.get("patternProperties", {})), "")
    problem = f"{_shown(name)} is no name for one"
    raise HakdError(
        problem, where=where, key=registry, remedy=f"Use names like {re.sub('[$^]', '', pattern)}"
    )


def _refuse_unknown(error: Any, where: str, key: str) -> NoReturn:
    known = list(error.schema.get("properties", {}))
    surplus = next(name for name in error.instance if name not in known)
    near = difflib.get_close_matches(surplus, known, 1)
    remedy = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}"
    raise HakdError(f"unknown key {_shown(surplus)}", where=where, key=key, remedy=remedy)


def _remedy(error: Any) -> str:
    """What the schema says that the key takes."""
    if error.validator == "required":
        return f"Give {', '.join(name for name in error.validator_value if name not in error.instance)}"
    if "enum" in error.schema:
        return f"Use one of {', '.join(map(str, error.schema['enum']))}"
    words = re.split(r"\. (?:Default - |Required)", error.schema.get("description", "see config/README.md"))[
        0
    ]
    words = words.rstrip(".")
    wanted = {"type": "a", "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above"}
    wanted |= {"minItems": "items, at least", "exclusiveMaximum": "below"}
    if error.validator in wanted:
        kind = {"integer": "whole number", "string": "text", "object": "mapping"}
        value = kind.get(error.validator_value, error.validator_value)
        return f"Give {wanted[error.validator]} {value}: {words}"
    return f"Expected: {words}"
