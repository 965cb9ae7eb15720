"""What the curves of a user's model say: the time that each width loses, and what beside it is free or faster.

Only widths that were timed are ever named. The time that a width loses is what it takes above the lower convex hull of
its curve: above the straight line between the good widths on both sides. A width at the right end of a tread loses
nothing; the first one after a step loses nearly the whole step; on a slope nobody loses anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hakd.explaining.blocks import Group
from hakd.explaining.timing import TimedGroups, told
from hakd.staircase.curve import FREE, OPEN, TOGETHER, TOLERANCE_FLOOR, Curve, has_step, shape_from

_HIDDEN = 3  # reasons of a kind that are listed by name


@dataclass(frozen=True)
class Other:
    """A timed width, and its latency over that of the present one."""

    width: int
    ratio: float


@dataclass(frozen=True)
class GroupReport:
    """What is known of a group.

    Attributes:
        latency_ms: of its block at the present width; None where that was not timed.
        lost_us: microseconds that the present width loses; None where that cannot be told.
        shape: `steps`, `line` or `flat`; empty where it cannot be told.
        free: the widest timed width that is not slower, if there is a wider one.
        narrower, wider: the nearest timed width on that side that is faster by more than the tolerance.
        good: the nearest timed width on each side that loses nothing; empty where the present one loses nothing.
        last: the widest width that was timed.
        trusted: whether anything can be said for sure, all that is said of the model holding together.
        reason: how well the curve is known, or why nothing was timed.
    """

    group: Group
    latency_ms: float | None
    lost_us: float | None
    shape: str
    free: Other | None
    narrower: Other | None
    wider: Other | None
    good: tuple[Other, ...]
    last: int
    trusted: bool
    reason: str
    curve: Curve | None


def findings(groups: Sequence[Group], timed: TimedGroups) -> list[GroupReport]:
    """A finding for each group that can be changed: those that lose most first, the untrusted ones last."""
    found = [_finding(group, timed) for group in groups]
    return sorted(found, key=lambda one: (one.lost_us is None, -(one.lost_us or 0.0)))


def _finding(group: Group, timed: TimedGroups) -> GroupReport:
    curve = timed.curves.get(group.name)
    if curve is None or group.width not in curve.widths:
        failures = timed.about["failures"]
        reason = failures.get(f"{group.name} = {group.width}", "nothing was timed")
        return GroupReport(
            group, None, None, "", None, None, None, (), 0, False, f"not timed: {reason}", None
        )
    now = curve.at(group.width)
    last = curve.widths[-1]
    if curve.tolerance is None or not curve.linked:
        return GroupReport(group, now, None, "", None, None, None, (), last, False, curve.reason, curve)
    shape = shape_from(curve)
    free, narrower, wider = _others(curve, group.width) if shape != "line" else (None, None, None)
    lost = 1e3 * lost_ms(curve, group.width) if narrower or wider else 0.0
    good = _good(curve, group.width) if lost else ()
    if not (lost or free or narrower or wider or told(curve, group.width, last)):
        reason = _undecided(curve, group.width)
        return GroupReport(group, now, None, "", None, None, None, (), last, False, reason, curve)
    return GroupReport(group, now, lost, shape, free, narrower, wider, good, last, True, curve.reason, curve)


def _others(curve: Curve, width: int) -> tuple[Other | None, Other | None, Other | None]:
    """The widest free width, and the nearest faster one on each side; each holds together with all that is said."""
    here, now = curve.index(width), curve.at(width)
    places = range(len(curve.widths))
    free = [i for i in places if i > here and curve.verdict(i, here, TOGETHER) == FREE]
    free = free if has_step(curve, width) else []  # on a slope the tolerance would be spent as time
    fast = [i for i in places if curve.faster(i, here)]

    def other(i: int | None) -> Other | None:
        return None if i is None else Other(curve.widths[i], curve.latency_ms[i] / now)

    narrower = max((i for i in fast if i < here), default=None)
    wider = min((i for i in fast if i > here), default=None)
    return other(max(free, default=None)), other(narrower), other(wider)


def _undecided(curve: Curve, width: int) -> str:
    """The width nearest to the present one of which nothing can be said, with its interval; and how to say more."""
    here = curve.index(width)
    unknown = [i for i in range(len(curve.widths)) if curve.verdict(i, here, TOGETHER) == OPEN]
    nearest = min(unknown, key=lambda i: abs(curve.widths[i] - width))
    found = curve.compared(nearest, here, TOGETHER)
    return f"{curve.widths[nearest]} is {found}; {curve.reason}"


def _good(curve: Curve, width: int) -> tuple[Other, ...]:
    """The nearest timed width on each side that loses nothing, of those that are surely faster, free or slower."""
    here, now = curve.index(width), curve.at(width)
    sure = [w for i, w in enumerate(curve.widths) if curve.verdict(i, here, TOGETHER) != OPEN]
    fair = [w for w in sure if not lost_ms(curve, w)]
    nearest = [
        max((w for w in fair if w < width), default=None),
        min((w for w in fair if w > width), default=None),
    ]
    return tuple(Other(w, curve.at(w) / now) for w in nearest if w is not None)


def lost_ms(curve: Curve, width: int) -> float:
    """Milliseconds that a timed width takes above the lower convex hull of the curve; 0 within the tolerance."""
    now = curve.at(width)
    corners = _hull(curve)
    fair = float(np.interp(width, [w for w, _ in corners], [ms for _, ms in corners]))
    return now - fair if now > fair * (1 + curve.eps) else 0.0


def _hull(curve: Curve) -> list[tuple[int, float]]:
    """Corners of the lower convex hull, from narrow to wide."""
    corners: list[tuple[int, float]] = []
    for w, ms in zip(curve.widths, curve.latency_ms, strict=True):
        while len(corners) > 1:
            (a, left), (b, right) = corners[-2:]
            if (right - left) * (w - a) < (ms - left) * (b - a):
                break
            corners.pop()
        corners.append((w, ms))
    return corners


# --- words


def text(
    name: str,
    found: Sequence[GroupReport],
    fixed: Sequence[Group],
    timed: TimedGroups,
    top: int | None = None,
) -> list[str]:
    """The report, a line each: a summary, groups by lost time, untrusted ones, and what cannot be changed."""
    about = timed.about
    trusted = [one for one in found if one.trusted]
    losing = [one for one in trusted if one.lost_us]
    shown = trusted[:top]
    engine = (
        f"{about['engine']} {about['engine_version']}, threads {about['threads']}, batch {about['batch']}"
    )
    counts = f"{len(found)} widths examined, {len(trusted)} of them decided"
    lose = "1 width loses" if len(losing) == 1 else f"{len(losing)} widths lose"
    total = _us(sum(one.lost_us or 0.0 for one in losing))
    lines = [
        f"{name} on {about['device']} ({engine}): {_model_time(timed)}{counts}",
        f"{lose} {total} in all, each changed alone (blocks overlap: the sum is a guide)",
    ]
    places = len(str(len(shown)))
    for number, one in enumerate(shown, start=1):
        lines.append(f"  {number:>{places}}  {one.group.name}: {_about(one)}")
    if len(trusted) > len(shown):
        lines.append(f"  and {len(trusted) - len(shown)} more: --top {len(trusted)}")
    untrusted = [one for one in found if not one.trusted]
    if untrusted:
        lines.append("not to be told, left as they are:")
        lines += [f"  {one.group.name}, {one.group.width} channels: {one.reason}" for one in untrusted]
    return lines + _fixed(fixed)


def _model_time(timed: TimedGroups) -> str:
    return "" if timed.whole_ms is None else f"{_us(1e3 * timed.whole_ms)} as a whole, "


def _about(one: GroupReport) -> str:
    assert one.latency_ms is not None
    lost = f"{_us(one.lost_us)} lost of its block's {_us(1e3 * one.latency_ms)}" if one.lost_us else ""
    if not lost:
        lost = f"nothing lost, block {_us(1e3 * one.latency_ms)}"
    return f"{lost}; {advice(one)}"


def advice(one: GroupReport) -> str:
    """The widths beside the present one that are free or faster, in words."""
    now = one.group.width
    if one.shape == "line":
        return f"{now} is on a slope: around it every channel costs the same"
    words = []
    if one.free is not None:
        about = f", {_percent(one.free)}" if abs(one.free.ratio - 1) > TOLERANCE_FLOOR else ""
        beyond = ", nothing wider was timed" if one.free.width == one.last else ""
        more = one.free.width - now
        channels = f"+{more} channel{'s' if more > 1 else ''}"
        words.append(f"{now} -> {one.free.width} is free ({channels}{about}{beyond})")
    elif not one.lost_us:
        sure = one.curve is not None and told(one.curve, now, one.last)
        words.append(
            f"{now} is a good width" if sure else f"{now} may be a good width, not all others are told"
        )
    others = {other.width: other for other in (one.narrower, one.wider, *one.good) if other is not None}
    if one.free is not None:
        others.pop(one.free.width, None)
    words += [f"{others[width].width} is {_percent(others[width])}" for width in sorted(others)]
    return ", ".join(words)


def _percent(other: Other) -> str:
    change = other.ratio - 1
    digits = 0 if abs(change) >= 0.02 else 1
    return f"{abs(change):.{digits}%} {'faster' if change < 0 else 'slower'}"


def _us(value: float | None) -> str:
    value = value or 0.0
    return f"{value / 1e3:.2f} ms" if value >= 1e4 else f"{value:.1f} us"


def _fixed(fixed: Sequence[Group]) -> list[str]:
    """Groups that cannot be changed, by reason."""
    reasons: dict[str, list[Group]] = {}
    for group in fixed:
        reasons.setdefault(group.reason, []).append(group)
    lines = ["not examined:"] if fixed else []
    for reason, groups in reasons.items():
        named = ", ".join(f"{group.name} ({group.width})" for group in groups[:_HIDDEN])
        rest = f" and {len(groups) - _HIDDEN} more" if len(groups) > _HIDDEN else ""
        lines.append(f"  {named}{rest}: {reason}")
    return lines


# --- for machines


def to_dict(
    name: str, found: Sequence[GroupReport], fixed: Sequence[Group], timed: TimedGroups
) -> Mapping[str, Any]:
    """Everything, with all timed widths of every group."""
    return {
        "model": name,
        **timed.about,
        "model_us": None if timed.whole_ms is None else 1e3 * timed.whole_ms,
        "lost_us": sum(one.lost_us or 0.0 for one in found),
        "groups": [_group_dict(one) for one in found],
        "not_examined": [{**_names(group), "reason": group.reason} for group in fixed],
    }


def _names(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "width": group.width,
        "producers": list(group.producers),
        "depthwise": list(group.depthwise),
        "consumers": list(group.consumers),
    }


def _group_dict(one: GroupReport) -> dict[str, Any]:
    curve = one.curve
    return {
        **_names(one.group),
        "latency_us": None if one.latency_ms is None else 1e3 * one.latency_ms,
        "lost_us": one.lost_us,
        "shape": one.shape or None,
        **{key: _other_dict(getattr(one, key)) for key in ("free", "narrower", "wider")},
        "good": [_other_dict(other) for other in one.good],
        "trusted": one.trusted,
        "reason": one.reason,
        "tolerance": None if curve is None else curve.tolerance,
        "timed_us": {}
        if curve is None
        else {str(w): 1e3 * ms for w, ms in zip(curve.widths, curve.latency_ms, strict=True)},
    }


def _other_dict(other: Other | None) -> dict[str, Any] | None:
    return None if other is None else {"width": other.width, "ratio": other.ratio}
