"""`race` in a real study: short trainings without a board, their cost in the results, and what a change reruns."""

import copy
import itertools

import pandas as pd
import pytest

from hakd.records.files import read_json
from hakd.records.tables import read_table
from tests.workflow.devices import MODELS, virtual
from tests.workflow.study import Study

SUMMARY, TABLE = "results/devices/comb/summary.parquet", "results/devices/comb/race.csv"
CERTIFICATES = "results/devices/comb/certificates.csv"
BATCH, STEPS = 64, 4
TRAINING = (
    "teacher",
    "prune",
    "race_lap",
    "student",
    "tuned",
    "deep_compression",
    "weight_pruning",
    "ternary",
)
BUDGETS = ("fisher", "speedup1.13")


def with_race(study: Study) -> dict:
    """On a device whose widths are worth a choice, for two search seeds and two latency budgets."""
    config = copy.deepcopy(study.config)
    config["devices"]["comb"] = virtual(MODELS["comb"])
    config["run"] |= {"devices": ["comb"], "methods": ["teacher", "fisher", "race"]}
    config["run"] |= {"seeds": [0, 1], "search_seeds": "paired"}
    config["choosing"] = {"budgets": [{"like": "fisher"}, {"speedup": 1.13}]}
    config["students"]["recipes"] = {key: ["tuned/logits"] for key in ("fisher", "race")}
    config["race"] = {"contestants": 3, "rungs": 2, "steps": STEPS}
    config["analysis"] = {
        "contrasts": [{"a": one, "b": "fisher"} for one in ("race@fisher", "race@speedup1.13")]
    }
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
    races = table.groupby(["search_seed", "budget"])
    assert set(races.groups) == set(itertools.product((0, 1), BUDGETS)) and (races["won"].sum() == 1).all()
    for (seed, budget), own in races:
        folder = results / "tiny" / (f"search{seed}" if seed else "")
        race = read_json(folder / "race" / "0.8" / "comb" / "2.json", "race")
        winner = race["methods"][f"race@{budget}"]
        assert (winner["method"], winner["budget"]) == ("race", budget)
        assert winner["arch"] == own.loc[own["won"], "arch"].item()
        assert own["images"].sum() == winner["search_images"] and (own["rungs"] > 0).all() == (len(own) > 1)
        trained = own.assign(last=[float(str(one).split()[-1]) for one in own["val_accuracies"]])
        finalists = trained[trained["rungs"] == trained["rungs"].max()]
        assert len(own) == 1 or finalists.loc[finalists["won"], "last"].item() == finalists["last"].max()
        assert (own["images"] == own["rungs"].map({0: 0, 1: STEPS * BATCH, 2: 3 * STEPS * BATCH})).all()
        kept = own[own["kept"] & ~own["origin"].isin(["reference", "joint/saliency"])]
        assert (kept["latency_high_ms"] <= race["race"][budget]["budget_ms"]).all()
    assert table["images"].sum() > 0 and not table["diverged"].any()
    laps = {path.stem for path in results.glob("tiny/search1/race/0.8/*.safetensors")}
    wanted = table[table["search_seed"] == 1]
    assert laps == {
        f"{one.arch}-{rung}" for one in wanted.itertuples() for rung in range(1, one.rungs + 1)
    }  # a network that races within both budgets is trained once
    summary, _ = read_table(raced.directory / SUMMARY, "summary")
    own = summary[summary["method"] == "race"]
    assert set(zip(own["seed"], own["budget"], strict=True)) == set(races.groups) and len(own) == 4
    spent = races["images"].sum().loc[list(zip(own["seed"], own["budget"], strict=True))]
    assert own["search_images"].tolist() == spent.tolist() and own["search_s"].gt(0).all()
    assert (own["search_seed"] == own["seed"]).all()
    assert summary.loc[summary["method"] != "race", "search_images"].isna().all()
    certificates = pd.read_csv(raced.directory / CERTIFICATES)
    certified = certificates[certificates["method"] == "race"]
    assert set(zip(certified["search_seed"], certified["budget"], strict=True)) == set(races.groups)
    assert set(certified["scope"]) == {"network"}
    contrasts = pd.read_csv(results / "contrasts.csv")
    assert set(contrasts["contrast"]) == {f"race@{budget} - fisher" for budget in BUDGETS}

    assert raced.planned(SUMMARY, TABLE, "results/contrasts.csv") == {}
    changed = copy.deepcopy(raced.config)
    changed["analysis"]["contrasts"].pop()
    assert raced.planned(SUMMARY, TABLE, "results/contrasts.csv", config=changed) == {"contrasts": 1}
    longer = copy.deepcopy(raced.config)
    longer["race"]["steps"] = 2 * STEPS
    plan = raced.planned(SUMMARY, config=longer)
    assert plan["race_lap"] and not {"snap", "sweep", "prune", "teacher", "widths"} & set(plan)
    fewer = copy.deepcopy(raced.config)
    fewer["run"] |= {"seeds": [0], "search_seeds": "first"}
    plan = raced.planned(SUMMARY, config=fewer)
    assert plan["candidates"] and not {*TRAINING, "snap", "sweep", "widths"} & set(plan), plan
