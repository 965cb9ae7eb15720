"""Which statistic of the calls repeats best? Records every single call of live bursts, calm and beside busy processes.

    python -m benchmarks.single_calls record FOLDER [ENGINE ...] [--busy 2]    # a session of each engine
    python -m benchmarks.single_calls report FOLDER                            # how sessions agree, by statistic

A session is eight fresh processes a engine; each visits 48 points (eight widths of six blocks) in twelve rounds of
random order, 4.8 ms a visit. Shorter bursts and fewer rounds are parts of what was recorded. `--busy N` keeps N other
processes multiplying matrices meanwhile. A report compares every session with every other of the same engine.
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
BURSTS_MS = (0.3, 0.6, 1.2, 2.4, 4.8)
CALLS = ("min", 0.1, 0.25, 0.5)  # of the calls of a burst
OVER_ROUNDS = (0.0, 0.1, 0.25, 0.5)


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
    """So many processes that multiply matrices, one thread each."""
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
    """A table an engine: p95 over points of |log ratio| between two sessions, their common factor removed."""
    by_engine: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted(folder.glob("*.npz")):
        engine, rest = path.stem.split("-", 1)
        by_engine.setdefault(engine, {})[rest] = np.load(path)["calls"]
    for engine, sessions in by_engine.items():
        for one, other in itertools.combinations(sessions, 2):
            yield f"{engine}: {one} / {other}"
            yield from _table(sessions[one], sessions[other])


def _table(one: np.ndarray, other: np.ndarray) -> Iterator[str]:
    yield "  ms a burst, of calls:     " + "  ".join(f"{q!s:>5} over rounds" for q in OVER_ROUNDS)
    for burst_ms, of_calls in itertools.product(BURSTS_MS, CALLS):
        cells = []
        for over in OVER_ROUNDS:
            gaps = values(one, burst_ms, of_calls, over) - values(other, burst_ms, of_calls, over)
            factor = np.median(gaps)
            cells.append(f"{100 * np.percentile(abs(gaps - factor), 95):5.1f} % x{np.exp(factor):.3f}")
        yield f"  {burst_ms:4g}  {of_calls!s:>5}             " + "  ".join(f"{cell:>17}" for cell in cells)


def values(calls: np.ndarray, burst_ms: float, of_calls: float | str, over: float) -> np.ndarray:
    """Log time of every point: the median over processes of a quantile over rounds of a quantile of calls."""
    count = np.isfinite(calls).sum(axis=-1, keepdims=True)
    kept = np.maximum(5, np.round(count * burst_ms / BURST_MS))
    part = np.where(np.arange(calls.shape[-1]) < kept, calls, np.nan)
    level = 0.0 if of_calls == "min" else float(of_calls)
    bursts = np.nanquantile(part, level, axis=-1)
    found = np.log(np.quantile(bursts, over, axis=-1))
    factors = np.median(found, axis=1, keepdims=True)
    return np.median(found - factors, axis=0) + np.median(factors)


if __name__ == "__main__":
    main()
