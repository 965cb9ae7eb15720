"""Searches, budgets and recipes of a study: which candidates there are, under which names, in which files."""

import copy
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakd.records.errors import HakdError
from hakd.records.files import write_json
from hakd.study.branches import candidate_lists
from hakd.study.budgets import budgets_of
from hakd.study.candidates import (
    BY_TABLES,
    COMPRESSIONS,
    Origin,
    baseline_students,
    baselines,
    expected_names,
    expected_students,
    uncompressed_path,
)
from hakd.study.configuration import check_study
from hakd.study.recipes import LOSSES, TRAINED_AS, recipe_losses
from hakd.study.searches import search_of, searches
from tests.unit.studies import CONFIG

METHODS = ["teacher", "hakd", "fisher", "uniform", "joint", "race"]
DISTILLING = [loss for loss in LOSSES if loss != "ce"]


def study(search_seeds="first", seeds=(0, 3), **choosing):
    config = copy.deepcopy(CONFIG)
    config["run"] |= {"methods": METHODS, "search_seeds": search_seeds, "seeds": list(seeds)}
    recipes = config["students"]["recipes"]
    recipes |= {"uniform": ["tuned/ce", "scratch"], "joint": ["tuned/ce"], "race": ["tuned/ce"]}
    return config | {"choosing": {"budgets": [{"like": "fisher"}]} | choosing}


def test_one_search_has_the_files_of_a_study_without_any():
    (only,) = searches(study())
    assert (only.seed, only.folder, only.training_seeds, only.mark) == (0, "", (0, 3), "")
    assert candidate_lists(study(), "a") == candidate_lists(study("paired", seeds=[0]), "a")


def test_paired_searches_train_with_their_own_seed_alone():
    first, second = searches(study("paired"))
    assert (first.folder, first.training_seeds) == ("", (0,))
    assert (second.seed, second.folder, second.training_seeds) == (3, "search3/", (3,))
    found = [one for one in expected_students(study("paired"), "n", "a") if one.method == "hakd"]
    assert {(one.seed, one.search_seed) for one in found} == {(0, 0), (3, 3)}
    tuned = {
        one.checkpoint_path for one in found if (one.recipe, one.loss, one.level) == ("tuned", "at", 0.5)
    }
    assert {path.rpartition("/")[2] for path in tuned} == {
        f"tuned-fisher-0.5-at-{n}.safetensors" for n in (0, 3)
    }
    assert any("/search3/tuned-" in path for path in tuned)


def test_the_names_that_a_study_expects_say_where_a_choice_may_have_no_widths():
    config = study("paired", budgets=[{"like": "fisher"}, {"latency_ms": 2}])
    config["run"]["networks"] = ["n"]
    names = expected_names(config, "a")
    students = expected_students(config, "n", "a")
    assert set(names) == {one.name for one in [*students, *baselines(config, "n")]}
    assert list(names) == sorted(names)
    for one in students:
        folder = "results/n/" if one.search_seed == 0 else "results/n/search3/"
        where = [f"{folder}snap/{one.level:g}/a.json", f"{one.method}@{one.budget}"]
        assert names[one.name] == (where if one.method in BY_TABLES else [])
    assert {one.budget for one in students if one.method == "joint"} == {"fisher", "2ms"}


def test_what_a_pruning_decides_on_has_its_seed_and_names_its_criterion(tmp_path):
    config = study("paired")
    config["run"]["methods"] = ["uniform", "l1"]
    config["students"]["recipes"] |= {"uniform": ["scratch_b"], "l1": ["scratch_b"]}
    write_json(tmp_path / "widths", "widths", {"methods": {"l1": {"arch": "0"}}})
    found = [
        one for one in expected_students(config, "n", "a") if (one.method, one.level) == ("uniform", 0.5)
    ]
    for search in searches(config):
        found += baseline_students(config, Origin("n", 0.5, search), "l1", tmp_path / "widths")
    assert {(one.method, one.seed, one.search_seed) for one in found} == {
        (method, seed, seed) for method in ("uniform", "l1") for seed in (0, 3)
    }
    names = {one.checkpoint_path.split("/students/")[1].partition("/")[2] for one in found}
    assert "scratch_b-fisher-0.5-ce-0.safetensors" in names
    assert "search3/scratch_b-l1-0.5-ce-3.safetensors" in names


@pytest.mark.parametrize("suffix", ["coded", "ternary"])
def test_a_compressed_student_has_the_name_of_its_student(suffix):
    config = study("paired", seeds=(0, 3))
    plain = ["tuned", "distilled", "scratch"]
    coded = [f"{recipe}_{suffix}" for recipe in plain]
    files = []
    for recipes in (plain, coded):
        config["students"]["recipes"] |= {"hakd": recipes, "uniform": recipes}
        config["run"]["methods"] = ["hakd", "uniform"]
        files.append(expected_students(config, "n", "a"))
    students, compressed = files
    assert all(one.compressed and one.files[1].endswith(".onnx") for one in compressed)
    assert not any(one.compressed for one in students)
    assert [uncompressed_path(config, one.checkpoint_path) for one in compressed] == [
        one.checkpoint_path for one in students
    ]
    assert [(one.loss, one.search_seed) for one in compressed] == [
        (one.loss, one.search_seed) for one in students
    ]


