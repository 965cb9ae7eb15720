"""What can be set for each data set, with its default and its bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hakd.records.errors import HakdError


@dataclass(frozen=True)
class Setting:
    """One key: its type, its default, the bounds a number must lie in, and whether it may be left out without one."""

    kind: type
    default: Any = None
    bounds: tuple[float, float] | None = None
    optional: bool = False

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, if anything."""
        fits = isinstance(value, (int, float) if self.kind is float else self.kind)
        if not fits or (
            isinstance(value, bool) and self.kind is not bool
        ):  # to Python, True is a whole number
            names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
            return f"{value!r} is not {names.get(self.kind, 'a list')}"
        if self.kind is list:
            wrong = [one for one in value if isinstance(one, bool) or not isinstance(one, int | float)]
            return f"{wrong[0]!r} is not a number" if wrong else self._outside(value)
        return self._outside([value])

    def _outside(self, values: Sequence[Any]) -> str | None:
        if self.bounds is None:
            return None
        low, high = self.bounds
        wrong = [value for value in values if not low <= value <= high]
        return f"{wrong[0]!r} is not in {low:g} to {high:g}" if wrong else None


_SHARE = (0.001, 0.9)
_COUNT = (10, 10**6)
_COMMON = {
    "seed": Setting(int, 0, (0, 2**31 - 1)),
    "validation": Setting(float, 0.1, _SHARE),
    "train_size": Setting(int, bounds=(2, 10**9), optional=True),
    "mean": Setting(list, bounds=(0, 1), optional=True),
    "std": Setting(list, bounds=(0.001, 1), optional=True),
}
SETTINGS: dict[str, dict[str, Setting]] = {
    "digits": {**_COMMON},
    "cluttered-digits": {
        **_COMMON,
        "epoch_images": Setting(int, 6000, _COUNT),
        "validation_images": Setting(int, 2000, _COUNT),
        "test_images": Setting(int, 5000, _COUNT),
    },
    "cifar10": {
        **_COMMON,
        "root": Setting(str, "data/cifar10"),
        "download": Setting(bool, True),
    },
    "fashion-mnist": {
        **_COMMON,
        "root": Setting(str, optional=True),
        "download": Setting(bool, True),
    },
    "imagefolder": {
        **_COMMON,
        "test": Setting(float, 0.1, _SHARE),
        "root": Setting(str),
        "size": Setting(int, 64, (4, 1024)),
        "flip": Setting(bool, True),
    },
}
"""By data set: the keys beside `name`. `docs/data.md` explains them."""


def complete(settings: Mapping[str, Any], where: object = "config") -> dict[str, Any]:
    """The settings with defaults filled in; an optional one that is not given stays out.

    Raises:
        HakdError: an unknown data set or key, a key that is missing, a value of the wrong type or out of bounds.
    """
    name = settings.get("name")
    if not isinstance(name, str) or name not in SETTINGS:
        known = ", ".join(SETTINGS)
        problem = "no data set is named" if name is None else f"unknown data set {name!r}"
        raise HakdError(problem, where=where, key="data.name", remedy=f"Use one of {known}")
    known_keys = SETTINGS[name]
    for key in settings:
        if key != "name" and key not in known_keys:
            remedy = f"Use one of name, {', '.join(known_keys)}"
            raise HakdError(f"{name} has no such setting", where=where, key=f"data.{key}", remedy=remedy)
    full: dict[str, Any] = {"name": name}
    for key, setting in known_keys.items():
        value = settings.get(key, setting.default)
        if value is None and setting.optional:
            continue
        if value is None:
            raise HakdError(f"{name} needs this setting", where=where, key=f"data.{key}", remedy="Add it")
        fault = setting.problem(value)
        if fault:
            raise HakdError(fault, where=where, key=f"data.{key}", remedy="Correct it")
        full[key] = value
    if ("mean" in full) != ("std" in full):
        given, other = ("mean", "std") if "mean" in full else ("std", "mean")
        remedy = "Give both, or none to take them from the training images"
        raise HakdError(f"is given without data.{other}", where=where, key=f"data.{given}", remedy=remedy)
    if full["validation"] + full.get("test", 0) > 0.95:
        raise HakdError("leaves nothing to train on", where=where, key="data.validation", remedy="Lower it")
    return full


# Channels and classes of the images of a data set, where they do not depend on its files.
SIZES = {"digits": 8, "cluttered-digits": 32, "cifar10": 32, "fashion-mnist": 28}  # pixels along a side
IMAGES = {"digits": (1, 10), "cluttered-digits": (1, 10), "cifar10": (3, 10), "fashion-mnist": (1, 10)}
