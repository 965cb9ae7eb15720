"""One network for several virtual devices, whose truth is a formula: are all budgets kept, and what does sharing cost?

    python -m benchmarks.fleet_choice [--seeds 3] [--out table.csv]

A network is pruned at random (by seed), swept on virtual devices with noise, and widths are chosen as a study would:
for each device alone (`joint`), for every pair of the devices and for all three. Reported by member are the true
latency over its budget, the share of all recorded saliency that the fleet's network and the device's own lose, and the
highest true latency over the budget that another member's own network has here: what happens without a choice for all.
"""

import argparse
import itertools
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when numpy and torch load their libraries, so before that

import pandas as pd  # noqa: E402

from benchmarks.joint_choice import (  # noqa: E402
    DEVICES,
    LEVEL,
    NETWORKS,
    lost_share,
    pruning,
    settings_of,
    true_ms,
)
from hakd.boards.cost_model import CostModel, cost_model_from  # noqa: E402
from hakd.choosing.device_free import choose_device_free  # noqa: E402
from hakd.networks.families import full_architecture, full_widths, network_spec  # noqa: E402
from hakd.records.arch import Architecture  # noqa: E402
from hakd.search.budget import budget_from  # noqa: E402
from hakd.search.by_tables import TableMethods  # noqa: E402
from hakd.search.fleet import choose_for_fleet  # noqa: E402
from hakd.search.fleet_boards import Member  # noqa: E402
from hakd.search.problem import ChoiceProblem  # noqa: E402
from hakd.search.snapping import snap_network  # noqa: E402
from hakd.staircase.curve_rows import curves_from_table  # noqa: E402
from hakd.study.measuring import device_from  # noqa: E402
from hakd.sweeping.sweep import sweep  # noqa: E402

BUDGETS: Mapping[str, dict] = {"fisher": {"like": "fisher"}, "full / 1.5": {"speedup": 1.5}}
FLEETS = [fleet for size in (2, 3) for fleet in itertools.combinations(DEVICES, size)]


class Case:
    """A network pruned at random and swept on every virtual device; own choices are made once for each budget."""

    def __init__(self, network: str, seed: int, store: str, devices: Sequence[str] = tuple(DEVICES)) -> None:
        self.spec, self.seed, self.store = network_spec(network, NETWORKS[network], 1, 10), seed, Path(store)
        self.pruned, self.trajectory = pruning(self.spec, seed)
        self.full = full_widths(self.spec)
        self.free = choose_device_free(self.pruned, LEVEL, seed)
        self.settings = {device: settings_of(device) for device in devices}
        for entry in self.settings.values():
            entry["cost_model"]["seed"] = seed
        self.models = {name: cost_model_from(entry["cost_model"]) for name, entry in self.settings.items()}
        self.tables = {
            name: sweep(name, entry, store, {LEVEL: self.free})[0] for name, entry in self.settings.items()
        }

    def limit_ms(self, budget: Mapping, model: CostModel) -> float:
        """The budget by the formula."""
        if "speedup" in budget:
            return true_ms(full_architecture(self.spec), model) / budget["speedup"]
        return true_ms(self.free[budget["like"]], model)

    def alone(self, device: str, budget: Mapping) -> Architecture:
        """What `joint` chooses for one device."""
        made = snap_network(
            device,
            self.settings[device],
            self.store,
            ChoiceProblem(LEVEL, self.pruned, curves_from_table(self.tables[device], LEVEL), self.trajectory),
            TableMethods(("joint",), [budget], self.free),
        )
        return Architecture(self.spec, made.methods["joint"]["widths"])

    def together(self, fleet: Sequence[str], budget: Mapping) -> dict:
        """What is chosen for a fleet."""
        members = {}
        for name in fleet:
            device, measuring = device_from(name, self.settings[name])
            asked = budget_from(budget, {**self.free, "fisher": self.pruned})
            members[name] = Member(device, measuring, curves_from_table(self.tables[name], LEVEL), asked, {})
        return choose_for_fleet(members, self.store, LEVEL, self.pruned, self.trajectory)

    def over(self, found: Architecture, device: str, budget: Mapping) -> float:
        """True latency over the budget."""
        return true_ms(found, self.models[device]) / self.limit_ms(budget, self.models[device])

    def lost(self, widths: Mapping[str, int]) -> float:
        """Share of all recorded saliency that widths lose."""
        return lost_share(widths, self.full, self.trajectory)


def one_case(
    network: str,
    seed: int,
    fleets: Sequence[Sequence[str]] = tuple(FLEETS),
    budgets: Mapping[str, dict] = BUDGETS,
) -> list[dict]:
    """All fleets and budgets on one random pruning: a row per member."""
    rows = []
    devices = [name for name in DEVICES if any(name in fleet for fleet in fleets)]
    with tempfile.TemporaryDirectory() as store:
        case = Case(network, seed, store, devices)
        for words, budget in budgets.items():
            own = {device: case.alone(device, budget) for device in devices}
            for fleet in fleets:
                made = case.together(fleet, budget)
                chosen = Architecture(case.spec, made["widths"])
                for device in fleet:
                    rows.append(
                        {
                            "network": network,
                            "budget": words,
                            "fleet": "+".join(fleet),
                            "device": device,
                            "seed": seed,
                            "latency / budget": case.over(chosen, device, budget),
                            "lost": case.lost(chosen.widths),
                            "own latency / budget": case.over(own[device], device, budget),
                            "own lost": case.lost(own[device].widths),
                            "own lost by its tables": made["devices"][device]["sharing"]["own_lost_share"],
                            "others' own here": max(
                                case.over(own[other], device, budget) for other in fleet if other != device
                            ),
                            "verified": made["devices"][device]["verified"],
                            "shrinkage": made["devices"][device]["shrinkage"],
                            "tries": len(made["steps"]),
                            "points": made["devices"][device]["points"],
                            "search_s": made["search_s"],
                        }
                    )
    return rows


def main() -> None:
    """Print the table; write all cases as CSV where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="random prunings of each network")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--budgets", nargs="*", default=list(BUDGETS), choices=list(BUDGETS))
    parser.add_argument("--out", help="CSV of all cases")
    given = parser.parse_args()
    rows: list[dict] = []
    for network, seed in itertools.product(given.networks, range(given.first, given.first + given.seeds)):
        rows += one_case(network, seed, budgets={words: BUDGETS[words] for words in given.budgets})
        print(f"{network}, seed {seed}: done", flush=True)
    table = pd.DataFrame(rows)
    if given.out:
        table.to_csv(given.out, index=False)
    print(shown(table).to_string(float_format=lambda value: f"{value:.3f}"))


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A row per network, budget, fleet and member."""
    table = table.assign(cost=table["lost"] - table["own lost"])
    keys = ["network", "budget", "fleet", "device"]
    return table.groupby(keys, sort=False).agg(
        cases=("seed", "size"),
        latency=("latency / budget", "median"),
        worst=("latency / budget", "max"),
        lost=("lost", "mean"),
        own_lost=("own lost", "mean"),
        cost=("cost", "mean"),
        others_own_here=("others' own here", "max"),
        tries=("tries", "mean"),
        points=("points", "mean"),
    )


if __name__ == "__main__":
    main()
