"""Widths by tables of tiles on virtual devices, through the real session: the truth is a formula."""

import json
import math
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pytest

from benchmarks import joint_choice
from benchmarks.computed import layers
from hakd.boards import open_board
from hakd.boards.cost_model import CostModel
from hakd.choosing.device_free import choose_device_free
from hakd.networks.families import full_architecture, full_widths
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.search.budget import budget_from
from hakd.search.by_tables import TableMethods
from hakd.search.certifying import protocol
from hakd.search.problem import ChoiceProblem
from hakd.search.snapping import snap_network
from hakd.search.tile_tables import combinations, measure_tables
from hakd.staircase.curve_rows import curves_from_table
from hakd.study.measuring import Measuring, device_from
from hakd.sweeping.parts import engine_graph
from hakd.sweeping.sweep import sweep
from tests.unit.builders import SPECS

pytestmark = pytest.mark.beside

LEVEL = joint_choice.LEVEL
# So slow that the smallest networks take about a millisecond: below that, calls of the engine are all there is.
MODEL = {
    "overhead_us": 3.0,
    "us_per_mmac": 20000.0,
    "depthwise_us_per_mmac": 20000.0,
    "tile_out": 8,
    "tile_in": 4,
    "penalty_in": 1.35,
}
NOISE = {"sigma": 0.01, "process_sigma": 0.01, "drift": 0.002}
# In ms a figure is the fastest of ten bursts; their noise goes both ways here: 1.5 standard deviations below.
FASTEST = 1 + 1.54 * NOISE["sigma"]


class Case:
    """A small network, pruned at random and swept on a virtual device."""

    def __init__(self, family: str, store: Path, noise: bool = True) -> None:
        self.spec = SPECS[family]()
        self.full = full_widths(self.spec)
        self.pruned, self.trajectory = joint_choice.pruning(self.spec, 1)
        self.model = CostModel(**MODEL)
        self.settings = {
            "transport": "virtual",
            "min_step": 0.1,
            "cost_model": {**MODEL, "noise": NOISE if noise else {}},
        }
        self.store, self.free = store, choose_device_free(self.pruned, LEVEL, 0)
        self.table, _ = sweep("vdev", self.settings, store, {LEVEL: self.free})

    @property
    def problem(self) -> ChoiceProblem:
        return ChoiceProblem(LEVEL, self.pruned, curves_from_table(self.table, LEVEL), self.trajectory)

    def snap(self, methods=("joint",), *budgets):
        return snap_network(
            "vdev",
            self.settings,
            self.store,
            self.problem,
            TableMethods(methods, budgets, self.free),
            sweep_s=5.0,
        )

    @cached_property
    def made(self) -> dict:
        return self.snap(("joint", "knapsack", "latency_greedy")).methods

    def true_block_us(self, widths, group: str) -> float:
        graph = engine_graph(Architecture(self.spec, dict(widths))).block(group)
        return self.model.cost_us(layers(graph))

    def true_ms(self, widths) -> float:
        return joint_choice.true_ms(Architecture(self.spec, dict(widths)), self.model)

    def lost(self, widths) -> float:
        return joint_choice.lost_share(widths, self.full, self.trajectory)


@pytest.fixture(scope="module", params=["mobilenet", "densenet"])
def case(request, tmp_path_factory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("store"))


def test_it_keeps_more_than_the_readings_of_hakd_within_the_pruned_networks_latency(case):
    made = case.made
    twin_ms = case.true_ms(case.pruned.widths)
    assert list(made) == ["hakd", "hakd_free", "joint", "knapsack", "latency_greedy"]
    for method, entry in made.items():
        assert case.true_ms(entry["widths"]) <= 1.005 * twin_ms, method
        assert {choice["group"]: choice["width_to"] for choice in entry["choices"]} == entry["widths"]
        assert all(choice["method"] == method and choice["reason"] for choice in entry["choices"])
        assert entry["search_s"] > 5 and Architecture(case.spec, entry["widths"]).arch == entry["arch"]
    kept = made["joint"]["repair"]
    assert kept["steps"][-1]["reason"] == "accepted" and kept["ratio_high"] <= 1
    assert kept["budget_ms"] == pytest.approx(twin_ms / FASTEST, rel=0.03)
    fresh_ms = case.true_ms(made["joint"]["widths"]) / FASTEST
    assert kept["steps"][-1]["fresh_ms"] == pytest.approx(fresh_ms, rel=0.03)
    assert abs(kept["shrinkage"]) < 0.03  # calibrated: what was predicted is what fresh data say
    assert case.lost(made["joint"]["widths"]) < case.lost(case.pruned.widths)
    for other in ("hakd", "hakd_free", "knapsack", "latency_greedy"):
        assert case.lost(made["joint"]["widths"]) <= case.lost(made[other]["widths"]) + 0.01, other


