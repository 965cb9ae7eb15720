"""Selected and fresh figures side by side."""

import numpy as np
import pytest

from hakd.analysis.verification import COLUMNS, verifications


def choice(group, before, after, undone=False):
    return {"network": "net", "group": group, "width_from": before, "width_to": after, "undone": undone}


def snap(methods):
    entries = {
        key: {"method": key.partition("@")[0], "budget": key.partition("@")[2] or None, **entry}
        for key, entry in methods.items()
    }
    return {"level": 0.5, "search_seed": 0, "device": "pi4", "methods": entries}


def entry(arch, ratio, reference="twin", share=1.0, **more):
    repair = {"ratio": ratio, "ratio_low": ratio - 0.01, "ratio_high": ratio + 0.01, "reason": "why"}
    choices = [choice("a", 5, 8), choice("b", 9, 9, undone=True)]
    return {
        "arch": arch,
        "choices": choices,
        "repair": repair | {"reference": reference, "share": share} | more,
    }


CANDIDATES = [
    {"candidate": f"{arch}{seed}", "arch": arch} for arch in ("twin", "one", "two") for seed in (0, 1, 2)
]
ROWS = [
    {"candidate": f"{arch}{seed}", "latency_ms": ms * (1 + 0.01 * seed), "trusted": True}
    for arch, ms in (("twin", 2.0), ("one", 1.0), ("two", 1.5))
    for seed in (0, 1, 2)
]


def table(methods, rows=ROWS):
    frame = verifications([snap(methods)], CANDIDATES, rows)
    assert list(frame.columns) == list(COLUMNS)
    return frame.set_index("method")


def test_what_was_selected_is_compared_with_medians_of_the_benchmark():
    found = table({"hakd": entry("one", 0.48)}).loc["hakd"]
    assert found["fresh_ratio"] == pytest.approx(0.5)
    assert found["shrinkage"] == pytest.approx(0.5 / 0.48 - 1)
    assert (found["against"], found["moved"], found["undone"]) == ("the latency of fisher", 1, 1)
    assert (found["selected_low"], found["selected_high"]) == (0.47, 0.49)


def test_budgets_that_are_a_share_or_milliseconds():
    found = table(
        {
            "joint": entry(
                "two", 0.99, share=0.75, budget="the full network's latency / 1.33", budget_ms=1.4
            ),
            "knapsack": entry("two", 0.9, reference=None, budget="1.6 ms", budget_ms=1.6),
        }
    )
    assert found.loc["joint", "fresh_ratio"] == pytest.approx(1.0)
    assert found.loc["knapsack", "fresh_ratio"] == pytest.approx(1.5 * 1.01 / 1.6)
    assert found.loc["knapsack", "against"] == "1.6 ms"


def test_a_method_with_several_budgets_has_a_row_for_each():
    ratios = {"joint@twin": 0.99, "joint@1.4ms": 0.98}
    frame = table({key: entry("two", ratio, budget=key) for key, ratio in ratios.items()})
    assert list(frame.index) == ["joint", "joint"] and list(frame["budget"]) == ["twin", "1.4ms"]
    assert list(frame["selected_ratio"]) == [0.99, 0.98] and list(frame["against"]) == list(ratios)
    assert table({"hakd": entry("one", 0.5)})["budget"].isna().all()


def test_the_reference_itself_has_no_shrinkage_and_what_was_not_timed_no_figure():
    found = table({"hakd": entry("twin", 1.0), "joint": entry("two", 0.9, reference="elsewhere", budget="x")})
    assert found.loc["hakd", "fresh_ratio"] == 1 and np.isnan(found.loc["hakd", "shrinkage"])
    assert np.isnan(found.loc["joint", "fresh_ratio"]) and np.isnan(found.loc["joint", "shrinkage"])


def test_an_untrusted_benchmark_is_said_to_be_one():
    rows = [*ROWS[:-1], ROWS[-1] | {"trusted": False}]
    assert not table({"hakd": entry("one", 0.5)}, rows)["trusted"].any()
    assert table({"hakd": entry("one", 0.5)})["trusted"].all()
