"""Verify and repair: the chosen network against its unsnapped twin on fresh data (the timing protocol).

Each group may use up its tolerance and curves overlap, so a network of harmless moves can be slower than its
twin. The chosen network is timed interleaved with the twin in fresh processes; while the upper end of the
interval of snapped / twin is above the limit, moves are undone. `docs/choosing.md` explains the order.

Selection and report share no burst and no process: the pair that is accepted here was selected by these very
timings, which flatter it (winner's curse), so the figure to report comes from the benchmark, which times it
again.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hakd.choosing.fresh import Fresh
from hakd.choosing.snap import Choice
from hakd.records.errors import HakdError, run_again
from hakd.staircase.ratio import SAME, Ratio, plain

TimeFresh = Callable[[dict[str, int]], Fresh | None]
MAX_TIMINGS = 8
FAR_OFF_SHARE = 4  # clearly slower: a quarter of the remaining moves is undone in one step


@dataclass(frozen=True)
class Move:
    """One group's change of width; with the saliency of the channels it adds and its cost by the curve."""

    group: str
    width_from: int
    width_to: int
    saliency: float
    cost_ms: float

    @property
    def saliency_per_us(self) -> float:
        """Saliency gained per microsecond; infinite for a move that costs no time."""
        return self.saliency / (self.cost_ms * 1e3) if self.cost_ms > 0 else math.inf


@dataclass(frozen=True)
class RepairStep:
    """One timing of snapped / twin, and what was undone because of it."""

    widths: Mapping[str, int]
    ratio: Ratio
    undone: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Repair:
    """Widths, moves kept and undone (in order), the steps, the accepted ratio (1 for the twin).

    `verified` is False where the device could not compare the networks, and the twin is taken for that.
    """

    widths: Mapping[str, int]
    kept: tuple[Move, ...]
    undone: tuple[Move, ...]
    steps: tuple[RepairStep, ...]
    ratio: Ratio
    limit: float
    reason: str
    verified: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return plain(self)


def moves_from(choices: Iterable[Choice], saliency: Mapping[str, float]) -> list[Move]:
    """Moves of the choices that change a width; `saliency` by group is that of the channels a move adds.

    Raises:
        HakdError: a moved group without a saliency.
    """
    moves = []
    for choice in choices:
        if choice.width_to == choice.width_from:
            continue
        if choice.group not in saliency:
            raise HakdError("no saliency is known for its added channels", key=choice.group)
        moves.append(
            Move(
                choice.group,
                choice.width_from,
                choice.width_to,
                float(saliency[choice.group]),
                choice.cost_ms,
            )
        )
    return moves


def undo_order(moves: Iterable[Move]) -> list[Move]:
    """Moves in the order they are undone.

    First those that cost time by their curve, the least saliency per microsecond first. Then those that do
    not: undoing one makes the network slower if its curve is right, so the smallest saving, the likeliest to
    be noise, goes first and the largest last. Ties: less saliency first, then the group's name.
    """

    def rank(move: Move) -> tuple[bool, float, float, str]:
        free = move.cost_ms <= 0
        return (free, -move.cost_ms if free else move.saliency_per_us, move.saliency, move.group)

    return sorted(moves, key=rank)


def repair(
    twin: Mapping[str, int],
    moves: Sequence[Move],
    time_fresh: TimeFresh,
    *,
    limit: float = 1.0,
    max_timings: int = MAX_TIMINGS,
) -> Repair:
    """Undo moves until the network is verified not to be slower than its twin.

    One move goes at a time; more when the network is clearly slower (the lower end of the interval is above
    the limit too: a quarter of the remaining moves), and as many as it takes for the remaining moves to end
    within `max_timings` timings. Without moves it is the twin: ratio 1 by definition, not timed.

    Args:
        twin: widths before the moves.
        moves: of different groups, from the twin's widths.
        time_fresh: times widths beside the twin, interleaved in new processes. None: they could not be compared;
            then the twin is what is left, and the reason says so.
        limit: what the upper end must not exceed. 1 is strict: a network whose every move is free has a true
            ratio of 1, and its upper end is above 1 in nearly all timings; 1 + a margin tests
            non-inferiority instead.
        max_timings: bound on calls of `time_fresh`, at least 1.

    Raises:
        HakdError: moves that do not fit the twin, numbers that are not finite, or a bound below 1.
    """
    _check(twin, moves, limit, max_timings)
    left = undo_order(moves)
    undone: list[Move] = []
    steps: list[RepairStep] = []
    while left:
        widths = {**twin, **{move.group: move.width_to for move in left}}
        fresh = time_fresh(widths)
        if fresh is None:
            undone += left
            reason = "not verified, no two processes timed both networks: the twin itself"
            return Repair(dict(twin), (), tuple(undone), tuple(steps), SAME, limit, reason, verified=False)
        ratio = fresh.ratio
        if ratio.high <= limit:
            steps.append(RepairStep(widths, ratio, (), "accepted"))
            reason = (
                f"verified: at most {ratio.high:.3f} x its twin, {len(undone)} of {len(moves)} move(s) undone"
            )
            return Repair(widths, tuple(left), tuple(undone), tuple(steps), ratio, limit, reason)
        count, why = _how_many(len(left), max_timings - len(steps) - 1, ratio.low > limit)
        gone, left = left[:count], left[count:]
        undone += gone
        steps.append(RepairStep(widths, ratio, tuple(move.group for move in gone), why))
    reason = "all moves undone: the twin itself" if moves else "nothing was moved: the twin itself"
    return Repair(dict(twin), (), tuple(undone), tuple(steps), SAME, limit, reason)


def _how_many(left: int, timings_left: int, far_off: bool) -> tuple[int, str]:
    """How many moves to undo now, and why."""
    if timings_left <= 0:
        return left, "still slower and no timing left: all moves undone"
    spread = -(-left // (timings_left + 1))
    quarter = -(-left // FAR_OFF_SHARE) if far_off else 1
    count = max(spread, quarter)
    why = "clearly slower" if far_off else "not shown to be as fast"
    return count, f"{why}: {count} of {left} move(s) undone"


def _check(twin: Mapping[str, int], moves: Sequence[Move], limit: float, max_timings: int) -> None:
    groups = [move.group for move in moves]
    for move in moves:
        if twin.get(move.group) != move.width_from or groups.count(move.group) > 1:
            raise HakdError(
                f"a move from {move.width_from} does not fit a twin of {twin.get(move.group)}", key=move.group
            )
        if not (math.isfinite(move.saliency) and math.isfinite(move.cost_ms)):
            raise HakdError(
                "saliency and cost of a move must be finite numbers",
                key=move.group,
                remedy=run_again("prune"),
            )
    if not limit > 0 or max_timings < 1:
        raise HakdError("a positive limit and at least one timing are needed", key="verify")
