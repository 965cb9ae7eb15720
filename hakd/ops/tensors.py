"""Activations: labelled channels by pixels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A run of channels of one width group; `group` is None where the width is fixed.

    `times` is how many places of the axis each channel takes: more than one after a flattening.
    """

    group: str | None
    size: int
    times: int = 1


Channels = tuple[Segment, ...]
Axis = Channels | int  # of a weight: labelled channels, or a plain size


def width(channels: Channels) -> int:
    """Length of an axis."""
    return sum(segment.size * segment.times for segment in channels)


@dataclass(frozen=True)
class Tensor:
    """An activation of one image: labelled channels by `size` (height, width); `size` is () for a flat vector."""

    channels: Channels
    size: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the batch axis."""
        return (width(self.channels), *self.size)

    @property
    def pixels(self) -> int:
        """Number of pixels; 1 for a flat vector."""
        count = 1
        for side in self.size:
            count *= side
        return count
