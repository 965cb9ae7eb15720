"""How well does a point's time repeat, by how a process's bursts become one number? Reads recorded bursts.

For each chunk (points that the same processes timed) the residual p95: the 95th percentile over points of
|log ratio| of two processes, their common factor removed. A row per rule and statistic over chunks. `phases` drops
the bursts of slow phases (`hakd.staircase.interference`); `processes` also leaves out processes that were restless or
slow, as a whole or for most of their time, judged among all those of the folder, and has fewer pairs to compare.
No rule sees a residual.

    python -m benchmarks.estimators STORE ...      # folders of measurements, as `store:` names one in a configuration
"""

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hakd.staircase.interference import RESTLESS, mostly_slow, slow_phases, slow_processes, unrest

from hakd.records.errors import HakdError
from hakd.staircase.factors import common_factors

STATISTICS = {"median": 0.5, "lower quartile": 0.25, "minimum": 0.0}
KEPT_SHARE, PROCESS_BURSTS = 0.25, 3
HEADER = ("rule", "estimate", "pairs", "median", "p90", "below 1.5 %", "below 3 %", "all points")
COLUMNS = "{:>10} {:>15} {:>6} {:>8} {:>8} {:>12} {:>10} {:>11}"


@dataclass(frozen=True)
class Bursts:
    """Bursts as columns: numbers of point and process, place in time, log of the median time, not preempted."""

    key: np.ndarray
    process: np.ndarray
    order: np.ndarray
    log_ms: np.ndarray
    clean: np.ndarray
    chunks: tuple[tuple[int, ...], ...]  # processes that timed the same points

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.key.max()) + 1, int(self.process.max()) + 1


def main() -> None:
    """Print a table for each store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path, metavar="STORE")
    for store in parser.parse_args().stores:
        try:
            bursts = read(store)
        except HakdError as error:
            raise SystemExit(str(error)) from None
        keys, processes = bursts.shape
        print(f"{store}: {len(bursts.key)} bursts of {keys} points in {processes} processes")
        print(COLUMNS.format(*HEADER))
        for row in table(bursts):
            print(COLUMNS.format(*row))


def read(store: Path) -> Bursts:
    """All bursts of a store.

    Raises:
        HakdError: no bursts in the folder.
    """
    lines = (line for path in sorted(store.rglob("*.jsonl")) for line in path.read_text().splitlines())
    rows = [row for row in map(json.loads, lines) if "median_ns" in row]
    if not rows:
        raise HakdError("no bursts", where=store, remedy="Name a folder that a study has measured into")
    rows.sort(key=lambda row: (row["process"], row["round"], row["position"]))
    key = np.unique([row["key"] for row in rows], return_inverse=True)[1]
    process = np.unique([row["process"] for row in rows], return_inverse=True)[1]
    members = defaultdict(list)
    for number in range(process.max() + 1):
        members[tuple(np.unique(key[process == number]))].append(number)
    return Bursts(
        key,
        process,
        np.arange(len(rows)),
        np.log([row["median_ns"] / 1e6 for row in rows]),
        np.array([row["switches"] == 0 for row in rows]),
        tuple(tuple(found) for found in members.values() if len(found) > 1),
    )


def table(bursts: Bursts) -> list[tuple[str, ...]]:
    """Rows of the table: rule, estimate, compared pairs, residual p95 over them, and over all points together."""
    calm = bursts.clean.copy()
    some = bursts.clean
    calm[some] = ~slow_phases(bursts.process[some], bursts.key[some], bursts.order[some], bursts.log_ms[some])
    rows = []
    for rule, used, whole in (("none", some, False), ("phases", calm, False), ("processes", calm, True)):
        left = _undisturbed(bursts, used) if whole else np.ones(bursts.shape[1], bool)
        for name, quantile in STATISTICS.items():
            rows.append((rule, name, *_summary(bursts, _values(bursts, used, quantile), left)))
    return rows


def _values(bursts: Bursts, used: np.ndarray, quantile: float) -> np.ndarray:
    """Log time of every point in every process; a process with few bursts left of a point counts all of them."""
    cell = bursts.key * bursts.shape[1] + bursts.process
    total = np.bincount(cell, minlength=np.prod(bursts.shape))
    kept = np.bincount(cell[used], minlength=len(total))
    used = used | (kept < KEPT_SHARE * total)[cell]
    order = np.argsort(cell[used], kind="stable")
    found = np.full(len(total), np.nan)
    members = np.flatnonzero(used)[order]
    for part in np.split(members, np.flatnonzero(np.diff(cell[members])) + 1):
        found[cell[part[0]]] = np.quantile(bursts.log_ms[part], quantile)
    return found.reshape(bursts.shape)


def _undisturbed(bursts: Bursts, used: np.ndarray) -> np.ndarray:
    """Processes that are neither restless nor slow, as a whole or for most of their time."""
    cell = bursts.key * bursts.shape[1] + bursts.process
    restless = unrest(bursts.process, cell, bursts.log_ms, used) > RESTLESS
    whole = slow_processes(*common_factors(_values(bursts, used, 0.25)))
    return ~(restless | whole | mostly_slow(bursts.process, bursts.clean & ~used))


def _summary(bursts: Bursts, values: np.ndarray, left: np.ndarray) -> tuple[str, ...]:
    """Compares processes of a chunk that follow one another, two by two: each counts once."""
    residuals: list[float] = []
    gaps: list[np.ndarray] = []
    for chunk in bursts.chunks:
        members = [number for number in chunk if left[number]]
        for one, other in zip(members[::2], members[1::2], strict=False):
            gap = values[:, one] - values[:, other]
            gap = gap[np.isfinite(gap)]
            if len(gap) >= PROCESS_BURSTS:
                gaps.append(np.abs(gap - np.median(gap)))
                residuals.append(float(np.percentile(gaps[-1], 95)))
    if not residuals:
        return ("0", *["-"] * 5)
    found = np.array(residuals)
    pooled = np.percentile(np.concatenate(gaps), 95)
    return (
        str(len(found)),
        *(f"{100 * value:.2f} %" for value in np.percentile(found, [50, 90])),
        *(f"{np.mean(found < limit):.0%}" for limit in (0.015, 0.03)),
        f"{100 * pooled:.2f} %",
    )


if __name__ == "__main__":
    main()
