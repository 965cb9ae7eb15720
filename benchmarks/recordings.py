"""Decide on one recording of a study, judge by another: what noise costs, and which estimates repeat.

    python -m benchmarks.recordings STORE OTHER RESULTS [--min-step 0.1]

STORE and OTHER are measurement stores of the same study on one device, at different times; RESULTS is the study's
folder of results, for the pruned widths. First table: how the latencies of all points of sweeps that both stores have
agree between the two (their common factor removed), by the estimate of a process and over processes. Second: what the
curves of each decide, by the package's own code, and what the other one says of each move.
"""

import argparse
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from hakd.boards import Burst
from hakd.choosing.snap import READINGS, Choice, snap
from hakd.networks.families import full_widths
from hakd.records.arch import Architecture, architecture_from
from hakd.records.errors import HakdError
from hakd.records.files import read_json
from hakd.staircase.curve import Curve, curve_from
from hakd.staircase.estimate import estimate
from hakd.staircase.factors import common_factors
from hakd.sweeping.parts import engine_graph

SWEPT = ("sweep", "tiles")
LARGE = 0.1  # of width or latency: a move that matters
OVER_ROUNDS = (0.0, 0.1, 0.25, 0.5)
OVER_PROCESSES = {"median": 0.5, "lower quartile": 0.25}

Bursts = Mapping[str, Sequence[Burst]]
Place = tuple[str, float, str]  # network, level, group


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stores", nargs=2, type=Path, metavar="STORE")
    parser.add_argument("results", type=Path, metavar="RESULTS")
    parser.add_argument("--min-step", type=float, default=0.1)
    given = parser.parse_args()
    both = [swept(store) for store in given.stores]
    for line in agreement(*both):
        print(line)
    made = [curves(found, given.results, given.min_step) for found in both]
    names = [store.name for store in given.stores]
    for line in decisions(dict(zip(names, made, strict=True))):
        print(line)


def swept(store: Path) -> dict[str, list[Burst]]:
    """All bursts of sweeps and tiles in a store, by key."""
    found: dict[str, list[Burst]] = defaultdict(list)
    for path in sorted(store.rglob("*.jsonl")):
        for record in map(json.loads, path.read_text().splitlines()):
            if record.get("type") == "burst" and record["purpose"].split(":")[0] in SWEPT:
                found[record["key"]].append(Burst(*(record[name] for name in Burst.__dataclass_fields__)))
    if not found:
        raise HakdError("no sweep in it", where=store, remedy="Name a folder that a study has measured into")
    return dict(found)


# --- estimates


def agreement(one: Bursts, other: Bursts) -> Iterator[str]:
    """Rows: p95 over points of |log ratio| between the stores, and of halves of the processes of each."""
    shared = [key for key in one if key in other]
    yield f"{len(shared)} points of sweeps in both; figures in percent, after the common factor"
    yield "| burst by | over rounds | over processes | factor | median | p95 | halves of the one | of the other |"
    yield "|---" * 8 + "|"
    for burst_by, over in itertools.product(("median_ns", "min_ns"), OVER_ROUNDS):
        logs = [_matrix(found, shared, burst_by, over) for found in (one, other)]
        for name, level in OVER_PROCESSES.items():
            first, second = (np.nanquantile(found, level, axis=1) for found in logs)
            gaps = second - first
            factor = np.median(gaps)
            halves = [f"{100 * _halves(found, level):.1f}" for found in logs]
            far = [f"{100 * np.percentile(abs(gaps - factor), q):.1f}" for q in (50, 95)]
            words = (burst_by.removesuffix("_ns"), f"{over:g}", name, f"{np.exp(factor):.3f}", *far, *halves)
            yield f"| {' | '.join(words)} |"


def _matrix(found: Bursts, keys: Sequence[str], burst_by: str, over: float) -> np.ndarray:
    """Log time, keys x processes, without the processes' common factors."""
    names = {burst.process: None for key in keys for burst in found[key]}
    place = {name: i for i, name in enumerate(names)}
    logs = np.full((len(keys), len(place)), np.nan)
    for i, key in enumerate(keys):
        cells = defaultdict(list)
        for burst in found[key]:
            cells[burst.process].append(getattr(burst, burst_by))
        for name, values in cells.items():
            logs[i, place[name]] = np.log(np.quantile(values, over))
    return logs - common_factors(logs)[0]


