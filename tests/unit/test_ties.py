"""The rules by which channels travel, each by itself, without any network format."""

import pytest

from hakd.importing.ties import ChannelRun, ChannelTies


def layers(*sizes: int) -> ChannelTies:
    """Layers 0, 1, ... that make `t0`, `t1`, ... of these sizes from an image `x` of 3 channels."""
    ties = ChannelTies()
    ties.start("x", 3)
    for maker, size in enumerate(sizes):
        ties.make(f"t{maker}", size, maker)
    return ties


def width(ties: ChannelTies, name: str) -> int:
    """The one width of a tensor."""
    (run,) = ties.channels[name]
    return ties.find(run.width)


def test_a_layer_makes_a_width_and_the_input_has_one_that_no_layer_makes():
    ties = layers(8)
    assert ties.made_by == {width(ties, "t0"): [0]} and ties.extent(ties.channels["x"]) == 3
    assert width(ties, "x") not in ties.made_by and not ties.is_inner(width(ties, "x"))


def test_what_is_added_stays_alike():
    ties = layers(8, 8, 8)
    assert ties.tie_all(["t0", "t1", "t2"], "sum", 8, "Add") and ties.keep("sum", "relu")
    assert len({width(ties, name) for name in ("t0", "t1", "t2", "sum", "relu")}) == 1
    assert sorted(ties.made_by[width(ties, "relu")]) == [0, 1, 2] and not ties.reasons


def test_one_channel_for_all_stays_one():
    ties = layers(8, 1)
    assert ties.tie_all(["t1", "t0"], "gated", 8, "Mul (m)")
    assert width(ties, "gated") == width(ties, "t0") != width(ties, "t1")
    assert ties.reasons == {width(ties, "t1"): "Mul (m) spreads one channel over all"}
    assert ties.is_inner(width(ties, "t0"))


def test_what_is_laid_side_by_side_keeps_its_widths():
    ties = layers(8, 4)
    assert ties.join(["t0", "t1", "x"], "cat") and ties.spread("cat", "flat", 49)
    assert [run.times for run in ties.channels["flat"]] == [49] * 3
    assert ties.extent(ties.channels["cat"]) == 15 and ties.extent(ties.channels["flat"]) == 15 * 49
    assert ties.extent(ties.channels["flat"], {width(ties, "t0"): 5}) == 12 * 49
    assert ties.spread("flat", "again", 2) and ties.channels["again"][0] == ChannelRun(width(ties, "t0"), 98)


def test_widths_put_together_differently_are_fixed():
    ties = layers(8, 4, 4)
    assert ties.join(["t1", "t2"], "cat") and ties.tie_all(["t0", "cat"], "sum", 8, "Add")
    assert set(ties.reasons) == {width(ties, f"t{maker}") for maker in range(3)}


def test_an_op_that_is_not_followed_fixes_both_sides():
    ties = layers(8)
    ties.fix_between(["t0", "unknown"], {"a": 4, "b": 2}, "why")
    assert ties.reasons == {width(ties, name): "why" for name in ("t0", "a", "b")}
    assert [ties.extent(ties.channels[name]) for name in ("a", "b")] == [4, 2]


@pytest.mark.parametrize(
    "rule",
    [
        lambda ties: ties.keep("unknown", "y"),
        lambda ties: ties.spread("unknown", "y", 4),
        lambda ties: ties.join(["t0", "unknown"], "y"),
        lambda ties: ties.join([], "y"),
        lambda ties: ties.tie_all(["t0", "unknown"], "y", 8, "Add"),
        lambda ties: ties.tie_all(["t0", "t1"], "y", 16, "Add"),
    ],
)
def test_a_rule_that_cannot_be_applied_changes_nothing(rule):
    ties, before = layers(8, 8), layers(8, 8)
    assert not rule(ties)
    assert ties == before


def test_inner_widths_meet_nothing():
    ties = layers(8, 8, 8, 4)
    ties.keep("t0", "relu")
    ties.tie_all(["t1", "t2"], "sum", 8, "Add")
    ties.join(["t3", "sum"], "cat")
    inner = {name: ties.is_inner(width(ties, name)) for name in ("relu", "t1", "t2", "t3")}
    assert inner == {"relu": True, "t1": False, "t2": False, "t3": False}
    ties.tie_all(["relu", "t0"], "own", 8, "Add")
    assert not ties.is_inner(width(ties, "t0"))
