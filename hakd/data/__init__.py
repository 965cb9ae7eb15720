"""Data sets: prepared once into one file a split, then resident on the training device.

`prepare` needs no torch for most sets; `load`, `load_splits`, `Split` and `Splits` import it when first used.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hakd.data.split import Split, Splits, load, load_splits

__all__ = ["Split", "Splits", "load", "load_splits", "prepare"]


def prepare(settings: Mapping[str, Any], directory: str | os.PathLike, where: object = "config") -> None:
    """Write train.npz, validation.npz and test.npz of a data set into `directory`: all three, or none.

    Args:
        settings: the configuration's `data`: `name` and the keys that `hakd.data.settings.SETTINGS` lists for it.
        directory: made if need be.
        where: the file the settings come from, for errors.

    Raises:
        HakdError: unknown data set or key, wrong value, data missing or damaged, a folder that cannot be written to.
    """
    from hakd.data.sources import make
    from hakd.data.stored import write_all

    write_all(make(settings, where), directory)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hakd.data import split

    return getattr(split, name)
