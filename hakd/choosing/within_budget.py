"""Verify a choice of a whole network on fresh data; where it exceeds the budget, choose again under a tighter one.

Moves of single groups cannot be undone here as `hakd.choosing.repair` does: widths that were chosen together are good
together. The tables' errors add up over the tiles, and the best of many predictions flatters itself, so the budget is
divided by how much the upper end of the fresh interval exceeds it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hakd.choosing.joint import Joint, NoneFits
from hakd.records.errors import HakdError

Fresh = tuple[float, float, float, float]
MOST_TRIES = 4
_LEAST_TIGHTENING = 1.002


@dataclass(frozen=True)
class Try:
    """One choice and what fresh data say of it: latencies in ms, `ratio` is latency / budget with its interval."""

    widths: Mapping[str, int]
    budget_ms: float  # asked of the tables
    predicted_ms: float
    upper_ms: float
    fresh_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    reason: str


@dataclass(frozen=True)
class Kept:
    """The widths to take, with every try.

    `shrinkage`: how much slower against the budget the last try was than predicted: fresh / predicted ratio - 1.
    `verified` is False where the device could not compare a choice with the budget, and the fallback is taken for that.
    """

    widths: Mapping[str, int]
    steps: tuple[Try, ...]
    ratio: float
    ratio_low: float
    ratio_high: float
    limit: float
    shrinkage: float | None
    reason: str
    verified: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def within_budget(
    solve: Callable[[float], Joint],
    time_fresh: Callable[[dict[str, int]], Fresh | None],
    budget_ms: float,
    fallback: Mapping[str, int] | None = None,
    tries: int = MOST_TRIES,
) -> Kept:
    """Choose, time, tighten, until the budget is shown to be kept.

    Args:
        solve: widths for a budget in ms by the tables of one device.
        time_fresh: (latency in ms, latency / budget, lower and upper end of its interval) of widths, by bursts that no
            choice was made on; None: the device could not compare them, and the choosing ends.
        budget_ms: as the tables count it.
        fallback: widths that keep the budget by definition, since it is their latency (say, the pruned network's);
            taken when nothing is accepted. Without one the try with the lowest upper end is what is left, and the
            reason says that it is not verified.
        tries: choices timed at most.

    Raises:
        NoneFits: the tables hold nothing within the budget and there is no fallback.
        HakdError: a ratio that is no measurement.
    """
    steps: list[Try] = []
    asked, ended, timed = budget_ms, f"not verified in {tries} tries", True
    while len(steps) < tries:
        try:
            found = solve(asked)
        except NoneFits as error:
            if not steps and fallback is None:
                raise
            ended = f"nothing in the tables keeps {asked:.4g} ms" if steps else str(error.problem)
            break
        (predicted,), (upper,) = found.latency_ms.values(), found.upper_ms.values()
        fresh = time_fresh(dict(found.widths))
        if fresh is None:
            ended, timed = "not verified, no two processes timed it", False
            break
        ms, ratio, low, high = checked(fresh)
        tighter = tightened(asked, upper, high)
        word = "accepted" if high <= 1 else f"not shown to keep the budget: next one {tighter:.4g} ms"
        steps.append(Try(found.widths, asked, predicted, upper, ms, ratio, low, high, word))
        if high <= 1:
            reason = f"verified: at most {high:.3f} x the budget, {len(steps) - 1} tighter choice(s)"
            return Kept(
                found.widths, tuple(steps), ratio, low, high, 1.0, _shrinkage(steps, budget_ms), reason
            )
        asked = tighter
    shrinkage = _shrinkage(steps, budget_ms)
    if fallback is not None:
        reason = f"{ended}: the network that gave the budget"
        return Kept(dict(fallback), tuple(steps), 1.0, 1.0, 1.0, 1.0, shrinkage, reason, timed)
    if not steps:
        raise untimed()
    best = min(steps, key=lambda one: one.ratio_high)
    reason = f"{ended}: the budget may be exceeded, by {best.ratio_high - 1:.1%} at most"
    return Kept(
        best.widths, tuple(steps), best.ratio, best.ratio_low, best.ratio_high, 1.0, shrinkage, reason
    )


def untimed() -> HakdError:
    """That not one choice could be compared with its budget, and nothing else is there to take."""
    return HakdError(
        "no choice could be timed against its budget",
        key="choosing.budget",
        remedy="See the failures that the device reported, or run again: what was measured is kept",
    )


def checked(fresh: Fresh) -> Fresh:
    """The same as plain numbers.

    Raises:
        HakdError: a ratio that is no measurement.
    """
    ms, ratio, low, high = map(float, fresh)
    if not (0 < low <= ratio <= high and math.isfinite(high)):
        raise HakdError(
            f"a ratio of {ratio} in [{low}, {high}] is no measurement",
            key="verification",
            remedy="Time the networks in two processes at least",
        )
    return ms, ratio, low, high


def tightened(asked_ms: float, upper_ms: float, ratio_high: float) -> float:
    """What to ask of the tables next, when the upper end of latency / budget is `ratio_high`."""
    return min(asked_ms, upper_ms) / max(ratio_high, _LEAST_TIGHTENING)


def _shrinkage(steps: list[Try], budget_ms: float) -> float | None:
    return steps[-1].ratio / (steps[-1].predicted_ms / budget_ms) - 1 if steps else None
