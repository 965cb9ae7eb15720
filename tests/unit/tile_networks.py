"""Small networks given as latency tables of their tiles, and their best widths by brute force."""

import itertools

import numpy as np

from hakd.choosing.tile_costs import Cost, TileTable, latency_of

SHAPES = {
    "chain": [(0,), (0, 1), (1, 2), (2, 3), (3,)],
    "dense": [(), (0,), (1,), (2,), (3,), ()],
    "residual": [(0,), (0, 1, 2), (0, 2), (2, 3, 0), (3,)],
    # Two stages, 0 and 3, whose blocks share them; the first block of the second one takes both.
    "stages": [(0,), (0, 1), (0, 2), (0, 4, 3), (3, 5), (3,)],
}


def small(shape: str, seed: int, widths: int | None = None, noise: float = 0.03, hump: float = 1.0):
    """Values and tiles of a network with steps of 16 over outputs and a comb of 4 over inputs.

    33 to 48 outputs cost `hump` times as much.
    """
    rng = np.random.default_rng(seed)
    groups = 1 + max(itertools.chain(*SHAPES[shape]))
    widths = widths or (4 if groups < 6 else 3)
    own = [sorted(rng.choice(np.arange(4, 65), widths, replace=False).tolist()) for _ in range(groups)]
    names = [f"g{i}" for i in range(groups)]
    values = {}
    for name, some in zip(names, own, strict=True):
        scale = 10 ** rng.uniform(-3, 1)
        values[name] = {w: -scale * float(64 - w) ** rng.uniform(0.8, 1.6) for w in some}
    tiles = []
    for number, members in enumerate(SHAPES[shape]):
        latency = {}
        for key in itertools.product(*(own[i] for i in members)):
            first, last = (key[0], key[-1]) if key else (1, 1)
            work = -(-last // 16) * 16 * sum(key or (1,)) * (1.35 if first % 4 else 1)
            work *= hump if 33 <= last <= 48 else 1
            latency[key] = 0.01 + 1e-5 * work
        errors = {key: ms * noise * rng.uniform(0.2, 2) for key, ms in latency.items()}
        tiles.append(TileTable(f"t{number}", tuple(names[i] for i in members), latency, errors))
    return values, tiles


def every(values):
    """All widths there are."""
    for case in itertools.product(*values.values()):
        yield dict(zip(values, case, strict=True))


def brute_force(values, costs):
    """The best value that keeps all budgets; None when nothing does."""
    fits = [
        sum(values[group][width] for group, width in widths.items())
        for widths in every(values)
        if all(latency_of(cost, widths)[1] <= cost.budget_ms for cost in costs)
    ]
    return max(fits, default=None)


def budget_at(values, tiles, share):
    """The quantile of the upper bounds of all networks."""
    uppers = [latency_of(Cost("d", tiles, 1.0), widths)[1] for widths in every(values)]
    return float(np.quantile(uppers, share))
