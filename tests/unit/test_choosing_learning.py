"""Tables of tiles that learn from whole networks, on devices whose tiles take other times inside a network."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.choosing.learning import NEAR, learn
from hakd.choosing.tile_costs import Cost, TileTable, latency_of

GROUPS = ("a", "b", "c", "d")
WIDTHS = (8, 16, 24, 32)


def tables(rng: np.random.Generator) -> list[TileTable]:
    """A chain of pairs; a table takes about a quarter of a millisecond."""
    made = []
    for pair in itertools.pairwise(GROUPS):
        latency = {(x, y): x * y / 2048 * rng.uniform(0.9, 1.1) for x, y in itertools.product(WIDTHS, WIDTHS)}
        made.append(TileTable("-".join(pair), pair, latency, dict.fromkeys(latency, 0.01)))
    return made


def networks(rng: np.random.Generator, count: int) -> list[dict[str, int]]:
    return [{group: int(rng.choice(WIDTHS)) for group in GROUPS} for _ in range(count)]


def inside(tiles, rng, spread):
    """The same tiles as they are inside a network, and what that takes beyond them."""
    factors = np.exp(rng.normal(0, spread, len(tiles)))
    moved = [
        TileTable(t.name, t.groups, {k: ms * f for k, ms in t.latency_ms.items()}, t.sigma_ms)
        for t, f in zip(tiles, factors, strict=True)
    ]
    return Cost("true", moved, 1.0, float(rng.uniform(-0.2, 0.2)))


@pytest.mark.parametrize("seed", range(5))
def test_networks_that_were_not_timed_are_predicted_better_as_well(seed):
    rng = np.random.default_rng(seed)
    tiles = tables(rng)
    true = inside(tiles, rng, 0.15)
    near = [w for w in networks(rng, 200) if 0.6 <= latency_of(true, w)[0] <= 1.5]
    timed, others = near[:12], near[12:]
    seen = [(w, latency_of(true, w)[0]) for w in timed]
    after = Cost("after", *learned_at(tiles, 0.0, seen))
    before = Cost("before", tiles, 1.0, 0.0)

    def missed(cost, some):
        return float(
            np.sqrt(np.mean([(latency_of(cost, w)[0] / latency_of(true, w)[0] - 1) ** 2 for w in some]))
        )

    assert missed(after, timed) < 0.015
    assert missed(after, others) < 0.5 * missed(before, others)


def learned_at(tiles, overhead_ms, seen):
    moved, overhead = learn(tiles, overhead_ms, seen, 1.0)
    return moved, 1.0, overhead


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.floats(0.0, 1.0), st.floats(0.1, 3.0))
def test_entries_stay_positive_and_errors_as_they_were(seed, count, spread, scale):
    rng = np.random.default_rng(seed)
    tiles = tables(rng)
    true = inside(tiles, rng, spread)
    seen = [(w, max(1e-3, scale * latency_of(true, w)[0])) for w in networks(rng, count)]
    moved, overhead = learn(tiles, 0.0, seen, 1.0)
    assert np.isfinite(overhead)
    for before, after in zip(tiles, moved, strict=True):
        assert (after.name, after.groups, after.sigma_ms) == (before.name, before.groups, before.sigma_ms)
        assert before.latency_ms.keys() == after.latency_ms.keys() and min(after.latency_ms.values()) > 0


def test_nothing_is_learned_from_what_is_far_away_or_not_in_the_tables():
    tiles = tables(np.random.default_rng(0))
    widths = dict.fromkeys(GROUPS, 16)
    for seen in ([], [(widths, 1.01 * NEAR)], [(widths, 0.99 / NEAR)], [({**widths, "b": 9}, 1.0)]):
        assert learn(tiles, 0.1, seen, 1.0) == (tuple(tiles), 0.1)
    assert learn(tiles, 0.1, [(widths, 1.0)], 1.0) != (tuple(tiles), 0.1)


def test_what_the_tables_have_right_stays():
    rng = np.random.default_rng(3)
    tiles = tables(rng)
    cost = Cost("d", tiles, 1.0, 0.05)
    seen = [(w, latency_of(cost, w)[0]) for w in networks(rng, 6)]
    moved, overhead = learn(tiles, 0.05, seen, 1.0)
    assert overhead == pytest.approx(0.05)
    for before, after in zip(tiles, moved, strict=True):
        assert list(after.latency_ms.values()) == pytest.approx(list(before.latency_ms.values()))