def test_every_chosen_width_has_a_certificate_that_the_formula_confirms(case):
    for method, entry in case.made.items():
        moved = {c["group"]: c for c in entry["choices"] if c["width_to"] != c["width_from"]}
        whole, *widths = entry["certificates"]
        assert [one["group"] for one in widths] == list(moved), method
        for one in widths:
            group, before = one["group"], moved[one["group"]]["width_from"]
            # At the final neighbours: everything else as it was chosen.
            truth = case.true_block_us(entry["widths"], group) / case.true_block_us(
                {**entry["widths"], group: before}, group
            )
            assert truth <= 1 + one["bound"] and one["ratio"] == pytest.approx(truth, rel=0.03), one["words"]
            assert one["width_to"] == entry["widths"][group] and one["width_from"] == before
            assert one["free_channels"] == (max(one["width_to"] - before, 0) if one["shown"] else 0)
            assert one["processes"] == protocol(Measuring()).processes and one["together"] == len(widths) + 1
        truth = case.true_ms(entry["widths"]) / case.true_ms(case.pruned.widths)
        assert whole["scope"] == "network" and truth <= 1 + whole["bound"]
        assert not widths or "than its twin (95 %) on vdev, onnxruntime virtual-1, 1 thread" in whole["words"]
    assert any(one["shown"] for entry in case.made.values() for one in entry["certificates"][1:])


def test_certificates_share_no_process_with_what_came_before(case):
    assert case.made
    purposes: dict[str, set[str]] = {}
    for path in case.store.rglob("*.jsonl"):
        for record in map(json.loads, path.read_text().splitlines()):
            if record["type"] == "burst":
                purposes.setdefault(record["purpose"].split(":")[0], set()).add(record["process"])
    fresh = purposes.pop("certify")
    assert {"sweep", "tiles", "verify"} <= purposes.keys()
    assert all(fresh.isdisjoint(others) for others in purposes.values())


def test_only_what_is_asked_for_is_measured(case):
    assert list(case.snap(()).methods) == ["hakd", "hakd_free"]


@pytest.mark.parametrize("budget", [{"speedup": 1.7}, {"like": "round16"}, {"latency_ms": None}])
def test_other_budgets_are_kept_as_the_truth_has_them(case, budget):
    full_ms, other_ms = case.true_ms(case.full), case.true_ms(case.free["round16"].widths)
    limit = {"speedup": full_ms / 1.7, "like": other_ms, "latency_ms": 0.7 * full_ms}[next(iter(budget))]
    if "latency_ms" in budget:
        budget = {"latency_ms": limit}
    found = case.snap(("joint",), budget).methods["joint"]
    whole = found["certificates"][0]
    if whole["together"] and whole["processes"]:
        fastest = FASTEST if "latency_ms" in budget else 1.0
        assert case.true_ms(found["widths"]) <= (1 + whole["bound"]) * limit * fastest * 1.004
        assert found["repair"]["budget"] in whole["words"]
    measured = limit if "latency_ms" in budget else limit / FASTEST
    assert found["repair"]["budget_ms"] == pytest.approx(measured, rel=0.03)
    assert 0.7 * limit < case.true_ms(found["widths"]) <= 1.02 * limit
    if "like" in budget:
        assert case.lost(found["widths"]) <= case.lost(case.free["round16"].widths) + 1e-9


