"""Which channels of a network stay alike: the rules by which widths are made, tied, laid side by side and fixed.

The rules know tensors by name and layers by number, and nothing of the format that a network comes in. Whoever reads a
network calls one rule for each op, in order: `hakd.importing.widths` does so for ONNX.
"""

from collections.abc import Iterable, Mapping, Sequence
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
        contents: {(node, input): {place: channels}} of constants that hold numbers of channels: sizes of a reshape,
            ends of a slice. The name of an attribute may stand for the input.
        made_by: width -> layers that make it (convolutions and linear layers), by number.
        reasons: width -> why it is fixed.
        by_task: widths that the task fixes: image channels and classes.
        met: widths that were added to others or laid side by side with them.
        parts: width -> the widths that it was cut into by a split or a slice.
    """

    sizes: list[int] = field(default_factory=list)
    channels: dict[str, Channels] = field(default_factory=dict)
    parameters: dict[tuple[int, int], dict[int, Channels]] = field(default_factory=dict)
    contents: dict[tuple[int, int | str], dict[int, Channels]] = field(default_factory=dict)
    made_by: dict[int, list[int]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    by_task: set[int] = field(default_factory=set)
    met: set[int] = field(default_factory=set)
    parts: dict[int, tuple[int, ...]] = field(default_factory=dict)
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

    def resolved(self, channels: Channels) -> Channels:
        """The same channels by the widths that stand for them now."""
        found: list[ChannelRun] = []
        for run in channels:
            width = self.find(run.width)
            if width in self.parts:
                found += self.resolved(tuple(ChannelRun(part, run.times) for part in self.parts[width]))
            else:
                found.append(ChannelRun(width, run.times))
        return tuple(found)

    def of(self, name: str) -> Channels:
        """Channels of a tensor; none where they are not known."""
        return self.resolved(self.channels.get(name, ()))

    def tie(self, a: Channels, b: Channels, what: str) -> None:
        """Channels that have to stay alike; where they are put together differently, both are fixed."""
        a, b = self.resolved(a), self.resolved(b)
        if self._layout(a) != self._layout(b):
            self.fix((*a, *b), f"{what} meets a concatenation of other widths")
            return
        for run, other in zip(a, b, strict=True):
            first, second = sorted((self.find(run.width), self.find(other.width)))
            if first == second:
                continue
            self._parents[second] = first
            if second in self.made_by:
                makers = self.made_by.setdefault(first, [])
                makers += [maker for maker in self.made_by.pop(second) if maker not in makers]
            if second in self.reasons:
                self.reasons.setdefault(first, self.reasons.pop(second))
            if second in self.by_task:
                self.by_task.add(first)

    def fix(self, channels: Channels, reason: str) -> None:
        """Widths that cannot be changed, and why; what was found first is the reason that is given."""
        for run in self.resolved(channels):
            self.reasons.setdefault(run.width, reason)

    def fix_by_task(self, channels: Channels) -> None:
        """Widths of the model's input and outputs, which must not change."""
        self.by_task |= {run.width for run in self.resolved(channels)}

    def is_inner(self, width: int) -> bool:
        """Whether a width goes through no sum and no concatenation; a gate may multiply it."""
        width = self.find(width)
        met = self.resolved(tuple(ChannelRun(other) for other in self.met))
        return width in self.made_by and width not in {run.width for run in met}

    def extent(self, channels: Channels, changed: Mapping[int, int] | None = None) -> int:
        """Length of the axis; `changed`: channels of the widths that are not as in the model."""
        sizes = {} if changed is None else changed
        runs = self.resolved(channels)
        return sum(sizes.get(run.width, self.sizes[run.width]) * run.times for run in runs)

    def _layout(self, channels: Channels) -> list[tuple[int, int]]:
        return [(run.times, self.sizes[run.width]) for run in channels]

    # --- one rule for each kind of op; a rule that says False could not be applied, and changed nothing

    def start(self, name: str, size: int) -> None:
        """A tensor with its own width that no layer makes, such as the network's input."""
        self.channels[name] = (ChannelRun(self.new(size)),)

    def make(self, name: str, size: int, maker: int) -> Channels:
        """A layer makes a new width."""
        self.start(name, size)
        self.made_by[self.channels[name][0].width] = [maker]
        return self.channels[name]

    def keep(self, source: str, name: str) -> bool:
        """Channels pass on as they are."""
        if source not in self.channels:
            return False
        self.channels[name] = self.channels[source]
        return True

    def tie_all(self, names: Sequence[str], name: str, size: int, what: str, summed: bool = True) -> bool:
        """Tensors are put together channel by channel: all stay alike, and one channel for all stays one.

        Args:
            names: the activations that go in.
            name: the tensor that comes out.
            size: its channels.
            what: the op, as reasons name it.
            summed: whether it adds them up; a gate does not.
        """
        known = self._known(names)
        wide = [channels for channels in known if self.extent(channels) == size]
        if not wide or len(known) != len(names):
            return False
        for channels in known:
            if self.extent(channels) == size:
                self.tie(wide[0], channels, what)
            else:
                self.fix(channels, f"{what} spreads one channel over all")
        if summed and len(wide) > 1:
            self._meet(wide)
        self.channels[name] = wide[0]
        return True

    def join(self, names: Sequence[str], name: str) -> bool:
        """Tensors are laid side by side along their channels."""
        parts = self._known(names)
        if not parts or len(parts) != len(names):
            return False
        if len(parts) > 1:
            self._meet(parts)
        self.channels[name] = tuple(run for part in parts for run in part)
        return True

    def spread(self, source: str, name: str, pixels: int) -> bool:
        """An image becomes one axis: each channel a run of `pixels` places."""
        if source not in self.channels:
            return False
        self.channels[name] = tuple(
            ChannelRun(run.width, run.times * pixels) for run in self.channels[source]
        )
        return True

    def cut(self, source: str, names: Sequence[str], sizes: Sequence[int]) -> bool:
        """An axis is cut into parts, each a tensor; a width that lies across a cut becomes several.

        Args:
            source: the tensor that is cut.
            names: of the parts.
            sizes: of the parts, in places of the axis.
        """
        channels = self.of(source)
        if not channels or self.extent(channels) != sum(sizes):
            return False
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        wanted: dict[int, set[int]] = {}  # width -> where in it, in channels
        start = 0
        for run in channels:
            size = self.sizes[run.width] * run.times
            for end in ends:
                if start < end < start + size:
                    if (end - start) % run.times:
                        return False
                    wanted.setdefault(run.width, set()).add((end - start) // run.times)
            start += size
        for width, places in wanted.items():
            self._divide(width, sorted(places))
        runs, at = list(self.of(source)), 0
        for name, size in zip(names, sizes, strict=True):
            begin, length = at, 0
            while length < size:
                length += self.sizes[runs[at].width] * runs[at].times
                at += 1
            self.channels[name] = tuple(runs[begin:at])
        return True

    def alike(self, source: str, count: int, what: str) -> Channels | None:
        """An axis in parts of equal size that stay alike, such as the groups of a convolution: channels of one part."""
        size = self.extent(self.of(source))
        names = [f"{source} {number}/{count}" for number in range(count)]
        if size % count or not self.cut(source, names, [size // count] * count):
            return None
        for name in names[1:]:
            self.tie(self.of(names[0]), self.of(name), what)
        return self.of(names[0])

    def _divide(self, width: int, places: Sequence[int]) -> None:
        """Make several widths of one, which has the same makers, and whatever else is known of it."""
        ends = [*places, self.sizes[width]]
        parts = tuple(self.new(end - start) for start, end in zip([0, *places], ends, strict=True))
        makers, reason = self.made_by.pop(width, None), self.reasons.pop(width, None)
        for part in parts:
            if makers is not None:
                self.made_by[part] = list(makers)
            if reason is not None:
                self.reasons[part] = reason
            if width in self.by_task:
                self.by_task.add(part)
        self.by_task.discard(width)
        self.parts[width] = parts

    def fix_between(self, sources: Iterable[str], made: Mapping[str, int], reason: str) -> None:
        """An op that is not followed: the widths around it stay as they are.

        Args:
            sources: the activations that go in.
            made: {tensor that comes out: its channels}.
            reason: why they stay.
        """
        for name in sources:
            self.fix(self.channels.get(name, ()), reason)
        for name, size in made.items():
            self.start(name, size)
            self.fix(self.channels[name], reason)

    def _known(self, names: Iterable[str]) -> list[Channels]:
        return [self.channels[name] for name in names if name in self.channels]

    def _meet(self, parts: Iterable[Channels]) -> None:
        self.met |= {run.width for part in parts for run in part}
