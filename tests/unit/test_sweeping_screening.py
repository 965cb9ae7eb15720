"""Answers under several budgets, timed whole, against a device on which the tables are wrong."""

import math

from hypothesis import given
from hypothesis import strategies as st

from hakd.choosing.joint import Joint, NoneFits
from hakd.sweeping.screening import BETWEEN, SCALES, best_of, screen

WIDTHS = list(range(8, 257, 8))


def solve(budget_ms: float) -> Joint:
    """The widest that fits by the tables: width / 128 ms."""
    fitting = [w for w in WIDTHS if w / 128 <= budget_ms]
    if not fitting:
        raise NoneFits("none")
    return Joint({"g": fitting[-1]}, fitting[-1], {"d": fitting[-1] / 128}, {"d": fitting[-1] / 128}, 0.0)


class Bench:
    """A device that takes `factor` times what the table says, to the power of `bend`; remembers what it timed."""

    def __init__(self, factor: float = 1.0, bend: float = 1.0, broken: frozenset[int] = frozenset()) -> None:
        self.factor, self.bend, self.broken = factor, bend, broken
        self.sessions: list[list[int]] = []

    def ms(self, width: int) -> float:
        return self.factor * (width / 128) ** self.bend

    def __call__(self, answers):
        widths = [one.widths["g"] for one in answers]
        self.sessions.append(widths)
        return [None if w in self.broken else (self.ms(w), 1.001 * self.ms(w)) for w in widths]


@given(st.floats(0.87, 1.25), st.floats(0.5, 2.0))
def test_what_is_best_was_measured_to_keep_the_budget_and_little_was_left(factor, bend):
    bench = Bench(factor, bend)
    answers = screen(solve, bench, 1.0)
    widths = [width for session in bench.sessions for width in session]
    assert len(widths) == len(set(widths)) <= len(SCALES) + len(BETWEEN) and len(bench.sessions) <= 2
    best = best_of(answers, 1.0)
    fitting = [w for w in widths if 1.001 * bench.ms(w) <= 1.0]
    assert (best is None) == (not fitting)
    if best is not None:
        width = best.widths["g"]
        assert width == max(fitting)
        assert best.latency_ms == {"d": bench.ms(width)} and best.upper_ms["d"] <= 1.0
        above = [w for w in widths if w > width]
        if above:  # the next answer that does not fit is a step or two of 8 away, not a tenth of the budget
            assert min(above) - width <= 16


def test_nothing_that_fits_is_nothing():
    answers = screen(solve, Bench(factor=3.0), 1.0)
    assert answers and best_of(answers, 1.0) is None and best_of([], 1.0) is None

    def never(budget_ms):
        raise NoneFits("none")

    bench = Bench()
    assert screen(never, bench, 1.0) == [] and bench.sessions == []


def test_what_could_not_be_timed_is_left_out():
    bench = Bench(broken=frozenset({128, 120}))
    answers = screen(solve, bench, 1.0)
    assert {128, 120}.isdisjoint(one.found.widths["g"] for one in answers)
    assert best_of(answers, 1.0).widths["g"] == 112


@given(st.floats(0.5, 1.0))
def test_a_tighter_budget_takes_a_narrower_answer_that_was_timed(asked):
    answers = screen(solve, Bench(factor=0.9), 1.0)
    found = best_of(answers, asked)
    assert found is None or found.upper_ms["d"] <= asked
    assert found is None or math.isclose(found.latency_ms["d"], 0.9 * found.widths["g"] / 128)
