"""A study with a fleet of two virtual devices: its network keeps both budgets, and changes rerun what they touch."""

import copy
import json
import shutil
from collections import Counter, defaultdict

import pypdfium2
import pytest

from hakd.boards.cost_model import cost_model_from
from hakd.boards.virtual import layers_of
from hakd.networks.engine_model import engine_model
from hakd.networks.families import full_architecture
from hakd.networks.onnx_model import stand_in_weights
from hakd.records.arch import Architecture, read_architecture
from hakd.records.tables import read_table
from hakd.sweeping.parts import engine_graph
from tests.workflow.devices import MODELS, virtual
from tests.workflow.study import Job, Study

SUMMARY = "results/summary.parquet"
SPEEDUP = 1.13
MEMBER = Counter(benchmark=1, score=1, device_summary=1)  # of a device whose fleet's network changed
FLEET = Counter(fleet=1, fleet_candidates=1)


def with_fleet(config: dict, **run) -> dict:
    """The smallest study on two virtual devices that share a network, and one that shares none."""
    made = copy.deepcopy(config)
    made["devices"] |= {name: virtual(model) for name, model in MODELS.items()}
    made["run"] |= {"devices": ["comb", "slope"], "methods": ["teacher", "fisher", "joint"]}
    made["run"] |= {"fleets": ["both"]} | run
    made["students"]["losses"] = ["logits"]
    made["fleets"] = {
        "both": {"devices": ["slope", "comb"], "budget": {"speedup": SPEEDUP}},
        "bent": {"devices": ["hump", "slope"]},
    }
    return made


