"""The known families: from a network's settings to its specification, and from widths to its description."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import Any

from hakd.importing.labels import WidthGroup, labelled
from hakd.networks import densenet, imported, mobilenet, mobilenetv2, resnet, vgg16, wrn
from hakd.networks.layers import STEMS
from hakd.ops.op import TooSmall
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.errors import HakdError
from hakd.records.graph import Graph
from hakd.records.text import did_you_mean

FAMILIES: dict[str, ModuleType] = {
    "mobilenet": mobilenet,
    "mobilenetv2": mobilenetv2,
    "resnet": resnet,
    "wrn": wrn,
    "vgg16": vgg16,
    "densenet": densenet,
}
_BUILDERS = {**FAMILIES, imported.FAMILY: imported}
_FROZEN = "the configuration freezes it"
INPUT_SIZE = 32  # pixels along a side, of a family
_LARGEST = 1024  # pixels along a side that are tried for a remedy


def network_spec(
    name: str, settings: Mapping[str, Any], channels: int, num_classes: int, where: object = "config"
) -> NetworkSpec:
    """Specification of the network `name` from its settings (`family`, `input_size` and the family's options).

    Raises:
        HakdError: unknown family or option, an impossible depth, an input too small.
    """
    key = f"networks.{name}"
    options = dict(settings)
    family, size = options.pop("family", name), options.pop("input_size", INPUT_SIZE)
    options.pop("weights", None)
    frozen = options.pop("frozen", [])
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
            f"{family} has no such option",
            where=where,
            key=f"{key}.{unknown[0]}",
            remedy=f"Use one of {known}",
        )
    defaults = FAMILIES[family].OPTIONS
    options = {key: type(default)(options.get(key, default)) for key, default in defaults.items()}  # 1 is 1.0
    if options.get("stem", STEMS[0]) not in STEMS:
        remedy = f"Use {' or '.join(STEMS)}"
        raise HakdError(f"unknown stem {options['stem']!r}", where=where, key=f"{key}.stem", remedy=remedy)
    spec = NetworkSpec(name, family, channels, size, num_classes, options | frozen_option(frozen))
    try:
        full_graph(spec)
    except TooSmall as error:
        remedy = f"Use at least {_smallest(spec)} pixels along each side"
        raise HakdError(str(error), where=where, key=f"{key}.input_size", remedy=remedy) from None
    except ValueError as error:
        problem, _, remedy = str(error).partition(": ")
        raise HakdError(problem, where=where, key=key, remedy=remedy.capitalize()) from None
    return spec


def frozen_option(names: Sequence[str]) -> dict[str, Any]:
    """The option of a network whose layers of these names keep their widths; none without names."""
    return {"frozen": sorted(names)} if names else {}


def _smallest(spec: NetworkSpec) -> int:
    """The least side of a square image that the network takes."""
    for side in range(1, _LARGEST):
        try:
            _checked(replace(spec, input_size=side))
        except TooSmall:
            continue
        return side
    return _LARGEST


def _checked(spec: NetworkSpec) -> Graph:
    """The network at full width, its layers labelled by themselves.

    Raises:
        TooSmall: a window finds no pixel, or more than one strided tile sees a single pixel.
        ValueError: options that do not exist together.
    """
    height, width = spec.image
    family = _BUILDERS[spec.family]
    options = {**family.OPTIONS, **spec.options}
    frozen = options.pop("frozen", ())
    graph: Graph = family.build(spec.input_channels, spec.image, spec.num_classes, **options)
    graph = _frozen(graph, frozen, spec.name)
    if family is imported:
        return graph  # it was seen to take its images
    wasted = {
        op.tile
        for op in graph.ops
        if max(op.stride) > 1 and min(graph.tensors[op.inputs[0]].size, default=2) == 1
    }
    if len(wasted) > 1:
        words = f"images of {height} x {width} pixels are too small for the strides of {spec.family}"
        raise TooSmall(words)
    return graph


def _frozen(graph: Graph, names: Sequence[str], network: str) -> Graph:
    """The graph with the widths of these layers fixed; a name stands for all layers below it too.

    Raises:
        HakdError: a name of no layer.
    """
    layers = [op.name for op in graph.ops if graph.parameter_axes(op)]
    fixed = set[str]()
    for name in names:
        below = {layer for layer in layers if f"{layer}.".startswith(f"{name}.")}
        if not below:
            key = f"networks.{network}.frozen"
            raise HakdError(
                f"no layer {name!r}",
                where="config",
                key=key,
                remedy=did_you_mean(name, _with_parents(layers)),
            )
        fixed |= below
    ops = tuple(replace(op, fixed=_FROZEN) if op.name in fixed else op for op in graph.ops)
    return replace(graph, ops=ops)


def _with_parents(layers: Sequence[str]) -> list[str]:
    """Names of layers and of what they are parts of, those of few parts first."""
    parts = (layer.split(".") for layer in layers)
    names = {".".join(one[: i + 1]) for one in parts for i in range(len(one))}
    return sorted(names, key=lambda name: (name.count("."), name))


def full_graph(spec: NetworkSpec) -> Graph:
    """The network at full width, its channels labelled by width group.

    Raises:
        TooSmall: an image too small for it.
        ValueError: options that do not exist together.
    """
    return _labelled(spec)[0]


def width_groups(spec: NetworkSpec) -> tuple[WidthGroup, ...]:
    """All width groups, those that are fixed with their reason."""
    return _labelled(spec)[1]


@lru_cache(maxsize=64)
def _labelled(spec: NetworkSpec) -> tuple[Graph, tuple[WidthGroup, ...]]:
    return labelled(_checked(spec))


def full_widths(spec: NetworkSpec) -> dict[str, int]:
    """Unpruned widths of all groups, in network order."""
    return full_graph(spec).groups()


def full_architecture(spec: NetworkSpec) -> Architecture:
    """The network unpruned."""
    return Architecture(spec, full_widths(spec))


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
    return full_graph(spec).at(widths)
