"""Timers of whole networks in new processes, for verifying what was chosen."""

import logging
from collections.abc import Callable, Mapping, Sequence

from hakd.boards import Board, Burst
from hakd.choosing.repair import TimePair
from hakd.choosing.within_budget import Fresh
from hakd.records.arch import Architecture
from hakd.records.files import digest
from hakd.search.budget import Budget
from hakd.staircase.estimate import estimate, ratio
from hakd.sweeping.looks import Interval, shown
from hakd.sweeping.parts import engine_graph, point
from hakd.sweeping.timing import Measuring

log = logging.getLogger(__name__)


def fresh_timer(
    board: Board, measuring: Measuring, pruned: Architecture, budget: Budget, budget_ms: float, calls: int = 0
) -> Callable[[dict[str, int]], Fresh | None]:
    """Times widths against the budget in fresh processes: interleaved with its reference, or in ms where it has none.

    Looks as the verification of single moves does (`looks.shown`). `calls`: how often it was done before, for no two
    timings share bursts.
    """

    def time_fresh(widths: dict[str, int]) -> Fresh | None:
        nonlocal calls
        calls += 1
        chosen = pruned.at(widths)
        if budget.reference is not None and budget.reference.arch == chosen.arch:
            same = 1 / budget.share  # the reference itself: its ratio is known
            return budget_ms * same, same, same, same
        networks = [chosen] if budget.reference is None else [chosen, budget.reference]
        points = [point(engine_graph(one), f"{one.spec.name} {one.arch}", board.device) for one in networks]
        keys = [one.key for one in points]
        own_ms = 0.0

        def compare(bursts: Mapping[str, Sequence[Burst]], confidence: float) -> Interval | None:
            nonlocal own_ms
            if not bursts.get(keys[0]):
                return None
            own = estimate(bursts, absolute=True, confidence=confidence).by_key[keys[0]]
            own_ms = own.latency_ms
            if budget.reference is not None:
                found = ratio(bursts, keys[0], keys[1], confidence)
                return found and (found[0] / budget.share, found[1] / budget.share, found[2] / budget.share)
            if own.latency_low_ms is None or own.latency_high_ms is None:
                return None
            return own_ms / budget_ms, own.latency_low_ms / budget_ms, own.latency_high_ms / budget_ms

        # All looks, even without hope: by how much the next budget is tighter goes by the upper end.
        found = shown(board, points, measuring, f"verify:{digest([keys, calls])}", compare, give_up=False)
        if found is None:
            log.warning("%s: %s could not be compared with its budget", board.device.name, points[0].label)
        return found and (own_ms, *found)

    return time_fresh


def pair_timer(board: Board, measuring: Measuring, pruned: Architecture, level: float) -> TimePair:
    """Times two networks freshly, interleaved in processes that no timing of other networks shares (`looks.shown`)."""
    calls = 0

    def time_pair(snapped: dict[str, int], twin: dict[str, int]) -> Interval | None:
        nonlocal calls
        calls += 1
        points = [
            point(engine_graph(found), f"{found.spec.name} {level:g} {found.arch}", board.device)
            for found in (pruned.at(snapped), pruned.at(twin))
        ]
        one, other = (point.key for point in points)
        purpose = f"verify:{digest([[one, other], calls])}"
        found = shown(board, points, measuring, purpose, lambda bursts, sure: ratio(bursts, one, other, sure))
        if found is None:
            log.warning(
                "%s: %s at %g: no two processes timed the chosen network and its twin; the chosen one is not verified",
                board.device.name,
                pruned.spec.name,
                level,
            )
        return found

    return time_pair
