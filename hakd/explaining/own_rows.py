"""Rows of a latency table of a user's own network, made into points again.

A table names its function but is data and may come from elsewhere: nothing in it is called before the user names the
function as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hakd.boards import Device, Point
from hakd.explaining.blocks import block_point
from hakd.explaining.own_network import exported
from hakd.explaining.timing import check_engine
from hakd.importing.groups import WidthGroups
from hakd.records.errors import HakdError

AXES = 3  # of an image: channels, height, width


def own_name(frame: pd.DataFrame) -> str | None:
    """The function whose network a table is of, as `package.module:function`; None for a network of hakd's."""
    name = str(frame["network"].iloc[0])
    return name if ":" in name else None


class OwnNetwork:
    """The network that a table's rows are parts of.

    Args:
        function: `package.module:function`, called without arguments.
        image: shape of its input without the batch; None: as the table says.
        about: the table's metadata; empty for a table without any.
        where: the table's path, for messages.

    Raises:
        HakdError: neither the user nor the table says the shape of an image.
    """

    def __init__(
        self, function: str, image: Sequence[int] | None, about: Mapping[str, Any], where: object
    ) -> None:
        self.function, self.about, self.where = function, about, where
        self.image = tuple(image) if image is not None else _image(about.get("input"), where)

    def points(self, rows: pd.DataFrame, device: Device) -> list[Point]:
        """The rows' decision blocks as points of a device, in the rows' order.

        Raises:
            HakdError: an engine that takes no ONNX, a function that gives no network, or a row that is no part of it.
        """
        check_engine(device)
        width_groups = WidthGroups(exported(self.function, self.image, device.batch))
        groups = {group.name: group for group in width_groups.changeable}
        points = []
        for row in rows.itertuples():
            group, channels = str(row.group), int(str(row.width))
            if group not in groups:
                raise self._misfit("it has no such width group", group, device)
            point = block_point(width_groups, groups[group], channels, curve=group)
            if point.key != row.shape:
                raise self._misfit(f"its block at width {channels} is another", group, device)
            points.append(point)
        return points

    def _misfit(self, problem: str, group: str, device: Device) -> HakdError:
        image = ",".join(map(str, self.image))
        words = f"the table is not of {self.function} for an input of {image}: {problem}"
        batch = self.about.get("batch", device.batch)
        if batch != device.batch:
            words += f" (it was timed with batch {batch}, {device.name} has {device.batch})"
        remedy = "Give the function, --input and batch that it was swept with, or sweep the network again"
        return HakdError(words, where=self.where, key=group, remedy=remedy)


def _image(said: object, where: object) -> tuple[int, ...]:
    if said is None:
        remedy = "Give --input, e.g. 3,224,224"
        raise HakdError(
            "the table does not say the shape of an image", where=where, key="--input", remedy=remedy
        )
    if not isinstance(said, list) or len(said) != AXES or not all(_size(size) for size in said):
        remedy = "Ask for the table as hakd wrote it, or give --input"
        raise HakdError("is no shape of an image", where=where, key="input", remedy=remedy)
    return tuple(said)


def _size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6
