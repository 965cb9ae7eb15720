"""The known families: from a network's settings to its specification, and from widths to its description."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from hakd.networks import densenet, mobilenet
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.graph import Graph

FAMILIES: dict[str, ModuleType] = {"mobilenet": mobilenet, "densenet": densenet}
_SMALLEST_SIZE = {"mobilenet": 8, "densenet": 4}


def network_spec(
    name: str, settings: Mapping[str, Any], channels: int, num_classes: int, where: object = "config"
) -> NetworkSpec:
    """Specification of the network `name` from its settings (`family`, `input_size` and the family's options).

    Raises:
        HakdError: unknown family or option, an impossible depth, an input too small.
    """
    key = f"networks.{name}"
    options = dict(settings)
    family, size = options.pop("family", name), options.pop("input_size", 32)
    if family not in FAMILIES:
        raise HakdError(
            f"unknown family {family!r}",
            where=where,
            key=f"{key}.family",
            remedy=f"Use one of {', '.join(FAMILIES)}",
        )
    unknown = sorted(set(options) - set(FAMILIES[family].OPTIONS))
    if unknown:
        known = ", ".join(FAMILIES[family].OPTIONS)
        raise HakdError(
            f"{family} has no such option", where=where, key=f"{key}.{unknown[0]}", remedy=f"It knows {known}"
        )
    if size < _SMALLEST_SIZE[family]:
        raise HakdError(
            f"{size} pixels are too few",
            where=where,
            key=f"{key}.input_size",
            remedy=f"Use at least {_SMALLEST_SIZE[family]}",
        )
    defaults = FAMILIES[family].OPTIONS
    options = {key: type(default)(options.get(key, default)) for key, default in defaults.items()}  # 1 is 1.0
    spec = NetworkSpec(name, family, channels, size, num_classes, options)
    try:
        full_widths(spec)
    except ValueError as error:
        problem, _, remedy = str(error).partition(": ")
        raise HakdError(problem, where=where, key=key, remedy=remedy.capitalize()) from None
    return spec


def full_widths(spec: NetworkSpec) -> dict[str, int]:
    """Unpruned widths of all groups, in network order."""
    return FAMILIES[spec.family].full_widths(**spec.options)


def full_architecture(spec: NetworkSpec) -> Architecture:
    """The network unpruned."""
    return Architecture(spec, full_widths(spec))


def macs_of(spec: NetworkSpec) -> Callable[[Mapping[str, int]], int]:
    """Counts the multiply-accumulates of a network at given widths (group -> channels)."""
    return lambda widths: build_graph(Architecture(spec, widths)).macs()


def build_graph(architecture: Architecture) -> Graph:
    """Op-level description at the architecture's widths.

    Raises:
        HakdError: groups missing or unknown, or a width below 1 or above the full width.
    """
    spec, widths = architecture.spec, architecture.widths
    full = full_widths(spec)
    wrong = sorted(set(full) ^ set(widths))
    if wrong:
        raise HakdError(
            "is a width group of the file or of the network, not of both", where=spec.name, key=wrong[0]
        )
    for group, channels in widths.items():
        if not 1 <= channels <= full[group]:
            raise HakdError(f"width {channels} is not in 1..{full[group]}", where=spec.name, key=group)
    build = FAMILIES[spec.family].build
    return build(widths, spec.input_channels, spec.input_size, spec.num_classes, **spec.options)
