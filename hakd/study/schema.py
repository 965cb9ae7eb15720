"""The schema of the configuration: checking one entry or a whole study by it, and its defaults."""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hakd.data.settings import SETTINGS
from hakd.records.code import CHECKOUT
from hakd.records.errors import HakdError
from hakd.study.axes import as_written, expanded
from hakd.study.configuration import check_study
from hakd.study.contrasts import check_contrasts
from hakd.study.doors import check_doors, folders_of, with_input_sizes
from hakd.study.files import Configuration
from hakd.study.kept import check_networks
from hakd.study.mistakes import refuse_first

SCHEMAS = (  # an installed package carries a copy
    CHECKOUT / "config" / "schemas" / "config.schema.yaml",
    Path(__file__).with_name("config.schema.yaml"),
)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@functools.cache
def study_schema() -> dict[str, Any]:
    """The schema of the configuration."""
    path = next((path for path in SCHEMAS if path.is_file()), None)
    if path is None:
        raise HakdError("the schema is missing", where=SCHEMAS[0], remedy="Install hakd again")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # every job of a study reads it
    return yaml.load(path.read_text(), loader)


def checked_study(config: Configuration) -> dict[str, Any]:
    """The configuration with the schema's defaults, numbers where text stood for them, and a device for each list.

    What the workflow and the command line check is this.

    Raises:
        HakdError: what the schema refuses, `check_study` or `check_contrasts`; it names the file at fault, and the key
            as that has it.
    """
    schema = study_schema()
    content = completed(config.content, schema)
    refuse_first(content, schema, config, "")
    content["networks"] = with_input_sizes(content["networks"])
    content["data"] = completed(content["data"], _data_schema(content["data"]["name"]))
    origins: dict[str, str] = {}
    try:
        content, origins = expanded(content)
        check_study(content, config.where)
        check_networks(content["networks"], config.where)
        check_doors(content["networks"], folders_of(name for name, _ in config.layers))
        check_contrasts(content, config.where)
    except HakdError as error:
        raise config.blamed(as_written(error, origins)) from None
    return content


def check_entry(
    registry: str, name: object, settings: object, config: Configuration, prefix: str = ""
) -> dict[str, Any]:
    """Check one entry of `devices` or `networks` as the configuration's schema would.

    Args:
        registry: `devices` or `networks`.
        name: of the entry.
        settings: of the entry.
        config: what it stands in, for messages.
        prefix: of the key in there.

    Returns:
        The settings, with numbers where text stood for them.

    Raises:
        HakdError: a name that is not valid, an unknown key, a value that does not fit.
    """
    schema = study_schema()["properties"][registry]
    content = completed({name: settings}, schema, defaults=False)
    refuse_first(content, schema, config, prefix, registry)
    return content[name]


def completed(value: Any, schema: Mapping[str, Any], defaults: bool = True) -> Any:
    """A copy of the value with what its schema adds.

    Args:
        value: to copy.
        schema: what it should fit.
        defaults: set missing keys, as `snakemake.utils.validate` does.

    Returns:
        The copy. Text that spells a number is one where the schema wants a number: YAML 1.1 reads `5e-4` as text, and
        Snakemake everything within `--config KEY={...}`.
    """
    if isinstance(value, str):
        return _number(value, schema.get("type"))
    if isinstance(value, list):
        return [completed(one, schema.get("items", {}), defaults) for one in value]
    if not isinstance(value, Mapping):
        return value
    made, known = dict(value), schema.get("properties", {})
    for name, entry in known.items():
        if defaults and name not in made and "default" in entry:
            made[name] = json.loads(json.dumps(entry["default"]))
    other: Mapping[str, Any] = next(iter(schema.get("patternProperties", {}).values()), {})
    return {name: completed(one, known.get(name, other), defaults) for name, one in made.items()}


def _number(text: str, kind: object) -> str | float | bool:
    """The number (or truth value) that a text spells, where one is wanted; else the text."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    kinds = kind if isinstance(kind, list) else [kind]
    if not {"number", "integer"} & {*kinds} or not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    return int(number) if number.is_integer() else number


def _data_schema(name: str) -> dict[str, Any]:
    """The kinds of the settings of a data set, which the schema leaves to `hakd.data.settings`."""
    kinds = {int: "integer", float: "number", bool: "boolean", list: "array"}
    return {"properties": {key: {"type": kinds.get(setting.kind)} for key, setting in SETTINGS[name].items()}}
