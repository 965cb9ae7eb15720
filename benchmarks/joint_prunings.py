"""Widths chosen together against all baselines on 20 real prunings, timed on this machine's own ONNX Runtime.

    python -m benchmarks.joint_prunings train --folder FOLDER             teachers and Fisher prunings (no timing)
    python -m benchmarks.joint_prunings time --folder FOLDER --limit-s 170     again until it says that all are timed
    python -m benchmarks.joint_prunings regret --folder FOLDER            against trying everything, on the same tables
    python -m benchmarks.joint_prunings table --folder FOLDER             the tables of docs/joint.md

Five seeds of two networks trained on the digits, pruned to 15 % of their MACs, each taken at two levels. Everything
is kept in FOLDER: what is there is not done again, and every burst is in FOLDER/store. Choices are made as in a study;
then all networks of a pruning are timed once more, interleaved in processes that no choice was made on.
"""

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when numpy and torch load their libraries, so before that

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from hakd.boards import Board, Burst, open_board  # noqa: E402
from hakd.choosing.baselines import round_to  # noqa: E402
from hakd.choosing.device_free import choose_device_free  # noqa: E402
from hakd.choosing.joint import NoneFits, choose  # noqa: E402
from hakd.choosing.snap import READINGS  # noqa: E402
from hakd.choosing.tile_costs import Cost, Values, latency_of  # noqa: E402
from hakd.networks.families import full_architecture, full_widths, network_spec  # noqa: E402
from hakd.pruning.trajectory import read_trajectory, regained_saliency, write_trajectory  # noqa: E402
from hakd.records.arch import Architecture, architecture_from  # noqa: E402
from hakd.records.files import digest, read_json, write_json  # noqa: E402
from hakd.records.tables import read_table, write_table  # noqa: E402
from hakd.search.budget import Budget, budget_from  # noqa: E402
from hakd.search.by_tables import TableMethods  # noqa: E402
from hakd.search.problem import ChoiceProblem  # noqa: E402
from hakd.search.snapping import snap_network  # noqa: E402
from hakd.search.tile_tables import Tables, measure_tables  # noqa: E402
from hakd.staircase.curve_rows import curves_from_table  # noqa: E402
from hakd.staircase.estimate import estimate, ratio  # noqa: E402
from hakd.staircase.ratio import Ratio  # noqa: E402
from hakd.sweeping.looks import LOOKS, merge  # noqa: E402
from hakd.sweeping.parts import engine_graph, point  # noqa: E402
from hakd.sweeping.sweep import sweep  # noqa: E402
from hakd.sweeping.timing import Measuring, device_from, known  # noqa: E402

NETWORKS = {
    "mobilenet": {"family": "mobilenet", "multiplier": 0.25, "input_size": 32},
    "densenet": {"family": "densenet", "depth": 22, "growth": 8, "input_size": 16},
}
SEEDS = range(5)
LEVELS = (0.6, 0.3)
LOWEST = 0.15  # the pruning goes on, so that scores are known below the levels
EPOCHS = 12
PRUNE = {"steps": 4, "channels": 8, "lr": 0.002}  # as in config/config.yaml, and so is the device
DEVICE = {"transport": "local", "engine": "onnxruntime", "threads": 1, "min_step": 0.1}
BUDGETS: Mapping[str, tuple[str, ...]] = {
    "round16": ("joint", "knapsack", "latency_greedy"),
    "uniform_aligned": ("joint",),
}
FREE = ("fisher", "round8", "round16", "round32", "uniform_aligned")
REPORT_PROCESSES = 6
FREE_GROUPS, SUBSETS = 5, 4


@dataclass(frozen=True)
class Case:
    """A pruned network."""

    folder: Path
    network: str
    seed: int
    level: float

    @property
    def trained(self) -> Path:
        """Where teacher and trajectory are."""
        return self.folder / f"{self.network}-{self.seed}"

    @property
    def own(self) -> Path:
        """Where its timings are."""
        return self.folder / f"{self.network}-{self.seed}-{self.level:g}"


def cases(folder: Path) -> Iterator[Case]:
    """All prunings, the networks and levels in turn."""
    for seed, network, level in itertools.product(SEEDS, NETWORKS, LEVELS):
        yield Case(folder, network, seed, level)


# --- training and pruning


