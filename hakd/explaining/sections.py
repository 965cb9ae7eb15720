"""Sections of a model with one way in and one way out: what can be cut out and timed by itself."""

from collections.abc import Collection, Iterable, Sequence

from hakd.explaining.model import Model

_EXIT = ""  # a place after all outputs


class Sections:
    """Finds sections of one model. Tensors are the places of the graph; a constant is none."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.inputs = [
            tuple(dict.fromkeys(name for name in node.input if name and name not in model.constants))
            for node in model.nodes
        ]
        self.outputs = [tuple(name for name in node.output if name) for node in model.nodes]
        self.maker = {name: index for index, made in enumerate(self.outputs) for name in made}
        self.users: dict[str, list[int]] = {}
        for index, names in enumerate(self.inputs):
            for name in names:
                self.users.setdefault(name, []).append(index)
        self.exits = frozenset(model.outputs)
        order = [model.source, *(name for made in self.outputs for name in made)]
        self._before = _tree(order, self._sources)
        self._after = _tree(order[::-1], self._targets)

    def _sources(self, name: str) -> Sequence[str]:
        return self.inputs[self.maker[name]] if name in self.maker else ()

    def _targets(self, name: str) -> Sequence[str]:
        found = [made for user in self.users.get(name, ()) for made in self.outputs[user]]
        return [*found, _EXIT] if name in self.exits or not found else found

    def around(self, nodes: Iterable[int]) -> tuple[list[int], str, str] | None:
        """The smallest section around some nodes: its nodes in order, its input and its output.

        None when there is none, because the nodes lead to several outputs of the model.
        """
        members = set(nodes)
        while True:
            sources, targets = self._borders(members)
            first, last = _meet(self._before, sources), _meet(self._after, targets)
            if first is None or last in (None, _EXIT):
                return None
            found = self._between(first, last) | members
            if len(sources) == len(targets) == 1 and found == members:
                return sorted(members), first, last
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
        ahead: set[int] = set()
        todo = list(self.users.get(first, ()))
        while todo:
            index = todo.pop()
            if index not in ahead:
                ahead.add(index)
                todo += [
                    user for name in self.outputs[index] if name != last for user in self.users.get(name, ())
                ]
        behind: set[int] = set()
        todo = [self.maker[last]] if last in self.maker else []
        while todo:
            index = todo.pop()
            if index not in behind and index in ahead:
                behind.add(index)
                todo += [self.maker[n] for n in self.inputs[index] if n != first and n in self.maker]
        return behind


_Tree = dict[
    str, tuple[str | None, int]
]  # the nearest place that every way passes, and how many such there are


def _tree(order: Sequence[str], parents: object) -> _Tree:
    """Dominators of an acyclic graph, whose places are given in order."""
    assert callable(parents)
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
