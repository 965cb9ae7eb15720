"""What sparse storage does to speed: a decoded layer as a dense and as a CSR matrix product, one thread.

A layer is pruned, shared, coded and decoded again; then both products run on the same im2col columns in
interleaved rounds, in an order that changes. Times are medians over the rounds; a ratio is the median of the
rounds' own ratios, whose two bursts follow each other directly. Run it on a machine with nothing else to do:

    python -m benchmarks.deep_compression_csr [--rounds 15] [--json FILE]
"""

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when numpy loads its libraries, so before that

import numpy as np  # noqa: E402
import scipy  # noqa: E402
from scipy.sparse import csr_matrix  # noqa: E402

from hakd.deep_compression.codec import decode, encode  # noqa: E402
from hakd.deep_compression.sharing import share  # noqa: E402
from hakd.deep_compression.tensors import QuantisedTensor  # noqa: E402

DENSITIES = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01)
LAYERS = {  # name: (outs, ins, kernel, output pixels of one image)
    "pointwise 128 -> 256, 8 x 8": (256, 128, 1, 64),
    "conv 3 x 3, 128 -> 128, 16 x 16": (128, 128, 3, 256),
    "linear 512 -> 512, batch 1": (512, 512, 1, 1),
}
BURST_MS = 5.0


def decoded_layer(outs: int, ins: int, kernel: int, density: float) -> tuple[np.ndarray, int]:
    """Random weights pruned by magnitude, after a trip through the file; and the bytes of that file."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((outs, ins, kernel, kernel)).astype(np.float32)
    kept = np.abs(weights) >= np.quantile(np.abs(weights), 1 - density)
    content = encode([QuantisedTensor("w", *share(weights, kept, 8), "conv")], {}, {})
    return decode(content)[0]["w"], len(content)


def burst_ms(call: Callable[[], object], calls: int) -> float:
    """Mean time of a call over one burst."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return (time.perf_counter_ns() - start) / calls / 1e6


def measure(outs: int, ins: int, kernel: int, pixels: int, rounds: int) -> list[dict[str, float]]:
    """A row per density; dense products at each too, since zeros may cost another time than numbers."""
    columns = np.random.default_rng(1).standard_normal((ins * kernel * kernel, pixels)).astype(np.float32)
    rows, calls = [], {}
    for density in DENSITIES:
        weights, size_bytes = decoded_layer(outs, ins, kernel, density)
        dense = weights.reshape(outs, -1)
        sparse = csr_matrix(dense)
        assert np.allclose(dense @ columns, sparse @ columns, atol=1e-3)
        rows.append({"density": density, "size_bytes": size_bytes, "dense_bytes": weights.nbytes})
        calls[density, "dense_ms"] = lambda dense=dense: dense @ columns
        calls[density, "csr_ms"] = lambda sparse=sparse: sparse @ columns
    repeats = {key: max(1, int(BURST_MS / max(burst_ms(call, 3), 1e-4))) for key, call in calls.items()}
    times: dict[tuple[float, str], list[float]] = {key: [] for key in calls}
    order, pair = list(DENSITIES), ["dense_ms", "csr_ms"]
    for number in range(rounds):
        shuffle = random.Random(number).shuffle
        shuffle(order)
        shuffle(pair)
        for key in ((density, name) for density in order for name in pair):
            times[key].append(burst_ms(calls[key], repeats[key]))
    for row in rows:
        dense_ms, csr_ms = (np.array(times[row["density"], name]) for name in ("dense_ms", "csr_ms"))
        row |= {"dense_ms": float(np.median(dense_ms)), "csr_ms": float(np.median(csr_ms))}
        row["csr_over_dense"] = float(np.median(csr_ms / dense_ms))
    return rows


def main() -> None:
    """Print a table per layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    arguments = parser.parse_args()
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, {platform.machine()}, one thread")
    found = {}
    for name, shape in LAYERS.items():
        found[name] = measure(*shape, arguments.rounds)
        print(f"\n{name}\ndensity  dense ms    csr ms  csr/dense  file bytes  of float32")
        for row in found[name]:
            print(
                f"{row['density']:7.2f} {row['dense_ms']:9.4f} {row['csr_ms']:9.4f} {row['csr_over_dense']:10.2f}"
                f" {row['size_bytes']:11d} {row['size_bytes'] / row['dense_bytes']:11.3f}"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