def train(folder: Path, limit_s: float) -> None:
    """Teachers and their Fisher prunings, with the package's own training."""
    from hakd.data import load_splits, prepare
    from hakd.data.settings import complete
    from hakd.pruning.prune import PruneJob, PruneSettings, prune
    from hakd.records.checkpoint import read_checkpoint
    from hakd.training.recipe import Recipe
    from hakd.training.students import TrainingJob, train_candidate

    start = time.monotonic()
    train_path, validation_path = folder / "data/train.npz", folder / "data/validation.npz"
    if not train_path.exists():
        prepare(complete({"name": "digits", "seed": 0}, "benchmark"), folder / "data")
    for seed, network in itertools.product(SEEDS, NETWORKS):
        found = Case(folder, network, seed, 1.0).trained
        if (found / "pruned.json").exists():
            continue
        if time.monotonic() - start > limit_s:
            print("stopped at the limit; run it again", flush=True)
            return
        found.mkdir(parents=True, exist_ok=True)
        data = load_splits(train_path, validation_path, NETWORKS[network]["input_size"])
        spec = network_spec(network, NETWORKS[network], data.train.channels, data.train.num_classes)
        teacher = found / "teacher.safetensors"
        if not teacher.exists():
            rows = train_candidate(
                full_architecture(spec), data, TrainingJob(teacher, EPOCHS, Recipe(), seed)
            )
            print(f"{found.name}: validation accuracy {rows[-1]['val_accuracy']:.3f}", flush=True)
        weights = read_checkpoint(teacher).weights
        pruned, above = {}, None
        for level in sorted((*LEVELS, LOWEST), reverse=True):
            state = found / f"{level:g}.state"
            kept = {"above_path": above, "state_path": state, "resume_path": f"{state}.resume"}
            job = PruneJob(level, PruneSettings(**PRUNE), seed, label=found.name, **kept)
            reached = prune(full_architecture(spec), weights, data, job)
            pruned[f"{level:g}"], above = reached.architecture.to_dict(), state
        write_trajectory(found / "trajectory.csv", reached.rows)
        write_json(found / "pruned.json", "widths", {"levels": pruned})
        print(f"{found.name}: {len(reached.rows)} channels removed", flush=True)
    print("all are trained", flush=True)


# --- timing


def problem_of(case: Case) -> ChoiceProblem:
    """The pruning with its curves, once these are timed."""
    pruned, trajectory = _pruned(case)
    table, _ = read_table(case.own / "latency.parquet", "latency")
    return ChoiceProblem(case.level, pruned, curves_from_table(table, case.level), trajectory)


def _pruned(case: Case) -> tuple[Architecture, pd.DataFrame]:
    found = read_json(case.trained / "pruned.json", "widths")["levels"][f"{case.level:g}"]
    return architecture_from(found, case.trained), read_trajectory(case.trained / "trajectory.csv")


def time_all(folder: Path, limit_s: float) -> None:
    """Sweep, choose, and time again in new processes, whatever is missing."""
    start = time.monotonic()
    for case in cases(folder):
        if not (case.trained / "pruned.json").exists():
            continue  # not trained yet
        steps = [("latency.parquet", lambda path, c=case: _sweep(c, path))]
        steps += [
            (f"{budget}.json", lambda path, c=case, b=budget: _choose(c, b, path)) for budget in BUDGETS
        ]
        steps += [("fresh.json", lambda path, c=case: _time_afresh(c, path))]
        for name, step in steps:
            path = case.own / name
            if path.exists():
                continue
            if time.monotonic() - start > limit_s:
                print("stopped at the limit; run it again", flush=True)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            step(path)
            print(f"{case.own.name} {name}: {time.monotonic() - began:.0f} s", flush=True)
    print("all are timed", flush=True)


def _sweep(case: Case, path: Path) -> None:
    """The curves as a study times them (`targets`), and the tiles of all networks chosen without a device."""
    pruned, _ = _pruned(case)
    free = choose_device_free(pruned, case.level, case.seed)
    table, about = sweep("local", DEVICE, case.folder / "store", {case.level: free})
    write_table(path, "latency", table, about)


def _choose(case: Case, like: str, path: Path) -> None:
    """HAKD's two readings, and the methods on tables at the latency of `like`."""
    pruned, trajectory = _pruned(case)
    table, about = read_table(case.own / "latency.parquet", "latency")
    free = choose_device_free(pruned, case.level, case.seed)
    made = snap_network(
        "local",
        DEVICE,
        case.folder / "store",
        ChoiceProblem(case.level, pruned, curves_from_table(table, case.level), trajectory),
        TableMethods(BUDGETS[like], [{"like": like}], free),
        about["seconds"],
    )
    write_json(path, "snap", {"methods": made.methods})


def networks_of(case: Case) -> dict[str, Architecture]:
    """All networks of a pruning: `method`, or `method at budget`."""
    pruned, _ = _pruned(case)
    free = choose_device_free(pruned, case.level, case.seed)
    found = {"full": full_architecture(pruned.spec)} | {name: free[name] for name in FREE}
    for like, methods in BUDGETS.items():
        made = read_json(case.own / f"{like}.json", "snap")["methods"]
        found |= {reading: architecture_from(made[reading], case.own) for reading in READINGS}
        found |= {f"{method} at {like}": architecture_from(made[method], case.own) for method in methods}
    return found


