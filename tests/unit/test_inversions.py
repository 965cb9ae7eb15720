"""Inverted steps: narrower and yet slower."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hakd.staircase.curve import TOGETHER
from hakd.staircase.inversions import in_words, inversions
from tests.unit.shapes import curve


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=30), st.floats(0, 0.2))
def test_the_slower_of_every_pair_is_listed_with_its_fastest_wider_one(latency, residual):
    made = curve(latency, residual)
    found = {one.narrow: one for one in inversions(made)}
    surely = math.exp(TOGETHER * residual)  # the interval of a ratio, here by the residual p95
    pairs = [
        (a, b)
        for b in range(len(latency))
        for a in range(b)
        if latency[a] > latency[b] * (1 + made.eps) and latency[a] > latency[b] * surely
    ]
    assert sum(one.faster for one in found.values()) == len(pairs)
    for a in {a for a, _ in pairs}:
        one = found.pop(a + 1)
        assert latency[one.wide - 1] == min(latency[a + 1 :]) and one.ratio > 1 + made.eps and one.trusted
        assert one.ratio == latency[a] / latency[one.wide - 1]
    assert not found


def test_a_comb_and_a_hump_in_words():
    comb = curve([10.0 if width % 4 else 7.0 for width in range(1, 9)])
    assert [(one.narrow, one.wide) for one in inversions(comb)] == [
        (1, 4),
        (2, 4),
        (3, 4),
        (5, 8),
        (6, 8),
        (7, 8),
    ]
    words = in_words(inversions(comb))
    assert (
        words
        == "narrower but slower: 1 is 43% slower than 4, 2 is 43% slower than 4, 3 is 43% slower than 4 and 3 more"
    )
    assert in_words([]) == ""


def test_unknown_noise_lists_nothing():
    assert inversions(curve([2.0, 1.0], None)) == []
    assert math.isinf(curve([2.0, 1.0], None).eps)


def test_noise_alone_makes_no_inversions():
    """Flat curves of 25 widths, two processes, by the tolerance that their own residual p95 gives."""
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(500):
        logs = rng.normal(0, 0.01, (25, 2))
        residual = float(np.percentile(np.abs(logs[:, 0] - logs[:, 1]), 95))
        alarms += bool(inversions(curve(np.exp(logs.mean(axis=1)), residual)))
    assert alarms <= 10  # at most 2 % of curves with any
    shifted = curve([1.1, *[1.0] * 24], 0.02)
    assert [one.narrow for one in inversions(shifted)] == [1]


def test_a_difference_within_twice_its_own_interval_is_not_listed():
    """However small the residual p95 of the curve is."""
    made = curve([1.1, 1.0, 1.0], residual=0.005)
    ends = {0.02: [], 0.03: [], 0.04: [], 0.05: []}
    for half in ends:
        low, high = (tuple(ms * math.exp(sign * half) for ms in made.latency_ms) for sign in (-1, 1))
        ends[half] = [(one.narrow, one.faster) for one in inversions(replace(made, low=low, high=high))]
    assert ends == {
        0.02: [(1, 2)],
        0.03: [(1, 2)],
        0.04: [],
        0.05: [],
    }  # log 1.1 is 0.095: 2 x sqrt(2) x 0.0337


def test_widths_of_different_scales_and_those_without_an_interval_are_not_listed():
    made = curve([2.0, 1.0, 1.5], residual=0.005)
    assert len(inversions(made)) == 1
    assert inversions(replace(made, linked=False)) == []
