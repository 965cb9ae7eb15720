"""The known data sets by name."""

from collections.abc import Callable, Mapping
from typing import Any

from hakd.data.cifar10 import cifar10
from hakd.data.digits import cluttered, plain
from hakd.data.fashion import fashion_mnist
from hakd.data.imagefolder import imagefolder
from hakd.data.settings import complete
from hakd.data.stored import Stored, check

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
    for stored in splits:
        check(stored, f"{full['name']}, {stored.split}")
    return splits
