"""Which widths of a user's model are timed, and the curves that come of it."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hakd.boards import Board, Burst, Device, Point, Unmeasurable
from hakd.boards.packing import pack_point
from hakd.explaining.blocks import block_point, whole_point
from hakd.explaining.plan import plan_of
from hakd.importing.groups import Group, WidthGroups
from hakd.staircase.curve import OPEN, TOGETHER, Curve, shape_from
from hakd.staircase.estimate import estimate
from hakd.staircase.plan import extend, targets
from hakd.study.measuring import Measuring
from hakd.sweeping.following import Line, follow
from hakd.sweeping.modes import Mode
from hakd.sweeping.timing import collect

_MODULI = (4, 8, 16, 32)  # what engines prefer; they order the search, measurements decide
_WIDEST = max(_MODULI)
_BATCH = 2  # groups that are timed together where time is short
_CURVES = 0.7  # of that time; the rest is for whole models
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TimedGroups:
    """What was timed: a curve for each group that has one, in the groups' order.

    Attributes:
        curves: by group name.
        whole_ms: the whole model at its present widths, in milliseconds; None where that was not timed.
        about: the device, its engine, and the points that failed.
        left: why groups were not begun, by name.
        end_s: when the time that was given is over, by the board's clock.
    """

    curves: Mapping[str, Curve]
    whole_ms: float | None
    about: Mapping[str, Any]
    left: Mapping[str, str] = field(default_factory=dict)
    end_s: float = math.inf


def ceiling(width: int) -> int:
    """The widest width that is looked at: 33 to 64 channels more."""
    return (width // _WIDEST + 2) * _WIDEST


def start(width: int, full: int) -> list[int]:
    """Widths to time first, ascending: the present one, its neighbours, the multiples of 4, 8, 16 and 32 next to it.

    On both sides; with what a choice at `width` needs (`plan.targets`), and the multiple of 32 from 32 to 63 below.
    """
    lowest = max(1, (width // _WIDEST - 1) * _WIDEST)
    above = {width + 1, *((width // modulus + 1) * modulus for modulus in _MODULI)}
    below = {width - 1, *((width - 1) // modulus * modulus for modulus in _MODULI)}
    found = {
        *targets(width, full),
        *(w for w in above if w <= full),
        *(w for w in below if w > lowest),
        lowest,
    }
    return sorted(found)


def more(curve: Curve, width: int, full: int) -> list[int]:
    """Widths to time next: to find the widest free one (`plan.extend`), and the nearest narrower one that is faster."""
    return sorted({*extend(curve, width, full), *_nearer(curve, width)})


def _nearer(curve: Curve, width: int) -> list[int]:
    """The middle of the gap between the nearest faster narrower width and the timed one above it.

    None on a slope, where it would only find the tolerance.
    """
    place = curve.index(width)
    limit = curve.latency_ms[place] / (1 + curve.eps)
    for i in range(place - 1, -1, -1):
        if curve.latency_ms[i] < limit:
            left, right = curve.widths[i], curve.widths[i + 1]
            open_ = right - left > 1 and shape_from(curve) != "line"
            return [(left + right) // 2] if open_ else []
    return []


def decided(curve: Curve, width: int, full: int) -> bool:
    """Whether it can be stated of every timed width, together with all others, whether it is slower than this one."""
    here = curve.index(width)
    return all(curve.verdict(i, here, TOGETHER) != OPEN for i in range(len(curve.widths)))


AROUND = Mode(start, more, 6, decided, decided)


def group_line(width_groups: WidthGroups, group: Group, mode: Mode, level: float | None, widest: int) -> Line:
    """A width group of a user's model, from one channel to `widest`."""

    def point(channels: int, device: Device) -> Point:
        return block_point(width_groups, group, channels, group.name, device)

    around = width_groups.neighbours(group)
    return Line(level, group.name, group.name, mode, group.width, widest, around, point)


def middle_block(lines: Sequence[Line], device: Device) -> Point:
    """The block visited in every process: that of the group in the middle, or the next that can be timed."""
    middle = len(lines) // 2
    order = sorted(range(len(lines)), key=lambda i: abs(i - middle))
    points = [lines[i].point(lines[i].width, device) for i in order]
    return next((point for point in points if _can_run(point)), points[0])


def _can_run(point: Point) -> bool:
    try:
        pack_point(point)
    except Unmeasurable:
        return False
    return True


def time_groups(
    board: Board, width_groups: WidthGroups, measuring: Measuring, minutes: float | None = None
) -> TimedGroups:
    """Time the whole model and the decision blocks of the groups that can be changed, around their present widths.

    Args:
        board: open.
        width_groups: of the model.
        measuring: how.
        minutes: stop when they are over; then the groups that are likeliest to lose time come first.

    Raises:
        HakdError: a device that went away. What was measured stays in the store.
    """
    groups = width_groups.changeable
    lines = [group_line(width_groups, group, AROUND, None, ceiling(group.width)) for group in groups]
    reference = middle_block(lines, board.device)
    start_s = board.clock_s()
    end_s = math.inf if minutes is None else start_s + 60 * minutes
    with board.one_bar("explain"):
        whole_ms = _whole_ms(board, width_groups, measuring, reference)
        plan = plan_of(width_groups, [start(g.width, ceiling(g.width)) for g in groups], whole_ms, measuring)
        log.info("%s", plan.words(minutes))
        if minutes is None:
            follow(board, lines, measuring, reference)
        else:
            curves_end_s = start_s + _CURVES * 60 * minutes
            _follow_until(curves_end_s, board, [lines[i] for i in plan.order], measuring, reference)
    failures = {
        f"{line.group} = {channels}": board.failures[key]
        for line in lines
        for channels, key in line.keys.items()
        if key in board.failures
    }
    if (whole_key := _whole(width_groups, board.device).key) in board.failures:
        failures["the whole model"] = board.failures[whole_key]
    about = {
        "device": board.device.name,
        "engine": board.device.engine,
        "engine_version": board.engine_version,
        "threads": board.device.threads,
        "batch": board.device.batch,
        "precision": board.device.precision,
        "failures": failures,
    }
    words = "" if minutes is None else f"not begun: the time limit of {minutes:g} minutes was reached"
    left = {line.group: words for line in lines if not line.keys}
    curves = {line.group: line.curve for line in lines if line.curve is not None}
    return TimedGroups(curves, whole_ms, about, left, end_s)


def _follow_until(
    end_s: float, board: Board, lines: Sequence[Line], measuring: Measuring, reference: Point
) -> None:
    """The first look at all curves, the likeliest losses first, then further looks at them, until the time is over."""

    def in_time() -> bool:
        return board.clock_s() < end_s

    begun: list[Line] = []
    for i in range(0, len(lines), _BATCH):
        if begun and not in_time():
            break
        begun += lines[i : i + _BATCH]
        follow(board, lines[i : i + _BATCH], measuring, reference, 1, in_time)
    if in_time():
        follow(board, begun, measuring, reference, None, in_time)


def _whole(width_groups: WidthGroups, device: Device) -> Point:
    return whole_point(width_groups, {}, "the whole model", device)


def _whole_ms(
    board: Board, width_groups: WidthGroups, measuring: Measuring, reference: Point
) -> float | None:
    """The whole model in milliseconds, for comparison; None where it cannot be timed."""
    point = _whole(width_groups, board.device)
    bursts: dict[str, list[Burst]] = {}
    collect(bursts, board, [point], measuring, "explain", reference)
    if not bursts.get(point.key):
        return None
    estimates = estimate(bursts, absolute=True).by_key
    return estimates[point.key].latency_ms if point.key in estimates else None
