"""YAML from others, read as plain data of bounded size: a file may come from anyone and be malicious."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hakd.records.errors import HakdError

LARGEST_BYTES = 1 << 20
LARGEST_VALUES = 100_000  # aliases followed: thirty short lines can stand for a thousand million values
LARGEST_NUMBER = 1 << 63
EXAMPLE = "pi4: {transport: ssh, host: pi4.local, user: pi}"


class _TwiceError(yaml.constructor.ConstructorError):
    """A key given twice."""


class _Loader(yaml.SafeLoader):
    """Plain data only; a key given twice is an error; YAML would keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if (key_node.tag, key_node.value) in seen:
                    raise _TwiceError(None, None, f"duplicate key {key_node.value!r}", key_node.start_mark)
                seen.add((key_node.tag, key_node.value))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """A mapping from a YAML file; empty for an empty file.

    Raises:
        HakdError: missing, too large, not UTF-8, not YAML, a duplicate key, endless or huge by its aliases, a number
            that is not finite or too large, or not a mapping.
    """
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise HakdError(f"cannot read ({reason})", where=path, remedy="Give another path") from None
    if len(raw) > LARGEST_BYTES:
        raise HakdError("more than 1 MiB", where=path, remedy="Give a configuration or a device file")
    try:
        content = yaml.load(raw.decode(), _Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        twice = isinstance(error, _TwiceError)
        remedy = "Write it once, with all that belongs below it" if twice else "Correct it"
        raise HakdError(f"not YAML ({_plain(error.problem)}{line})", where=path, remedy=remedy) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise HakdError(f"not YAML ({_plain(error)})", where=path, remedy="Correct it") from None
    if content is None:
        return {}
    _bounded(content, path)
    if not isinstance(content, Mapping):
        raise HakdError("is not a mapping", where=path, remedy=f"Write a name with its settings: {EXAMPLE}")
    return content


def spelling(path: Path, key: str) -> str | None:
    """The value at a dotted key (an index in a list is a name too) as a file spells it, on one line; None if absent."""
    try:
        text = path.read_text()
        node = yaml.compose(text, yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    while key and node is not None:
        if isinstance(node, yaml.SequenceNode):
            entries = [(str(index), value) for index, value in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            entries = [(str(name.value), value) for name, value in node.value]
        else:
            return None
        name, node = max(
            ((name, value) for name, value in entries if f"{key}.".startswith(f"{name}.")),
            key=lambda entry: len(entry[0]),
            default=("", None),
        )
        key = key[len(name) + 1 :]
    return None if node is None else " ".join(text[node.start_mark.index : node.end_mark.index].split())


def _bounded(content: object, path: Path) -> None:
    """Refuse what would keep a check, a message or a hash busy for ever.

    Raises:
        HakdError: too many values once aliases are followed, a number that is not finite or has no end.
    """
    todo, seen = [content], 0
    while todo:
        value = todo.pop()
        seen += 1
        if seen > LARGEST_VALUES:
            remedy = "Write them out: a value must not contain itself"
            raise HakdError(f"more than {LARGEST_VALUES} values by its aliases", where=path, remedy=remedy)
        if isinstance(value, Mapping):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            todo += value
        elif isinstance(value, float) and not math.isfinite(value):
            raise HakdError(f"{value} is not a finite number", where=path, remedy="Give a finite number")
        elif isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
            raise HakdError("a number beyond 2^63", where=path, remedy="Give a smaller one")


def _plain(text: object) -> str:
    return " ".join(str(text).split())[:200]
