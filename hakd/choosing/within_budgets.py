"""Verify a choice for a fleet on fresh data of every device; tighten the budgets that were exceeded, choose again.

As `hakd.choosing.within_budget` does for one device. Only the budgets of devices that exceeded theirs are tightened:
the others keep their room.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hakd.choosing.joint import Joint, NoneFits
from hakd.choosing.within_budget import MOST_TRIES, Fresh, checked, tightened, untimed


@dataclass(frozen=True)
class DeviceTry:
    """A choice on one device: what was asked of the tables and predicted (ms), and what fresh data say.

    `ratio` is latency / budget, with its interval.
    """

    asked_ms: float
    predicted_ms: float
    upper_ms: float
    fresh_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float

    @property
    def verified(self) -> bool:
        """Whether the budget is shown to be kept."""
        return self.ratio_high <= 1


@dataclass(frozen=True)
class FleetTry:
    """One choice, timed on every device."""

    widths: Mapping[str, int]
    devices: Mapping[str, DeviceTry]
    reason: str

    @property
    def worst(self) -> float:
        """The highest upper end of latency / budget over the devices."""
        return max(one.ratio_high for one in self.devices.values())


@dataclass(frozen=True)
class FleetKept:
    """The widths to take, with every try. `taken`: the try that they come from; None: the fallback."""

    widths: Mapping[str, int]
    steps: tuple[FleetTry, ...]
    taken: FleetTry | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; the try that was taken is one of the steps."""
        content = asdict(self)
        del content["taken"]
        return content


def within_budgets(
    solve: Callable[[Mapping[str, float]], Joint],
    time_fresh: Callable[[dict[str, int]], Mapping[str, Fresh | None]],
    budgets_ms: Mapping[str, float],
    fallback: Mapping[str, int] | None = None,
    tries: int = MOST_TRIES,
) -> FleetKept:
    """Choose, time on all devices, tighten, until every budget is shown to be kept.

    Args:
        solve: widths for budgets in ms by device, by the tables of all.
        time_fresh: by device (latency in ms, latency / budget, ends of its interval) of widths, by bursts that no
            choice was made on.
        budgets_ms: as the tables count them.
        fallback: widths that keep every budget by definition; taken when nothing is accepted. Without one, the try
            whose worst device exceeds its budget least is what is left, and the reason says whose is not verified.
        tries: choices timed at most.

    Raises:
        NoneFits: the tables hold nothing within the budgets and there is no fallback.
        HakdError: a ratio that is no measurement.
    """
    steps: list[FleetTry] = []
    asked, ended = dict(budgets_ms), f"not verified in {tries} tries"
    while len(steps) < tries:
        try:
            found = solve(asked)
        except NoneFits as error:
            if not steps and fallback is None:
                raise
            ended = f"nothing in the tables keeps {_words(asked)}" if steps else str(error.problem)
            break
        fresh = {name: one for name, one in time_fresh(dict(found.widths)).items() if one is not None}
        lacking = [name for name in asked if name not in fresh]
        if lacking:
            ended = f"not verified, no two processes timed it on {', '.join(lacking)}"
            break
        timed = _timed(found, asked, fresh)
        over = [name for name, one in timed.items() if not one.verified]
        for name in over:
            asked[name] = tightened(asked[name], timed[name].upper_ms, timed[name].ratio_high)
        word = f"not shown on {', '.join(over)}: next {_words(asked, over)}" if over else "accepted"
        steps.append(FleetTry(found.widths, timed, word))
        if not over:
            reason = (
                f"verified: at most {steps[-1].worst:.3f} x the budget, {len(steps) - 1} tighter choice(s)"
            )
            return FleetKept(found.widths, tuple(steps), steps[-1], reason)
    if fallback is not None:
        return FleetKept(dict(fallback), tuple(steps), None, f"{ended}: the network that gave the budget")
    if not steps:
        raise untimed()
    best = min(steps, key=lambda one: one.worst)
    left = [
        f"{name} (by {one.ratio_high - 1:.1%} at most)"
        for name, one in best.devices.items()
        if not one.verified
    ]
    reason = f"{ended}: the budget may be exceeded on {', '.join(left)}"
    return FleetKept(best.widths, tuple(steps), best, reason)


def _timed(found: Joint, asked: Mapping[str, float], fresh: Mapping[str, Fresh]) -> dict[str, DeviceTry]:
    return {
        name: DeviceTry(asked[name], found.latency_ms[name], found.upper_ms[name], *checked(fresh[name]))
        for name in asked
    }


def _words(asked: Mapping[str, float], names: list[str] | None = None) -> str:
    return ", ".join(f"{asked[name]:.4g} ms on {name}" for name in names or asked)
