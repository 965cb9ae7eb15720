"""Several answers of a method, timed whole and interleaved, before one of them is verified.

The sum of tiles distinguishes networks that differ by much. Among networks near the budget, where choices lie, its
error is larger than their differences. So a method is solved under several budgets around the wanted one, all its
answers are timed together, the tables learn from their latencies (`hakd.choosing.learning`), and the method is solved
again. The most valuable answer that was measured to meet the budget is verified. Starting processes takes most of the
time of such a session: many networks cost little more than one.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from hakd.boards import Board, Burst
from hakd.choosing.joint import Joint, NoneFits, OutOfTime, evaluate
from hakd.choosing.learning import Seen, learn
from hakd.choosing.tile_costs import PROBABILITY, Cost, Values
from hakd.records.arch import Architecture
from hakd.records.files import digest
from hakd.staircase.estimate import estimate, ratio
from hakd.sweeping.parts import network_point
from hakd.sweeping.timing import Measuring

log = logging.getLogger(__name__)

# Budgets of each session, as shares of the wanted one: closer as the tables learn.
SESSIONS = (
    (0.80, 0.88, 0.94, 0.98, 1.02, 1.07, 1.14),
    (0.95, 0.975, 1.0, 1.02, 1.045),
    (0.975, 0.99, 1.005, 1.02, 1.035),
)

Solve = Callable[[Cost], Joint]
Widths = Mapping[str, int]
Measure = Callable[[Sequence[Widths]], list[tuple[float, float] | None]]  # latency and its upper end in ms


def screen(
    solve: Solve, measure: Measure, cost: Cost, values: Values, known: Seen = ()
) -> tuple[list[Joint], Cost]:
    """Solve around the budget, time the answers, learn, solve again.

    Args:
        solve: raises `NoneFits` where no widths fit, `OutOfTime` where none were found; such budgets have no answer.
        measure: gives None for a network that could not be timed, which is left out.
        cost: by the tables, with the wanted budget.
        values: of all widths in the tables.
        known: networks with their latencies in ms; they are timed again with the first answers, where the tables have
            their widths.

    Returns:
        All timed answers, with measured latencies in place of predicted ones; the cost by the tables in the end.
    """
    held = [evaluate(values, [cost], widths, PROBABILITY) for widths, _ in known if _inside(values, widths)]
    timed: list[Joint] = []
    now = learned(cost, known)
    for shares in SESSIONS:
        fresh = _new([*held, *_asked(solve, now, cost.budget_ms, shares)], timed)
        if not fresh:
            continue
        times = measure([one.widths for one in fresh])
        timed += [_with(one, *time) for one, time in zip(fresh, times, strict=True) if time is not None]
        seen = [(one.widths, max(one.latency_ms.values())) for one in timed]
        now = learned(cost, seen)
    fitting = sum(_upper(one) <= cost.budget_ms for one in timed)
    log.info("%d networks timed whole, %d of them keep %.4g ms", len(timed), fitting, cost.budget_ms)
    return timed, now


def learned(cost: Cost, seen: Seen) -> Cost:
    """The tables' costs after learning from networks timed whole (`seen`, in ms); `cost` is the one before."""
    tiles, overhead_ms = learn(cost.tiles, cost.overhead_ms, seen, cost.budget_ms)
    return Cost(cost.name, tiles, cost.budget_ms, overhead_ms)


def _inside(values: Values, widths: Mapping[str, int]) -> bool:
    return all(width in values[group] for group, width in widths.items())


def _asked(solve: Solve, now: Cost, budget_ms: float, shares: Sequence[float]) -> list[Joint]:
    found = []
    for share in shares:
        try:
            found.append(solve(Cost(now.name, now.tiles, share * budget_ms, now.overhead_ms)))
        except (NoneFits, OutOfTime):
            continue
    return found


def _new(found: Iterable[Joint], known: Iterable[Joint]) -> list[Joint]:
    """Each network once, without those that are known."""
    seen = {_name(one) for one in known}
    fresh = []
    for one in found:
        if _name(one) not in seen:
            seen.add(_name(one))
            fresh.append(one)
    return fresh


def best_of(timed: Iterable[Joint], asked_ms: float) -> Joint | None:
    """The most valuable of those whose measured upper end keeps `asked_ms`; of equal ones the faster; None: none."""
    fitting = [one for one in timed if _upper(one) <= asked_ms]
    return max(fitting, key=lambda one: (one.value, -max(one.latency_ms.values())), default=None)


def _upper(one: Joint) -> float:
    return max(one.upper_ms.values())


def _name(found: Joint) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(found.widths.items()))


def _with(found: Joint, latency_ms: float, upper_ms: float) -> Joint:
    """The same choice with measured times (of one device)."""
    (device,) = found.latency_ms
    return Joint(found.widths, found.value, {device: latency_ms}, {device: upper_ms}, found.gap)


def measure_on(
    board: Board,
    measuring: Measuring,
    pruned: Architecture,
    reference: Architecture | None,
    scale_ms: float,
    purpose: str,
) -> Measure:
    """Times whole networks on a board, interleaved in fresh processes that nothing else uses.

    Args:
        board: an open one.
        measuring: how its device is measured.
        pruned: the network, whose widths are replaced.
        reference: latencies are taken as ratios to this network's, which is timed with them; None: in ms.
        scale_ms: the latency of `reference`.
        purpose: the first word of the bursts' purpose in the store.
    """

    def timed(every: Sequence[Widths]) -> list[tuple[float, float] | None]:
        networks = [pruned.at(widths) for widths in every]
        wanted = [*networks, *([reference] if reference is not None else [])]
        points = {one.arch: network_point(one, board.device) for one in wanted}
        keys = [point.key for point in points.values()]
        base = points[reference.arch] if reference is not None else None
        bursts = board.measure(
            list(points.values()),
            measuring.end_to_end(),
            f"{purpose}:{digest(sorted(keys))}:{measuring.visits}",
            base,  # where they do not all fit into one process, it is in each
        )
        base_key = None if base is None else base.key
        return [_time(bursts, points[one.arch].key, base_key, scale_ms) for one in networks]

    return timed


def _time(
    bursts: dict[str, list[Burst]], key: str, base: str | None, scale_ms: float
) -> tuple[float, float] | None:
    if key == base:
        return scale_ms, scale_ms
    if not bursts.get(key):
        return None
    if base is None:
        own = estimate(bursts, absolute=True).by_key[key]
        return own.latency_ms, own.latency_high_ms or math.inf
    beside = ratio(bursts, key, base)
    return None if beside is None else (beside.value * scale_ms, beside.high * scale_ms)
