"""How often points are timed: in looks of fresh processes, until the question is decided or cannot be.

A session takes at most `LOOKS` looks at a thing; looks that the store has come first and cost nothing. So a later
session takes further looks at what was undecided, up to `MOST` looks in all. What was given up as hopeless stays so:
its looks have the same result again.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from scipy.special import ndtr, ndtri

from hakd.boards import Board, Burst, Point
from hakd.staircase.estimate import CONFIDENCE
from hakd.staircase.ratio import Ratio
from hakd.study.measuring import Measuring

LOOKS = 4  # that one session times at most
MOST = 12  # in all sessions
FIRST_SHARE = (
    0.75  # of the risk that an interval is wrong: for the first session's looks, the rest for later ones
)
LITTLE_HOPE = 0.1  # chance of an answer at the last look below which no further look is taken

Compare = Callable[[Mapping[str, Sequence[Burst]], float], Ratio | None]


def looks(board: Board) -> Iterator[int]:
    """Numbers of looks, from 1: all those that the store has, and at most `LOOKS` that are timed now.

    A look is timed now if the board has more bursts after it than before.
    """
    timed = 0
    for look in range(1, MOST + 1):
        before = board.timed
        yield look
        timed += board.timed > before
        if timed >= LOOKS:
            return


def confidence_at(look: int) -> float:
    """Of an interval at one look, so that those of all looks hold together at 95 % (Bonferroni)."""
    share = FIRST_SHARE / LOOKS if look <= LOOKS else (1 - FIRST_SHARE) / (MOST - LOOKS)
    return 1 - (1 - CONFIDENCE) * share


def hopeless(ratio: Ratio, look: int) -> bool:
    """Whether no later look of this session is likely to show that the ratio is at most 1 (a stop for futility).

    By the chance of that at look `LOOKS`, if later looks are faster than the earlier ones by one standard error. A
    ratio of exactly 1 is usually given up after two looks; one that four looks would show is given up in 4 % of cases.
    (Conditional power: Lan, Simon and Halperin, Sequential Analysis 1, 1982.)
    """
    if look >= LOOKS:
        return False
    quantile = ndtri((1 + confidence_at(look)) / 2)
    error = (
        math.log(ratio.high / ratio.value) / quantile
    )  # of the mean so far; Student's t is taken for normal
    if error <= 0:
        return ratio.value > 1
    left = LOOKS - look
    drift = -math.log(ratio.value) / error + left / LOOKS  # the mean at the end, in these errors
    wanted = quantile * math.sqrt(look / LOOKS)
    spread = math.sqrt(look * left) / LOOKS
    return float(ndtr((drift - wanted) / spread)) < LITTLE_HOPE


def merge(bursts: dict[str, list[Burst]], timed: Mapping[str, Sequence[Burst]]) -> None:
    """Add bursts by key, each once: a point requested again comes from the store unchanged."""
    for key, found in timed.items():
        own = bursts.setdefault(key, [])
        seen = {(burst.process, burst.round) for burst in own}
        own += [burst for burst in found if (burst.process, burst.round) not in seen]


def compare_networks(
    board: Board,
    points: Sequence[Point],
    measuring: Measuring,
    purpose: str,
    compare: Compare,
    give_up: bool = True,
) -> Ratio | None:
    """Time whole networks, interleaved in new processes, until a ratio is shown to be at most 1, or above.

    Args:
        board: an open one.
        points: the networks.
        measuring: each look has its `benchmark_processes`.
        purpose: of the bursts, which nothing else shares.
        compare: the ratio of (bursts, confidence); None where they do not decide.
        give_up: stop where no answer can be expected (`hopeless`); False where the interval itself is needed.

    Returns:
        The ratio with its interval at the last look, valid for all looks together; None where no look could compare.
    """
    points = [
        replace(one, curve=purpose) for one in points
    ]  # compared in each process, however large they are
    bursts: dict[str, list[Burst]] = {}
    ratio = None
    for look in looks(board):
        name = f"{purpose}:look{look}:{measuring.visits}"
        merge(bursts, board.measure(points, measuring.end_to_end(), name))
        ratio = compare(bursts, confidence_at(look))
        if ratio is not None and (ratio.kept or ratio.low > 1 or (give_up and hopeless(ratio, look))):
            break
        if all(point.key in board.failures for point in points):
            break  # there is nothing to look at
    return ratio
