"""A network that was read from a module or an ONNX file: its description is among its options.

So an architecture says all of itself, wherever its file goes, and another description is another architecture.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakd.importing.rows import graph_of, row_from
from hakd.ops.op import Sides
from hakd.records.graph import Graph

FAMILY = "imported"
OWN = "own"  # weights that a module or an ONNX file brings
OPTIONS: dict[str, Any] = {"ops": []}


@dataclass(frozen=True)
class Images:
    """What a data set gives: channels, (height, width) in pixels, and the number of classes.

    Without classes (None) a network keeps what it makes, which need not be one value for each.
    """

    channels: int
    size: tuple[int, ...]
    classes: int | None


def find_file(path: str, folders: Sequence[str | os.PathLike]) -> Path:
    """A file in the first of these folders that has it, else as it is given."""
    places = [Path(folder, path) for folder in folders]
    return next((place for place in places if place.is_file()), Path(path))


def build(channels: int, size: Sides, num_classes: int, ops: Sequence[Mapping[str, Any]]) -> Graph:
    """The network at full width, from `Row.to_json` of each op.

    Raises:
        ValueError: ops that do not fit together.
    """
    return graph_of([row_from(op) for op in ops], channels, size, num_classes)
