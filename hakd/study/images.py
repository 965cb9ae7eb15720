"""The size of a data set's images, as configured. Read by the rules at planning time: no heavy imports."""

from collections.abc import Mapping
from typing import Any

from hakd.data.settings import SETTINGS, SIZES


def image_side(settings: Mapping[str, Any]) -> int:
    """Height and width in pixels of a data set's images as prepared, before they are resized to a network's input.

    Args:
        settings: the configuration's `data`, checked.
    """
    name = settings["name"]
    return SIZES.get(name) or int(settings.get("size", SETTINGS[name]["size"].default))
