"""Tables of tiles moved by what whole networks were measured to take.

Tiles timed alone mispredict a network, each by a different amount, which depends on what comes before and after it.
Here the error has three parts, taken as normal and independent in advance: one of the whole network, one of the tile
at all its widths, one of the tile at these widths. Given networks timed whole, what is expected of each part is linear
in what the tables missed (Gaussian process regression with that kernel; Rasmussen and Williams 2006, section 2.2).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from hakd.choosing.tile_costs import TileTable

Seen = Sequence[tuple[Mapping[str, int], float]]  # widths of a network, its latency in ms

WHOLE = 0.3  # spread of the first part, in shares of a network's latency
TILE = 0.10  # of the second, in shares of the tile's
ENTRY = 0.05  # of the third
NOISE = 0.005  # of a measured network
_LEAST = 0.2  # of its measured latency is left to an entry
NEAR = (
    2.0  # networks that take more than this times the budget, or less than budget / this, say little about it
)


def learn(
    tiles: Sequence[TileTable], overhead_ms: float, seen: Seen, budget_ms: float
) -> tuple[tuple[TileTable, ...], float]:
    """Tables and overhead (ms) after networks were timed; those not in the tables or far from the budget teach nothing.

    Args:
        tiles: as they were timed, whatever was learned before.
        overhead_ms: of a whole network beyond its tiles.
        seen: all networks timed whole so far.
        budget_ms: near which predictions matter.
    """
    rows = [(_keys(tiles, widths), ms) for widths, ms in seen if budget_ms / NEAR <= ms <= budget_ms * NEAR]
    rows = [
        (keys, ms) for keys, ms in rows if all(k in t.latency_ms for k, t in zip(keys, tiles, strict=True))
    ]
    if not rows:
        return tuple(tiles), overhead_ms
    measured = np.array([ms for _, ms in rows])
    latency = np.array([[t.latency_ms[k] for k, t in zip(keys, tiles, strict=True)] for keys, _ in rows])
    missed = measured - overhead_ms - latency.sum(axis=1)
    covariance = (WHOLE * budget_ms) ** 2 + TILE**2 * latency @ latency.T + np.diag((NOISE * measured) ** 2)
    for place in range(len(tiles)):
        same = np.array([[a[0][place] == b[0][place] for b in rows] for a in rows])
        covariance += same * ENTRY**2 * np.outer(latency[:, place], latency[:, place])
    weights = np.linalg.solve(covariance, missed)
    moved = []
    for place, tile in enumerate(tiles):
        common = TILE**2 * float(weights @ latency[:, place])
        own: dict[tuple[int, ...], float] = {}
        for (keys, _), weight in zip(rows, weights, strict=True):
            own[keys[place]] = own.get(keys[place], 0.0) + ENTRY**2 * float(weight)
        changed = {
            key: max(ms * (1 + common + own.get(key, 0.0) * ms), _LEAST * ms)
            for key, ms in tile.latency_ms.items()
        }
        moved.append(TileTable(tile.name, tile.groups, changed, tile.sigma_ms))
    return tuple(moved), overhead_ms + (WHOLE * budget_ms) ** 2 * float(weights.sum())


def _keys(tiles: Sequence[TileTable], widths: Mapping[str, int]) -> list[tuple[int, ...]]:
    return [tuple(widths[group] for group in tile.groups) for tile in tiles]
