"""What the curves of a user's model say: the time that each width loses, and which widths beside it are free or faster.

Only widths that were timed are ever named. The time that a width loses is what it takes above the lower convex hull of
its curve: above the straight line between the good widths on both sides. A width at the right end of a plateau
loses nothing; the first one after a step loses nearly the whole step; on a slope no width loses anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hakd.explaining.sets import PLAIN, Advised, WidthSet
from hakd.explaining.timing import TimedGroups, decided
from hakd.importing.groups import Group
from hakd.records.text import counted
from hakd.staircase.curve import FREE, OPEN, TOGETHER, TOLERANCE_FLOOR, Curve, has_step
from hakd.staircase.features import describe

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
        lost_us: microseconds that the present width loses; None where that is undecided.
        shape: `steps`, `line` or `flat`; None where that is undecided.
        free: the widest timed width that is not slower, if there is a wider one.
        narrower, wider: the nearest timed width on that side that is faster by more than the tolerance.
        good: the nearest timed width on each side that loses nothing; empty where the present one loses nothing.
        trusted: whether anything is decided, with all statements on the model holding together.
        reason: how well the curve is known, or why nothing was timed.
        curve: what was timed, if anything was.
        cause: a good width, and what the engine runs differently there; None where it does not show it.
    """

    group: Group
    reason: str
    curve: Curve | None = None
    latency_ms: float | None = None
    lost_us: float | None = None
    shape: str | None = None
    free: Other | None = None
    narrower: Other | None = None
    wider: Other | None = None
    good: tuple[Other, ...] = ()
    trusted: bool = False
    cause: tuple[int, str] | None = None


@dataclass(frozen=True)
class ModelReport:
    """The report on a model.

    Attributes:
        name: of the model.
        remarks: what the user should know about the file.
        reports: of the groups that can be changed.
        fixed: those that cannot.
        timed: what was timed.
        advised: the set of widths for the whole model.
    """

    name: str
    remarks: Sequence[str]
    reports: Sequence[GroupReport]
    fixed: Sequence[Group]
    timed: TimedGroups
    advised: Advised


def with_causes(reports: Sequence[GroupReport], causes: Mapping[str, tuple[int, str]]) -> list[GroupReport]:
    """The reports with what is different at a good width, by group name."""
    return [replace(report, cause=causes.get(report.group.name)) for report in reports]


def report_groups(groups: Sequence[Group], timed: TimedGroups) -> list[GroupReport]:
    """What is known of each group that can be changed: those that lose most first, the untrusted ones last."""
    reports = [_report(group, timed) for group in groups]
    return sorted(reports, key=lambda report: (report.lost_us is None, -(report.lost_us or 0.0)))


def _report(group: Group, timed: TimedGroups) -> GroupReport:
    curve = timed.curves.get(group.name)
    if curve is None or group.width not in curve.widths:
        if group.name in timed.left:
            return GroupReport(group, timed.left[group.name])
        failures = timed.about["failures"]
        reason = failures.get(f"{group.name} = {group.width}", "nothing was timed")
        return GroupReport(group, f"not timed: {reason}")
    latency_ms, shape = curve.at(group.width), describe(curve).shape
    if shape is None:
        return GroupReport(group, curve.reason, curve, latency_ms)
    free, narrower, wider = _others(curve, group.width) if shape != "line" else (None, None, None)
    lost_us = 1e3 * lost_ms(curve, group.width) if narrower or wider else 0.0
    good = _good(curve, group.width) if lost_us else ()
    if not (lost_us or free or narrower or wider or decided(curve, group.width, curve.widths[-1])):
        return GroupReport(group, _undecided(curve, group.width), curve, latency_ms)
    return GroupReport(
        group, curve.reason, curve, latency_ms, lost_us, shape, free, narrower, wider, good, trusted=True
    )


def _others(curve: Curve, width: int) -> tuple[Other | None, Other | None, Other | None]:
    """The widest free width, and the nearest faster one on each side; each statement holds together with all others."""
    here, now = curve.index(width), curve.at(width)
    places = range(len(curve.widths))
    free = [i for i in places if i > here and curve.verdict(i, here, TOGETHER) == FREE]
    free = free if has_step(curve, width) else []  # on a slope the tolerance would be used up as time
    fast = [i for i in places if curve.faster(i, here)]

    def other(i: int | None) -> Other | None:
        return None if i is None else Other(curve.widths[i], curve.latency_ms[i] / now)

    narrower = max((i for i in fast if i < here), default=None)
    wider = min((i for i in fast if i > here), default=None)
    return other(max(free, default=None)), other(narrower), other(wider)


