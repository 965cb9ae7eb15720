"""The schema's keys as a table: `python -m hakd.study.schema_docs` rewrites it in config/README.md."""

from collections.abc import Iterator, Mapping
from typing import Any

from hakd.records.code import CHECKOUT
from hakd.records.files import write_bytes
from hakd.study.schema import study_schema

README = CHECKOUT / "config" / "README.md"
_MARK = "<!-- keys: written by `python -m hakd.study.schema_docs` from the schema -->\n"


def rows(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
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


def table() -> str:
    """The keys as a Markdown table."""
    schema = study_schema()
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {accepts} | {default} | {text} |" for key, accepts, default, text in rows(schema)]
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """config/README.md with the table as the schema has it now."""
    return text.split(_MARK)[0] + _MARK + "\n" + table()


if __name__ == "__main__":
    write_bytes(README, with_table(README.read_text()).encode())
