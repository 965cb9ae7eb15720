"""`race` in a real study: short trainings without a board, their cost in the results, and what a change reruns."""

import copy

import pandas as pd
import pytest

from hakd.records.files import read_json
from hakd.records.tables import read_table
from tests.workflow.devices import MODELS, virtual
from tests.workflow.study import Study

SUMMARY, TABLE = "results/devices/comb/summary.parquet", "results/devices/comb/race.csv"
CERTIFICATES = "results/devices/comb/certificates.csv"
BATCH, STEPS = 64, 4


def with_race(study: Study) -> dict:
    """On a device whose widths are worth a choice, for two search seeds and two latency budgets."""
    config = copy.deepcopy(study.config)
    config["devices"]["comb"] = virtual(MODELS["comb"])
    config["run"] |= {"devices": ["comb"], "methods": ["teacher", "fisher", "joint", "race"]}
    config["run"] |= {"seeds": [0, 1], "search_seeds": "paired"}
    config["choosing"] = {"budgets": [{"like": "fisher"}, {"speedup": 1.13}]}
    config["students"]["recipes"] = {key: ["tuned/logits"] for key in ("fisher", "joint", "race")}
    config["race"] = {"contestants": 3, "rungs": 2, "steps": STEPS}
    config["analysis"] = {"contrasts": [{"a": "race", "b": "fisher"}, {"a": "race", "b": "joint@fisher"}]}
    return config


@pytest.fixture
def raced(copied: Study) -> Study:
    """A finished study with races, gone on from one without."""
    copied.config = with_race(copied)
    copied.run(SUMMARY, TABLE, CERTIFICATES, "results/contrasts.csv")
    return copied


def test_contestants_are_trained_without_a_board_and_the_best_goes_on(raced):
    results = raced.directory / "results"
    table = pd.read_csv(raced.directory / TABLE)
    assert set(table["search_seed"]) == {0, 1} and (table.groupby("search_seed")["won"].sum() == 1).all()
    for seed, own in table.groupby("search_seed"):
        folder = results / "tiny" / (f"search{seed}" if seed else "")
        race = read_json(folder / "race" / "0.8" / "comb" / "2.json", "race")
        winner = race["methods"]["race"]
        assert winner["arch"] == own.loc[own["won"], "arch"].item()
        assert own["images"].sum() == winner["search_images"] > 0
        trained = own.assign(last=[float(str(one).split()[-1]) for one in own["val_accuracies"]])
        finalists = trained[trained["rungs"] == 2]
        assert winner["arch"] in set(finalists.loc[finalists["last"] == finalists["last"].max(), "arch"])
        assert (own["images"] == own["rungs"].map({1: STEPS * BATCH, 2: 3 * STEPS * BATCH})).all()
        assert (own["latency_high_ms"] <= race["race"]["budget_ms"]).all()
    summary, _ = read_table(raced.directory / SUMMARY, "summary")
    own = summary[summary["method"] == "race"]
    assert set(own["seed"]) == {0, 1} and own["search_images"].gt(0).all() and own["search_s"].gt(0).all()
    assert (own["search_seed"] == own["seed"]).all() and set(own["budget"]) == {"fisher"}
    assert set(summary.loc[summary["method"] == "joint", "budget"]) == {"fisher", "speedup1.13"}
    assert summary.loc[summary["method"] != "race", "search_images"].isna().all()
    certificates = pd.read_csv(raced.directory / CERTIFICATES)
    certified = certificates[certificates["method"] == "race"]
    assert set(certified["search_seed"]) == {0, 1} and set(certified["scope"]) == {"network"}
    contrasts = pd.read_csv(results / "contrasts.csv")
    assert set(contrasts["contrast"]) == {"race - fisher", "race - joint@fisher"}

    assert raced.planned(SUMMARY, TABLE, "results/contrasts.csv") == {}
    changed = copy.deepcopy(raced.config)
    changed["analysis"]["contrasts"].pop()
    assert raced.planned(SUMMARY, TABLE, "results/contrasts.csv", config=changed) == {"contrasts": 1}
    longer = copy.deepcopy(raced.config)
    longer["race"]["steps"] = 2 * STEPS
    plan = raced.planned(SUMMARY, config=longer)
    assert plan["race_lap"] and not {"snap", "sweep", "prune", "teacher", "widths"} & set(plan)
