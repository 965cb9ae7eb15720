"""`hakd plan`: what a study will cost on each device, before anything is timed. No board is contacted.

Points are counted from the configuration. Which widths the choices will need is known only from the curves, so the
count has a least (the first points of each curve) and a most (the budget of the mode). Minutes per point come from the
device's sessions in the store, else from the multiply-accumulates at an assumed rate.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hakd.boards import Device, Protocol
from hakd.boards.journal import read
from hakd.choosing.device_free import scaled
from hakd.networks.families import (
    build_graph,
    full_architecture,
    full_graph,
    full_widths,
    width_groups,
)
from hakd.networks.prunable import prunable_groups
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.text import counted
from hakd.staircase.plan import POINTS, targets
from hakd.study.budgets import budgets_of
from hakd.study.candidates import (
    BY_TABLES,
    FULL_WIDTHS,
    SNAPPED,
    baseline_methods,
    baselines,
    expected_students,
)
from hakd.study.configuration import canonical, limits
from hakd.study.fleets import fleets_of, selected
from hakd.study.levels import level_text
from hakd.study.measuring import Measuring, device_from
from hakd.study.networks import spec_of
from hakd.study.searches import searches
from hakd.sweeping.following import LENGTHS
from hakd.sweeping.looks import LOOKS
from hakd.sweeping.parts import engine_graph
from hakd.sweeping.seams import pair_graphs

GMACS = 2.0  # assumed: thousand million multiply-accumulates a second and thread, a Raspberry Pi 4's order of magnitude
OVERHEAD_S = 3e-6  # assumed: of a call
LOADING_S = 0.01  # assumed: to load one model into a process
READINGS = 2


@dataclass(frozen=True)
class PlanItem:
    """One kind of timing on a device: how many points there are, and how long they take.

    `points` and `seconds` are ranges: (least, most).
    """

    what: str
    points: tuple[int, int]
    seconds: tuple[float, float]


@dataclass(frozen=True)
class DevicePlan:
    """The work of one device, and where its minutes come from."""

    name: str
    parts: tuple[PlanItem, ...]
    basis: str

    @property
    def points(self) -> tuple[int, int]:
        """Least and most."""
        return sum(part.points[0] for part in self.parts), sum(part.points[1] for part in self.parts)

    @property
    def seconds(self) -> tuple[float, float]:
        """Least and most."""
        return sum(part.seconds[0] for part in self.parts), sum(part.seconds[1] for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        parts = {
            part.what: {"points": list(part.points), "seconds": list(part.seconds)} for part in self.parts
        }
        return {"device": self.name, "basis": self.basis, "parts": parts}


@dataclass(frozen=True)
class _Rate:
    """Seconds that a visit of a point takes (2 discarded calls, a burst, its share of warm-up and loading)."""

    basis: str
    per_visit_s: float | None  # from the store; None: by the MACs
    gmacs: float

    def visit_s(self, macs: float, protocol: Protocol, threads: int) -> float:
        if self.per_visit_s is not None:
            return self.per_visit_s
        call = OVERHEAD_S + macs / (self.gmacs * 1e9 * threads)
        return protocol.visit_s(call, LOADING_S)


def device_plans(study: Mapping[str, Any], store: Path, gmacs: float = GMACS) -> Iterator[DevicePlan]:
    """The work of every device of the study."""
    for name in study["run"]["devices"]:
        device, measuring = device_from(name, canonical(study["devices"][name]))
        rate = _rate(device, store, gmacs)
        parts: list[PlanItem] = []
        for network in study["run"]["networks"]:
            parts += _network_parts(study, network, device, measuring, rate)
        parts.append(_benchmark(study, device, measuring, rate))
        yield DevicePlan(name, tuple(parts), rate.basis)


def _network_parts(
    study: Mapping[str, Any], network: str, device: Device, measuring: Measuring, rate: _Rate
) -> Iterator[PlanItem]:
    """Sweep and verification of one network."""
    spec, full = spec_of(study, network), full_widths(spec_of(study, network))
    methods = study["run"]["methods"]
    levels = study["run"]["levels"] * len(searches(study))  # each search has its own pruned networks
    protocol = measuring.one_process()
    least = most = 0
    macs: list[int] = []
    shapes = {
        graph.shape_key(): graph.macs() for graph in engine_graph(full_architecture(spec)).tiles().values()
    }
    places, once = len(engine_graph(full_architecture(spec)).tiles()), len(shapes)
    for level in levels:
        found = scaled(spec, level, **limits(study))
        graph = engine_graph(found)
        for group, width in found.widths.items():
            first = len(targets(width, full[group]))
            least, most = least + first, most + max(first, min(POINTS, full[group] - width + 1))
            macs.append(graph.block(group).macs() * device.batch)
    apart = (*SNAPPED, *baseline_methods(study), *FULL_WIDTHS)
    free = sum(method not in apart for method in methods)
    looks = measuring.processes * measuring.rounds
    seconds = rate.visit_s(fmean(macs), protocol, device.threads) * looks
    yield PlanItem(f"{network}: curves", (least, most), (least * seconds, most * seconds * sum(LENGTHS)))
    tiles = (once, once + places * len(levels) * free)
    seconds = rate.visit_s(fmean(shapes.values()) * device.batch, protocol, device.threads) * looks
    yield PlanItem(f"{network}: tiles", tiles, (tiles[0] * seconds, tiles[1] * seconds * LOOKS))
    yield _pairs(network, spec, tuple(methods), len(levels), device, measuring, rate)
    snapped = READINGS + sum(method in methods for method in BY_TABLES) * len(budgets_of(study))
    whole = fmean(build_graph(scaled(spec, level, **limits(study))).macs() for level in levels)
    once = 2 * snapped * len(levels)
    visits = measuring.benchmark_processes * measuring.rounds
    seconds = rate.visit_s(whole * device.batch, measuring.end_to_end(), device.threads) * visits
    yield PlanItem(f"{network}: verification", (once, once), (once * seconds, once * seconds * LOOKS))


def _pairs(
    network: str,
    spec: NetworkSpec,
    methods: Sequence[str],
    levels: int,
    device: Device,
    measuring: Measuring,
    rate: _Rate,
) -> PlanItem:
    """Pairs of tiles, from which the benchmark predicts: those of the full network, at most of all architectures."""
    graphs = pair_graphs(engine_graph(full_architecture(spec)))
    shapes = {graph.shape_key(): graph.macs() for graph in graphs.values()}
    networks = 1 + levels * sum(method not in FULL_WIDTHS for method in methods)
    points = (len(shapes), len(graphs) * networks)
    macs = fmean(shapes.values()) * device.batch
    seconds = (
        rate.visit_s(macs, measuring.one_process(), device.threads) * measuring.processes * measuring.rounds
    )
    return PlanItem(f"{network}: pairs of tiles", points, (points[0] * seconds, points[1] * seconds * LOOKS))


def _benchmark(study: Mapping[str, Any], device: Device, measuring: Measuring, rate: _Rate) -> PlanItem:
    """All candidates of the device, end to end; their number if no two methods make the same choice."""
    found: list[float] = []
    for network in study["run"]["networks"]:
        spec = spec_of(study, network)
        whole = build_graph(full_architecture(spec)).macs()
        found += [float(whole)] * len(baselines(study, network))
        made = expected_students(study, network, device.name, fleets_of(study, device.name))
        found += [whole * candidate.level for candidate in made]
    visits = measuring.benchmark_processes * measuring.rounds
    times = [
        rate.visit_s(macs * device.batch, measuring.end_to_end(), device.threads) * visits for macs in found
    ]
    return PlanItem("benchmark", (len(found), len(found)), (sum(times), sum(times) * LOOKS))


def _rate(device: Device, store: Path, gmacs: float) -> _Rate:
    """Seconds a visit, from this device's sessions in the store; else assumed."""
    visits, seconds = 0, 0.0
    for path in store.glob("*/*.jsonl"):
        try:
            records = read(path)
        except HakdError:
            continue  # `hakd store verify` reports the damage
        if not records or not _is_of(records[0], device):
            continue
        bursts = [one for one in records if one.get("type") == "burst"]
        at = [one["at_ns"] for one in bursts if isinstance(one.get("at_ns"), int)]
        if len(at) > 1:
            visits += sum(not one["reference"] for one in bursts)
            seconds += (max(at) - min(at)) / 1e9
    if visits and seconds:
        words = f"{1e3 * seconds / visits:.3g} ms a visit, from {visits} visits in the store"
        return _Rate(words, seconds / visits, gmacs)
    return _Rate(f"assumed: {gmacs:g} GMAC/s a thread, {OVERHEAD_S * 1e6:g} us a call", None, gmacs)


