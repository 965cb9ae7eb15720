"""The schema of the configuration: checking one entry or a whole study by it, and its defaults."""

import difflib
import functools
import json
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from hakd.records.code import CHECKOUT
from hakd.records.errors import HakdError
from hakd.study.configuration import check_study
from hakd.study.files import Configuration

SCHEMAS = (  # an installed package carries a copy
    CHECKOUT / "config" / "schemas" / "config.schema.yaml",
    Path(__file__).with_name("config.schema.yaml"),
)
_SHOWN = 60  # characters of a value in a message


def shown(value: object) -> str:
    """A value in a message."""
    return _short(reprlib.repr(value))


def place_of(prefix: str, *names: object) -> str:
    """The place of a value in its file, in a message."""
    return prefix + ".".join(_short(str(name)) for name in names)


def _short(text: str) -> str:
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


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
        raise HakdError(f"the name {shown(name)} is not text", where=where, key=prefix or None, remedy=remedy)
    if isinstance(settings, Mapping) and not all(isinstance(key, str) for key in settings):
        raise HakdError("a key that is not text", where=where, key=place_of(prefix, name), remedy="Mend it")
    schema = {**study_schema(), "required": []}
    errors = Draft202012Validator(schema).iter_errors({registry: {name: settings}})
    first = min(errors, key=lambda error: (len(error.absolute_path), str(error.absolute_path)), default=None)
    if first is None:
        return
    place = list(first.absolute_path)[1:]
    if not place:
        _refuse_name(registry, name, first.schema, where)
    key = place_of(prefix, *place)
    if first.validator == "additionalProperties":
        _refuse_unknown(first, where, key)
    problem = "is missing" if first.validator == "required" else f"{shown(first.instance)} is not accepted"
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
    problem = f"{shown(name)} is no name for one"
    raise HakdError(
        problem, where=where, key=registry, remedy=f"Use names like {re.sub('[$^]', '', pattern)}"
    )


def _refuse_unknown(error: Any, where: str, key: str) -> NoReturn:
    known = list(error.schema.get("properties", {}))
    surplus = next(name for name in error.instance if name not in known)
    near = difflib.get_close_matches(surplus, known, 1)
    remedy = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}"
    raise HakdError(f"unknown key {shown(surplus)}", where=where, key=key, remedy=remedy)


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


def checked_study(config: Configuration) -> dict[str, Any]:
    """The configuration with the schema's defaults, checked as Snakemake checks it.

    Raises:
        HakdError: what the schema refuses, or `check_study`.
    """
    from jsonschema import Draft202012Validator

    schema = study_schema()
    content = _completed(dict(config.content), schema)
    first = min(
        Draft202012Validator(schema).iter_errors(content),
        key=lambda error: len(error.absolute_path),
        default=None,
    )
    if first is not None:
        key = ".".join(map(str, first.absolute_path)) or None
        problem = " ".join(first.message.split())[:160]
        raise HakdError(problem, where=config.where, key=key, remedy="See config/README.md")
    check_study(content, config.where)
    return content


def _completed(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value with the defaults of a schema, as `snakemake.utils.validate` sets them."""
    if not isinstance(value, Mapping):
        return value
    made = dict(value)
    for name, entry in schema.get("properties", {}).items():
        if name not in made and "default" in entry:
            made[name] = json.loads(json.dumps(entry["default"]))
        if name in made:
            made[name] = _completed(made[name], entry)
    for entry in schema.get("patternProperties", {}).values():
        known = schema.get("properties", {})
        made = {name: one if name in known else _completed(one, entry) for name, one in made.items()}
    return made