def test_a_budget_that_nothing_keeps_has_no_network_and_is_an_error_where_it_is_the_only_one(case):
    tight, kept = {"latency_ms": 1e-4}, {"like": "round16"}
    made = case.snap(("joint", "race"), tight, kept)
    assert list(made.methods) == ["hakd", "hakd_free", "joint@round16"] and list(made.races) == ["round16"]
    assert made.races["round16"]["choice"] == "race@round16"  # though one race alone is left
    assert list(made.unkept) == ["joint@0.0001ms", "race@0.0001ms"]
    assert all("none of the timed widths meet the budget" in reason for reason in made.unkept.values())
    with pytest.raises(HakdError, match=r"none of the timed widths meet the budget.*Raise the budget"):
        case.snap(("joint",), tight)


def test_without_noise_tables_hold_the_truth(tmp_path):
    case = Case("mobilenet", tmp_path, noise=False)
    device, measuring = device_from("vdev", case.settings)
    candidates = case.problem.candidates(budget_from({"like": "fisher"}, {"fisher": case.pruned}))
    networks = {one.arch: one for one in (case.pruned, full_architecture(case.spec))}
    with open_board(device, tmp_path) as board:
        tables = measure_tables(board, case.pruned, candidates, networks, measuring)
    # Each tile pays for a call of its own, which the network pays once.
    assert tables.overhead_ms == pytest.approx(
        -(len(tables.tiles) - 1) * MODEL["overhead_us"] / 1e3, rel=0.01
    )
    for widths in (case.pruned.widths, case.full):
        total = sum(tile.latency_ms[tuple(widths[g] for g in tile.groups)] for tile in tables.tiles)
        assert total + tables.overhead_ms == pytest.approx(case.true_ms(widths), rel=0.002)
    shapes = {name: groups for name, (groups, _) in combinations(case.pruned, candidates).items()}
    assert shapes["stem"] == ("stem",) and shapes["block5"] == ("block4", "block5")
    sizes = {tile.name: len(tile.latency_ms) for tile in tables.tiles}
    assert sizes["block5"] == len(candidates["block4"]) * len(candidates["block5"])
    values = case.problem.values(candidates)
    assert all(by_width[case.full[group]] == 0 for group, by_width in values.items())
    assert all(math.isfinite(value) and value <= 0 for some in values.values() for value in some.values())


def test_candidates_are_no_narrower_than_the_trajectory_knows(case):
    short = case.trajectory[case.trajectory.groupby("group").cumcount() < 3]
    budget = budget_from({"like": "uniform"}, {**case.free, "fisher": case.pruned})
    for group, widths in replace(case.problem, trajectory=short).candidates(budget).items():
        assert min(widths) >= min(case.full[group] - 3, case.pruned.widths[group])


def test_a_network_that_nothing_in_the_tables_beats_is_its_own_choice(case, tmp_path):
    """One that is both faster and wider than what the candidates allow: the smallest widths of all."""
    least = Architecture(case.spec, dict.fromkeys(case.full, 1))
    made = snap_network(
        "vdev",
        case.settings,
        case.store,
        replace(case.problem, trajectory=case.trajectory.iloc[:5]),
        TableMethods(("joint",), [{"like": "random"}], {**case.free, "random": least}),
    ).methods["joint"]
    assert made["widths"] == dict(least.widths) and made["repair"]["ratio_high"] == 1.0
    assert "the network that gave the budget" in made["repair"]["reason"]


def test_the_benchmark_tells_latency_and_loss_of_every_method():
    rows = joint_choice.one_case("densenet", "comb", 0)
    found = {(row["budget"], row["method"]): row for row in rows}
    assert {method for _, method in found} == {
        "hakd", "hakd_free", *joint_choice.METHODS, "fisher", "round16", "uniform_aligned"
    }  # fmt: skip
    assert (
        found["fisher", "fisher"]["latency / budget"] == found["round16", "round16"]["latency / budget"] == 1
    )
    for like in ("fisher", "round16"):
        assert found[like, "joint"]["latency / budget"] <= 1.002
        assert found[like, "joint"]["lost"] < found[like, "hakd_free"]["lost"] < 1
    assert joint_choice.regret(4)["regret"].between(0, 0.01).all()


def test_an_unknown_baseline_is_one_clear_error():
    spec = SPECS["densenet"]()
    with pytest.raises(HakdError, match=r"choosing.budgets: no widths of the method 'joint'.*Known: fisher"):
        budget_from({"like": "joint"}, {"fisher": full_architecture(spec)})
