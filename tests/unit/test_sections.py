"""Sections with one way in and one way out, of networks given as lists of names; compared with a search of all."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from hakd.records.sections import Section, Sections

RESIDUAL = Sections(
    [["x"], ["a"], ["b"], ["c", "a"], ["d"]], [["a"], ["b"], ["c"], ["d"], ["y"]], sources=["x"], exits=["y"]
)


def test_a_chain_is_cut_at_the_nodes_asked_for():
    assert RESIDUAL.around([0]) == Section((0,), "x", "a")
    assert RESIDUAL.around([1, 2]) == Section((1, 2), "a", "c")


def test_what_has_a_way_around_it_is_cut_with_the_shortcut():
    assert RESIDUAL.around([3]) == Section((1, 2, 3), "a", "d")
    assert RESIDUAL.around([2, 4]) == Section((1, 2, 3, 4), "a", "y")


def test_several_sources_have_no_section_around_where_they_meet():
    sections = Sections([["x"], ["y"], ["a", "b"], ["c"]], [["a"], ["b"], ["c"], ["d"]], ["x", "y"], ["d"])
    assert sections.around([0]) == Section((0,), "x", "a")
    assert sections.around([2]) is None
    assert sections.around([3]) == Section((3,), "c", "d")


def test_what_leads_to_several_outputs_has_none():
    sections = Sections([["x"], ["a"], ["a"]], [["a"], ["b"], ["c"]], ["x"], ["b", "c"])
    assert sections.around([0, 1]) is None
    assert sections.around([1]) == Section((1,), "a", "b")


@st.composite
def networks(draw):
    """Inputs of up to seven nodes, each of one or two tensors made before; node i makes tensor i + 1 of tensor 0."""
    size = draw(st.integers(1, 7))
    return [draw(st.lists(st.integers(0, i), min_size=1, max_size=2, unique=True)) for i in range(size)]


@given(networks(), st.data())
def test_a_section_is_the_smallest_that_there_is(inputs, data):
    nodes = range(len(inputs))
    used = {name for names in inputs for name in names}
    exits = [i + 1 for i in nodes if i + 1 not in used]
    asked = data.draw(st.sets(st.sampled_from(nodes), min_size=1))

    def borders(members):
        made = {i + 1 for i in members}
        sources = {name for i in members for name in inputs[i]} - made
        targets = {n for n in made if n in exits or any(n in inputs[i] for i in nodes if i not in members)}
        return sources, targets

    possible = [
        set(members)
        for size in range(len(asked), len(inputs) + 1)
        for members in combinations(nodes, size)
        if asked <= set(members) and all(len(border) == 1 for border in borders(members))
    ]
    found = Sections(
        [map(str, names) for names in inputs], [[str(i + 1)] for i in nodes], ["0"], map(str, exits)
    ).around(asked)
    assert (found is None) == (not possible)
    if found is not None:
        assert set(found.nodes) in possible and len(found.nodes) == len(possible[0])
