"""Successive halving: good networks for one latency budget are trained briefly, and the better half continues.

Saliency is a proxy for accuracy. The tables of a device give several networks that meet a budget; which of them trains
best is decided on the validation split (Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

JOINT = "joint/saliency"  # origin of the contestant that the method `joint` chooses
REFERENCE = "reference"  # of the network that gave the budget
ALIGNED = ("round16", "uniform_aligned")  # profiles without a device, scaled into the budget
BASELINES = (JOINT, *ALIGNED, REFERENCE)  # origins of networks that are chosen without a race


@dataclass(frozen=True)
class Lap:
    """One short training: validation accuracy after it, images, seconds; `diverged`: it is lost, with accuracy 0."""

    val_accuracy: float
    images: int
    seconds: float
    diverged: bool = False


def steps_at(rung: int, steps: int) -> int:
    """SGD steps of a rung, which counts from 1: each has twice as many as the one before."""
    return steps * 2 ** (rung - 1)


def survivors(scores: Mapping[str, float], keep: int) -> list[str]:
    """The `keep` best, in the order of `scores`; of equal ones those that come first."""
    best = sorted(scores, key=lambda name: -scores[name])[:keep]  # a stable sort
    return [name for name in scores if name in best]


def rung_record(race: Mapping[str, Any], laps: Mapping[str, Lap], rung: int, rungs: int) -> dict[str, Any]:
    """What is known after a rung.

    Args:
        race: the record after the rung before, or of the contestants before the first: `contestants`, each with `arch`
            and `origin`, `survivors` and `search_s`.
        laps: of this rung, by arch; empty where one contestant is left.
        rung: counts from 1.
        rungs: after the last of which one is left.

    Returns:
        `race` with `laps` added to each contestant, `survivors` (archs), `search_images` and `search_s` (contestants'
        timing and all laps so far).
    """
    running = race["survivors"]
    scores = {arch: laps[arch].val_accuracy for arch in running if arch in laps}
    left = survivors(scores, 1 if rung == rungs else math.ceil(len(scores) / 2)) if scores else running
    contestants = [
        {**entry, "laps": [*entry.get("laps", ()), *_laps(laps, entry["arch"])]}
        for entry in race["contestants"]
    ]
    return {
        **race,
        "contestants": contestants,
        "survivors": left,
        "search_images": race.get("search_images", 0) + sum(lap.images for lap in laps.values()),
        "search_s": race["search_s"] + sum(lap.seconds for lap in laps.values()),
    }


def _laps(laps: Mapping[str, Lap], arch: str) -> list[dict[str, Any]]:
    return [asdict(laps[arch])] if arch in laps else []


def winner(race: Mapping[str, Any]) -> dict[str, Any]:
    """The choice of widths that is left after the last rung, with what it cost.

    `baseline`: whether another method proposes the same, so that the race has added nothing there.
    """
    (arch,) = race["survivors"]
    entry = next(entry for entry in race["contestants"] if entry["arch"] == arch)
    cost = {key: race[key] for key in ("search_s", "search_images", "budget")}
    return {**entry, **cost, "baseline": entry["origin"] in BASELINES}


def race_rows(race: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """A row per contestant: where it came from, its latency, its scores, when it left."""
    rows = []
    for entry in race["contestants"]:
        laps = entry["laps"]
        rows.append(
            {
                "arch": entry["arch"],
                "origin": entry["origin"],
                "baseline": entry["origin"] in BASELINES,
                "latency_ms": entry["latency_ms"],
                "latency_high_ms": entry["latency_high_ms"],
                "budget": race["budget"],
                "kept": entry["kept"],
                "val_accuracies": " ".join(f"{lap['val_accuracy']:.4f}" for lap in laps),
                "rungs": len(laps),
                "images": sum(lap["images"] for lap in laps),
                "seconds": sum(lap["seconds"] for lap in laps),
                "diverged": any(lap["diverged"] for lap in laps),
                "won": entry["arch"] in race["survivors"],
            }
        )
    return rows
