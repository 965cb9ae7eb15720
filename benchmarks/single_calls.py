"""Which statistic of the calls repeats best? Records every single call of live bursts, calm and beside busy processes.

    python -m benchmarks.single_calls record FOLDER [ENGINE ...] [--busy 2]    # a session of each engine
    python -m benchmarks.single_calls report FOLDER                            # how sessions agree, by statistic

A session is eight fresh processes a engine; each visits 48 points (eight widths of six blocks) in twelve rounds of
random order, 4.8 ms a visit. Shorter bursts and fewer rounds are parts of what was recorded. `--busy N` keeps N other
processes multiplying matrices meanwhile. The report compares every two sessions of an engine: how far apart they are
by each estimate, over processes by the lower quartile.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.real_engines import device_of, families, real_point
from hakd.boards import engines, worker

PROCESSES, ROUNDS, BURST_MS, MOST = 8, 12, 4.8, 240
WIDTHS = (41, 48, 49, 63, 64, 65, 96, 97)
BUSY = "import numpy as n\na = n.random.rand(400, 400)\nwhile True: a @ a"
DRAWS = 8
ESTIMATES = (  # quantile of a burst's calls, ms a burst, rounds, quantile over rounds
    ("median of medians", 0.5, 1.2, 12, 0.5),
    ("quartile of medians", 0.5, 1.2, 12, 0.25),
    ("quartile of minima", 0.0, 1.2, 12, 0.25),
    ("10 % of minima", 0.0, 1.2, 12, 0.1),
    ("minimum", 0.0, 1.2, 12, 0.0),
    ("minimum of 10 % of calls", 0.1, 1.2, 12, 0.0),
    ("minimum, 6 x 2.4 ms", 0.0, 2.4, 6, 0.0),
    ("minimum, 3 x 4.8 ms", 0.0, 4.8, 3, 0.0),
    ("minimum, 12 x 0.3 ms", 0.0, 0.3, 12, 0.0),
    ("minimum, 3 x 1.2 ms", 0.0, 1.2, 3, 0.0),
)


def main() -> None:
    """Record or report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("record", "report"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("engines", nargs="*", default=["onnxruntime", "litert", "ncnn", "openvino"])
    parser.add_argument("--busy", type=int, default=0, help="processes that compute meanwhile")
    given = parser.parse_args()
    if given.what == "report":
        for line in report(given.folder):
            print(line)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    for engine in given.engines:
        with busy(given.busy):
            state = "busy" if given.busy else "calm"
            path = given.folder / f"{engine}-{state}-{time.strftime('%H%M%S')}.npz"
            found = session(engine)
            np.savez_compressed(path, calls=found)
        print(path, found.shape, flush=True)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Run `count` processes that multiply matrices, one thread each."""
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-c", BUSY], env=quiet) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def session(engine: str) -> np.ndarray:
    """Microseconds of single calls: processes x points x rounds x calls, NaN where a burst has fewer."""
    device = device_of(engine)
    points = [real_point(block, width, device) for block in families() for width in WIDTHS]
    models = [(point.model(), point.input_shape) for point in points]
    context = multiprocessing.get_context("spawn")
    found = []
    for number in range(PROCESSES):
        with context.Pool(1) as pool:
            found.append(pool.apply(_process, (engine, models, number)))
    return np.array(found)


def _process(engine: str, models: Sequence[tuple[bytes, tuple[int, ...]]], seed: int) -> np.ndarray:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    loaded = engines.load(engine, 1)
    prepared = [loaded.prepare(model, worker.pattern(np, shape)) for model, shape in models]
    limits = {"warmup_calls": 5, "warmup_ms": 5.0, "min_calls": 5, "max_calls": MOST, "burst_ms": BURST_MS}
    calls = [worker.warm_up(one.call, limits) for one in prepared]
    found = np.full((len(prepared), ROUNDS, MOST), np.nan, dtype=np.float32)
    for turn in range(ROUNDS):
        order = list(range(len(prepared)))
        random.Random(1000 * seed + turn).shuffle(order)
        for place in order:
            call, clock = prepared[place].call, time.perf_counter_ns
            for _ in range(worker.DISCARDED_CALLS):
                call()
            for i in range(calls[place]):
                start = clock()
                call()
                found[place, turn, i] = (clock() - start) / 1e3
    return found


def report(folder: Path) -> Iterator[str]:
    """Rows an engine and pair of states: p95 over points of |log ratio| of two sessions, the common factor removed."""
    by_engine: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted(folder.glob("*.npz")):
        engine, rest = path.stem.split("-", 1)
        by_engine.setdefault(engine, {})[rest] = np.load(path)["calls"]
    names = [name for name, *_ in ESTIMATES]
    yield f"| engine | sessions | pairs | processes | {' | '.join(names)} |"
    yield "|---" * (len(names) + 4) + "|"
    for engine, sessions in by_engine.items():
        found = {name: [values(calls, *how) for _, *how in ESTIMATES] for name, calls in sessions.items()}
        for states in (("calm", "calm"), ("busy", "calm"), ("busy", "busy")):
            pairs = [
                pair
                for pair in itertools.combinations(found, 2)
                if tuple(sorted(name.split("-")[0] for name in pair)) == tuple(sorted(states))
            ]
            for count in (2, PROCESSES) if pairs else ():
                cells = [
                    f"{np.mean([_apart(found[a][i], found[b][i], count) for a, b in pairs]):.1f}"
                    for i in range(len(names))
                ]
                yield f"| {engine} | {' / '.join(states)} | {len(pairs)} | {count} | {' | '.join(cells)} |"


def values(calls: np.ndarray, by: float, burst_ms: float, rounds: int, over: float) -> np.ndarray:
    """Log time of every process and point: a quantile over rounds of a quantile of the calls of bursts so long."""
    calls = calls[:, :, :rounds]
    count = np.isfinite(calls).sum(axis=-1, keepdims=True)
    kept = np.maximum(5, np.round(count * burst_ms / BURST_MS))
    part = np.where(np.arange(calls.shape[-1]) < kept, calls, np.nan)
    bursts = np.nanmin(part, axis=-1) if by == 0 else np.nanquantile(part, by, axis=-1)
    return np.log(np.quantile(bursts, over, axis=-1))


def _apart(one: np.ndarray, other: np.ndarray, count: int) -> float:
    """In percent; the mean over draws of `count` processes of each session."""
    draws = np.random.default_rng(0)
    found = []
    for _ in range(1 if count == PROCESSES else DRAWS):
        sides = []
        for side in (one, other):
            logs = side[draws.permutation(PROCESSES)[:count]]
            level = np.median(logs - np.median(logs, axis=0), axis=1, keepdims=True)
            sides.append(np.quantile(logs - level, 0.25, axis=0))
        gaps = sides[0] - sides[1]
        found.append(100 * np.percentile(abs(gaps - np.median(gaps)), 95))
    return float(np.mean(found))


if __name__ == "__main__":
    main()
