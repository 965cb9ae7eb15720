"""Fleets in the configuration: what is refused, who their members are, which candidates and words follow."""

import copy
import os

import jsonschema
import numpy as np
import pandas as pd
import pytest
import yaml

from hakd.analysis.comparison import compare
from hakd.analysis.series import series_name
from hakd.planning.devices import not_counted
from hakd.planning.training import training_jobs
from hakd.records.errors import HakdError
from hakd.study.branches import candidate_lists, fleet_reach, fleet_tracked, states
from hakd.study.candidates import Origin, fleet_students, student_files
from hakd.study.closing import failure_words
from hakd.study.configuration import check_study, config_digest
from hakd.study.fleets import budgets, fleets_of, members, snapped_members, waiting_for
from hakd.study.schema import study_schema
from hakd.study.searches import searches

CONFIG = {
    "run": {
        "devices": ["pi4", "pi5", "nano"],
        "networks": ["n"],
        "levels": [0.5],
        "seeds": [0, 3],
        "methods": ["teacher", "fisher"],
        "fleets": ["pis"],
    },
    "data": {"name": "digits"},
    "networks": {"n": {"family": "mobilenet", "multiplier": 0.25}},
    "devices": {
        "pi4": {"transport": "ssh", "host": "pi4", "user": "pi"},
        "pi5": {"threads": 2.0},
        "nano": {},
        "away": {},
    },
    "choosing": {"budgets": [{"like": "fisher"}], "reach": 0.4},
    "fleets": {"pis": {"devices": ["pi5", "pi4"]}, "all": {"devices": ["pi4", "nano", "pi5"]}},
    "teacher": {"epochs": 1},
    "prune": {"channels": 1, "steps": 1, "batch_size": 1},
    "students": {
        "epochs": 1,
        "recipes": {"fisher": ["scratch"], "joint": ["distilled", "scratch"]},
        "losses": ["logits", "at"],
    },
}


def changed(**entry) -> dict:
    """The configuration with the fleet `pis` replaced, or with `run.fleets`."""
    config = copy.deepcopy(CONFIG)
    config["run"]["fleets"] = entry.pop("run", ["pis"])
    config["fleets"] |= entry
    return config


def test_fleets_that_are_fine_pass_and_none_need_be_there():
    check_study(CONFIG)
    check_study(changed(run=[], idle={"devices": ["pi4", "away"]}))  # it is not selected
    without = {key: value for key, value in CONFIG.items() if key != "fleets"}
    without["run"] = {key: value for key, value in CONFIG["run"].items() if key != "fleets"}
    check_study(without)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (changed(run=["pi"]), r"study.yaml: run.fleets: unknown fleet 'pi'. Add it to `fleets`.*pis, all"),
        (
            changed(pis={"devices": ["pi4", "pi6"]}),
            r"fleets.pis.devices: unknown device 'pi6'. Add it to `devices`",
        ),
        (changed(pis={"devices": ["pi4"]}), r"fleets.pis.devices: fewer than two devices.*`joint`"),
        (changed(pis={"devices": []}), r"fleets.pis.devices: fewer than two devices"),
        (
            changed(pis={"devices": ["pi4", "away"]}),
            r"fleets.pis.devices: 'away' is not run. Add it to `run.devices`, or take 'pis' out of `run.fleets`",
        ),
        (
            changed(PI4={"devices": ["pi4", "pi5"]}),
            r"fleets.PI4: has the name of a device or another fleet. Rename it",
        ),
        (changed(Pis={"devices": ["pi4", "pi5"]}), r"fleets.Pis: has the name of a device or another fleet"),
        (
            changed(pis={"devices": ["pi4", "pi5"], "budgets": {"nano": {"speedup": 2}}}),
            r"fleets.pis.budgets: a budget for 'nano', which is not a member. Members: pi4, pi5",
        ),
    ],
)
def test_what_is_no_fleet_is_one_clear_error(config, words):
    with pytest.raises(HakdError, match=words) as caught:
        check_study(config, "study.yaml")
    assert str(caught.value).startswith("study.yaml: ")


@pytest.mark.parametrize(
    ("fleet", "fits"),
    [
        ({"devices": ["a", "b"]}, True),
        ({"devices": ["a", "b"], "budget": {"speedup": 2}}, True),
        ({"devices": ["a", "b"], "budgets": {"a": {"latency_ms": 5.0}}}, True),
        ({}, False),
        ({"devices": ["a", "a"]}, False),
        ({"devices": ["a", "b"], "budget": {}}, False),
        ({"devices": ["a", "b"], "budget": {"like": "joint"}}, False),
        ({"devices": ["a", "b"], "budgets": {"a": {"latency_ms": 5.0, "speedup": 2}}}, False),
        ({"devices": ["a", "b"], "tolerance": 1}, False),
    ],
)
def test_the_schema_knows_a_fleet(root, fleet, fits):
    schema = study_schema()
    config = yaml.safe_load((root / "config" / "config.yaml").read_text())
    config["fleets"] = {"ab": fleet}
    assert jsonschema.Draft202012Validator(schema).is_valid(config) is fits
    assert not jsonschema.Draft202012Validator(schema).is_valid(config | {"fleets": {"a/b": fleet}})


def test_members_do_not_depend_on_their_order():
    turned = changed(pis={"devices": ["pi4", "pi5"]})
    assert members(CONFIG, "pis") == members(turned, "pis") == ["pi4", "pi5"]
    assert budgets(CONFIG, "pis") == budgets(turned, "pis")
    assert list(fleet_tracked(CONFIG, "pis")) == list(fleet_tracked(turned, "pis")) == ["pi4", "pi5"]
    assert fleet_tracked(CONFIG, "pis") == {"pi4": {"host": "pi4", "transport": "ssh"}, "pi5": {"threads": 2}}
    assert fleet_reach(CONFIG, "pis") == {"pi4": {"user": "pi"}, "pi5": {}}
    assert config_digest(turned) != config_digest(CONFIG)  # it is another text, and reruns nothing


