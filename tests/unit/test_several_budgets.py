"""One method for several budgets: tables measured once, a choice for each, all of them kept by the formula."""

from collections import Counter

import pytest

from hakd.search import by_tables
from tests.unit.builders import SPECS
from tests.unit.computed_choice import ComputedChoice

BUDGETS = {"round16": {"like": "round16"}, "speedup1.7": {"speedup": 1.7}, "fisher": {"like": "fisher"}}


@pytest.fixture(scope="module")
def case() -> ComputedChoice:
    return ComputedChoice(SPECS["densenet"]())


@pytest.fixture(scope="module")
def made(case):
    measured = Counter()
    tables = by_tables.time_tables

    def counted(*args):
        measured["tables"] += 1
        return tables(*args)

    by_tables.time_tables = counted
    try:
        found = case.snap(("joint", "latency_greedy"), *BUDGETS.values()).methods
    finally:
        by_tables.time_tables = tables
    assert measured["tables"] == 1
    return found


def test_every_method_has_an_entry_for_each_budget(made):
    names = [f"{method}@{label}" for method in ("joint", "latency_greedy") for label in BUDGETS]
    assert list(made) == ["hakd", "hakd_free", *names]
    for key, entry in made.items():
        method, _, label = key.partition("@")
        assert (entry["method"], entry["budget"]) == (method, label or None)
        assert {(one["method"], one["budget"]) for one in entry["choices"]} == {(method, label or None)}


def test_each_keeps_its_own_budget_and_loses_less_where_there_is_more_time(case, made):
    limits = {
        "round16": case.true_ms(case.free["round16"].widths),
        "speedup1.7": case.true_ms(case.full) / 1.7,
        "fisher": case.true_ms(case.pruned.widths),
    }
    for method in ("joint", "latency_greedy"):
        chosen = {label: made[f"{method}@{label}"] for label in BUDGETS}
        for label, entry in chosen.items():
            true_ms, words = case.true_ms(entry["widths"]), entry["certificates"][0]["words"]
            assert 0.7 * limits[label] < true_ms <= 1.005 * limits[label], (method, label)
            assert any(
                one in words for one in (entry["repair"]["budget"], "its twin", "that gave the budget")
            )
        order = sorted(limits, key=limits.get)
        losses = [case.lost(chosen[label]["widths"]) for label in order]
        assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


def test_one_budget_leaves_the_names_as_they_are(case):
    found = case.snap(("joint",), {"like": "round16"}).methods
    assert list(found) == ["hakd", "hakd_free", "joint"] and found["joint"]["budget"] == "round16"
    assert case.snap(()).methods.keys() == {"hakd", "hakd_free"}
