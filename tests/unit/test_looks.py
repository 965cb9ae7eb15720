"""How often things are timed: at most so many looks now, the stored ones first, and none without hope."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.boards import Burst, Device, Point, Protocol
from hakd.staircase.estimate import ratio, student
from hakd.staircase.ratio import SAME, Ratio
from hakd.study.measuring import Measuring
from hakd.sweeping.looks import LOOKS, MOST, compare_networks, confidence_at, hopeless, looks, merge

POINTS = [Point(key, key, lambda: b"", None, (1, 1)) for key in ("new", "old")]


class Bench:
    """A board that times two networks in processes of its own, and keeps what it timed in a store beyond the session.

    log_ratio: true, of `new` over `old`; sigma: of each process's; lost: processes that time only the first network.
    """

    def __init__(
        self, store: dict, log_ratio: float = 0.0, sigma: float = 0.0, lost: bool = False, seed: int = 0
    ):
        self.device, self.timed, self.failures = Device("bench"), 0, {}
        self._store, self._log_ratio, self._sigma, self._lost = store, log_ratio, sigma, lost
        self._rng = np.random.default_rng(seed)

    def measure(
        self, points: list[Point], protocol: Protocol, purpose: str = "sweep"
    ) -> dict[str, list[Burst]]:
        if purpose not in self._store:
            self._store[purpose] = {point.key: [] for point in points}
            for number in range(protocol.processes):
                gap = self._log_ratio + self._sigma * self._rng.standard_normal()
                for point, log in zip(points, (gap, 0.0), strict=True):
                    ns = 1e6 * math.exp(log)
                    one = Burst(point.key, f"{purpose}.{number}", 0, 0, 20, ns, ns, 0, None, 1.0)
                    if point.key == "new" or not self._lost:
                        self._store[purpose][point.key].append(one)
                        self.timed += 1
        return {key: list(found) for key, found in self._store[purpose].items()}


def session(store: dict, most: int = 99) -> list[int]:
    """Numbers of the looks of a session that ends by itself, or after `most` of them."""
    board, found = Bench(store), []
    for look in looks(board):
        found.append(look)
        board.measure(POINTS, Protocol(processes=1), f"look{look}")
        if len(found) == most:
            break
    return found


def test_a_session_times_four_looks_and_those_of_earlier_ones_come_first():
    store = {}
    assert session(store) == [1, 2, 3, 4]
    assert session(store) == list(range(1, 9))
    assert session(store) == list(range(1, 13)) and len(store) == MOST
    assert session(store) == list(range(1, 13)) and len(store) == MOST  # nothing is left to time


@given(st.lists(st.integers(1, MOST), max_size=6))
def test_sessions_that_were_cut_off_leave_four_more_to_each_and_twelve_to_all(ends):
    store = {}
    for most in ends:
        before = len(store)
        found = session(store, most)
        assert found == list(range(1, min(most, before + LOOKS, MOST) + 1))
        assert len(store) == max(before, len(found)) <= MOST


def test_looks_that_time_nothing_end_at_twelve():
    """As where all points fail."""
    assert list(looks(Bench({}))) == list(range(1, MOST + 1))


def test_the_intervals_of_all_looks_hold_together():
    risks = [1 - confidence_at(look) for look in range(1, MOST + 1)]
    assert sum(risks) == pytest.approx(0.05)
    assert sum(risks[:LOOKS]) == pytest.approx(0.75 * 0.05)
    assert len(set(risks[:LOOKS])) == len(set(risks[LOOKS:])) == 1 and risks[0] > risks[-1]


def ends(log_ratio: float, seed: int, processes: int = 5) -> Iterator[tuple[int, bool, bool]]:
    """(look, shown to be at most 1, given up) at each look of a session; processes scatter by 1 %."""
    rng = np.random.default_rng(seed)
    logs = np.empty(0)
    for look in range(1, LOOKS + 1):
        logs = np.append(logs, log_ratio + 0.01 * rng.standard_normal(processes))
        low, high = student(logs[None, :], confidence_at(look))
        found = Ratio(*(float(np.exp(value)) for value in (logs.mean(), low[0], high[0])))
        yield look, found.kept, hopeless(found, look)


def outcome(log_ratio: float, seed: int) -> tuple[int, str]:
    """The look that ended it, and how; `lost`: given up although a later look would have shown it."""
    given_up = 0
    for look, faster, without_hope in ends(log_ratio, seed):
        if faster:
            return (given_up, "lost") if given_up else (look, "faster")
        given_up = given_up or (look if without_hope else 0)
    return (given_up, "given up") if given_up else (look, "open")


def test_equal_networks_are_given_up_early_and_hardly_ever_shown_to_be_faster():
    found = [outcome(0.0, seed) for seed in range(600)]
    early = [look for look, word in found if word == "given up"]
    assert len(early) / len(found) > 0.8 and np.median(early) <= 2 and max(early) < LOOKS
    assert sum(word == "faster" for _, word in found) / len(found) <= 0.03


@pytest.mark.parametrize(("errors", "most"), [(3.4, 0.17), (4.0, 0.08), (5.0, 0.02)])
def test_networks_that_four_looks_would_show_to_be_faster_are_hardly_ever_given_up(errors, most):
    """errors: so many standard errors of the mean of all four looks."""
    log_ratio = -errors * 0.01 / (5 * LOOKS) ** 0.5
    words = [outcome(log_ratio, seed)[1] for seed in range(1000)]
    lost, shown_ = words.count("lost"), words.count("faster")
    assert lost / (lost + shown_) <= 0.04  # of those that four looks would show
    assert (lost + words.count("given up")) / len(words) <= most
    assert shown_ / len(words) > 0.7


def test_slower_networks_are_given_up_sooner_than_equal_ones():
    slower = [outcome(0.01, seed) for seed in range(200)]
    assert {word for _, word in slower} == {"given up"}
    assert np.mean([look for look, _ in slower]) < 1.2


def test_there_is_always_hope_at_the_last_look_and_never_without_noise():
    assert not hopeless(Ratio(1.5, 1.4, 1.6), LOOKS) and not hopeless(Ratio(1.5, 1.4, 1.6), MOST)
    assert hopeless(Ratio(1.0001, 1.0001, 1.0001), 1) and not hopeless(SAME, 1)


def compared(bursts, confidence):
    return ratio(bursts, "new", "old", confidence)


@pytest.mark.parametrize(
    ("log_ratio", "wanted"), [(-0.1, 1), (-0.016, 1), (0.1, 1)], ids=["faster", "hardly faster", "slower"]
)
def test_what_is_plain_is_shown_at_the_first_look(log_ratio, wanted):
    store = {}
    board = Bench(store, log_ratio, sigma=0.002)
    found = compare_networks(board, POINTS, Measuring(), "verify:x", compared)
    assert (
        found.value == pytest.approx(math.exp(log_ratio), rel=0.01) and found.low < found.value < found.high
    )
    assert found.kept == (log_ratio < 0) and len(store) == wanted
    assert list(store) == [f"verify:x:look1:{Measuring().visits}"]
    bursts = next(iter(store.values()))
    assert found == ratio(bursts, "new", "old", confidence_at(1))


@pytest.mark.parametrize("seed", range(6))
def test_what_needs_more_looks_gets_them_as_long_as_there_is_hope(seed):
    """2 % faster, of processes that scatter by 2.5 %: 3.6 standard errors of the mean of four looks."""
    store, board, steps = {}, Bench({}, -0.02, sigma=0.025, seed=seed), []
    board = Bench(store, -0.02, sigma=0.025, seed=seed)

    def compare(bursts, confidence):
        steps.append((compared(bursts, confidence), confidence))
        return steps[-1][0]

    found = compare_networks(board, POINTS, Measuring(), "verify:x", compare)
    assert found == steps[-1][0] and len(steps) == len(store) <= LOOKS
    for look, (seen, confidence) in enumerate(steps, start=1):
        assert confidence == confidence_at(look)
        ended = seen.kept or seen.low > 1 or hopeless(seen, look) or look == LOOKS
        assert ended == (look == len(steps))
    again = compare_networks(
        Bench(store, -0.02, sigma=0.025, seed=seed + 50), POINTS, Measuring(), "verify:x", compared
    )
    if found.kept or found.low > 1:
        assert again == found  # a later session says the same, and times nothing
    else:
        assert len(store) > len(steps) or again == found


@pytest.mark.parametrize("lost", [True, False])
def test_what_cannot_be_compared_is_none_after_all_looks(lost):
    board = Bench({}, sigma=0.01, lost=True)
    assert compare_networks(board, POINTS, Measuring(), "verify:x", compared) is None
    assert board.timed == LOOKS * Measuring().benchmark_processes


def test_bursts_are_merged_once():
    first = Burst("k", "p", 0, 0, 20, 1.0, 1.0, 0, None, 1.0)
    second, third = (Burst("k", "p", turn, 0, 20, 1.0, 1.0, 0, None, 1.0) for turn in (1, 2))
    bursts = {}
    for found in ({"k": [first, second]}, {"k": [second, third], "l": []}, {"k": [first]}):
        merge(bursts, found)
    assert bursts == {"k": [first, second, third], "l": []}