def test_only_selected_fleets_count():
    assert fleets_of(CONFIG, "pi4") == ["pis"] and fleets_of(CONFIG, "nano") == []
    both = changed(run=["pis", "all"])
    assert fleets_of(both, "pi4") == ["pis", "all"] and fleets_of(both, "nano") == ["all"]


def test_a_members_budget_is_its_own_the_fleets_or_the_studys():
    config = changed(
        pis={
            "devices": ["pi4", "pi5"],
            "budget": {"like": "hakd"},
            "budgets": {"pi5": {"latency_ms": 2.5}},
        }
    )
    assert budgets(CONFIG, "pis") == {"pi4": {"like": "fisher"}, "pi5": {"like": "fisher"}}
    assert budgets(config, "pis") == {"pi4": {"like": "hakd"}, "pi5": {"latency_ms": 2.5}}
    assert snapped_members(config, "pis") == ["pi4"] and snapped_members(CONFIG, "pis") == []


def test_a_fleets_students_are_trained_as_those_of_joint_and_named_after_the_fleet():
    found = fleet_students(CONFIG, Origin("n", 0.5, searches(CONFIG)[0]), "pis", "0" * 12)
    assert {one.method for one in found} == {"fleet"} and {one.target_device for one in found} == {"pis"}
    assert {(one.recipe, one.loss) for one in found} == {
        ("distilled", "logits"),
        ("distilled", "at"),
        ("scratch", "ce"),
    }
    assert len({one.name for one in found}) == len(found) == 6
    assert found[0].name == "n/0.5/fleet/pis/distilled/logits/0"
    paths = student_files(found)
    assert len(paths) == 12 and paths[0] == "results/n/students/000000000000/distilled-logits-0.safetensors"


def failed(path: str, words: str) -> None:
    """The log of a job that ended with an error."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as stream:
        stream.write(f"2026-11-20 16:29:43,001 error: {words}\n")


def test_a_board_that_is_away_holds_up_its_fleet_and_the_words_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed("results/logs/sweep/n-pi4.log", "device pi4: host: no answer")
    assert waiting_for(CONFIG, {"pi4": "away"}) == {"pi5": ["pis"]}
    words = failure_words(CONFIG, 0)
    assert words.startswith("1 of 3 devices failed")
    assert "  device pi4: host: no answer\n" in words and "  pi5 waits for its fleet: pis\n" in words
    assert "nano" not in words
    assert "waits" not in failure_words(changed(run=[]), 0)


def test_a_device_times_its_own_candidates_its_fleets_and_those_chosen_for_none():
    config = {**CONFIG, "run": {**CONFIG["run"], "networks": ["n", "m"], "levels": [0.50, 1.0]}}
    shared = [f"results/candidates/{network}/baselines.json" for network in ("n", "m")]
    own = [
        f"results/candidates/{network}/{level}/{{}}.json" for network in ("n", "m") for level in ("0.5", "1")
    ]
    assert candidate_lists(config, "nano") == [path.format("nano") for path in own] + shared
    lists = [path.format(target) for path in own for target in ("pi4", "fleets/pis")]
    assert candidate_lists(config, "pi4") == lists + shared


def test_the_error_of_a_fleets_job_is_told_once_and_is_the_trouble_of_all_its_members(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed("results/logs/fleet/n-0.5-pis.log", "device pi4: the link was lost")
    found = states(CONFIG)
    assert found["pi4"]["trouble"] == found["pi5"]["trouble"] == "device pi4: the link was lost"
    assert found["nano"]["trouble"] is None
    assert failure_words(CONFIG, 0).count("the link was lost") == 1


def test_the_plan_counts_what_fleets_add():
    with_fleet = {job.what: job.jobs for job in training_jobs(CONFIG, "n", 100)}
    without = {job.what: job.jobs for job in training_jobs(changed(run=[]), "n", 100)}
    assert with_fleet["students"] - without["students"] == 6
    assert "fleets (pis)" in not_counted(CONFIG) and "fleets" not in not_counted(changed(run=[]))


def test_a_fleets_rows_are_a_series_of_their_own_in_comparisons():
    assert series_name("fleet", "pis") == "fleet pis" and series_name("joint", "pi4") == "joint"
    rows = []
    for method, target, accuracy in (
        ("joint", "pi4", 0.8), ("joint", "pi5", 0.1), ("fleet", "pis", 0.7), ("fleet", "all", 0.6),
    ):  # fmt: skip
        for level, latency_ms in ((0.5, 2.0), (0.3, 1.0)):
            rows.append(
                {
                    "network": "n", "device": "pi4", "target_device": target, "level": level, "seed": 0,
                    "candidate": f"{method}{target}{level}", "latency_ms": latency_ms, "accuracy": accuracy,
                    "method": method, "recipe": "distilled", "loss": "logits",
                }
            )  # fmt: skip
    frame = pd.DataFrame(rows)
    mean = compare(frame, "fleet pis", "joint").query("scope == 'mean'").iloc[0]
    assert mean["difference"] == pytest.approx(-0.1) and mean["accuracy_a"] == pytest.approx(0.7)
    assert np.allclose(compare(frame, "fleet all/distilled", "fleet pis")["difference"], -0.1)
    with pytest.raises(HakdError, match=r"no such candidates.*fleet all/distilled/logits"):
        compare(frame, "fleet", "joint")
