"""The known data sets by name."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hakd.data.cifar10 import cifar10
from hakd.data.digits import cluttered, plain
from hakd.data.fashion import fashion_mnist
from hakd.data.imagefolder import imagefolder
from hakd.data.settings import complete
from hakd.data.stored import Stored, check
from hakd.records.errors import HakdError
from hakd.records.files import digest
from hakd.records.text import counted

SOURCES: dict[str, Callable[[Mapping[str, Any], object], list[Stored]]] = {
    "digits": plain,
    "cluttered-digits": cluttered,
    "cifar10": cifar10,
    "fashion-mnist": fashion_mnist,
    "imagefolder": imagefolder,
}


def make(settings: Mapping[str, Any], where: object = "config") -> list[Stored]:
    """Train, validation and test of the data set the settings name, checked.

    Raises:
        HakdError: as `hakd.data.prepare`.
    """
    full = complete(settings, where)
    splits = SOURCES[full["name"]](full, where)
    if "mean" in full:
        splits = [_with_constants(stored, full, where) for stored in splits]
    for stored in splits:
        check(stored, f"{full['name']}, {stored.split}")
    return splits


def _with_constants(stored: Stored, settings: Mapping[str, Any], where: object) -> Stored:
    """A split with the mean and deviation of the settings, which are in units of 0 to 1."""
    channels = stored.images.shape[1]
    for key in ("mean", "std"):
        if len(settings[key]) != channels:
            problem = f"{len(settings[key])} numbers, the images have {counted(channels, 'channel')}"
            raise HakdError(problem, where=where, key=f"data.{key}", remedy="Give one for each channel")
    mean, std = (tuple(255.0 * value for value in settings[key]) for key in ("mean", "std"))
    return replace(stored, mean=mean, std=std, dataset=digest([stored.dataset, mean, std]))