def _time_afresh(case: Case, path: Path) -> None:
    """All networks interleaved, in processes of their own: what is reported."""
    networks = networks_of(case)
    device, measuring = device_from("local", {**DEVICE, "benchmark_processes": REPORT_PROCESSES})
    by_arch = {one.arch: one for one in networks.values()}
    with open_board(device, case.folder / "store") as board:
        points = {arch: point(engine_graph(one), f"report {arch}", device) for arch, one in by_arch.items()}
        purpose = f"report:{case.own.name}:{digest(sorted(by_arch))}"  # all of them together, never a part
        bursts: dict[str, list[Burst]] = {}
        for look in range(1, LOOKS + 1):
            timed = board.measure(list(points.values()), measuring.end_to_end(), f"{purpose}:look{look}")
            merge(bursts, timed)
            found = estimate(bursts, absolute=True)
            if all(known(one, measuring.min_step / 2) for one in found.by_key.values()):
                break
    ratios = {
        f"{name} / {other}": _numbers(ratio(bursts, points[one.arch].key, points[networks[other].arch].key))
        for name, one in networks.items()
        for other in (*BUDGETS, *READINGS, "full")
        if one.arch != networks[other].arch
    }
    latency = {name: found.by_key[points[one.arch].key].latency_ms for name, one in networks.items()}
    about = {"residual_p95": found.residual_p95}
    write_json(path, "fresh", {"latency_ms": latency, "ratios": ratios, **about})


def _numbers(found: Ratio | None) -> list[float] | None:
    return None if found is None else [found.value, found.low, found.high]


# --- against trying everything


def regret_all(folder: Path, limit_s: float) -> None:
    """For each pruning and budget: some groups tried in every combination, the others held at the choice."""
    start = time.monotonic()
    for case, like in itertools.product(cases(folder), BUDGETS):
        path = case.own / f"regret-{like}.json"
        if path.exists() or not (case.own / "fresh.json").exists():
            continue
        if time.monotonic() - start > limit_s:
            print("stopped at the limit; run it again", flush=True)
            return
        write_json(path, "regret", {"cases": _regret(case, like)})
        print(f"{path.parent.name} {like}: {read_json(path, 'regret')['cases']}", flush=True)
    print("all are tried", flush=True)


def _regret(case: Case, like: str) -> list[dict]:
    """Tables come out of the store; nothing is timed."""
    problem = problem_of(case)
    known = choose_device_free(problem.pruned, case.level, case.seed)
    budget = budget_from({"like": like}, known)
    device, measuring = device_from("local", DEVICE)
    with open_board(device, case.folder / "store") as board:
        tables, values = _tables(board, measuring, problem, budget)
    cost = Cost("local", tables.tiles, budget.ms(tables.measured_ms), tables.overhead_ms)
    try:
        held = choose(values, [cost]).widths
    except NoneFits:
        held = min(
            ({g: min(v) for g, v in values.items()}, dict(budget.reference.widths)),
            key=lambda w: latency_of(cost, w)[1],
        )
        cost = replace(cost, budget_ms=1.05 * latency_of(cost, held)[1])
    rng = np.random.default_rng(case.seed)
    groups, rows = list(values), []
    for number in range(SUBSETS):
        first = int(rng.integers(len(groups) - FREE_GROUPS + 1))
        some = (
            groups[first : first + FREE_GROUPS]
            if number % 2
            else sorted(rng.choice(groups, FREE_GROUPS, replace=False))
        )
        left = {g: dict(v) if g in some else {held[g]: v[held[g]]} for g, v in values.items()}
        found, (best, tried) = choose(left, [cost]), brute_force(left, cost)
        rows.append(
            {"groups": list(map(str, some)), "tried": tried, "regret": (best - found.value) / abs(best)}
        )
    return rows


def _tables(
    board: Board, measuring: Measuring, problem: ChoiceProblem, budget: Budget
) -> tuple[Tables, Values]:
    """As `choose_by_tables` makes them."""
    pruned, candidates = problem.pruned, problem.candidates(budget)
    rounded = pruned.at(round_to(pruned.widths, problem.full))
    networks = [full_architecture(pruned.spec), pruned, rounded, budget.reference or pruned]
    made = measure_tables(board, pruned, candidates, {one.arch: one for one in networks}, measuring)
    return made, problem.values(candidates)


