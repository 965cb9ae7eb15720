"""Which widths of a curve a sweep times: those that one choice needs, those that show all steps, or every width."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

from hakd.staircase.curve import Curve
from hakd.staircase.guided import Forecast, guided_extend, guided_map_more, guided_map_start, guided_targets
from hakd.staircase.mapping import map_more, map_start
from hakd.staircase.plan import extend, is_settled, targets


@dataclass(frozen=True)
class Mode:
    """A way to plan a curve.

    Attributes:
        start: widths to time first, of (the network's own width, full width).
        more: widths to time next, of (curve so far, width, full width); none when the plan is done.
        rounds: how often more widths are added at most; each time costs fresh processes.
        decided: whether a curve, of (curve, width, full width), answers the question of the mode.
        enough: whether a curve so far, of the same, needs no further look.
    """

    start: Callable[[int, int], list[int]]
    more: Callable[[Curve, int, int], list[int]]
    rounds: int
    decided: Callable[[Curve, int, int], bool] = lambda curve, width, full: curve.trusted
    enough: Callable[[Curve, int, int], bool] = lambda curve, width, full: curve.trusted


MODES: Mapping[str, Mode] = {
    "targets": Mode(targets, extend, 10, Curve.decided, is_settled),
    "map": Mode(
        lambda width, full: sorted({width, *map_start(full)}),
        lambda curve, width, full: map_more(curve, full),
        8,
    ),
    "exhaustive": Mode(lambda width, full: list(range(1, full + 1)), lambda curve, width, full: [], 1),
}


class Guide(Protocol):
    """Predicts one curve of a sweep (`hakd.transfer.prior`)."""

    def note(self, curve: Curve) -> None:
        """Keep the curve as timed so far."""

    def forecast(self) -> Forecast:
        """The prediction from all that was noted."""


def guide_mode(mode: str, guide: Guide) -> Mode:
    """A mode of `MODES` that follows a guide while its predictions hold; `exhaustive` needs none."""
    plain = MODES[mode]
    if mode == "exhaustive":
        return plain
    first = guided_targets if mode == "targets" else guided_map_start

    @cache  # every look starts from the same widths
    def start(width: int, full: int) -> list[int]:
        return first(guide.forecast(), width, full)

    def more(curve: Curve, width: int, full: int) -> list[int]:
        guide.note(curve)
        forecast = guide.forecast()
        if mode == "map":
            return guided_map_more(forecast, curve, full)
        return guided_extend(forecast, curve, width, full)

    return replace(plain, start=start, more=more)