def _is_of(head: Mapping[str, Any], device: Device) -> bool:
    """Whether a session was with this device at its present settings."""
    about, identity = head.get("device", {}), head.get("identity", {})
    wanted = {
        "engine": device.engine,
        "threads": device.threads,
        "batch": device.batch,
        "precision": device.precision,
    }
    return about.get("name") == device.name and all(
        identity.get(key) == value for key, value in wanted.items()
    )


def lines_of(plan: DevicePlan) -> list[str]:
    """A device's plan as text."""
    lines = [f"{plan.name}: {_range(*plan.points)} points, {_time(*plan.seconds)}  ({plan.basis})"]
    wide = max(len(part.what) for part in plan.parts)
    for part in plan.parts:
        lines.append(f"  {part.what:<{wide}}  {_range(*part.points):>11} points  {_time(*part.seconds)}")
    return lines


def levels_text(study: Mapping[str, Any]) -> str:
    """The study in a line."""
    run = study["run"]
    levels = ", ".join(level_text(level) for level in run["levels"])
    counts = f"{counted(len(run['methods']), 'method')}; {counted(len(run['seeds']), 'seed')}"
    return f"networks {', '.join(run['networks'])}; levels {levels}; {counts}"


def network_rows(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each network of the study: trainable parameters, MACs, tiles, its width groups and what is fixed, with reasons.

    `groups` counts those that pruning may narrow (`prune.groups`).
    """
    rows = []
    for name in study["run"]["networks"]:
        spec = spec_of(study, name)
        graph, found = full_graph(spec), width_groups(spec)
        reasons = Counter(group.reason for group in found if group.reason is not None)
        chosen = prunable_groups(spec, study["prune"]["groups"])
        sizes = {"params": graph.params(), "macs": graph.macs(), "tiles": len(graph.tiles())}
        rows.append({"network": name, **sizes, "groups": len(chosen), "fixed": dict(reasons)})
    return rows


def network_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """These rows as text."""
    lines = []
    for row in rows:
        counts = f"{counted(row['groups'], 'width group')}, {counted(row['tiles'], 'tile')}"
        lines.append(f"{row['network']}: {row['params']:,} parameters, {row['macs']:,} MACs, {counts}")
        lines += [f"  {counted(number, 'width')} fixed: {reason}" for reason, number in row["fixed"].items()]
    return lines


def not_counted(study: Mapping[str, Any]) -> str:
    """What the minutes do not include."""
    own = [method for method in BY_TABLES if method in study["run"]["methods"]]
    tables = [f"tables of {', '.join(own)}"] if own else []
    tables += [f"tables and verification of fleets ({', '.join(selected(study))})"] if selected(study) else []
    checks = ["repairs after a verification", "certificates"]
    return f"Not counted: {', '.join([*checks, *tables, 'waiting for a board'])}."


def _range(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _time(low: float, high: float) -> str:
    """Seconds as minutes or hours."""
    unit, per = ("h", 3600.0) if high >= 2 * 3600 else ("min", 60.0) if high >= 120 else ("s", 1.0)
    shown = [f"{value / per:.{0 if value / per >= 10 else 1}f}" for value in (low, high)]
    return f"{shown[0]} {unit}" if shown[0] == shown[1] else f"{shown[0]} to {shown[1]} {unit}"
