"""Successive halving: networks within one latency budget race on validation accuracy, short trainings first.

All train some steps, the better half trains twice as many more, and so on until one is left (Jamieson and Talwalkar,
"Non-stochastic best arm identification and hyperparameter optimization", 2016). A survivor's training goes on where it
stopped. Pure: what trains and scores is `hakd.training`'s.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hakd.records.errors import HakdError

RACE = "race"  # the method's name
JOINT = "joint/saliency"  # origin of the contestant that the method `joint` chooses
REFERENCE = "reference"  # of the network that gave the budget
ALIGNED = ("round16", "uniform_aligned")  # profiles without a device, scaled into the budget
BASELINES = (JOINT, *ALIGNED, REFERENCE)  # origins of networks that are chosen without a race


def kept_after(contestants: int) -> list[int]:
    """How many contestants are left after each rung: half of them, rounded up, down to one.

    Raises:
        HakdError: no contestant.
    """
    if contestants < 1:
        raise HakdError("a race without contestants", key=RACE, remedy="Choose the widths again")
    left = [contestants]
    while left[-1] > 1:
        left.append(-(-left[-1] // 2))
    return left[1:]


def rung_steps(steps: int, rung: int) -> int:
    """Steps that each contestant of a rung (1, 2, ...) trains, beyond those that it has trained already."""
    return int(steps * 2 ** (rung - 1))


def survivors(scores: Mapping[str, float], keep: int) -> list[str]:
    """The `keep` best by score, in the contestants' order; of equal ones the first, at least one.

    A score that is not a number, of a training that diverged, is below all others.

    Args:
        scores: validation accuracy by arch, in the contestants' order.
        keep: how many stay.
    """
    ranked = sorted(scores, key=lambda arch: -_known(scores[arch]))  # stable
    best = set(ranked[: max(keep, 1)])
    return [arch for arch in scores if arch in best]


def race_cost(contestants: int, steps: int, batch_size: int) -> dict[str, int]:
    """Steps and images that all contestants train together."""
    running = [contestants, *kept_after(contestants)[:-1]]
    rungs = len(kept_after(contestants))
    total = sum(running[rung - 1] * rung_steps(steps, rung) for rung in range(1, rungs + 1))
    return {"steps": total, "images": total * batch_size}


def race_record(
    contestants: Sequence[Mapping[str, Any]],
    halvings: Sequence[Mapping[str, float]],
    steps: int,
    batch_size: int,
) -> dict[str, Any]:
    """What became of a race, as JSON holds it.

    Args:
        contestants: with `arch` and `origin`, in their order.
        halvings: validation accuracy by arch at the end of each rung, of all that trained in it.
        steps: of the first rung.
        batch_size: images a step.

    Returns:
        `winner` (arch), its `origin`, `baseline` (whether that is one of `BASELINES`), `finalists` (archs of the last
        rung), `halvings` (a record per rung: `steps` of each contestant, `scores`, `kept`) and `cost`.

    Raises:
        HakdError: scores that are not those of the survivors of the rung before.
    """
    origins = {one["arch"]: one["origin"] for one in contestants}
    running, rungs = list(origins), []
    keeps = kept_after(len(running))
    if len(halvings) != len(keeps):
        raise _not_of_this_race(f"{len(halvings)} halvings of {len(running)} contestants")
    finalists = running
    for rung, (scores, keep) in enumerate(zip(halvings, keeps, strict=True), 1):
        if set(scores) != set(running):
            raise _not_of_this_race(f"rung {rung} has scores of {', '.join(sorted(scores))}")
        finalists = running
        scores = {arch: scores[arch] for arch in running}
        running = survivors(scores, keep)
        shown = {arch: score if math.isfinite(score) else None for arch, score in scores.items()}
        rungs.append({"steps": rung_steps(steps, rung), "scores": shown, "kept": running})
    (winner,) = running
    return {
        "winner": winner,
        "origin": origins[winner],
        "baseline": origins[winner] in BASELINES,
        "finalists": finalists,
        "halvings": rungs,
        "cost": race_cost(len(origins), steps, batch_size),
    }


def _known(score: float) -> float:
    return score if math.isfinite(score) else -math.inf


def _not_of_this_race(problem: str) -> HakdError:
    return HakdError(problem, key=RACE, remedy="Run the race again from its first rung")
