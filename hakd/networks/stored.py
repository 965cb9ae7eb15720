"""Checkpoints whose weights are checked against the description of their network."""

import os
from collections.abc import Mapping

import numpy as np

from hakd.networks.families import build_graph
from hakd.records.arch import Architecture, NetworkSpec
from hakd.records.checkpoint import Checkpoint, read_checkpoint
from hakd.records.errors import HakdError, make_again


def read_network(path: str | os.PathLike, spec: NetworkSpec | None = None) -> Checkpoint:
    """Read a checkpoint; `spec` demands that it is of this network.

    Raises:
        HakdError: as `read_checkpoint`; widths that the network does not have, or arrays missing, unknown or of other
            shapes.
    """
    found = read_checkpoint(path, spec)
    check_shapes(path, found.architecture, found.weights)
    return found


def check_shapes(
    path: str | os.PathLike, architecture: Architecture, weights: Mapping[str, np.ndarray]
) -> None:
    """Refuse a file whose arrays are not those of the network that it says it holds.

    Raises:
        HakdError: widths that the network does not have, or arrays missing, unknown or of other shapes.
    """
    wanted = build_graph(architecture).parameter_shapes()
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            there, here = (_words(one.get(name)) for one in (shapes, wanted))
            words = f"is a checkpoint of other shapes: it has {there} there, the network {here}"
            raise HakdError(words, where=path, key=name, remedy=make_again(path))


def _words(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else " x ".join(map(str, shape))
