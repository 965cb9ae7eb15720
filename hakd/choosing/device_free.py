"""Widths by every method that needs no device, at one level."""

from collections.abc import Mapping

from hakd.choosing.rivals import random_widths, round_to, uniform, uniform_aligned
from hakd.networks.families import build_graph, full_widths
from hakd.records.arch import Architecture

ALIGNMENT = 8
ROUNDINGS = (8, 16, 32)


def choose_device_free(pruned: Architecture, level: float, seed: int) -> dict[str, Architecture]:
    """{method: architecture} for `fisher` (as given), `round8`, `16`, `32`, `uniform`, `uniform_aligned` and `random`.

    Args:
        pruned: the Fisher-pruned architecture at this level.
        level: fraction of the full network's MACs that the uniform and random methods may use.
        seed: of the method `random`.

    Raises:
        HakdError: a level that even widths of 1 exceed.
    """
    spec, full = pruned.spec, full_widths(pruned.spec)

    def macs_of(widths: Mapping[str, int]) -> int:
        return build_graph(Architecture(spec, widths)).macs()

    found = {
        "fisher": pruned.widths,
        **{f"round{multiple}": round_to(pruned.widths, full, multiple) for multiple in ROUNDINGS},
        "uniform": uniform(full, level, macs_of),
        "uniform_aligned": uniform_aligned(full, level, macs_of, ALIGNMENT),
        "random": random_widths(full, level, macs_of, seed),
    }
    return {method: Architecture(spec, dict(widths)) for method, widths in found.items()}
