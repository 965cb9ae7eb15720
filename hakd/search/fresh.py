"""Times whole networks in new processes, to verify what was chosen."""

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

    Interleaved with the network that the budget is the latency of, or in ms where it has none.

    Args:
        board: an open one.
        measuring: how its device is measured.
        pruned: says which network it is.
        budget: what the network may take.
        budget_ms: the budget as the tables measured it; asked for only where the budget's own network is timed.
        calls: how often such a timer was asked before, for no two timings share bursts.
        give_up: stop where no look is likely to show that the budget is kept; without it the upper end gets sharper.
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
        own_ms = math.nan

        def compare(bursts: Mapping[str, Sequence[Burst]], confidence: float) -> Ratio | None:
            nonlocal own_ms
            if not bursts.get(keys[0]):
                return None
            own = estimate(bursts, absolute=True, confidence=confidence).by_key[keys[0]]
            own_ms, low_ms, high_ms = own.latency_ms, own.latency_low_ms, own.latency_high_ms
            if reference is not None:
                beside = ratio(bursts, keys[0], keys[1], confidence)
                return None if beside is None else beside.over(budget.share)
            if low_ms is None or high_ms is None:
                return None
            return Ratio(own_ms, low_ms, high_ms).over(budget_ms)

        purpose = f"verify:{digest([keys, calls])}"
        against = compare_networks(board, points, measuring, purpose, compare, give_up)
        if against is None:
            label = points[0].label
            log.warning("%s: %s could not be compared with %s", board.device.name, label, budget.words)
        return None if against is None else Fresh(own_ms, against)

    return time_fresh
