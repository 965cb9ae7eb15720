"""Sections of a network with one way in and one way out: what can be cut out and timed by itself."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

_EXIT = ""  # a place after all outputs


@dataclass(frozen=True)
class Section:
    """A part of a network: its nodes by number, in order, and the tensors where it begins and ends."""

    nodes: tuple[int, ...]
    source: str
    target: str


class Sections:
    """Finds sections of one network, whose nodes are numbered in order. Tensors are the places of the graph.

    Args:
        inputs: of each node, the activations that it takes; constants are left out.
        outputs: of each node, the tensors that it makes.
        sources: tensors that the network starts from.
        exits: tensors that it gives.
    """

    def __init__(
        self,
        inputs: Sequence[Iterable[str]],
        outputs: Sequence[Iterable[str]],
        sources: Iterable[str],
        exits: Iterable[str],
    ) -> None:
        self.inputs = [tuple(dict.fromkeys(names)) for names in inputs]
        self.outputs = [tuple(names) for names in outputs]
        self.maker = {name: index for index, made in enumerate(self.outputs) for name in made}
        self.users: dict[str, list[int]] = {}
        for index, names in enumerate(self.inputs):
            for name in names:
                self.users.setdefault(name, []).append(index)
        self.exits = frozenset(exits)
        order = [*sources, *(name for made in self.outputs for name in made)]
        self._before = _tree(order, self._sources)
        self._after = _tree(order[::-1], self._targets)

    def _sources(self, name: str) -> Sequence[str]:
        return self.inputs[self.maker[name]] if name in self.maker else ()

    def _targets(self, name: str) -> Sequence[str]:
        found = [made for user in self.users.get(name, ()) for made in self.outputs[user]]
        return [*found, _EXIT] if name in self.exits or not found else found

    def around(self, nodes: Iterable[int]) -> Section | None:
        """The smallest section around some nodes; None when they lead to several outputs of the network."""
        members = set(nodes)
        while True:
            sources, targets = self._borders(members)
            first, last = _meet(self._before, sources), _meet(self._after, targets)
            if first is None or last in (None, _EXIT):
                return None
            found = self._between(first, last) | members
            if len(sources) == len(targets) == 1 and found == members:
                return Section(tuple(sorted(members)), first, last)
            if found == members:
                return None
            members = found

    def _borders(self, members: Collection[int]) -> tuple[list[str], list[str]]:
        """Tensors that these nodes take from outside, and those that are used outside."""
        made = {name for index in members for name in self.outputs[index]}
        sources = {name for index in members for name in self.inputs[index]} - made
        targets = {
            name
            for name in made
            if name in self.exits or any(user not in members for user in self.users.get(name, ()))
        }
        return sorted(sources), sorted(targets)

    def _between(self, first: str, last: str) -> set[int]:
        """Nodes on a way from one tensor to another."""
        ahead = _reached(
            self.users.get(first, ()),
            lambda index: [u for n in self.outputs[index] if n != last for u in self.users.get(n, ())],
        )
        behind = _reached(
            [self.maker[last]] if last in self.maker else [],
            lambda index: [self.maker[n] for n in self.inputs[index] if n != first and n in self.maker],
        )
        return ahead & behind


def _reached(start: Iterable[int], step: Callable[[int], Iterable[int]]) -> set[int]:
    """The nodes from which one step after another starts, and all that it leads to."""
    reached, todo = set[int](), list(start)
    while todo:
        index = todo.pop()
        if index not in reached:
            reached.add(index)
            todo += step(index)
    return reached


# Of each place the nearest one that every way to it passes, and how many such there are.
_Tree = dict[str, tuple[str | None, int]]


def _tree(order: Iterable[str], parents: Callable[[str], Sequence[str]]) -> _Tree:
    """Dominators of an acyclic graph, whose places are given in order."""
    tree: _Tree = {_EXIT: (None, 0)}
    for name in order:
        above = [parent for parent in parents(name) if parent in tree]
        meeting = _meet(tree, above) if above else None
        tree[name] = (meeting, tree[meeting][1] + 1) if meeting is not None else (None, 0)
    return tree


def _meet(tree: _Tree, names: Sequence[str]) -> str | None:
    """The nearest place that all ways to these pass."""
    found: str | None = None
    for i, name in enumerate(names):
        found = name if i == 0 else found
        other: str | None = name
        while found != other:
            if found is None or other is None:
                return None
            if tree[found][1] >= tree[other][1]:
                found = tree[found][0]
            else:
                other = tree[other][0]
    return found