@pytest.fixture(scope="module")
def shared(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The finished study of this machine, gone on with two virtual devices as a fleet."""
    study = Study(tmp_path_factory.mktemp("fleets") / "study")
    shutil.copytree(finished.directory, study.directory, symlinks=True, copy_function=shutil.copy2)
    study.config = with_fleet(study.config)
    study.jobs = study.run(SUMMARY, "results/devices/comb/pareto.pdf")
    return study


def chosen(study: Study) -> dict:
    """What was chosen for the fleet."""
    return json.loads((study.directory / "results/tiny/fleet/0.8/both.json").read_text())


def changed(study: Study, device: str, **settings) -> dict:
    """The configuration with settings of one device changed."""
    config = copy.deepcopy(study.config)
    config["devices"][device] |= settings
    return config


def by_device(jobs: list[Job]) -> dict[str, Counter]:
    """{device, or fleet, or "" for neither: jobs by rule}."""
    found: dict[str, Counter] = defaultdict(Counter)
    for job in jobs:
        found[job.wildcards.get("device") or job.wildcards.get("fleet") or ""][job.rule] += 1
    return dict(found)


def true_ms(architecture: Architecture, device: str) -> float:
    """By the formula."""
    graph = engine_graph(architecture)
    model = cost_model_from(MODELS[device])
    return model.cost_us(layers_of(engine_model("onnxruntime", graph, stand_in_weights(graph), 1))) / 1e3


def test_a_study_without_fleets_has_nothing_to_do_when_some_are_registered(finished):
    fleets = with_fleet(finished.config)
    config = {**finished.config, "devices": fleets["devices"], "fleets": fleets["fleets"]}
    assert finished.planned(config=config) == {}


def test_one_job_chooses_for_the_fleet_and_its_devices_time_what_it_chose(shared):
    assert shared.jobs["fleet"] == shared.jobs["fleet_candidates"] == 1
    assert shared.jobs["sweep"] == shared.jobs["snap"] == shared.jobs["benchmark"] == 2
    assert not {"data", "teacher", "prune", "widths", "tuned", "deep_compression"} & set(shared.jobs)
    assert shared.planned(SUMMARY) == {}


def test_the_fleets_network_truly_keeps_every_budget_and_the_file_says_what_sharing_costs(shared):
    made = chosen(shared)
    found = read_architecture(shared.directory / f"results/architectures/{made['arch']}.json")
    assert dict(found.widths) == made["widths"] and made["reason"].startswith("verified")
    assert {one["group"]: one["width_to"] for one in made["groups"]} == made["widths"]
    full = full_architecture(found.spec)
    assert set(made["devices"]) == set(made["chosen_on"]) == {"comb", "slope"}
    for name, one in made["devices"].items():
        limit_ms = true_ms(full, name) / SPEEDUP
        assert one["budget_ms"] == pytest.approx(limit_ms, rel=0.03)
        assert true_ms(found, name) <= 1.005 * limit_ms and one["verified"] and one["ratio_high"] <= 1
        assert one["fresh_ms"] == pytest.approx(true_ms(found, name), rel=0.03)
        sharing = one["sharing"]
        own = found.at(sharing["own_widths"])
        assert true_ms(own, name) <= 1.01 * limit_ms and own.arch == sharing["own_arch"]
        assert 0 <= sharing["own_lost_share"] <= sharing["lost_share"] == made["lost_share"] <= 1
        assert sharing["cost_share"] == pytest.approx(made["lost_share"] - sharing["own_lost_share"])
        for other, ratio in sharing["own_elsewhere"].items():
            there = true_ms(own, other) / (true_ms(full, other) / SPEEDUP)
            assert ratio == pytest.approx(there, rel=0.02)
    # The two devices want different networks: at least one of them pays.
    assert max(one["sharing"]["cost_share"] for one in made["devices"].values()) > 0


def test_what_a_member_had_timed_for_itself_is_not_timed_again(shared):
    """The tiles of its own `joint` come out of the store: under the same purpose, and each burst is there once."""
    seen, purposes = set(), defaultdict(set)
    for path in shared.directory.glob("results/measurements/*/*.jsonl"):
        head, *records = map(json.loads, path.read_text().splitlines())
        for one in records:
            if one["type"] == "burst" and not one["reference"]:
                point = (head["device"]["name"], one["key"])
                place = (*point, one["purpose"], one["slot"], one["round"])
                assert place not in seen
                seen.add(place)
                if "pass1" in one["purpose"]:
                    purposes[point].add(one["purpose"])
    assert {name for name, _ in purposes} >= {"comb", "slope"} and len(purposes) > 60
    assert all(len([one for one in some if "tiles:look1" in one]) <= 1 for some in purposes.values())


def test_the_summary_and_the_plot_show_the_fleet_as_a_series(shared):
    frame, _ = read_table(shared.directory / SUMMARY, "summary")
    rows = frame[frame["method"] == "fleet"]
    assert set(rows["target_device"]) == {"both"} and set(rows["arch"]) == {chosen(shared)["arch"]}
    assert set(rows["device"]) == {"comb", "slope"} and set(rows["loss"]) == {"logits"}
    assert rows["search_s"].gt(0).all() and len(rows) == 2
    document = pypdfium2.PdfDocument(shared.directory / "results/devices/comb/pareto.pdf")
    text = "".join(page.get_textpage().get_text_range() for page in document)
    assert "fleet both" in text and "for both" not in text


def test_another_setting_of_a_member_reruns_its_fleet_and_no_sweep_of_the_others(shared):
    planned = by_device(shared.plan(SUMMARY, config=changed(shared, "comb", rounds=6)))
    assert planned == {
        "comb": MEMBER + Counter(sweep=1, snap=1, candidates=1), "both": FLEET, "slope": MEMBER,
        "": Counter(summary=1),
    }  # fmt: skip
    assert shared.plan(SUMMARY, config=changed(shared, "comb", lock_wait_s=5)) == []
    assert shared.plan(SUMMARY, config=changed(shared, "hump", rounds=6)) == []


def test_a_fleet_more_and_a_fleet_less_rerun_what_they_touch(shared):
    more = with_fleet(shared.config, devices=["comb", "slope", "hump"], fleets=["both", "bent"])
    planned = by_device(shared.plan(SUMMARY, config=more))
    assert planned["bent"] == FLEET and planned["slope"] == MEMBER
    assert planned["hump"]["sweep"] == planned["hump"]["benchmark"] == 1
    assert not {"comb", "both"} & set(planned)
    less = by_device(shared.plan(SUMMARY, config=with_fleet(shared.config, fleets=[])))
    assert less == {"comb": MEMBER, "slope": MEMBER, "": Counter(summary=1)}


def test_other_members_or_budgets_rerun_the_fleet_and_another_order_does_not(shared):
    config = copy.deepcopy(shared.config)
    config["fleets"]["both"]["devices"] = ["comb", "slope"]
    assert shared.plan(SUMMARY, config=config) == []
    config["fleets"]["both"]["budgets"] = {"comb": {"latency_ms": 3}}
    rerun = {"both": FLEET, "comb": MEMBER, "slope": MEMBER, "": Counter(summary=1)}
    assert by_device(shared.plan(SUMMARY, config=config)) == rerun
    config = copy.deepcopy(shared.config)
    config["choosing"] = {"budgets": [{"speedup": 2}]}  # the fleet has a budget of its own; `joint` has not
    planned = by_device(shared.plan(SUMMARY, config=config))
    assert planned["comb"]["snap"] == planned["slope"]["snap"] == 1 and "both" not in planned
    config = copy.deepcopy(shared.config)
    config["run"]["devices"].append("hump")
    config["fleets"]["both"]["devices"].append("hump")
    planned = by_device(shared.plan(SUMMARY, config=config))
    assert planned["both"] == FLEET and planned["comb"] == planned["slope"] == MEMBER
    assert planned["hump"]["sweep"] == 1


@pytest.mark.parametrize(
    ("run", "counts"),
    [
        ({"networks": ["tiny", "other"]}, {"fleet": 1, "fleet_candidates": 1, "sweep": 2}),
        ({"levels": [0.8, 0.7]}, {"fleet": 2, "fleet_candidates": 2, "sweep": 2}),
        ({"seeds": [0, 1]}, {"fleet": 0, "fleet_candidates": 1, "sweep": 0}),
    ],
)
def test_a_value_added_to_another_axis_shows_in_the_plan(shared, run, counts):
    plan = shared.planned(SUMMARY, config=with_fleet(shared.config, **run))
    assert {rule: plan[rule] for rule in counts} == counts and plan["summary"] == 1


def test_a_budget_taken_from_the_members_own_choices_waits_for_them(shared):
    config = copy.deepcopy(shared.config)
    config["fleets"]["both"]["budget"] = {"like": "hakd_free"}
    (job,) = [job for job in shared.plan(SUMMARY, config=config) if job.rule == "fleet"]
    assert {f"results/tiny/snap/0.8/{name}.json" for name in ("comb", "slope")} <= set(job.inputs)


def test_a_job_of_a_fleet_holds_every_members_board(finished):
    config = with_fleet(finished.config, devices=["local", "north", "south"], fleets=["all", "far"])
    config["devices"] |= {name: {"transport": "ssh", "host": name} for name in ("north", "south")}
    config["fleets"] = {"all": {"devices": ["local", "north"]}, "far": {"devices": ["north", "south"]}}
    plan = {
        job.wildcards["fleet"]: job for job in finished.plan(SUMMARY, config=config) if job.rule == "fleet"
    }
    held = {
        fleet: {name for name in job.resources if name.startswith("board_")} for fleet, job in plan.items()
    }
    assert held == {"all": {"board_local", "board_north"}, "far": {"board_north", "board_south"}}
    assert plan["all"].threads == 2 and plan["far"].threads == 1  # all cores, where this machine is timed


@pytest.mark.parametrize(
    ("fleets", "words"),
    [
        ({"both": {"devices": ["comb", "pi4"]}}, ["fleets.both.devices: unknown device 'pi4'", "Add it to"]),
        ({"both": {"devices": ["comb"]}}, ["fleets.both.devices: fewer than two devices"]),
        ({"both": {"devices": ["comb", "hump"]}}, ["'hump' is not run", "`run.devices`"]),
        ({"other": {"devices": ["comb", "slope"]}}, ["run.fleets: unknown fleet 'both'"]),
    ],
)
def test_a_mistake_is_one_clear_error_that_names_the_file(shared, fleets, words):
    done = shared.snakemake("-n", config={**shared.config, "fleets": fleets})
    assert done.returncode != 0 and "Traceback" not in done.stdout
    for word in (*words, "config.yaml"):
        assert word in done.stdout, done.stdout[-2000:]
