"""Widths chosen without a device: budgets are kept, and nothing wider fits."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hakd.choosing.baselines import (
    aligned_scalings,
    random_widths,
    round_to,
    rounded_scalings,
    scaled_profile,
    uniform,
    uniform_aligned,
)
from hakd.records.errors import HakdError

fulls = st.lists(st.integers(1, 120), min_size=1, max_size=6).map(
    lambda s: {f"g{i}": w for i, w in enumerate(s)}
)
levels = st.one_of(st.floats(0.05, 1), st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.7, 1.0]))


def chain_macs(widths):
    """A chain of 1x1 convolutions over 3 input channels, 10 classes, on 4 pixels; fixed input and output."""
    sizes = [3, *widths.values(), 10]
    return 4 * sum(a * b for a, b in itertools.pairwise(sizes))


def fits(full, level):
    """Whether widths of 1 meet the budget."""
    return chain_macs(dict.fromkeys(full, 1)) <= Fraction(str(level)) * chain_macs(full)


@settings(max_examples=150, deadline=None)
@given(fulls, levels)
def test_uniform_is_the_largest_multiplier(full, level):
    """Against every multiplier at which a width changes, one after the other."""
    budget = Fraction(str(level)) * chain_macs(full)
    steps = sorted({Fraction(k, size) for size in full.values() for k in range(size + 1)})
    fitting = [
        widths
        for m in steps
        if chain_macs(widths := {g: max(1, int(m * size)) for g, size in full.items()}) <= budget
    ]
    if fitting:
        assert uniform(full, level, chain_macs) == fitting[-1]
    else:
        assert not fits(full, level)
        with pytest.raises(HakdError, match="Raise the level"):
            uniform(full, level, chain_macs)


@settings(max_examples=150, deadline=None)
@given(fulls, levels, st.sampled_from([8, 16]))
def test_uniform_aligned_keeps_budget_and_multiples(full, level, multiple):
    widths = uniform_aligned(full, level, chain_macs, multiple)
    assert list(widths) == list(full)
    for group, width in widths.items():
        assert min(multiple, full[group]) <= width <= full[group]
        assert width % multiple == 0 or width == full[group]
    smallest = {group: min(multiple, size) for group, size in full.items()}
    budget = Fraction(str(level)) * chain_macs(full)
    assert chain_macs(widths) <= budget or widths == smallest


@settings(max_examples=100, deadline=None)
@example(
    {"g0": 9, "g1": 68}, 0.96875, 8
)  # at the multiplier 1 not the full widths, but their nearest multiples
@given(fulls, levels, st.sampled_from([8, 16]))
def test_uniform_aligned_is_the_largest_multiplier(full, level, multiple):
    """Against a fine grid of multipliers, rounded by the definition."""
    budget = Fraction(str(level)) * chain_macs(full)
    ours = uniform_aligned(full, level, chain_macs, multiple)
    for step in range(1, 401):
        m = Fraction(step, 400)
        widths = {
            group: min(max(multiple, (2 * m * size + multiple) // (2 * multiple) * multiple), size)
            for group, size in full.items()
        }
        if chain_macs(widths) > budget:
            break
        assert all(widths[group] <= ours[group] for group in full)


@settings(max_examples=100, deadline=None)
@given(fulls, levels, st.integers(0, 5))
def test_random_widths_fit_and_fill_the_budget(full, level, seed):
    if not fits(full, level):
        with pytest.raises(HakdError, match="Raise the level"):
            random_widths(full, level, chain_macs, seed)
        return
    widths = random_widths(full, level, chain_macs, seed)
    budget = Fraction(str(level)) * chain_macs(full)
    assert widths == random_widths(full, level, chain_macs, seed)
    assert all(1 <= widths[group] <= full[group] for group in full)
    assert chain_macs(widths) <= budget
    if level == 1:
        assert widths == full


@settings(max_examples=100, deadline=None)
@given(fulls, levels, st.data())
def test_a_scaled_profile_fits_and_nothing_wider_in_its_proportions_does(full, level, data):
    """Against every multiplier at which a width changes."""
    profile = {group: data.draw(st.integers(1, size)) for group, size in full.items()}
    budget = Fraction(str(level)) * chain_macs(full)
    steps = sorted({Fraction(k, profile[g]) for g, size in full.items() for k in range(1, size + 1)})
    fitting = [
        widths
        for m in steps
        if chain_macs(widths := {g: min(full[g], max(1, int(m * profile[g]))) for g in full}) <= budget
    ]
    if fitting:
        assert scaled_profile(full, profile, level, chain_macs) == fitting[-1]
    else:
        assert not fits(full, level)
        with pytest.raises(HakdError, match="Raise the level"):
            scaled_profile(full, profile, level, chain_macs)


def test_random_widths_differ_by_seed_and_come_close_to_the_level():
    full = {f"g{i}": 64 for i in range(8)}
    found = [random_widths(full, 0.4, chain_macs, seed) for seed in range(10)]
    assert len({tuple(widths.values()) for widths in found}) == 10
    assert all(0.37 < chain_macs(widths) / chain_macs(full) <= 0.4 for widths in found)


def test_level_one_is_the_full_network():
    full = {"a": 33, "b": 64, "c": 7}
    assert uniform(full, 1.0, chain_macs) == uniform_aligned(full, 1.0, chain_macs) == full


def test_levels_are_read_as_decimals():
    """0.7 of 10 x MACs is exactly 7 x: in binary fractions 0.7 is a little less."""
    full = {"a": 100}
    assert uniform(full, 0.7, lambda w: w["a"]) == {"a": 70}
    assert uniform(full, 0.29, lambda w: w["a"]) == {"a": 29}


def test_few_calls_of_a_costly_counter():
    calls = []
    full = {f"g{i}": 2**i * 3 for i in range(11)}
    uniform(full, 0.5, lambda w: calls.append(1) or chain_macs(w))
    assert len(calls) < 20


@given(fulls, st.sampled_from([8, 16, 32]), st.data())
def test_rounding_up_is_the_next_multiple_or_the_full_width(full, multiple, data):
    widths = {group: data.draw(st.integers(1, size)) for group, size in full.items()}
    for group, width in round_to(widths, full, multiple).items():
        assert widths[group] <= width <= full[group]
        assert width == full[group] or (width % multiple == 0 and width - widths[group] < multiple)


@settings(max_examples=25, deadline=None)
@given(fulls, st.sampled_from([8, 16]), st.data())
def test_scalings_are_all_networks_of_a_profile_narrow_to_wide(full, multiple, data):
    """Against a fine grid of multipliers, rounded by the definition."""
    profile = {group: data.draw(st.integers(1, size)) for group, size in full.items()}
    rounded, aligned = rounded_scalings(profile, full, multiple), aligned_scalings(full, multiple)
    assert round_to(profile, full, multiple) in rounded and rounded[-1] == aligned[-1] == full
    for scalings in (rounded, aligned):
        for narrow, wide in itertools.pairwise(scalings):
            assert narrow != wide and all(narrow[group] <= wide[group] for group in full)
        for widths in scalings:
            assert all(width % multiple == 0 or width == full[group] for group, width in widths.items())
    for step in range(1, 41):
        m = Fraction(step, 9)
        assert {g: min(-(-m * w // multiple) * multiple, full[g]) for g, w in profile.items()} in rounded
    assert uniform_aligned(full, 0.6, chain_macs, multiple) in aligned


def test_bad_input_is_one_clear_error():
    full = {"a": 32}
    for level in (0, -0.5, 1.5, float("nan")):
        with pytest.raises(HakdError, match=r"level: .* is not in \(0, 1\]"):
            uniform(full, level, chain_macs)
    with pytest.raises(HakdError, match=r"level 0.001: widths of 1 give 52, the level allows 2"):
        uniform(full, 0.001, chain_macs)
    with pytest.raises(HakdError, match=r"a: width 33 is not in 1\.\.32"):
        round_to({"a": 33}, full)
    with pytest.raises(HakdError, match=r"b: width 3 is not in 1\.\.0"):
        round_to({"b": 3}, full)
    with pytest.raises(HakdError, match="multiple: 0 is not a multiple"):
        round_to({"a": 3}, full, 0)
    with pytest.raises(HakdError, match="widths: a network needs groups"):
        uniform({}, 0.5, chain_macs)
    assert uniform_aligned(full, 0.001, chain_macs, 16) == {"a": 16}