def _undecided(curve: Curve, width: int) -> str:
    """The width nearest to the present one that is undecided, with its interval; and how to decide it."""
    here = curve.index(width)
    unknown = [i for i in range(len(curve.widths)) if curve.verdict(i, here, TOGETHER) == OPEN]
    nearest = min(unknown, key=lambda i: abs(curve.widths[i] - width))
    found = curve.compared(nearest, here, TOGETHER)
    return f"{curve.widths[nearest]} is {found}; {curve.reason}"


def _good(curve: Curve, width: int) -> tuple[Other, ...]:
    """The nearest timed width on each side that loses nothing, of those known to be faster, free or slower."""
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


def text(report: ModelReport, top: int | None = None) -> list[str]:
    """The report, a line each: a summary, the set for the whole, groups by lost time, and what is undecided."""
    about, reports, timed = report.timed.about, report.reports, report.timed
    trusted = [one for one in reports if one.trusted]
    losing = [one for one in trusted if one.lost_us]
    shown = trusted[:top]
    words = [f"{about['engine']} {about['engine_version']}", f"threads {about['threads']}"]
    words += [f"batch {about['batch']}", *({about.get("precision", "float32")} - {"float32"})]
    engine = ", ".join(words)
    whole = "" if timed.whole_ms is None else f"{_us(1e3 * timed.whole_ms)} as a whole (stand-in weights), "
    counts = f"{counted(len(reports), 'width')} examined, {len(trusted)} of them decided"
    lose = f"{counted(len(losing), 'width')} lose{'s' if len(losing) == 1 else ''}"
    total = _us(sum(one.lost_us or 0.0 for one in losing))
    lines = [f"{report.name} on {about['device']} ({engine}): {whole}{counts}"]
    lines += [f"  note: {remark}" for remark in report.remarks]
    if timed.whole_ms is None:
        lines.append(
            f"  the whole model was not timed: {about['failures'].get('the whole model', 'it failed')}"
        )
    lines += _advised(report.advised)
    lines.append(f"{lose} {total} in all, each changed alone (blocks overlap: the sum is a guide)")
    places = len(str(len(shown)))
    for number, one in enumerate(shown, start=1):
        lines.append(f"  {number:>{places}}  {one.group.name}: {_about(one)}")
        if one.cause is not None:
            lines.append(f"  {'':>{places}}  why, beside {one.cause[0]}: {one.cause[1]}")
    if len(trusted) > len(shown):
        lines.append(f"  and {len(trusted) - len(shown)} more: --top {len(trusted)}")
    untrusted = [one for one in reports if not one.trusted and one.group.name not in timed.left]
    if timed.left:
        named = ", ".join([*timed.left][:_HIDDEN])
        rest = f" and {len(timed.left) - _HIDDEN} more" if len(timed.left) > _HIDDEN else ""
        lines.append(f"{named}{rest}: {next(iter(timed.left.values()))}")
    if untrusted:
        lines.append("undecided, left as they are:")
        lines += [f"  {one.group.name}, {one.group.width} channels: {one.reason}" for one in untrusted]
    return lines + _fixed(report.fixed)


def _advised(advised: Advised) -> list[str]:
    """The set of widths for the whole model, to be copied."""
    best, rounded = advised.best, advised.rounded
    if best is None:
        lines = [f"no other set of widths is advised: {advised.reason}"]
    else:
        took = _us(1e3 * best.latency_ms)
        took += "" if advised.now_ms is None else f" instead of {_us(1e3 * advised.now_ms)}"
        lines = [
            f"with these widths, none narrower, it takes {took} as a whole, {_change(best)}:",
            f"  {json.dumps(best.widths)}",
        ]
        if best == rounded:
            lines.append(f"  that is: all rounded up to multiples of {PLAIN}")
    if rounded is not None and rounded != best:
        lines.append(f"  all rounded up to multiples of {PLAIN}, beside it: {_change(rounded)}")
    return lines


