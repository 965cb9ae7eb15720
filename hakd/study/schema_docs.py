"""The schema's keys by section: `python -m hakd.study.schema_docs` rewrites them in config/README.md."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from hakd.records.code import CHECKOUT
from hakd.records.files import write_bytes
from hakd.study.schema import study_schema

README = CHECKOUT / "config" / "README.md"
_MARK = "<!-- keys: written by `python -m hakd.study.schema_docs` from the schema -->\n"

Row = tuple[str, str, str, str]


def rows(schema: Mapping[str, Any], prefix: str = "") -> Iterator[Row]:
    """(key, what it accepts, default, description) of every key, in the schema's order."""
    properties = dict(schema.get("properties", {}))
    for entry in schema.get("patternProperties", {}).values():
        properties["NAME"] = entry
    for name, entry in properties.items():
        key = f"{prefix}{name}"
        default = entry.get("default")
        shown = "" if default in (None, {}) else f"`{default}`".replace("'", "")
        yield key, _accepts(entry), shown, entry.get("description", "")
        yield from rows(entry, f"{key}.")
        yield from rows(entry.get("items", {}), f"{key}[].")


def _accepts(entry: Mapping[str, Any]) -> str:
    if entry.get("type") == "string" and "then" in entry:  # of a value that may be a list of such values
        return _accepts(entry["then"])
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if isinstance(entry.get("type"), list):
        return " or ".join(_accepts({**entry, "type": kind}) for kind in entry["type"])
    if entry.get("type") == "array":
        return f"list of {_accepts(entry.get('items', {}))}"
    if entry.get("type") == "object":
        return "mapping"
    text = {"integer": "whole number", "boolean": "true, false", "string": "text"}.get(
        entry.get("type", ""), "number"
    )
    limits = [
        f"{word} {entry[name]}"
        for name, word in (("exclusiveMinimum", "above"), ("minimum", "from"))
        if name in entry
    ]
    limits += [
        f"{word} {entry[name]}"
        for name, word in (("exclusiveMaximum", "below"), ("maximum", "to"))
        if name in entry
    ]
    return " ".join([text, *limits])


def sections() -> str:
    """A section per top-level key: what it is, and a table of its keys. A mapping that recurs is shown once."""
    lines: list[str] = []
    shown: dict[tuple[str, ...], tuple[str, list[Row]]] = {}
    every = list(rows(study_schema()))
    for top, group in itertools.groupby(every, key=lambda row: row[0].partition(".")[0]):
        (_, accepts, default, text), *below = group
        lines += [f"## `{top}`", "", text, ""]
        if not below:
            lines += [f"Value: {accepts}. Default: {default}.", ""]
            continue
        lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| {key} | {accepts} | {value} | {about} |" for key, accepts, value, about in _once(below, shown)
        ]
        lines += [""]
    return "\n".join(lines)


def _once(group: list[Row], shown: dict[tuple[str, ...], tuple[str, list[Row]]]) -> Iterator[Row]:
    """The rows of a section: of a mapping with the keys of an earlier one, only what differs from that one.

    Neighbours that differ in their names alone share a row.
    """
    rest = list(group)
    while rest:
        key, accepts, default, text = rest.pop(0)
        below = _below(key, rest)
        names = tuple(row[0].removeprefix(key).removeprefix("[]") for row in below)
        if len(names) > 1 and names in shown:
            place, known = shown[names]
            differ = [row for row, other in zip(below, known, strict=True) if row[1:] != other[1:]]
            rest = differ + rest[len(below) :]
            text += f" Keys as in `{place}`" + (", except:" if differ else ".")
        elif names:
            shown[names] = (key, below)
        names = (key,)
        while not below and rest and rest[0][1:] == (accepts, default, text):
            names = (*names, rest.pop(0)[0])
        yield ", ".join(f"`{name}`" for name in names), accepts, default, text


def _below(key: str, rows_after: list[Row]) -> list[Row]:
    """The rows of a mapping's, or a list's, own keys."""
    return list(itertools.takewhile(lambda row: row[0].startswith((f"{key}.", f"{key}[]")), rows_after))


def with_sections(text: str) -> str:
    """config/README.md with the sections as the schema has them now."""
    return text.split(_MARK)[0] + _MARK + "\n" + sections().rstrip("\n") + "\n"


if __name__ == "__main__":
    write_bytes(README, with_sections(README.read_text()).encode())
