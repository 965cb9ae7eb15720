"""Verify a choice of a whole network on fresh data of every device; tighten what was exceeded, choose again.

Moves of single groups cannot be undone here as `hakd.choosing.repair` does: widths that were chosen together are good
together. The tables' errors add up over the tiles, and the best of many predictions flatters itself, so a budget is
divided by how much the upper end of the fresh interval exceeds it. Of a fleet, only the budgets of devices that
exceeded theirs are tightened: the others keep their room. One device is a fleet of one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hakd.choosing.fresh import Fresh
from hakd.choosing.joint import Joint, NoneFits, OutOfTime
from hakd.choosing.tile_costs import Values
from hakd.records.errors import HakdError
from hakd.staircase.ratio import SAME, Ratio, plain

MOST_TRIES = 4
_LEAST_TIGHTENING = 1.002

Solve = Callable[[Mapping[str, float]], Joint]
TimeFresh = Callable[[dict[str, int]], Mapping[str, Fresh | None]]


@dataclass(frozen=True)
class DeviceTry:
    """A choice on one device: what was asked of the tables and predicted (ms), and what fresh data say.

    `ratio` is latency / budget.
    """

    asked_ms: float
    predicted_ms: float
    upper_ms: float
    fresh_ms: float
    ratio: Ratio

    def shrinkage(self, budget_ms: float) -> float:
        """How much slower against the budget it was than predicted: fresh / predicted - 1."""
        return self.ratio.value / (self.predicted_ms / budget_ms) - 1


@dataclass(frozen=True)
class Try:
    """One choice, timed on every device. `gap` is the choice's (`hakd.choosing.joint.Joint`)."""

    widths: Mapping[str, int]
    devices: Mapping[str, DeviceTry]
    reason: str
    gap: float | None = None

    @property
    def worst(self) -> float:
        """The highest upper end of latency / budget over the devices."""
        return max(device.ratio.high for device in self.devices.values())


@dataclass(frozen=True)
class Verified:
    """The widths to take, with every try.

    `taken`: the try that they come from; None: the network that gave the budgets, which keeps them by definition.
    `compared` is False where a device could not compare a choice with its budget.
    """

    widths: Mapping[str, int]
    steps: tuple[Try, ...]
    taken: Try | None
    reason: str
    compared: bool = True

    def to_dict(self, device: str, budget_ms: float) -> dict[str, Any]:
        """What the budget of one device became, as the file of its choice holds it.

        `shrinkage` is the last try's.
        `verified` is False where the device could not compare a choice, and the budget's own network is taken for that.
        """
        last = self.steps[-1].devices[device] if self.steps else None
        return {
            "widths": dict(self.widths),
            "steps": [_step(step, step.devices[device]) for step in self.steps],
            **(self.taken.devices[device].ratio if self.taken else SAME).to_dict(),
            "limit": 1.0,
            "shrinkage": last and last.shrinkage(budget_ms),
            "reason": self.reason,
            "verified": self.compared or self.taken is not None,
        }


def _step(step: Try, device: DeviceTry) -> dict[str, Any]:
    figures = plain(device)
    return {
        "widths": dict(step.widths),
        "budget_ms": figures.pop("asked_ms"),
        **figures,
        "reason": step.reason,
        "gap": step.gap,
    }


