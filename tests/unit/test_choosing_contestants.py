"""Who may race: networks apart from each other, profiles scaled into a budget, and what is shown to keep it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.choosing.contestants import (
    DISTINCT,
    ORIGINS,
    RUNNER_UP,
    Answer,
    apart,
    bracket,
    distance,
    evenly,
    line_up,
    runners_up,
    within,
)
from hakd.choosing.joint import choose
from hakd.choosing.race import ALIGNED, JOINT, REFERENCE
from hakd.choosing.tile_costs import Cost, TileTable
from hakd.records.errors import HakdError

WIDTHS = st.fixed_dictionaries({"a": st.integers(1, 64), "b": st.integers(1, 64)})


@given(WIDTHS, WIDTHS)
def test_distance_is_one_where_all_widths_differ_by_two(one, other):
    assert distance(one, one) == 0 and distance(one, other) == pytest.approx(distance(other, one))
    assert distance(one, {group: 2 * width for group, width in one.items()}) == pytest.approx(1)
    assert (distance(one, other) == 0) == (one == other)


@given(st.integers(1, 300), st.integers(2, 6), st.data())
def test_the_widest_in_time_is_found_in_few_sessions(size, count, data):
    widest = data.draw(st.integers(-1, size - 1))
    keeps: dict[int, bool] = {}
    sessions = 0
    while places := evenly(*bracket(keeps, size), count):
        low, high = bracket(keeps, size)
        sessions += 1
        assert len(set(places)) == len(places) <= count and all(low < place < high for place in places)
        keeps |= {place: place <= widest for place in places}
    assert bracket(keeps, size) == (widest, widest + 1)
    assert sessions <= 1 + math.ceil(math.log(size + 1, count + 1) * 1.5)


def test_of_a_hump_the_widest_that_keeps_the_budget_counts():
    assert bracket({0: True, 3: False, 5: True, 8: False, 9: False}, 12) == (5, 8)
    assert bracket({4: False}, 12) == (-1, 4) and bracket({}, 12) == (-1, 12)


def chain(groups: int = 6):
    """Widths 16 to 64 a group; each is worth and costs about as much as in any other group."""
    widths = range(16, 72, 8)
    values = {f"g{i}": {w: -((64 - w) * (1 + 0.01 * i)) for w in widths} for i in range(groups)}
    tiles = [
        TileTable(f"t{i}", (f"g{i}",), {(w,): w / 64 for w in widths}, {(w,): 0.0 for w in widths})
        for i in range(groups)
    ]
    return values, Cost("d", tiles, 0.6 * groups)


def test_answers_apart_from_the_best_are_others_and_lose_little():
    values, cost = chain()
    best = choose(values, [cost])
    assert apart(values, best.widths, []) == values
    found = [best.widths]
    for _ in range(3):
        other = choose(apart(values, best.widths, found), [cost]).widths
        assert min(distance(other, one) for one in found) >= DISTINCT
        lost = sum(values[group][width] for group, width in other.items())
        assert 1.5 * best.value <= lost <= best.value
        found.append(other)


def answers(*some: tuple[str, int, float]) -> list[Answer]:
    """(origin, width of both groups, worth)."""
    return [Answer(origin, {"a": width, "b": width}, worth, 1.0, 1.0) for origin, width, worth in some]


@given(
    st.lists(st.tuples(st.sampled_from(ORIGINS), st.integers(8, 16), st.floats(0, 1)), max_size=25),
    st.integers(1, 9),
)
def test_a_line_up_has_each_origin_once_and_no_near_copies(some, most):
    given_ = answers(*some)
    found = line_up(given_, most)
    assert len(found) <= most and all(one in given_ for one in found)
    places = [ORIGINS.index(one.origin) for one in found]
    assert places == sorted(places)
    for origin in ORIGINS[:-1]:
        own = [one for one in found if one.origin == origin]
        assert len(own) <= 1
        assert all(one.worth == max(a.worth for a in given_ if a.origin == origin) for one in own)
    for i, one in enumerate(found):
        gaps = [distance(one.widths, other.widths) for other in found[:i]]
        assert all(gap >= DISTINCT or (one.origin in ALIGNED and gap > 0) for gap in gaps)
    if any(one.origin == JOINT for one in given_):
        assert found[0].origin == JOINT


def test_runners_up_are_the_best_apart_from_what_is_taken():
    pool = answers((RUNNER_UP, 32, 0.9), (RUNNER_UP, 33, 1.0), (RUNNER_UP, 64, 0.5), (RUNNER_UP, 16, 0.1))
    found = runners_up(pool, [{"a": 63, "b": 63}], 5)
    assert [one.widths["a"] for one in found] == [33, 16]
    assert runners_up(pool, [], 1)[0].worth == 1.0


def test_only_what_is_shown_to_keep_the_budget_races():
    own, other, slow = answers((JOINT, 32, 0.0), (RUNNER_UP, 64, -1.0), ("round16", 48, 3.0))
    slow = Answer(slow.origin, slow.widths, slow.worth, 0.99, 1.01)
    found, reason = within([own, other, slow], 1.0, 8)
    assert [one.origin for one in found] == [JOINT, RUNNER_UP] and all(one.kept for one in found)
    assert reason == "2 networks within the budget"
    late = Answer(JOINT, own.widths, 0.0, 0.995, 1.003)
    assert within([late, slow], 1.0, 8, verified=True)[0] == [
        Answer(JOINT, own.widths, 0.0, 0.995, 1.003, kept=True)
    ]


def test_without_any_it_is_the_budgets_own_network_or_the_closest():
    measured = answers((JOINT, 32, 0.0), ("round16", 64, 4.0), ("round16", 48, 3.0))
    measured[1] = Answer("round16", measured[1].widths, 4.0, 1.2, 1.3)
    (own,), reason = within(measured, 0.9, 8, {"a": 5, "b": 6})
    assert (own.origin, dict(own.widths), own.upper_ms, own.kept) == (REFERENCE, {"a": 5, "b": 6}, 0.9, True)
    assert "the network that gave it" in reason
    found, reason = within(measured, 0.9, 8)
    assert [one.widths["a"] for one in found] == [32, 48] and not any(one.kept for one in found)
    assert reason == "no network is shown to meet the budget: the closest one is taken"
    with pytest.raises(HakdError, match="no contestant could be timed"):
        within([], 0.9, 8)