def _change(found: WidthSet) -> str:
    """How much faster or slower, with its interval."""
    if found.ratio is None:
        return "not comparable"
    ratio = found.ratio
    word = "faster" if ratio.value < 1 else "slower"
    low, high = sorted((abs(1 - ratio.low), abs(1 - ratio.high)))
    if (ratio.low < 1) != (ratio.high < 1):
        return f"{abs(1 - ratio.value):.1%} {word}, not for certain ({ratio})"
    return f"{abs(1 - ratio.value):.0%} {word} ({low:.1%} to {high:.1%})"


def _about(report: GroupReport) -> str:
    assert report.latency_ms is not None
    block = _us(1e3 * report.latency_ms)
    if not report.lost_us:
        return f"nothing lost, block {block}; {advice(report)}"
    return f"{_us(report.lost_us)} lost of its block's {block}; {advice(report)}"


def advice(report: GroupReport) -> str:
    """The widths beside the present one that are free or faster, in words."""
    assert report.curve is not None
    now, last = report.group.width, report.curve.widths[-1]
    if report.shape == "line":
        return f"{now} is on a slope: around it every channel costs the same"
    words = []
    if report.free is not None:
        about = f", {_percent(report.free)}" if abs(report.free.ratio - 1) > TOLERANCE_FLOOR else ""
        beyond = ", nothing wider was timed" if report.free.width == last else ""
        more = report.free.width - now
        channels = f"+{counted(more, 'channel')}"
        words.append(f"{now} -> {report.free.width} is free ({channels}{about}{beyond})")
    elif not report.lost_us:
        sure = decided(report.curve, now, last)
        words.append(
            f"{now} {'is a good width' if sure else 'may be a good width, not all others are decided'}"
        )
    others = {
        other.width: other for other in (report.narrower, report.wider, *report.good) if other is not None
    }
    if report.free is not None:
        others.pop(report.free.width, None)
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
    reasons: dict[str | None, list[Group]] = {}
    for group in fixed:
        reasons.setdefault(group.reason, []).append(group)
    lines = ["not examined:"] if fixed else []
    for reason, groups in reasons.items():
        named = ", ".join(f"{group.name} ({group.width})" for group in groups[:_HIDDEN])
        rest = f" and {len(groups) - _HIDDEN} more" if len(groups) > _HIDDEN else ""
        lines.append(f"  {named}{rest}: {reason}")
    return lines


# --- for machines


def to_dict(report: ModelReport) -> Mapping[str, Any]:
    """Everything, with all timed widths of every group."""
    timed = report.timed
    return {
        "model": report.name,
        **timed.about,
        "remarks": list(report.remarks),
        "model_us": None if timed.whole_ms is None else 1e3 * timed.whole_ms,
        "advised": _set_dict(report.advised.best),
        "rounded": _set_dict(report.advised.rounded),
        "not_advised": report.advised.reason,
        "beside_us": None if report.advised.now_ms is None else 1e3 * report.advised.now_ms,
        "lost_us": sum(one.lost_us or 0.0 for one in report.reports),
        "groups": [_group_dict(one) for one in report.reports],
        "not_examined": [{**_names(group), "reason": group.reason} for group in report.fixed],
    }


def _set_dict(found: WidthSet | None) -> dict[str, Any] | None:
    if found is None:
        return None
    ratio = {} if found.ratio is None else found.ratio.to_dict()
    return {"widths": found.widths, "latency_us": 1e3 * found.latency_ms, **ratio}


def _names(group: Group) -> dict[str, Any]:
    layers = {key: list(getattr(group, key)) for key in ("producers", "depthwise", "consumers")}
    return {"name": group.name, "width": group.width, **layers}


def _group_dict(report: GroupReport) -> dict[str, Any]:
    curve = report.curve
    named = {"free": report.free, "narrower": report.narrower, "wider": report.wider}
    return {
        **_names(report.group),
        "latency_us": None if report.latency_ms is None else 1e3 * report.latency_ms,
        "lost_us": report.lost_us,
        "shape": report.shape,
        **{key: other and asdict(other) for key, other in named.items()},
        "good": [asdict(other) for other in report.good],
        "trusted": report.trusted,
        "reason": report.reason,
        "cause": report.cause and {"beside": report.cause[0], "difference": report.cause[1]},
        "tolerance": None if curve is None else curve.tolerance,
        "timed_us": {}
        if curve is None
        else {str(w): 1e3 * ms for w, ms in zip(curve.widths, curve.latency_ms, strict=True)},
    }
