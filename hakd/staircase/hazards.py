"""How much slower a layer can get when a few of its channels are pruned (Radu et al., arXiv 2002.08697).

A library picks its kernel by the shape of a layer, so that a narrower one can take longer. Only widths that were timed
count.
"""

import math
from dataclasses import dataclass
from typing import Any

from hakd.staircase.combs import latency_by_width
from hakd.staircase.curve import OPEN, TOGETHER, Curve

SHARE = 0.12  # of the channels, as in the paper


@dataclass(frozen=True)
class Slowdown:
    """The slowest timed width of a range of narrower ones; `ratio` is its latency over that of `start`, minus 1.

    None: no width of the range was timed. `timed` of the `widths` in the range were. Below 0 all timed ones are faster.
    """

    start: int
    worst: int | None
    ratio: float | None
    timed: int
    widths: int


@dataclass(frozen=True)
class Hazard:
    """The hazard of a group's curve: pruned from its full width, and from the worst of all timed widths."""

    group: str
    level: float | None
    full_width: int
    from_full: Slowdown
    from_any: Slowdown | None
    trusted: bool
    reason: str

    def to_row(self) -> dict[str, Any]:
        """As a row of the table `hazards` (`hakd.records.columns`), without the network."""
        full, anywhere = self.from_full, self.from_any
        return {
            "level": self.level,
            "group": self.group,
            "full_width": self.full_width,
            "lowest_width": self.full_width - full.widths,
            "widths": full.widths,
            "timed": full.timed,
            "worst_width": full.worst,
            "slowdown": full.ratio,
            "any_start": anywhere and anywhere.start,
            "any_worst": anywhere and anywhere.worst,
            "any_slowdown": anywhere and anywhere.ratio,
            "any_widths": anywhere and anywhere.widths,
            "any_timed": anywhere and anywhere.timed,
            "trusted": self.trusted,
            "reason": self.reason,
        }


def lowest(start: int, share: float) -> int:
    """The narrowest width that pruning up to `share` of `start` channels leaves, at least 1."""
    return max(1, math.ceil((1 - share) * start - 1e-9))


def slowdown(curve: Curve, start: int, share: float = SHARE) -> Slowdown:
    """The worst effect of pruning up to `share` of `start` channels, by the widths that were timed.

    If `start` itself was not timed, nothing is known.
    """
    least = lowest(start, share)
    narrower = [(ms, width) for width, ms in latency_by_width(curve).items() if least <= width < start]
    if start not in curve.widths or not narrower:
        return Slowdown(start, None, None, 0, start - least)
    slowest_ms, width = max(narrower)
    return Slowdown(start, width, slowest_ms / curve.at(start) - 1, len(narrower), start - least)


def hazard(curve: Curve, full: int, share: float = SHARE) -> Hazard:
    """The hazard of a curve: from its full width, and from the worst timed width."""
    known = [case for start in curve.widths if (case := slowdown(curve, start, share)).ratio is not None]
    worst = max(known, key=lambda case: (case.ratio or 0.0, case.start), default=None)
    from_full = slowdown(curve, full, share)
    decided = all(_is_decided(curve, case) for case in (from_full, worst) if case is not None)
    return Hazard(curve.group, curve.level, full, from_full, worst, decided, curve.reason)


def _is_decided(curve: Curve, case: Slowdown) -> bool:
    """Whether the worst is slower, or not, with certainty, together with all other statements on the network."""
    if case.worst is None:
        return True
    return curve.verdict(curve.index(case.worst), curve.index(case.start), TOGETHER) != OPEN
