"""Which widths of a user's model are timed, and the curves that come of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakd.boards import Board, Burst, Device, Point, open_board
from hakd.explaining.blocks import block_point
from hakd.importing.groups import Group, WidthGroups
from hakd.networks.engine_model import ONNX_ENGINES
from hakd.records.errors import HakdError
from hakd.staircase.curve import OPEN, TOGETHER, Curve, shape_from
from hakd.staircase.estimate import estimate
from hakd.staircase.plan import extend, targets
from hakd.study.measuring import Measuring
from hakd.sweeping.following import Line, follow
from hakd.sweeping.modes import Mode
from hakd.sweeping.timing import collect

_MODULI = (4, 8, 16, 32)  # what engines like; they order the search, what was timed decides
_WIDEST = max(_MODULI)


@dataclass(frozen=True)
class TimedGroups:
    """What was timed: a curve for each group that has one, in the groups' order.

    Attributes:
        curves: by group name.
        whole_ms: the whole model at its present widths, in milliseconds; None where that was not timed.
        about: the device, its engine, and the points that failed.
    """

    curves: Mapping[str, Curve]
    whole_ms: float | None
    about: Mapping[str, Any]


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


def told(curve: Curve, width: int, full: int) -> bool:
    """Whether it can be stated of every timed width, together with all others, whether it is slower than this one."""
    here = curve.index(width)
    return all(curve.verdict(i, here, TOGETHER) != OPEN for i in range(len(curve.widths)))


AROUND = Mode(start, more, 6, told, told)


def group_line(width_groups: WidthGroups, group: Group, mode: Mode, level: float | None, widest: int) -> Line:
    """A width group of a user's model, from one channel to `widest`."""

    def point(channels: int, device: Device) -> Point:
        return block_point(width_groups, group, channels, curve=group.name)

    around = width_groups.neighbours(group)
    return Line(level, group.name, group.name, mode, group.width, widest, around, point)


def middle_block(lines: Sequence[Line], device: Device) -> Point:
    """The block visited in every process: that of the middle group, in the order of the model."""
    middle = lines[len(lines) // 2]
    return middle.point(middle.width, device)


def check_engine(device: Device) -> None:
    """Refuse a device whose engine takes no ONNX.

    Raises:
        HakdError: its engine has a format of its own.
    """
    if device.engine not in ONNX_ENGINES:
        remedy = f"Set its engine to {' or '.join(ONNX_ENGINES)}"
        problem = f"{device.engine} takes no ONNX, and a model of yours is nothing else"
        raise HakdError(problem, where=f"device {device.name}", key="engine", remedy=remedy)


def time_groups(width_groups: WidthGroups, device: Device, measuring: Measuring, store: Path) -> TimedGroups:
    """Time the decision blocks of the groups that can be changed, around their present widths.

    Raises:
        HakdError: an engine that takes no ONNX, a device that does not answer. What was measured stays in the store.
    """
    check_engine(device)
    lines = [
        group_line(width_groups, group, AROUND, None, ceiling(group.width))
        for group in width_groups.changeable
    ]
    reference = middle_block(lines, device)
    with open_board(device, store) as board:
        follow(board, lines, measuring, reference)
        whole_ms = _whole_ms(board, width_groups, measuring, reference)
        about = {
            "device": device.name,
            "engine": device.engine,
            "engine_version": board.engine_version,
            "threads": device.threads,
            "batch": device.batch,
            "failures": {
                f"{line.group} = {channels}": board.failures[key]
                for line in lines
                for channels, key in line.keys.items()
                if key in board.failures
            },
        }
    curves = {line.group: line.curve for line in lines if line.curve is not None}
    return TimedGroups(curves, whole_ms, about)


def _whole_ms(
    board: Board, width_groups: WidthGroups, measuring: Measuring, reference: Point
) -> float | None:
    """The whole model in milliseconds, for comparison; None where it has several outputs or cannot be timed."""
    whole = width_groups.whole()
    if whole is None:
        return None
    point = block_point(width_groups, whole, whole.width)
    bursts: dict[str, list[Burst]] = {}
    collect(bursts, board, [point], measuring, "explain", reference)
    if not bursts.get(point.key):
        return None
    estimates = estimate(bursts, absolute=True).by_key
    return estimates[point.key].latency_ms if point.key in estimates else None
