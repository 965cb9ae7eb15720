"""Strict checks of an agent's messages: known kinds with exactly their fields, finite numbers in range.

A line that has the session's tag and breaks these rules comes from a broken or hostile board: an error, not noise.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from hakd.records.errors import HakdError
from hakd.records.text import printable

Message = dict[str, Any]
Fits = Callable[[Any], bool]
_REAL = 1e15  # above any number that a board sends
_TEXT_LIMIT = 4096  # characters of a text that a board sends


def _int(low: int = 0, high: float = _REAL) -> Fits:
    return lambda value: type(value) is int and low <= value <= high


def _real(low: float = 0.0) -> Fits:
    return lambda value: type(value) in (int, float) and math.isfinite(value) and low <= value <= _REAL


def _maybe(check: Fits) -> Fits:
    return lambda value: value is None or check(value)


def _is(kind: type) -> Fits:
    return lambda value: type(value) is kind


def _energy_bursts(value: Any) -> bool:
    fits = {"calls": _int(1), "wall_ns": _int(1), "joules": _real(), "idle_w": _real()}
    return (
        isinstance(value, list)
        and len(value) <= 100
        and all(isinstance(one, dict) and one.keys() == fits.keys() for one in value)
        and all(fit(one[name]) for one in value for name, fit in fits.items())
    )


_FIELDS: Mapping[str, Mapping[str, Fits]] = {
    "waiting": {"holder": _maybe(_int(1)), "waited_s": _real()},
    "refusal": {"cause": _is(str), "detail": _is(str)},
    "hello": {
        "hardware": _is(dict),
        "context": _is(dict),
        "engine_version": lambda value: isinstance(value, str) and 0 < len(value) <= 64,
        "numpy_version": lambda value: isinstance(value, str) and 0 < len(value) <= 64,
    },
    "beat": {},
    "ready": {"job": _int(), "key": _is(str), "max_abs_error": _maybe(_real())},
    "failed": {"job": _int(), "key": _is(str), "reason": _is(str)},
    "missing": {"job": _int(), "detail": _is(str)},
    "warm": {"job": _int(), "tasks": _int(1)},
    "memory": {"job": _int(), "key": _is(str), "bytes": _int()},
    "energy": {
        "job": _int(),
        "key": _is(str),
        "sensor": _maybe(_is(str)),
        "problem": _maybe(_is(str)),
        "bursts": _energy_bursts,
    },
    "graph": {
        "job": _int(),
        "key": _is(str),
        "ops": lambda value: isinstance(value, dict) and all(type(count) is int for count in value.values()),
    },
    "burst": {
        "job": _int(),
        "key": _is(str),
        "round": _int(),
        "position": _int(),
        "reference": _is(bool),
        "calls": _int(1),
        "min_ns": _int(1),
        "median_ns": _int(1),
        "switches": _int(),
        "clock_mhz": _maybe(_real(1e-3)),
        "cpu_ratio": _real(),
        "at_ns": _int(),
    },
    "done": {
        "job": _int(),
        "outcome": lambda value: value in ("ok", "timeout", "signal", "exit"),
        "key": _maybe(_is(str)),
        "detail": _is(str),
    },
    "bye": {"context": _is(dict)},
}
_TEXTS = ("detail", "reason", "engine_version", "numpy_version", "sensor", "problem")


def check(message: Message, expected: Collection[str], where: str) -> Message:
    """The message, if its kind is expected now and all its fields fit; its texts printable.

    Raises:
        HakdError: an unknown or unexpected kind, a missing or surplus field, a value out of range.
    """
    kind = message["t"]
    if kind not in _FIELDS or kind not in expected:
        refuse(where, f"an unexpected {printable(kind, 40)!r}")
    checks = _FIELDS[kind]
    if message.keys() - {"t"} != checks.keys():
        refuse(where, f"a {kind} with the wrong fields")
    for name, fits in checks.items():
        if not fits(message[name]):
            refuse(where, f"a {kind} whose {name} is {printable(message[name], 60)}")
    if kind == "burst" and message["min_ns"] > message["median_ns"]:
        refuse(where, "a burst whose minimum exceeds its median")
    return {
        name: plain(value) if name in _TEXTS or isinstance(value, dict) else value
        for name, value in message.items()
    }


def refuse(where: str, what: str) -> NoReturn:
    """Stop: the board broke the protocol."""
    raise HakdError(
        f"the device sent {what}; nothing of it was recorded",
        where=where,
        remedy="Check that the device is not tampered with, then run again",
    )


def plain(value: Any, depth: int = 0) -> Any:
    """A board's free-form data with bounded size and depth, printable texts and finite numbers; None for the rest."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) <= _REAL else None
    if isinstance(value, str):
        return printable(value, _TEXT_LIMIT)
    if depth < 4 and isinstance(value, list):
        return [plain(item, depth + 1) for item in value[:1024]]
    if depth < 4 and isinstance(value, dict):
        return {printable(name, 64): plain(item, depth + 1) for name, item in list(value.items())[:64]}
    return None
