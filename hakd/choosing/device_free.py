"""Widths by every method that needs no device, at one level."""

from hakd.choosing.baselines import random_widths, round_to, scaled_profile, uniform, uniform_aligned
from hakd.networks.families import full_architecture
from hakd.networks.prunable import prunable
from hakd.records.arch import Architecture, NetworkSpec

ALIGNMENT = 8
ROUNDINGS = (8, 16, 32)


def choose_device_free(
    pruned: Architecture, level: float, seed: int, groups: str = "all", count: str = "macs"
) -> dict[str, Architecture]:
    """{method: architecture} for `fisher` (as given), `round8`, `16`, `32`, `uniform`, `uniform_aligned` and `random`.

    Args:
        pruned: the Fisher-pruned architecture at this level.
        level: fraction of the full network that the uniform and random methods may use.
        seed: of the method `random`.
        groups: which groups they may narrow (`prune.groups`); the others stay full.
        count: what the level is a fraction of (`prune.count`).

    Raises:
        HakdError: a level that even widths of 1 exceed, or nothing to narrow.
    """
    full, allowed = full_architecture(pruned.spec), prunable(pruned.spec, groups, count)
    scaled_to = (allowed.full, level, allowed.count)
    rounded = {f"round{multiple}": round_to(pruned.widths, full.widths, multiple) for multiple in ROUNDINGS}
    scaled_ones = {
        "uniform": uniform(*scaled_to),
        "uniform_aligned": uniform_aligned(*scaled_to, ALIGNMENT),
        "random": random_widths(*scaled_to, seed),
    }
    return {"fisher": pruned} | {
        method: full.at(widths) for method, widths in {**rounded, **scaled_ones}.items()
    }


def copycat(source: Architecture, level: float, groups: str = "all", count: str = "macs") -> Architecture:
    """The widths of a network pruned to another level, scaled alike to this one (Crowley et al. 2018).

    Raises:
        HakdError: as for `choose_device_free`.
    """
    allowed = prunable(source.spec, groups, count)
    return source.at(scaled_profile(allowed.full, source.widths, level, allowed.count))


def scaled(spec: NetworkSpec, level: float, groups: str = "all", count: str = "macs") -> Architecture:
    """The full network with all widths scaled alike (`uniform`) to a fraction of its MACs or parameters."""
    full, allowed = full_architecture(spec), prunable(spec, groups, count)
    return full if level >= 1 else full.at(uniform(allowed.full, level, allowed.count))
