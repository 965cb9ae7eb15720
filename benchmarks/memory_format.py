"""Training steps in both memory formats, side by side: `python -m benchmarks.memory_format`.

The networks are those of the built-in study, full and pruned to odd widths; one thread, interleaved, medians.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from hakd.networks.families import build_graph, full_widths, network_spec
from hakd.networks.module import new_network
from hakd.records.arch import Architecture

CASES = {
    "mobilenet": ({"family": "mobilenet", "multiplier": 0.25, "input_size": 32}),
    "densenet": ({"family": "densenet", "depth": 22, "growth": 8, "input_size": 16}),
}
ROUNDS, BATCH = 12, 64


def main() -> None:
    """Print milliseconds a step and the ratio."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    runs = {}
    for name, settings in CASES.items():
        spec = network_spec(name, settings, 1, 10)
        full = full_widths(spec)
        for label, widths in (
            ("full", full),
            ("pruned", {g: max(1, w * 2 // 3 - 1) for g, w in full.items()}),
        ):
            for form in (torch.contiguous_format, torch.channels_last):
                module = new_network(build_graph(Architecture(spec, widths)), 0).to(memory_format=form)
                images = torch.randn(BATCH, 1, spec.input_size, spec.input_size)
                runs[name, label, form] = (module, images, torch.arange(BATCH) % 10)
    times: dict = {key: [] for key in runs}
    for turn in range(ROUNDS):
        for key, (module, images, labels) in runs.items():
            start = time.perf_counter()
            module.zero_grad(set_to_none=True)
            F.cross_entropy(module(images), labels).backward()
            if turn >= 2:  # the first rounds warm up
                times[key].append(1e3 * (time.perf_counter() - start))
    for name, label in dict.fromkeys(key[:2] for key in runs):
        plain, last = (
            statistics.median(times[name, label, f]) for f in (torch.contiguous_format, torch.channels_last)
        )
        print(f"{name:10} {label:7} {plain:7.1f} ms {last:7.1f} ms, ratio {last / plain:.2f}")


if __name__ == "__main__":
    main()
