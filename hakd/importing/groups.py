"""The width groups of an ONNX model: which layers make a width, what follows them, and which use it up."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hakd.importing.kinds import LAYERS, NORMS, UNARY, is_grouped
from hakd.importing.model import Model
from hakd.importing.widths import trace
from hakd.records.errors import HakdError
from hakd.records.sections import Section, Sections

_ACTIVATIONS = UNARY | NORMS
_REASONS = 3  # that are named where nothing can be changed
_WHOLE = -1  # the number of no width


@dataclass(frozen=True)
class Group:
    """A width of the model with the names of its layers.

    Attributes:
        name: what a person calls the first layer that makes it; no other group has it.
        width: its channels in the model.
        number: of the width, in `ChannelTies`.
        producers: layers that make it.
        depthwise: grouped convolutions that it passes through.
        consumers: layers that use it up.
        section: its decision block; None where it cannot be changed.
        reason: why it cannot be changed; None where it can.
    """

    name: str
    width: int
    number: int
    producers: tuple[str, ...]
    depthwise: tuple[str, ...]
    consumers: tuple[str, ...]
    section: Section | None = None
    reason: str | None = None


class WidthGroups:
    """A model taken apart into its width groups.

    Attributes:
        groups: those that some layer makes and the task leaves open, in the order of the model.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.ties = model, trace(model)
        self._sections = sections_of(model)
        made_by = self.ties.made_by
        order = {number: min(made_by[number]) for number in made_by.keys() - self.ties.by_task}
        numbers = sorted(order, key=lambda number: (order[number], number))
        self._touching = self._users_of_widths()
        self.groups = self._told_apart([self._group(number) for number in numbers])

    @property
    def changeable(self) -> list[Group]:
        """The groups whose width can be changed."""
        return [group for group in self.groups if group.reason is None]

    @property
    def fixed(self) -> list[Group]:
        """The groups whose width cannot be changed, each with its reason."""
        return [group for group in self.groups if group.reason is not None]

    def neighbours(self, group: Group) -> dict[str, int]:
        """Widths of the other groups that shape a group's block."""
        numbers = self._numbers(group.section.nodes if group.section else ()) - {group.number}
        return {other.name: other.width for other in self.groups if other.number in numbers}

    def whole(self) -> Group:
        """The whole model as a group of no width; of several outputs its section has the first."""
        nodes = tuple(range(len(self.model.nodes)))
        section = Section(nodes, self.model.source, self.model.outputs[0])
        return Group("the whole model", 1, _WHOLE, (), (), (), section)

    def _group(self, number: int) -> Group:
        nodes, makers = self.model.nodes, sorted(self.ties.made_by[number])
        touched = self._touching[number]
        # Of the layers that the width goes into, a depthwise one passes it on and any other ends it.
        users = [index for index in touched if nodes[index].op_type in LAYERS and index not in makers]
        group = Group(
            self._label(makers, number),
            self.ties.sizes[number],
            number,
            tuple(nodes[index].name for index in makers),
            tuple(nodes[index].name for index in users if is_grouped(nodes[index])),
            tuple(nodes[index].name for index in users if not is_grouped(nodes[index])),
        )
        if number in self.ties.reasons:
            return replace(group, reason=self.ties.reasons[number])
        section = self._sections.around(touched)
        if section is None:
            return replace(group, reason="it leads to several outputs of the model")
        section = self._with_activation(section)
        if section.source not in self.model.shapes or section.target not in self.model.shapes:
            return replace(group, reason="the sizes of its decision block are unknown")
        return replace(group, section=section)

    def _users_of_widths(self) -> dict[int, list[int]]:
        """Width -> the nodes that it goes into or comes out of, in order."""
        found: dict[int, list[int]] = {}
        for index in range(len(self.model.nodes)):
            for number in self._numbers([index]):
                found.setdefault(number, []).append(index)
        return found

    def _told_apart(self, groups: Sequence[Group]) -> list[Group]:
        """Groups of one name (a layer whose outputs are split, names that repeat) get what distinguishes them."""
        names = Counter(group.name for group in groups)
        found, used = [], Counter[str]()
        for group in groups:
            if names[group.name] > 1:
                used[group.name] += 1
                group = replace(group, name=f"{group.name} #{used[group.name]}")
            found.append(group)
        return found

    def _numbers(self, indices: Iterable[int]) -> set[int]:
        """The widths among the channels that go into some nodes or come out of them."""
        nodes = [self.model.nodes[index] for index in indices]
        names = {name for node in nodes for name in (*node.input, *node.output)}
        numbers = {run.width for name in names for run in self.ties.of(name)}
        # A slice needs to know where its part begins, and so the widths before it.
        contents = [self.ties.contents.get((i, key), {}) for i in indices for key in (1, 2, "starts", "ends")]
        held = (channels for content in contents for channels in content.values())
        return numbers | {run.width for channels in held for run in self.ties.resolved(channels)}

    def _label(self, makers: Sequence[int], number: int) -> str:
        """What a person calls the first layer: as its weights are called where an exporter kept that, else its node.

        With the places of the layer's outputs that belong to the width, where a split gives it others as well.
        """
        node = self.model.nodes[makers[0]]
        weight = node.input[1]
        kept = weight.endswith(".weight") and "::" not in weight
        label = weight.removesuffix(".weight") if kept else node.name
        runs, at, places = self.ties.of(node.output[0]), 0, []
        for run in runs:
            end = at + self.ties.extent((run,))
            places += [f"{at}:{end}"] if run.width == number else []
            at = end
        if len(runs) > 1 and places:
            alike = len(places) == len(runs)
            label += f"[{len(runs)} x {self.ties.sizes[number]}]" if alike else f"[{', '.join(places)}]"
        return label if len(makers) == 1 else f"{label} (+{len(makers) - 1} tied)"

    def _with_activation(self, section: Section) -> Section:
        """With the batch norm and activation behind the block, which engines fuse into its last layer."""
        sections = self._sections
        while True:
            users = sections.users.get(section.target, [])
            # Where the block's end is used twice, or is an output, it exists as a tensor and nothing is fused.
            if len(users) != 1 or section.target in sections.exits:
                return section
            node = self.model.nodes[users[0]]
            if node.op_type not in _ACTIVATIONS or len(sections.inputs[users[0]]) != 1:
                return section
            section = replace(section, nodes=(*section.nodes, users[0]), target=node.output[0])


def sections_of(model: Model) -> Sections:
    """The sections of an ONNX model, by the places of its nodes."""
    outputs = [tuple(filter(None, node.output)) for node in model.nodes]
    return Sections([model.activations(node) for node in model.nodes], outputs, [model.source], model.outputs)


def take_apart(model: Model, where: object) -> WidthGroups:
    """The model's width groups.

    Raises:
        HakdError: it has no width that could be changed.
    """
    width_groups = WidthGroups(model)
    if not width_groups.changeable:
        reasons = list(dict.fromkeys(group.reason for group in width_groups.fixed if group.reason))
        words = "; ".join(reasons[:_REASONS]) or "it has no hidden convolution or linear layer"
        raise HakdError(f"no width of it can be changed ({words})", where=where, remedy="Give another model")
    return width_groups
