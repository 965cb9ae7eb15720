"""Levels of a study: what each is pruned from, which one is copied, and which files follow."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.records.errors import HakdError
from hakd.records.files import write_json
from hakd.study.branches import candidate_lists
from hakd.study.candidates import (
    baseline_methods,
    baseline_students,
    criteria,
    pruned_baseline_path,
    student_files,
    students,
)
from hakd.study.configuration import check_study
from hakd.study.levels import copied_level, level_text, note_source, pruned_from, source_state
from tests.unit.studies import CONFIG, origin

levels = st.lists(st.integers(1, 100).map(lambda n: n / 100), min_size=1, max_size=6, unique=True)


@given(levels)
def test_a_level_is_pruned_from_the_nearest_higher_one(tmp_path_factory, values):
    texts, folder = list(map(level_text, values)), "no/such/folder"
    for level in values:
        higher = [one for one in values if one > level]
        expected = level_text(min(higher)) if higher else "teacher"
        assert pruned_from(folder, level_text(level), texts) == expected


def test_it_stays_with_what_it_was_pruned_from_before(tmp_path):
    folder = str(tmp_path)
    assert source_state(folder, "0.5", ["0.5"]) == []
    note_source(folder, "0.5", "teacher")
    assert source_state(folder, "0.5", ["0.5", "0.8"]) == []
    note_source(folder, "0.5", "0.8")
    for others in (["0.5"], ["0.5", "0.8"], ["0.5", "0.6", "0.8", "1"]):
        assert source_state(folder, "0.5", others) == [f"{folder}/0.8.state"]
    for damaged in ("", "\0", "0.5", "0.3", "-1", "nan", "0.8.state", "1e-", "inf"):
        (tmp_path / "0.5.from").write_text(damaged)
        assert pruned_from(folder, "0.5", ["0.5", "0.6", "1"]) == "0.6"


@given(levels)
def test_the_copied_level_is_the_nearest_to_a_half(values):
    found = float(copied_level(values))
    assert found in values
    assert all(
        abs(found - 0.5) < abs(other - 0.5) + 1e-9 and not (other > found and other + found == 1)
        for other in values
    )


@pytest.mark.parametrize(
    ("values", "copied"), [([0.4, 0.6], "0.6"), ([0.8, 0.25], "0.25"), ([1], "1"), ([0.45, 0.55, 0.5], "0.5")]
)
def test_of_two_levels_the_higher_is_copied(values, copied):
    assert copied_level(values) == copied_level(values[::-1]) == copied


def study(*methods, **prune):
    config = copy.deepcopy(CONFIG)
    config["run"] |= {"methods": ["teacher", "hakd", *methods], "levels": [0.6, 0.3]}
    config["students"]["recipes"] |= {
        key: ["tuned/ce", "scratch"] for key in ("copycat", "l1", "random_order")
    }
    return config | {"prune": prune}


def test_methods_of_other_criteria_have_files_of_their_own(tmp_path):
    config = study("random_order", "copycat", "l1")
    assert baseline_methods(config) == ["l1", "random_order", "copycat"]
    assert criteria(config) == ["fisher", "l1", "random_order"] and criteria(study()) == ["fisher"]
    assert pruned_baseline_path(config, "results/n/", "0.3", "l1") == "results/n/l1/0.3.safetensors"
    assert pruned_baseline_path(config, "results/n/", "0.3", "copycat") == "results/n/fisher/0.6.safetensors"
    path = tmp_path / "widths.json"
    for method, criterion in (("l1", "l1"), ("random_order", "random_order"), ("copycat", "fisher")):
        write_json(path, "widths", {"level": 0.3, "methods": {method: {"arch": "0" * 12}}})
        found = student_files(baseline_students(config, origin(0.3), method, str(path)))
        students_of = [one for one in found if one.endswith(".safetensors")]
        folder = f"results/n/students/{'0' * 12}"
        names = [f"tuned-{criterion}-0.3-ce-{seed}" for seed in (0, 3)] + ["scratch-ce-0", "scratch-ce-3"]
        assert students_of == [f"{folder}/{name}.safetensors" for name in names]
        assert f"results/candidates/n/0.3/methods/{method}.json" in candidate_lists(config, "a")
    tuned = students(config, origin(0.3), "a", {"hakd": "1" * 12})
    assert any(one.checkpoint_path.endswith("/tuned-fisher-0.3-logits-3.safetensors") for one in tuned)
    assert not any("methods" in path for path in candidate_lists(study(), "a"))


def test_a_level_out_of_reach_is_refused_by_what_it_counts():
    check_study(study(count="params", groups="inner"))
    low = study(count="params")
    low["run"]["levels"] = [0.001]
    with pytest.raises(
        HakdError, match=r"run\.levels: 0\.001 cannot be reached by n: .* of its parameters are"
    ):
        check_study(low)
    low["prune"] = {"count": "macs"}
    with pytest.raises(HakdError, match="of its MACs are left"):
        check_study(low)
