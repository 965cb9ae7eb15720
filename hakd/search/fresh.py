"""Times whole networks in new processes, to verify choices."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

from hakd.boards import Board, Burst
from hakd.choosing.fresh import Fresh
from hakd.records.arch import Architecture
from hakd.records.files import digest
from hakd.search.budget import Budget
from hakd.staircase.estimate import estimate, ratio
from hakd.staircase.ratio import Ratio
from hakd.sweeping.looks import compare_networks
from hakd.sweeping.parts import network_point
from hakd.sweeping.timing import Measuring

log = logging.getLogger(__name__)


def fresh_timer(
    board: Board,
    measuring: Measuring,
    pruned: Architecture,
    budget: Budget,
    budget_ms: float = math.nan,
    *,
    calls: int = 0,
    give_up: bool = False,
) -> Callable[[dict[str, int]], Fresh | None]:
    """Times widths against a budget in processes that nothing else uses, in looks (`looks.compare_networks`).

    Interleaved with the network whose latency is the budget; or in ms, where the budget has no network.

    Args:
        board: an open one.
        measuring: how its device is measured.
        pruned: the network, whose widths are replaced.
        budget: the latency budget.
        budget_ms: the budget in ms, as the tables measured it.
        calls: the number of earlier timings, since no two timings share bursts.
        give_up: stop where no look is likely to show that the budget is kept; False: more looks narrow the interval.
    """

    def time_fresh(widths: dict[str, int]) -> Fresh | None:
        nonlocal calls
        calls += 1
        chosen, reference = pruned.at(widths), budget.reference
        if reference is not None and reference.arch == chosen.arch:  # its ratio is known
            same = 1 / budget.share
            return Fresh(budget_ms * same, Ratio(same, same, same))
        points = [network_point(one, board.device) for one in (chosen, reference) if one is not None]
        keys = [point.key for point in points]
        fresh: Fresh | None = None

        def compare(bursts: Mapping[str, Sequence[Burst]], confidence: float) -> Ratio | None:
            nonlocal fresh
            fresh = _against(bursts, keys, budget, budget_ms, confidence)
            return None if fresh is None else fresh.ratio

        purpose = f"verify:{digest([keys, calls])}"
        if compare_networks(board, points, measuring, purpose, compare, give_up) is None:
            label = points[0].label
            log.warning("%s: %s could not be compared with %s", board.device.name, label, budget.words)
        return fresh

    return time_fresh


def _against(
    bursts: Mapping[str, Sequence[Burst]],
    keys: Sequence[str],
    budget: Budget,
    budget_ms: float,
    confidence: float,
) -> Fresh | None:
    """The first key's latency over its budget: over the other key's, timed with it, or in ms; None: not comparable."""
    if not bursts.get(keys[0]):
        return None
    own = estimate(bursts, absolute=True, confidence=confidence).by_key[keys[0]]
    if budget.reference is not None:
        beside = ratio(bursts, keys[0], keys[1], confidence)
        return None if beside is None else Fresh(own.latency_ms, beside.over(budget.share))
    if own.latency_low_ms is None or own.latency_high_ms is None:
        return None
    interval_ms = Ratio(own.latency_ms, own.latency_low_ms, own.latency_high_ms)
    return Fresh(own.latency_ms, interval_ms.over(budget_ms))
