"""How fast the codec of compressed networks is, in megabytes of dense float32 weights a second, on one thread.

Two layers of 512 x 512 x 3 x 3 weights with random codes are encoded to a file and decoded to float32 again, in rounds
over all cases. Times are of the process itself, medians over the rounds. Run it on a machine with nothing else to do:

    python -m benchmarks.deep_compression_speed [--rounds 7]
"""

import argparse
import time
from statistics import median

import numpy as np

from hakd.deep_compression.codec import decode, encode
from hakd.deep_compression.tensors import QuantisedTensor, SparseTensor, Tensor

SHAPE = (512, 512, 3, 3)
LAYERS = 2
CASES = {  # name: (density, shared values; None: weights keep their own)
    "shared, all weights": (1.0, 255),
    "shared, density 0.5": (0.5, 255),
    "shared, density 0.25": (0.25, 255),
    "shared, density 0.1": (0.1, 255),
    "ternary, half zeros": (0.5, 2),
    "pruned, density 0.25": (0.25, None),
}


def tensors(density: float, values: int | None) -> list[Tensor]:
    """Layers whose codes are distributed as those of trained weights: most around the middle of the codebook."""
    found: list[Tensor] = []
    for seed in range(LAYERS):
        rng = np.random.default_rng(seed)
        weights, kept = rng.standard_normal(SHAPE).astype(np.float32), rng.random(SHAPE) < density
        if values is None:
            found.append(SparseTensor(f"{seed}.weight", np.where(kept, weights, np.float32(0)), "conv"))
            continue
        codes = np.clip(np.round(weights * values / 6 + (values + 1) / 2), 1, values) * kept
        codebook = np.concatenate([[0], np.linspace(-3, 3, values)]).astype(np.float32)
        found.append(QuantisedTensor(f"{seed}.weight", codes.astype(np.uint16), codebook, "conv"))
    return found


def main() -> None:
    """Print a row per case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds over all cases (default: %(default)s)")
    arguments = parser.parse_args()
    made = {name: tensors(*case) for name, case in CASES.items()}
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in CASES}
    size_bytes = {}
    for _ in range(arguments.rounds):
        for name, layers in made.items():
            start = time.process_time()
            content = encode(layers, {}, {})
            middle = time.process_time()
            arrays, _ = decode(content)
            end = time.process_time()
            times[name][0].append(middle - start)
            times[name][1].append(end - middle)
            size_bytes[name] = len(content)
            assert all(np.array_equal(arrays[layer.name], layer.weights()) for layer in layers)
    dense = 4 * LAYERS * int(np.prod(SHAPE))
    print(f"{dense / 1e6:.1f} MB of float32; numpy {np.__version__}, one thread, {arguments.rounds} rounds")
    print(f"{'case':24}{'bytes':>12}{'encode MB/s':>14}{'decode MB/s':>14}")
    for name, (encoding, decoding) in times.items():
        rates = [dense / 1e6 / median(one) for one in (encoding, decoding)]
        print(f"{name:24}{size_bytes[name]:12,}{rates[0]:14.0f}{rates[1]:14.0f}")


if __name__ == "__main__":
    main()
