"""What a network takes on a device by tables of its tiles: latencies by the widths that shape a tile, and a budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from hakd.records.errors import SWEEP_AGAIN, HakdError

PROBABILITY = 0.95

Key = tuple[int, ...]
Values = Mapping[str, Mapping[int, float]]
Worth = Mapping[str, Mapping[Key, float]]  # by tile, of its groups' widths
NOTHING: Worth = {}


@dataclass(frozen=True)
class TileTable:
    """Latencies of one tile in ms by the widths of its `groups`, in their order, with the standard errors of each.

    Widths that are not in the table are not allowed. A tile without groups has the one key ().
    """

    name: str
    groups: tuple[str, ...]
    latency_ms: Mapping[Key, float]
    sigma_ms: Mapping[Key, float]

    def __post_init__(self) -> None:
        fine = all(
            np.isfinite(ms) and ms > 0 and len(key) == len(self.groups) for key, ms in self.latency_ms.items()
        )
        if not self.latency_ms or not fine or self.sigma_ms.keys() != self.latency_ms.keys():
            raise HakdError(
                "a tile's table needs a positive latency and its error for each combination of widths",
                key=self.name,
                remedy=SWEEP_AGAIN,
            )


@dataclass(frozen=True)
class Cost:
    """What a network costs on a device: tables of all its tiles, overhead of the whole (may be negative), budget."""

    name: str
    tiles: Sequence[TileTable]
    budget_ms: float
    overhead_ms: float = 0.0


def alternatives(values: Values, worth: Worth) -> list[list[float]]:
    """What may be taken in each group and in each tile of worth."""
    return [list(some.values()) for some in values.values()] + [
        list(some.values()) for some in worth.values()
    ]


def value_of(values: Values, tiles: Sequence[TileTable], widths: Mapping[str, int], worth: Worth) -> float:
    """What some widths are worth: their own values, and those of the tiles that they shape."""
    found = sum(values[group][width] for group, width in widths.items())
    for tile in tiles if worth else ():
        found += worth[tile.name][tuple(widths[group] for group in tile.groups)]
    return found


def latency_of(
    cost: Cost, widths: Mapping[str, int], probability: float = PROBABILITY
) -> tuple[float, float]:
    """(predicted latency in ms, its upper bound at `probability`) of some widths; infinite where a table lacks them."""
    mean, variance = cost.overhead_ms, 0.0
    for tile in cost.tiles:
        key = tuple(widths[group] for group in tile.groups)
        if key not in tile.latency_ms:
            return np.inf, np.inf
        mean += tile.latency_ms[key]
        variance += tile.sigma_ms[key] ** 2
    return mean, mean + float(ndtri(probability)) * variance**0.5
