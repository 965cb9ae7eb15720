"""Widths by number, and which of them are tied: what `hakd.importing.widths` finds out about a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ChannelRun:
    """Channels of one width along an axis.

    Attributes:
        width: its number.
        times: places of the axis that each channel takes: more than one after a `Flatten` of an image, where a channel
            is a run of pixels.
    """

    width: int
    times: int = 1


Channels = tuple[ChannelRun, ...]


@dataclass
class ChannelTies:
    """Which axes carry which widths; widths are numbers, `find` gives the one that stands for all tied ones.

    Attributes:
        sizes: of each width, in channels.
        channels: of each activation, where they are known.
        parameters: {(node, input): {axis: channels}} of constants whose shape depends on widths.
        made_by: width -> nodes that make it (convolutions and linear layers).
        reasons: width -> why it is fixed.
        by_task: widths that the task fixes: image channels and classes.
    """

    sizes: list[int] = field(default_factory=list)
    channels: dict[str, Channels] = field(default_factory=dict)
    parameters: dict[tuple[int, int], dict[int, Channels]] = field(default_factory=dict)
    made_by: dict[int, list[int]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    by_task: set[int] = field(default_factory=set)
    _parents: list[int] = field(default_factory=list)

    def new(self, size: int) -> int:
        """A width that is tied to no other."""
        self.sizes.append(size)
        self._parents.append(len(self._parents))
        return len(self._parents) - 1

    def find(self, width: int) -> int:
        """The width that stands for all that are tied to it."""
        while self._parents[width] != width:
            self._parents[width] = self._parents[self._parents[width]]
            width = self._parents[width]
        return width

    def tie(self, a: Channels, b: Channels, what: str) -> None:
        """Channels that have to stay alike; where they are put together differently, both are fixed."""
        if self._layout(a) != self._layout(b):
            self.fix((*a, *b), f"{what} meets a concatenation of other widths")
            return
        for run, other in zip(a, b, strict=True):
            first, second = sorted((self.find(run.width), self.find(other.width)))
            if first == second:
                continue
            self._parents[second] = first
            if second in self.made_by:
                self.made_by.setdefault(first, []).extend(self.made_by.pop(second))
            if second in self.reasons:
                self.reasons.setdefault(first, self.reasons.pop(second))
            if second in self.by_task:
                self.by_task.add(first)

    def fix(self, channels: Channels, reason: str) -> None:
        """Widths that cannot be changed, and why; what was found first is the reason that is given."""
        for run in channels:
            self.reasons.setdefault(self.find(run.width), reason)

    def fix_by_task(self, channels: Channels) -> None:
        """Widths of the model's input and outputs, which nobody would change."""
        self.by_task |= {self.find(run.width) for run in channels}

    def extent(self, channels: Channels, changed: Mapping[int, int] | None = None) -> int:
        """Length of the axis; `changed`: channels of the widths that are not as in the model."""
        sizes = {} if changed is None else changed
        return sum(sizes.get(self.find(run.width), self.sizes[run.width]) * run.times for run in channels)

    def _layout(self, channels: Channels) -> list[tuple[int, int]]:
        return [(run.times, self.sizes[run.width]) for run in channels]