def test_compressed_teachers_ternary_and_of_weight_pruning_are_made_from_their_teacher():
    config = study("paired", seeds=(0, 3))
    config["run"]["methods"] = list(COMPRESSIONS)
    config["deep_compression"]["densities"] = [1e-5]
    config["weight_pruning"] = {"densities": [0.25]}
    found = baselines(config, "n")
    assert [(one.method, one.level, one.checkpoint_path) for one in found] == [
        (method, level, f"results/n/{method}/{text}-{seed}.hakdc")
        for seed in (0, 3)
        for method, level, text in zip(
            COMPRESSIONS, (1e-5, 1e-5, 0.25, 1.0), ("1e-05", "1e-05", "0.25", "1"), strict=True
        )
    ]
    assert all(one.compressed and one.recipe == "compressed" for one in found)
    assert [uncompressed_path(config, one.checkpoint_path) for one in found] == [
        f"results/n/teacher/{one.seed}.safetensors" for one in found
    ]


def test_a_list_of_searches_crosses_all_training_seeds():
    config = study([3, 7])
    assert [one.folder for one in searches(config)] == ["search3/", "search7/"]
    found = [
        one for one in expected_students(config, "n", "a") if (one.method, one.recipe) == ("joint", "tuned")
    ]
    assert {(one.seed, one.search_seed) for one in found} == set(itertools.product((0, 3), (3, 7)))
    assert "results/candidates/n/search7/0.5/a.json" in candidate_lists(config, "a")
    with pytest.raises(HakdError, match=r"run\.search_seeds"):
        search_of(config, "")


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
    st.sampled_from(["first", "paired"]) | st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
)
def test_no_two_candidates_share_a_name_and_what_no_search_decides_is_made_once(seeds, search_seeds):
    config = study(search_seeds, seeds, budgets=[{"like": "round16"}, {"speedup": 2}])
    found = expected_students(config, "n", "a")
    assert len({one.name for one in found}) == len(found)
    scratch = [one for one in found if (one.method, one.recipe) == ("uniform", "scratch")]
    assert len(scratch) == len(seeds) * 2  # levels
    assert {one.search_seed for one in scratch} == {None}
    tuned = [one for one in found if (one.method, one.recipe) == ("uniform", "tuned")]
    assert {one.search_seed for one in tuned} == {one.seed for one in searches(config)}


def test_each_budget_is_a_series_of_its_own_and_one_budget_changes_no_name():
    several = list(expected_students(study(budgets=[{"like": "fisher"}, {"latency_ms": 2.5}]), "n", "a"))
    assert {(one.choice, one.budget) for one in several if one.method in BY_TABLES} == {
        (f"{method}@{label}", label) for method in ("joint", "race") for label in ("fisher", "2.5ms")
    }
    assert {one.budget for one in several if one.method not in BY_TABLES} == {None}
    alone = [
        one for one in expected_students(study(budgets=[{"speedup": 2}]), "n", "a") if one.method in BY_TABLES
    ]
    assert {(one.choice, one.budget) for one in alone} == {("joint", "speedup2"), ("race", "speedup2")}
    assert budgets_of(study()) == [{"like": "fisher"}]


def test_a_budget_twice_is_refused():
    with pytest.raises(HakdError, match=r"choosing\.budgets: duplicate value"):
        check_study(study(budgets=[{"speedup": 2}, {"speedup": 2.0}]))


@given(
    st.lists(st.sampled_from(sorted(LOSSES)), min_size=1, unique=True),
    st.lists(
        st.sampled_from(
            [
                "tuned",
                "scratch",
                "scratch_b",
                "tuned_coded",
                "scratch_coded",
                "distilled_coded/at",
                "tuned_ternary",
                "distilled_ternary",
                "distilled",
                "tuned/ce",
                *(f"tuned/{one}" for one in DISTILLING),
            ]
        ),
        min_size=1,
        unique=True,
    ),
)
def test_no_student_is_made_twice_and_losses_mean_what_the_recipe_says(losses, recipes):
    found = recipe_losses({"losses": losses, "recipes": {"m": recipes}}, "m")
    assert len(set(found)) == len(found)
    assert {loss for recipe, loss in found if recipe.startswith("scratch")} <= {"ce"}
    assert "ce" not in {loss for recipe, loss in found if recipe.startswith("distilled")}
    for coded, trained in TRAINED_AS.items():
        of = recipe_losses({"losses": losses, "recipes": {"m": [trained]}}, "m")
        assert recipe_losses({"losses": losses, "recipes": {"m": [coded]}}, "m") == [
            (coded, loss) for _, loss in of
        ]
    if "tuned" in recipes:
        assert {loss for recipe, loss in found if recipe == "tuned"} >= set(losses)


def test_recipes_that_changed_their_meaning_are_refused_with_the_new_spelling():
    config = study()
    config["students"]["losses"] = ["logits", "at"]
    with pytest.raises(HakdError, match=r"students\.recipes\.hakd: .*Add `ce`.* tuned/logits, tuned/at"):
        check_study(config)
    config["students"]["recipes"]["hakd"] = ["tuned/logits", "distilled"]
    check_study(config)
    config["students"]["losses"] = ["ce"]
    with pytest.raises(HakdError, match=r"students\.recipes\.hakd: `distilled` needs a loss with a teacher"):
        check_study(config)
    config["students"]["recipes"]["hakd"] = ["distilled_coded"]
    with pytest.raises(HakdError, match=r"`distilled_coded` needs a loss .* or write `scratch_coded` here"):
        check_study(config)
