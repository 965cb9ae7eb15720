"""The networks that race within a budget, found on a virtual device: distinct, and within the budget by the formula."""

import itertools
import json
from dataclasses import replace

import pytest

from benchmarks.joint_choice import DEVICES, NETWORKS, NOISE
from hakd.choosing.contestants import COUNTED, DISTINCT, ORIGINS, RUNNER_UP, distance
from hakd.networks.families import network_spec
from hakd.networks.prunable import count_of
from hakd.records.arch import Architecture, architecture_from
from hakd.search.by_tables import TableMethods
from hakd.search.snapping import snap_network
from tests.unit.computed_choice import ComputedChoice

COSTS = {"overhead_us": 3.0, "us_per_mmac": 12.0, "depthwise_us_per_mmac": 30.0, "noise": NOISE}
PLAIN = {"tile_out": 1, "tile_in": 1, "penalty_in": 1.0}


def computed(device: str, seed: int) -> ComputedChoice:
    spec = network_spec("densenet", NETWORKS["densenet"], 1, 10)
    return ComputedChoice(spec, seed, **{**PLAIN, **COSTS, **DEVICES[device]})


@pytest.fixture(scope="module")
def case() -> ComputedChoice:
    return computed("comb", 3)


@pytest.fixture(scope="module")
def snapped(case):
    return case.snap(("joint", "race"), {"like": "round16"}, {"speedup": 2})


@pytest.fixture(scope="module")
def first(snapped):
    return snapped.races["round16"]


def widths_of(race):
    return [one["widths"] for one in race["contestants"]]


@pytest.mark.parametrize("label", ["round16", "speedup2"])
def test_contestants_keep_their_budget_and_joints_own_leads(case, snapped, label):
    race = snapped.races[label]
    reference, share = (
        (case.free["round16"], 1) if label == "round16" else (case.problem.pruned.at(case.full), 2)
    )
    limit = case.true_ms(reference.widths) / share
    assert list(snapped.methods) == ["hakd", "hakd_free", "joint@round16", "joint@speedup2"]
    assert (race["budget"], race["reference"]) == (label, reference.arch)
    first, *others = race["contestants"]
    assert first["origin"] == "joint/saliency" and first["arch"] == snapped.methods[f"joint@{label}"]["arch"]
    assert race["survivors"] == [one["arch"] for one in race["contestants"]]
    assert len(others) >= 4 and all(one["kept"] for one in race["contestants"])
    assert all(one["latency_high_ms"] <= race["budget_ms"] for one in others)
    assert max(map(case.true_ms, widths_of(race))) <= 1.003 * limit
    assert json.loads(json.dumps(race, allow_nan=False)) == race
    assert race["search_s"] > snapped.methods[f"joint@{label}"]["search_s"]


def test_they_are_distinct_networks_each_the_best_of_its_kind(case, first):
    contestants = first["contestants"]
    places = [ORIGINS.index(one["origin"]) for one in contestants]
    assert places == sorted(places) and len({one["arch"] for one in contestants}) == len(contestants)
    for one, other in itertools.combinations(contestants, 2):
        if RUNNER_UP in (one["origin"], other["origin"]):
            assert distance(one["widths"], other["widths"]) >= DISTINCT
    by_origin = {one["origin"]: one["widths"] for one in contestants if one["origin"] != RUNNER_UP}
    lost = [case.lost(one["widths"]) for one in contestants if one["origin"] == RUNNER_UP]
    own = case.lost(by_origin["joint/saliency"])
    assert lost == sorted(lost) and own <= lost[0] + 0.002 and lost[0] < 2 * own
    for origin, name in (("joint/macs", "macs"), ("joint/params", "params")):
        count = count_of(case.spec, name)
        assert count(by_origin[origin]) >= count(by_origin["joint/saliency"])
    for origin, multiple in (("round16", 16), ("uniform_aligned", 8)):
        assert all(w % multiple == 0 or w == case.full[g] for g, w in by_origin[origin].items())
    assert by_origin["round16"] == case.free["round16"].widths  # no wider scaling keeps its own latency


def test_each_has_what_a_choice_has(case, first):
    limit = case.true_ms(case.free["round16"].widths)
    for one in first["contestants"]:
        network = architecture_from(one, "race")
        assert {choice["group"]: choice["width_to"] for choice in one["choices"]} == network.widths
        assert {(c["method"], c["budget"]) for c in one["choices"]} == {("race", "round16")}
        assert one["value"] == pytest.approx(-case.lost(network.widths) * case.trajectory["score"].sum())
        assert one["latency_ms"] / first["budget_ms"] == pytest.approx(
            case.true_ms(network.widths) / limit, rel=0.02
        )
        assert one["predicted_ms"] is None or one["predicted_ms"] == pytest.approx(
            one["latency_ms"], rel=0.05
        )
        (whole,) = one["certificates"]
        assert (
            whole["scope"] == "network"
            and case.true_ms(network.widths) <= (1 + whole["bound"]) * limit * 1.001
        )


def test_they_are_timed_in_one_session_that_shares_no_process(case, snapped):
    processes: dict[str, set[str]] = {}
    for (purpose, _), bursts in case.board._store.items():
        processes.setdefault(purpose, set()).update(burst.process for burst in bursts)
    sessions = [purpose for purpose in processes if purpose.startswith("race:")]
    assert len(sessions) == len(snapped.races) == 2
    for session in sessions:
        assert len(processes[session]) == 8
        assert all(processes[session].isdisjoint(own) for name, own in processes.items() if name != session)


def test_fewer_places_keep_the_order(case):
    (race,) = case.snap(("race",), {"like": "round16"}, contestants=2).races.values()
    own, other = (one["origin"] for one in race["contestants"])
    assert own == "joint/saliency" and other in COUNTED
    assert case.snap(("joint",)).races == {}


def test_the_budgets_own_network_races_alone_where_nothing_else_keeps_it(case):
    least = Architecture(case.spec, dict.fromkeys(case.full, 1))
    problem = replace(case.problem, trajectory=case.trajectory.iloc[:5])
    asked = TableMethods(("race",), [{"like": "random"}], {**case.free, "random": least})
    made = snap_network("vdev", case.settings, "unused", problem, asked, opened=case.opened)
    race = made.races["random"]
    (one,) = race["contestants"]
    assert one["arch"] == least.arch == race["reference"] and one["kept"] and one["value"] is None


def test_on_another_device_nearly_all_use_their_budget():
    case = computed("slope", 4)
    limit = case.true_ms(case.full) / 2
    race = case.snap(("race",), {"speedup": 2}).races["speedup2"]
    truth = [case.true_ms(widths) / limit for widths in widths_of(race)]
    assert len(truth) >= 4 and max(truth) <= 1.003
    assert sum(ratio > 0.9 for ratio in truth) >= len(truth) - 2  # profiles come in large steps
