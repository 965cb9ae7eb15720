"""What the schema refuses in a configuration, as one error that names file, key and remedy."""

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from hakd.records.errors import HakdError
from hakd.records.text import did_you_mean, printable
from hakd.study.files import REFUSED, SHOWN, Configuration

_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "above {}",
    "exclusiveMaximum": "below {}",
    "minItems": "items, at least {}",
    "maxItems": "items, at most {}",
    "minProperties": "keys, at least {}",
    "maxProperties": "keys, at most {}",
    "uniqueItems": "each value once",
    "type": "a {}",
}
_KINDS = {
    "integer": "whole number",
    "string": "text",
    "object": "mapping",
    "array": "list",
    "boolean": "true or false",
}


def shown(value: object) -> str:
    """A value in a message."""
    words = {True: "true", False: "false"}
    text = "nothing" if value is None else words[value] if isinstance(value, bool) else reprlib.repr(value)
    return printable(text, SHOWN)


def place_of(prefix: str, *names: object) -> str:
    """The place of a value in its file, in a message."""
    return prefix + ".".join(printable(name, SHOWN) for name in names)


def refuse_first(
    content: Any, schema: Mapping[str, Any], config: Configuration, prefix: str = "", top: str | None = None
) -> None:
    """Refuse the mistake that is nearest to the top, if there is any.

    Args:
        content: to check.
        schema: of the content.
        config: what the content stands in, for messages.
        prefix: of the content's keys in there.
        top: what to call the content itself; None: it has no key.

    Raises:
        HakdError: what the schema does not accept, with file, key and remedy.
    """
    from jsonschema import Draft202012Validator

    _refuse_names(content, config, prefix, top)
    errors = Draft202012Validator(schema).iter_errors(content)
    error: Any = min(
        errors, key=lambda error: (len(error.absolute_path), str(error.absolute_path)), default=None
    )
    if error is None:
        return
    place = list(error.absolute_path)
    key = place_of(prefix, *place) if place else top
    if error.validator == "additionalProperties":
        _refuse_unknown(error, config, prefix, key)
    description = _description(schema, place)
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        description = error.schema["properties"][missing].get("description", description)
        raise HakdError(
            "is missing",
            where=config.holder(key or ""),
            key=place_of(prefix, *place, missing),
            remedy=f"Give it: {_words(description)}",
        )
    value = printable(config.written(key or "") or shown(error.instance), SHOWN)
    remedy = _remedy(error, value, description)
    raise HakdError(f"{value}{REFUSED}", where=config.holder(key or ""), key=key, remedy=remedy)


def _refuse_names(content: Any, config: Configuration, prefix: str, top: str | None) -> None:
    """Refuse a key that is not text anywhere in the content: a schema cannot."""
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        if not isinstance(name, str):
            key = prefix.rstrip(".") or top
            remedy = "YAML reads yes, no, on and off as true and false. " if isinstance(name, bool) else ""
            raise HakdError(
                f"the name {shown(name)} is not text",
                where=config.holder(key or ""),
                key=key,
                remedy=f"{remedy}Put it in quotes, or choose another",
            )
        _refuse_names(value, config, f"{prefix}{place_of('', name)}.", None)


def _refuse_unknown(error: Any, config: Configuration, prefix: str, key: str | None) -> None:
    """Refuse a key that the schema does not know, or a name that it does not let pass."""
    known = error.schema.get("properties", {})
    patterns = list(error.schema.get("patternProperties", {}))
    surplus = next(
        name
        for name in error.instance
        if name not in known and not any(re.search(pattern, name) for pattern in patterns)
    )
    where = config.holder(
        f"{prefix}{surplus}" if key is None or not error.absolute_path else f"{key}.{surplus}"
    )
    if patterns:
        problem, remedy = "is not a valid name", f"Use names like {re.sub('[$^]', '', patterns[0])}"
        raise HakdError(f"{shown(surplus)} {problem}", where=where, key=key, remedy=remedy)
    owners = [f"`{name}`" for name, entry in known.items() if surplus in entry.get("properties", {})]
    remedy = f"Write it below {' or '.join(owners)}" if owners else did_you_mean(surplus, known)
    raise HakdError(f"unknown key {shown(surplus)}", where=where, key=key, remedy=remedy)


def _description(schema: Mapping[str, Any], place: list[Any]) -> str:
    """What the schema says about a place, or else about what is around it."""
    text = "see config/README.md"
    for name in place:
        pattern: Mapping[str, Any] = next(iter(schema.get("patternProperties", {}).values()), {})
        schema = schema.get("properties", {}).get(name, schema.get("items", pattern))
        text = schema.get("description", text)
    return text


def _words(description: str) -> str:
    """A description without what it says about the default."""
    return re.split(r"\. (?:Default - |Required)", description)[0].rstrip(".")


def _remedy(error: Any, value: str, description: str) -> str:
    """What the schema says that the key takes."""
    known = error.schema.get("enum")
    if known:
        question, asks, _ = did_you_mean(error.instance, known).partition("?")
        return f"{f'{question}? ' if asks else ''}Use one of {', '.join(map(str, known))}"
    kind, words = error.validator_value, _words(description)
    if error.validator == "type" and kind == "array" and isinstance(error.instance, str | int | float):
        return f"Write [{value}]: {words}"
    if error.validator == "type" and kind == "string" and isinstance(error.instance, bool | int | float):
        return f"Put it in quotes to make it text: {words}"
    if error.validator not in _BOUNDS:
        return f"Expected: {words}"
    kinds = kind if isinstance(kind, list) else [kind]
    limit = " or a ".join(str(_KINDS.get(one, one)) for one in kinds) if error.validator == "type" else kind
    return f"Give {_BOUNDS[error.validator].format(limit)}: {words}"
