"""Curves timed on an open board: the first widths, then those that the plan adds, then those not precise enough yet."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hakd.boards import PROTOCOL, Board, Burst, Device, Point
from hakd.staircase.curve import Curve, curve_from
from hakd.staircase.curve_rows import curve_rows
from hakd.staircase.estimate import Estimates, estimate
from hakd.study.measuring import Measuring
from hakd.sweeping.looks import looks
from hakd.sweeping.modes import Mode
from hakd.sweeping.same_board import state_of
from hakd.sweeping.timing import collect

log = logging.getLogger(__name__)
# Of the looks, in units of a device's rounds; later ones are as long as the last: what two looks leave open is noisy.
LENGTHS = (1, 1, 2, 2)


@dataclass
class Line:
    """A width group at a level: which of its widths are timed, those requested so far, and its latest curve.

    Attributes:
        level, group: of its curve.
        label: its name in the metadata of its table.
        mode: which widths are timed.
        width, full: the network's own width, and the full one.
        around: widths of the other groups that shape the decision block.
        point: makes the decision block at a width for a device, with the neighbours unchanged.
        keys: of the requested points, by width.
        look: the latest.
        precise: it stopped by precision, not by budget.
    """

    level: float | None
    group: str
    label: str
    mode: Mode
    width: int
    full: int
    around: Mapping[str, int]
    point: Callable[[int, Device], Point]
    keys: dict[int, str] = field(default_factory=dict)
    curve: Curve | None = None
    look: int = 1
    precise: bool = False

    @property
    def decided(self) -> bool:
        """Whether its curve answers the question of its mode."""
        return self._judged(self.mode.decided)

    @property
    def settled(self) -> bool:
        """Whether no further look is needed."""
        return self._judged(self.mode.enough)

    @property
    def answers(self) -> bool:
        """Whether the network's own width was timed."""
        return self.curve is not None and self.width in self.curve.widths

    def _judged(self, judge: Callable[[Curve, int, int], bool]) -> bool:
        return self.answers and self.curve is not None and judge(self.curve, self.width, self.full)

    def points(self, widths: Sequence[int], device: Device) -> list[Point]:
        """Points of some widths; their keys are kept."""
        found = [self.point(channels, device) for channels in widths]
        self.keys |= {channels: one.key for channels, one in zip(widths, found, strict=True)}
        return found


def follow(
    board: Board,
    lines: Sequence[Line],
    measuring: Measuring,
    reference: Point,
    most: int | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Estimates:
    """Time the first widths of all curves, then those that the plan adds; time again the curves that are not precise.

    A curve stops by precision at the first look after which its mode needs no more, or by budget at the last. The
    number of looks (`hakd.sweeping.looks`) and their length (`LENGTHS`) are fixed in advance. Every look adds fresh
    processes to the earlier ones. Looks that the store has come first, so that a second call continues.

    Args:
        board: open.
        lines: the curves.
        measuring: how.
        reference: the point visited in every process.
        most: looks; None: as many as a session may take.
        go_on: called before each step after the first widths of all curves: whether there is time for more.
    """
    bursts: dict[str, list[Burst]] = {}
    pending, found = list(lines), Estimates({}, None, {})
    for look in looks(board):
        timing = replace(measuring, rounds=LENGTHS[min(look, len(LENGTHS)) - 1] * measuring.rounds)
        wanted = [sorted({*line.mode.start(line.width, line.full), *line.keys}) for line in pending]
        for extension in range(max(line.mode.rounds for line in pending)):
            points = [
                p
                for line, widths in zip(pending, wanted, strict=True)
                for p in line.points(widths, board.device)
            ]
            part = f"sweep:look{look}" + (f":extension{extension}" if extension else "")
            collect(bursts, board, points, timing, part, reference)
            if any(bursts.values()):
                found = estimate(bursts)
            more = [_refresh(line, found, measuring, look) for line in pending]
            if not any(more) or not go_on():
                break
            # The pruned width is timed again with its new neighbours, so that they share processes.
            wanted = [
                sorted({line.width, *widths}) if widths else []
                for line, widths in zip(pending, more, strict=True)
            ]
        for line in pending:
            line.precise = line.settled
        # A curve whose own width failed is not timed again.
        pending = [line for line in pending if not line.precise and line.answers]
        if not pending or look == most or not go_on():
            break
        log.info("look %d: %d of %d curves are not precise enough", look, len(pending), len(lines))
    for line in lines:
        _refresh(line, found, measuring, line.look)  # on the final scale, all processes in
    return found


def _refresh(line: Line, sweep: Estimates, measuring: Measuring, look: int) -> list[int]:
    """Make the line's curve again, and return the widths that it needs next by its mode."""
    line.look = look
    if not any(key in sweep.by_key for key in line.keys.values()):
        line.curve = None
        return []
    line.curve = curve_from(sweep, line.group, line.level, line.around, line.keys, measuring.min_step)
    if line.width not in line.curve.widths:
        return []
    more = line.mode.more(line.curve, line.width, line.full)
    return [channels for channels in more if channels not in line.keys]


def sweep_lines(
    board: Board,
    network: str,
    lines: Sequence[Line],
    measuring: Measuring,
    reference: Point,
    time_more: Callable[[], list[dict[str, Any]]] = list,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Follow the curves of a network on an open board.

    Args:
        board: open; its clock stands still while the link is lost.
        network: its name in the rows.
        lines: the curves.
        measuring: how.
        reference: the point visited in every process.
        time_more: times the rest of the table after the curves, and returns its rows; nothing by default.

    Returns:
        The rows of a latency table and its metadata: what was measured, on which board and how, how many curves are
        decided, what each stopped by, and the seconds that it took by the board's clock.
    """
    start_s = board.clock_s()
    estimates = follow(board, lines, measuring, reference)
    rows = [
        row
        for line in lines
        if line.curve is not None
        for row in curve_rows(line.curve, network, line.keys, estimates)
    ]
    rows += time_more()
    return rows, {
        "device": board.device.name,
        **state_of(board),
        "protocol": PROTOCOL,
        "measuring": measuring.__dict__,
        "context": board.context,
        "failures": board.failures,
        "curves": len(lines),
        "curves_decided": sum(line.decided for line in lines),
        "looks": {line.label: line.look for line in lines if line.look > 1},
        "stopped": {line.label: _stopped(line) for line in lines},
        "seconds": board.clock_s() - start_s,
    }


def _stopped(line: Line) -> dict[str, Any]:
    """Why the timing of a curve stopped, and what is known about it."""
    return {
        "by": "precision" if line.precise else "budget",
        "widths": list(line.curve.widths) if line.curve is not None else [],
        "tolerance": line.curve.tolerance if line.curve is not None else None,
    }