def within_budgets(
    solve: Solve,
    time_fresh: TimeFresh,
    budgets_ms: Mapping[str, float],
    fallback: Mapping[str, int] | None = None,
    tries: int = MOST_TRIES,
) -> Verified:
    """Choose, time on all devices, tighten, until every budget is shown to be kept.

    Args:
        solve: widths for budgets in ms by device, by the tables of all.
        time_fresh: what widths take on each device, by bursts that no choice was made on; None: it could not compare
            them, and the choosing ends.
        budgets_ms: as the tables count them.
        fallback: widths that meet every budget by definition, since it is their latency; taken when nothing is
            accepted. Without one, the try whose worst device exceeds its budget least is what is left, and the reason
            says that it is not verified.
        tries: choices timed at most.

    Raises:
        NoneFits: the tables hold nothing within the budgets and there is no fallback.
        HakdError: no choice could be compared with its budgets and there is no fallback.
    """
    steps: list[Try] = []
    asked, ended, compared = dict(budgets_ms), f"not verified in {tries} tries", True
    while len(steps) < tries:
        try:
            choice = solve(asked)
        except (NoneFits, OutOfTime) as error:
            if not steps and fallback is None:
                raise
            known = steps and isinstance(error, NoneFits)
            ended = f"nothing in the tables keeps {_budgets(asked, asked)}" if known else str(error.problem)
            break
        fresh = time_fresh(dict(choice.widths))
        silent = [name for name in asked if fresh[name] is None]
        if silent:
            ended, compared = f"not verified, no two processes timed it{_on(silent, asked)}", False
            break
        devices = {name: _try(choice, name, asked[name], one) for name, one in fresh.items() if one}
        over = [name for name, device in devices.items() if not device.ratio.kept]
        for name in over:
            asked[name] = _tightened(devices[name])
        note = f"; {choice.note}" if choice.note else ""
        steps.append(Try(choice.widths, devices, _next(over, asked) + note, choice.gap))
        if not over:
            reason = (
                f"verified: at most {steps[-1].worst:.3f} x the budget, {len(steps) - 1} tighter choice(s)"
            )
            return Verified(choice.widths, tuple(steps), steps[-1], reason + note)
    if fallback is not None:
        reason = f"{ended}: the network that gave the budget"
        return Verified(dict(fallback), tuple(steps), None, reason, compared)
    return _least_exceeding(steps, ended, compared)


def or_reference(verified: Verified, reference: Mapping[str, int] | None, values: Values) -> Verified:
    """The network that gave all budgets, where it loses less: it keeps them by definition.

    Args:
        verified: what was chosen.
        reference: that network's widths; None: the budgets are not those of one network.
        values: of all widths in the tables; a network with other widths is not compared.
    """
    known = reference is not None and all(width in values[group] for group, width in reference.items())
    if verified.taken is None or reference is None or not known:
        return verified
    ours, its = (
        sum(values[group][width] for group, width in widths.items())
        for widths in (verified.widths, reference)
    )
    if its <= ours:
        return verified
    reason = f"{verified.reason}; the network that gave the budget loses less"
    return replace(verified, widths=dict(reference), taken=None, reason=reason)


def _try(choice: Joint, name: str, asked_ms: float, fresh: Fresh) -> DeviceTry:
    return DeviceTry(asked_ms, choice.latency_ms[name], choice.upper_ms[name], fresh.latency_ms, fresh.ratio)


def _tightened(device: DeviceTry) -> float:
    """What to ask of the tables next of a device whose budget is not shown to be kept."""
    return min(device.asked_ms, device.upper_ms) / max(device.ratio.high, _LEAST_TIGHTENING)


def _least_exceeding(steps: Sequence[Try], ended: str, compared: bool) -> Verified:
    """The best of the tries, none of which is verified."""
    if not steps:
        raise HakdError(
            "no choice could be timed against its budget",
            key="choosing.budgets",
            remedy="See the failures that the device reported, or run again: what was measured is kept",
        )
    best = min(steps, key=lambda step: step.worst)
    exceeded = ",".join(
        f"{_on([name], best.devices)} by {device.ratio.high - 1:.1%} at most"
        for name, device in best.devices.items()
        if not device.ratio.kept
    )
    return Verified(
        best.widths, tuple(steps), best, f"{ended}: the budget may be exceeded{exceeded}", compared
    )


def _next(over: Sequence[str], asked: Mapping[str, float]) -> str:
    if not over:
        return "accepted"
    return f"not shown to meet the budget{_on(over, asked)}: next one {_budgets(over, asked)}"


def _budgets(names: Sequence[str] | Mapping[str, float], asked: Mapping[str, float]) -> str:
    return ", ".join(f"{asked[name]:.4g} ms{_on([name], asked)}" for name in names)


def _on(names: Sequence[str], among: Mapping[str, Any]) -> str:
    """Which devices; nothing where there is only one."""
    return f" on {', '.join(names)}" if len(among) > 1 else ""
