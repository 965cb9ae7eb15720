"""Several answers of a method, timed whole and interleaved, before one of them is verified.

The sum of tiles tells networks apart that differ by much; among those near the budget, where a choice goes, its own
error decides. So a method is asked under several budgets around the wanted one, all its answers are timed together, and
what is verified is the answer of most value that was measured to keep the budget. Starting processes takes most of
the time of such a session: many networks cost little more than one.
"""

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from hakd.boards import Board, Burst, Point
from hakd.choosing.joint import Joint, NoneFits
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.records.files import digest
from hakd.staircase.estimate import estimate, ratio
from hakd.sweeping.parts import engine_graph, point
from hakd.sweeping.timing import Measuring

log = logging.getLogger(__name__)

SCALES = (0.76, 0.83, 0.89, 0.94, 0.98, 1.03, 1.08, 1.14, 1.22)  # of the budget, in the first session
BETWEEN = (0.25, 0.5, 0.75)  # of the way from what kept it to what did not, in the second

Solve = Callable[[float], Joint]  # widths for a budget in ms
Measure = Callable[[list[Joint]], list[tuple[float, float] | None]]  # latency and its upper end in ms


@dataclass(frozen=True)
class Answer:
    """What a method chose when asked for `asked_ms`, with its measured latency in place of the predicted one."""

    asked_ms: float
    found: Joint


def screen(solve: Solve, measure: Measure, budget_ms: float) -> list[Answer]:
    """Ask around the budget, time the answers, ask again between the last that kept it and the first that did not.

    Args:
        solve: raises `NoneFits` where nothing fits; such budgets have no answer.
        measure: None for a network that could not be timed, which is left out.
        budget_ms: what is to be kept.
    """
    answers = _timed([scale * budget_ms for scale in SCALES], solve, measure, [])
    keeping = [one.asked_ms for one in answers if _upper(one) <= budget_ms]
    missing = [one.asked_ms for one in answers if _upper(one) > budget_ms]
    if keeping and any(asked > max(keeping) for asked in missing):
        low, high = max(keeping), min(asked for asked in missing if asked > max(keeping))
        answers += _timed([low + share * (high - low) for share in BETWEEN], solve, measure, answers)
    fitting = sum(_upper(one) <= budget_ms for one in answers)
    log.info("%d answers timed whole, %d of them keep %.4g ms", len(answers), fitting, budget_ms)
    return answers


def best_of(answers: Iterable[Answer], asked_ms: float) -> Joint | None:
    """The answer of most value whose measured upper end keeps `asked_ms`; of equal ones the faster. None: none does."""
    fitting = [one.found for one in answers if _upper(one) <= asked_ms]
    return max(fitting, key=lambda one: (one.value, -max(one.latency_ms.values())), default=None)


def _upper(answer: Answer) -> float:
    return max(answer.found.upper_ms.values())


def _timed(asked: list[float], solve: Solve, measure: Measure, known: list[Answer]) -> list[Answer]:
    """The answers to several budgets, each network once, those that are known not again."""
    seen = {_name(one.found) for one in known}
    fresh: list[Answer] = []
    for budget_ms in asked:
        try:
            found = solve(budget_ms)
        except NoneFits:
            continue
        if _name(found) not in seen:
            seen.add(_name(found))
            fresh.append(Answer(budget_ms, found))
    if not fresh:
        return []
    times = measure([one.found for one in fresh])
    return [
        replace(one, found=_with(one.found, *time))
        for one, time in zip(fresh, times, strict=True)
        if time is not None
    ]


def _name(found: Joint) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(found.widths.items()))


def _with(found: Joint, latency_ms: float, upper_ms: float) -> Joint:
    """The same choice with measured times (of one device)."""
    (device,) = found.latency_ms
    return replace(found, latency_ms={device: latency_ms}, upper_ms={device: upper_ms})


def measure_on(
    board: Board, measuring: Measuring, pruned: Architecture, reference: Architecture | None, scale_ms: float
) -> Measure:
    """Times answers on a board, interleaved in fresh processes that nothing else is taken from.

    Args:
        board: where.
        measuring: how often.
        pruned: says which network it is.
        reference: latencies are taken as ratios to this network's, which is timed with them; None: in ms as they are.
        scale_ms: the latency of `reference`.
    """

    def timed(answers: list[Joint]) -> list[tuple[float, float] | None]:
        networks = [Architecture(pruned.spec, dict(one.widths)) for one in answers]
        wanted = [*networks, *([reference] if reference is not None else [])]
        points = {one.arch: _point(one, board) for one in wanted}
        keys = [point.key for point in points.values()]
        bursts = board.measure(
            list(points.values()), measuring.end_to_end(), f"screen:{digest(sorted(keys))}:{measuring.visits}"
        )
        base = points[reference.arch].key if reference is not None else None
        return [_time(bursts, points[one.arch].key, base, scale_ms) for one in networks]

    return timed


def _point(network: Architecture, board: Board) -> Point:
    return point(engine_graph(network), f"{network.spec.name} {network.arch}", board.device)


def _time(
    bursts: dict[str, list[Burst]], key: str, base: str | None, scale_ms: float
) -> tuple[float, float] | None:
    if key == base:
        return scale_ms, scale_ms
    if not bursts.get(key):
        return None
    if base is None:
        own = estimate(bursts, absolute=True).estimates[key]
        return own.latency_ms, own.latency_high_ms or math.inf
    try:
        middle, _, high = ratio(bursts, key, base)
    except HakdError:
        return None  # it failed in all processes but one
    return middle * scale_ms, high * scale_ms
