"""Widths by every method that needs no device, at one level."""

from hakd.choosing.baselines import random_widths, round_to, uniform, uniform_aligned
from hakd.networks.families import full_architecture, full_widths, macs_of
from hakd.records.arch import Architecture, NetworkSpec

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
    full, macs = full_widths(pruned.spec), macs_of(pruned.spec)
    found = {
        "fisher": pruned.widths,
        **{f"round{multiple}": round_to(pruned.widths, full, multiple) for multiple in ROUNDINGS},
        "uniform": uniform(full, level, macs),
        "uniform_aligned": uniform_aligned(full, level, macs, ALIGNMENT),
        "random": random_widths(full, level, macs, seed),
    }
    return {method: pruned.at(widths) for method, widths in found.items()}


def scaled(spec: NetworkSpec, level: float) -> Architecture:
    """The full network with all widths scaled alike (`uniform`) to a fraction of its MACs; itself at 1."""
    full = full_architecture(spec)
    return full if level >= 1 else full.at(uniform(full.widths, level, macs_of(spec)))
