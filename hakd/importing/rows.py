"""Ops of a description that is being read from elsewhere, before the description is built."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hakd.ops.tensors import Segment
from hakd.records.graph import Builder, Graph

CLASSES = "classes"  # the width of a layer that makes one value for each class
Json = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One op. Its name is that of the tensor that it makes.

    Attributes:
        kind: of `hakd.ops.kinds`; one that begins with `_` has to be put together with others.
        inputs: tensors that it takes.
        made: the width that a layer makes: a number, or `CLASSES`; None for other ops.
        attributes: of the kind.
        tile: the part of the network that it belongs to.
        source: what it was read from, for messages.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    made: int | str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tile: str = ""
    source: str = ""

    def to_json(self) -> Json:
        """As a specification holds it; what is empty is left out."""
        found = {
            "kind": self.kind,
            "name": self.name,
            "inputs": list(self.inputs),
            "tile": self.tile,
            "made": self.made,
            "attributes": {key: _listed(one) for key, one in self.attributes.items()},
        }
        return {key: value for key, value in found.items() if value not in (None, {})}


class Rows:
    """Rows in order, with what takes each tensor."""

    def __init__(self, rows: Iterable[Row], output: str) -> None:
        self.rows, self.output = list(rows), output
        self.by_name = {row.name: row for row in self.rows}
        self.users: dict[str, list[Row]] = {}
        for row in self.rows:
            for name in dict.fromkeys(row.inputs):
                self.users.setdefault(name, []).append(row)

    def maker(self, name: str, kind: str) -> Row | None:
        """The row that makes a tensor, where it is of that kind."""
        row = self.by_name.get(name)
        return row if row is not None and row.kind == kind else None

    def alone(self, name: str) -> bool:
        """Whether a single op takes a tensor and no other needs it."""
        return len(self.users.get(name, ())) == 1 and name != self.output

    def replaced(self, changed: Mapping[str, Row | None]) -> "Rows":
        """With some rows, by their names, in another form or left out (None)."""
        kept = [changed.get(row.name, row) for row in self.rows]
        return Rows([row for row in kept if row is not None], self.output)


def row_from(content: Mapping[str, Any]) -> Row:
    """What `Row.to_json` gave."""
    attributes = {key: _sides(value) for key, value in content.get("attributes", {}).items()}
    inputs = tuple(content["inputs"])
    return Row(content["kind"], content["name"], inputs, content.get("made"), attributes, content["tile"])


def graph_of(rows: Iterable[Row], channels: int, size: Sequence[int], num_classes: int = 0) -> Graph:
    """The description that rows stand for; the last of them makes its output.

    Raises:
        ValueError: ops that do not fit together.
    """
    b = Builder(channels, size)
    name = b.input
    for row in rows:
        b.tile = row.tile
        made = Segment(None, num_classes) if isinstance(row.made, str) else row.made
        name = b.add(row.kind, row.name, row.inputs, made, **row.attributes)
    return b.graph(name)


def _listed(value: Any) -> Any:
    """Tuples as JSON has them."""
    return [*map(_listed, value)] if isinstance(value, tuple) else value


def _sides(value: Any) -> Any:
    """Lists of a file as the tuples that they were."""
    return tuple(map(_sides, value)) if isinstance(value, list) else value
