"""The choice of `hakd best`: against a second computation, and what its errors propose."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakd.analysis.best import choose, reasons
from hakd.records.errors import HakdError
from hakd.records.tables import check_table
from tests.unit.table_rows import SUMMARY_ROW


def frame(*rows: dict) -> pd.DataFrame:
    """A summary; each row is a network of its own, with its own file."""
    made = [
        {**SUMMARY_ROW, "candidate": f"c{i}", "onnx_path": f"results/{i}.onnx", "search_seed": 0, **row}
        for i, row in enumerate(rows)
    ]
    return check_table("summary", pd.DataFrame(made))


def network(method: str, val: float, high_ms: float, seed: int = 0, **more) -> dict:
    row = {"method": method, "val_accuracy": val, "seed": seed, "budget": None, "target_device": None}
    times = {"latency_ms": 0.9 * high_ms, "latency_low_ms": 0.8 * high_ms, "latency_high_ms": high_ms}
    return {**row, **times, **more}


TABLE = frame(
    network("fisher", 0.90, 1.0), network("fisher", 0.92, 1.1, 1),
    network("joint", 0.93, 0.9, target_device="local"), network("joint", 0.95, 1.2, 1, target_device="local"),
    network("uniform", 0.99, 3.0), network("uniform", 0.97, 0.5, 1),
    network("round16", 0.93, 0.8), network("round16", 0.93, 0.8, 1),
    network("hakd", 1.0, 0.1, target_device="other"),
)  # fmt: skip


def test_the_best_mean_within_the_limit_its_best_seed_and_what_else_there_was():
    found = choose(TABLE, "local", 1.2)
    assert found.picked.name == "m joint/distilled/at at level 0.5"
    assert (found.network["candidate"], found.network["seed"]) == ("c3", 1)
    assert [one.networks["method"].iloc[0] for one in found.others] == ["round16", "fisher"]
    line, picked, second, excluded, copied = reasons(found, "local", 1.2)
    assert line == "local (onnxruntime 1.31.0, 1 thread): 3 of 4 configurations within 1.2 ms"
    name, mean = "distilled/at at level 0.5", "in validation (mean of 2 seeds)"
    assert picked == f"pick: m joint/{name}: 94.00% {mean}, 0.945 ms (at most 1.2 ms)"
    assert second == (
        f"runner-up, 1.00 points behind: m round16/{name}: 93.00% {mean}, 0.72 ms (at most 0.8 ms)"
    )
    words = f"the most accurate: m uniform/{name}: 98.00% {mean}, 1.575 ms (at most 3 ms)"
    assert excluded == f"excluded by the limit: 1; {words}"
    assert (
        copied
        == "copied: seed 1, the best of the pick in validation: 95.00% in validation, 89.00% in the test"
    )


def test_one_seed_above_the_limit_excludes_its_configuration():
    assert choose(TABLE, "local", 1.19).picked.networks["method"].iloc[0] == "round16"
    assert [one.networks["method"].iloc[0] for one in choose(TABLE, "local", 1.19).excluded] == [
        "uniform",
        "joint",
    ]


def test_of_equally_accurate_configurations_the_faster_one_is_picked_and_equal_files_are_one():
    same = {"onnx_path": "results/same.onnx"}
    found = choose(
        frame(
            network("l1", 0.9, 2.0), network("fisher", 0.9, 1.0, **same), network("hakd", 0.9, 1.0, **same)
        ),
        "local",
        5,
    )
    assert found.picked.networks["method"].iloc[0] == "fisher"
    assert found.alike == ["m hakd/distilled/at at level 0.5"]
    assert [one.networks["method"].iloc[0] for one in found.others] == ["l1"]
    assert any(
        line.startswith("runner-up, equally accurate, no faster: m l1/")
        for line in reasons(found, "local", 5)
    )


def test_a_network_of_a_fleet_counts_and_one_without_an_interval_does_not():
    fleet = network("fleet", 0.8, 1.0, target_device="pis")
    unknown = network("fisher", 0.9, 1.0, latency_low_ms=None, latency_high_ms=None)
    found = choose(frame(fleet, unknown), "local", 5)
    assert found.picked.name == "m fleet pis/distilled/at at level 0.5"
    assert found.excluded[0].words.endswith("(no interval)")
    with pytest.raises(HakdError, match="Raise `benchmark_processes`"):
        choose(frame(unknown), "local", 5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"device": "locl"}, r"device locl: nothing that was chosen for it was timed on it\. Did you mean 'local'"),
        ({"network": "n"}, r"device local: --network: unknown network 'n'\. .*Known: m"),
        ({"max_latency_ms": 0.7}, r"--max-latency-ms: no configuration is within 0\.7 ms; the nearest is m round16/"),
        ({"min_accuracy": 0.95}, r"--min-accuracy: no .* within 1 ms reaches 95\.00% in validation; .* is m round16/"),
    ],
)  # fmt: skip
def test_when_nothing_fits_the_error_names_the_nearest(asked, message):
    with pytest.raises(HakdError, match=message):
        choose(**{"frame": TABLE, "device": "local", "max_latency_ms": 1.0, **asked})


@pytest.mark.parametrize(
    ("pattern", "key", "asked"),
    [
        (r"Raise it to (\S+),", "max_latency_ms", {"max_latency_ms": 0.7}),
        (r"Lower it to (\S+),", "min_accuracy", {"min_accuracy": 0.95}),
        (r"raise --max-latency-ms to (\S+)$", "max_latency_ms", {"min_accuracy": 0.95}),
    ],
)
def test_what_an_error_proposes_works(pattern, key, asked):
    table = TABLE.assign(
        **{name: TABLE[name] / 3 for name in ("latency_ms", "latency_low_ms", "latency_high_ms")}
    )
    given_ = {"frame": table, "device": "local", "max_latency_ms": 1 / 3, **asked}
    if "max_latency_ms" in asked:
        given_["max_latency_ms"] /= 3
    with pytest.raises(HakdError) as error:
        choose(**given_)
    value = float(re.search(pattern, str(error.value))[1])
    assert len(choose(**{**given_, key: value}).network) > 0


@settings(max_examples=20)
@given(
    networks=st.lists(
        st.tuples(
            st.sampled_from(["fisher", "hakd", "joint"]), st.sampled_from(["local", "other", None]),
            st.integers(0, 10), st.integers(1, 20), st.booleans(),
        ),
        min_size=1, max_size=12,
    ),
    limit=st.integers(1, 20),
    tests=st.randoms(use_true_random=False),
)  # fmt: skip
def test_it_is_the_best_of_what_fits_and_the_test_split_has_no_part_in_it(networks, limit, tests):
    rows = [
        network(method, val / 10, high / 10, i, target_device=target, recipe="tuned" if tuned else "scratch")
        for i, (method, target, val, high, tuned) in enumerate(networks)
    ]
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["target_device"] != "other":
            groups.setdefault((row["method"], row["target_device"], row["recipe"]), []).append(row)
    means = [
        np.mean([row["val_accuracy"] for row in group])
        for group in groups.values()
        if max(row["latency_high_ms"] for row in group) <= limit / 10
    ]
    table = frame(*rows)
    if not means:
        with pytest.raises(
            HakdError, match="no configuration is within" if groups else "nothing that was chosen"
        ):
            choose(table, "local", limit / 10)
        return
    found = choose(table, "local", limit / 10)
    assert found.picked.val_accuracy == pytest.approx(max(means))
    assert found.network["val_accuracy"] == found.picked.networks["val_accuracy"].max()
    assert (found.picked.networks["latency_high_ms"] <= limit / 10).all()
    other = choose(table.assign(accuracy=[tests.random() for _ in rows]), "local", limit / 10)
    assert other.network["candidate"] == found.network["candidate"]
    assert [one.name for one in other.others] == [one.name for one in found.others]