def _halves(logs: np.ndarray, level: float) -> float:
    gaps = []
    for row in logs:
        own = row[np.isfinite(row)]
        if len(own) >= 4:
            gaps.append(np.quantile(own[::2], level) - np.quantile(own[1::2], level))
    return float(np.percentile(np.abs(gaps), 95)) if gaps else np.nan


# --- decisions


def curves(found: Bursts, results: Path, min_step: float) -> dict[Place, tuple[Curve, int, int]]:
    """Curve, pruned and full width of every group at every level of the study, as a sweep of it would have them."""
    made = {}
    by_network: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(results.glob("*/widths/*.json")):
        by_network[path.parts[-3]].append(path)
    for network, paths in by_network.items():
        keys: dict[tuple[float, str], dict[int, str]] = {}
        pruned: dict[float, Architecture] = {}
        for path in paths:
            content = read_json(path, "widths")
            level = float(content["level"])
            pruned[level] = architecture_from(content["methods"]["fisher"], path)
            for group, full in full_widths(pruned[level].spec).items():
                keys[level, group] = _keys(pruned[level], group, full, found)
        wanted = {key for own in keys.values() for key in own.values()}
        sweep = estimate({key: found[key] for key in found if key in wanted})
        for (level, group), own in keys.items():
            width, full = pruned[level].widths[group], full_widths(pruned[level].spec)[group]
            if width in own:
                made[network, level, group] = curve_from(sweep, group, level, {}, own, min_step), width, full
    return made


def _keys(pruned: Architecture, group: str, full: int, found: Bursts) -> dict[int, str]:
    keys = {}
    for width in range(1, full + 1):
        network = pruned.at({group: width})
        key = engine_graph(network).block(group).shape_key()
        if key in found:
            keys[width] = key
    return keys


def decisions(made: Mapping[str, Mapping[Place, tuple[Curve, int, int]]]) -> Iterator[str]:
    """Rows: what is decided on one store, and what the other one says of it."""
    yield ""
    yield f"moves that matter gain {LARGE:.0%} of width or latency; wrong: beyond the interval of the decision"
    yield (
        "| decided on | judged by | reading | curves | decided | moves that matter there | made here too"
        " | moves | wrong |"
    )
    yield "|---" * 9 + "|"
    wrong: list[str] = []
    for reading in READINGS:
        for one, other in itertools.permutations(made, 2):
            places = [place for place in made[one] if place in made[other]]
            chosen = {name: {p: _choice(made[name][p], reading) for p in places} for name in (one, other)}
            matter = [p for p in places if _matters(chosen[other][p])]
            moves = [p for p in places if _moved(chosen[one][p])]
            bad = [p for p in moves if not _holds(chosen[one][p], made[one][p][0], made[other][p][0])]
            trusted = sum(chosen[one][p].trusted for p in places)
            kept = sum(_moved(chosen[one][p]) for p in matter)
            numbers = (len(places), trusted, len(matter), kept, len(moves), len(bad))
            yield f"| {one} | {other} | {reading} | {' | '.join(map(str, numbers))} |"
            wrong += [_words(reading, one, p, chosen[one][p], made[other][p][0]) for p in bad]
    yield from wrong


def _choice(found: tuple[Curve, int, int], reading: str) -> Choice:
    return snap(*found, reading)


def _moved(choice: Choice) -> bool:
    return choice.width_to > choice.width_from


def _matters(choice: Choice) -> bool:
    wider = choice.width_to >= (1 + LARGE) * choice.width_from
    return _moved(choice) and (wider or choice.latency_to_ms < (1 - LARGE) * choice.latency_from_ms)


def _holds(choice: Choice, own: Curve, other: Curve) -> bool:
    """Whether the other store agrees: the move is no slower there than this one's interval and its tolerance allow."""
    if choice.width_to not in other.widths:
        return True
    allowed = own.compared(own.index(choice.width_to), own.index(choice.width_from)).high
    allowed = max(allowed, 1 + (own.tolerance or 0.0))
    return other.at(choice.width_to) / other.at(choice.width_from) <= allowed


def _words(reading: str, one: str, place: Place, choice: Choice, other: Curve) -> str:
    found = other.at(choice.width_to) / other.at(choice.width_from) - 1
    return (
        f"wrong: {reading} on {one}, {' '.join(map(str, place))}: {choice.width_from} -> {choice.width_to} "
        f"{choice.latency_to_ms / choice.latency_from_ms - 1:+.1%} here, {found:+.1%} there"
    )


if __name__ == "__main__":
    main()