def brute_force(values: Values, cost: Cost) -> tuple[float, int]:
    """The best value within the budget at the asked probability, and how many networks were tried."""
    best, tried = -np.inf, 0
    for widths in itertools.product(*values.values()):
        one = dict(zip(values, widths, strict=True))
        value, tried = sum(values[g][w] for g, w in one.items()), tried + 1
        if value > best and latency_of(cost, one)[1] <= cost.budget_ms:
            best = value
    return best, tried


# --- the tables


def rows_of(case: Case) -> list[dict]:
    """A row per network of a pruning and budget: what it loses and how long it takes."""
    pruned, trajectory = _pruned(case)
    full, fresh = full_widths(pruned.spec), read_json(case.own / "fresh.json", "fresh")
    networks, rows = networks_of(case), []
    for like, methods in BUDGETS.items():
        made = read_json(case.own / f"{like}.json", "snap")["methods"]
        names = {method: f"{method} at {like}" for method in methods}
        names |= {name: name for name in (*FREE, *READINGS)}
        for method, name in names.items():
            middle, low, high = fresh["ratios"].get(f"{name} / {like}", (1.0, 1.0, 1.0))
            repair = made[method]["repair"] if method in methods else {}
            rows.append(
                {
                    "network": case.network, "seed": case.seed, "level": case.level, "budget": like, "method": method,
                    "lost": lost_share(networks[name].widths, full, trajectory),
                    "budget_us": 1e3 * fresh["latency_ms"][like], "ratio": middle, "low": low, "high": high,
                    "itself": method in methods and networks[name].arch == networks[like].arch,
                    "chosen_ratio": repair.get("ratio"), "shrinkage": repair.get("shrinkage"),
                    "tries": len(repair.get("steps", ())), "points": repair.get("points"),
                    "seconds": made[method]["search_s"] if method in methods else None,
                    "residual_p95": repair.get("residual_p95"),
                }
            )  # fmt: skip
    return rows


def lost_share(widths: Mapping[str, int], full: Mapping[str, int], trajectory: pd.DataFrame) -> float:
    """Share of all recorded saliency that the widths drop."""
    dropped = sum(regained_saliency(trajectory, full, g, widths[g], full[g]) for g in full)
    return dropped / float(trajectory["score"].sum())


def tables(folder: Path, limit_s: float) -> None:
    """Print what docs/joint.md shows, and write every case as FOLDER/rows.csv."""
    done = [case for case in cases(folder) if (case.own / "fresh.json").exists()]
    frame = pd.DataFrame([row for case in done for row in rows_of(case)])
    frame.to_csv(folder / "rows.csv", index=False)
    keys = ["network", "seed", "level", "budget"]
    joint = frame[frame["method"] == "joint"].set_index(keys)
    at = pd.MultiIndex.from_frame(frame[keys])
    frame["over_joint"] = frame["lost"] / joint["lost"].reindex(at).to_numpy()
    frame["faster_too"] = frame["ratio"].to_numpy() >= joint["ratio"].reindex(at).to_numpy()
    frame["beaten"] = frame["faster_too"] & (frame["over_joint"] > 1)
    frame["over"] = frame["low"] > 1
    frame["after"] = frame["ratio"] / frame["chosen_ratio"] - 1
    print(f"{len(done)} prunings")
    for by in (["budget", "method"], ["budget", "network", "level", "method"]):
        shown = frame.groupby(by, sort=False).agg(
            cases=("seed", "size"), lost=("lost", "mean"), over_joint=("over_joint", "median"),
            least=("over_joint", "min"), beaten=("beaten", "sum"), ratio=("ratio", "median"), worst=("ratio", "max"),
            over=("over", "sum"), itself=("itself", "sum"), shrinkage=("shrinkage", "median"),
            after=("after", "median"), tries=("tries", "mean"), points=("points", "mean"),
            seconds=("seconds", "median"),
        )  # fmt: skip
        print(shown.to_string(float_format=lambda value: f"{value:.3f}"))
    paths = [case.own / f"regret-{like}.json" for case in done for like in BUDGETS]
    tried = [one for path in paths if path.exists() for one in read_json(path, "regret")["cases"]]
    if tried:
        found = pd.DataFrame(tried)
        print(
            f"regret: {len(found)} programs, {found['tried'].sum()} networks, at most {found['regret'].max():.2%}"
        )


def main() -> None:
    """One stage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage", choices=("train", "time", "regret", "table"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--limit-s", type=float, default=1e9, help="start no new step after this time")
    given = parser.parse_args()
    stages = {"train": train, "time": time_all, "regret": regret_all, "table": tables}
    stages[given.stage](given.folder, given.limit_s)


if __name__ == "__main__":
    main()
