"""Compressed networks on disk."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hakd.deep_compression.codec import decode, encode
from hakd.deep_compression.tensors import Tensor
from hakd.records.errors import HakdError, make_again
from hakd.records.files import write_bytes
from hakd.records.provenance import provenance


@dataclass(frozen=True)
class Compressed:
    """A compressed network before it is written.

    Args:
        tensors: its compressed weights.
        others: its other arrays, float32 (biases, batch norm).
        metrics: what compressing did, see `compress`.
        history: a row per epoch of fine-tuning, with its `phase`.
    """

    tensors: Sequence[Tensor]
    others: Mapping[str, np.ndarray]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()

    def state(self) -> dict[str, np.ndarray]:
        """Float32 arrays by name: what the file decodes to."""
        return {tensor.name: tensor.weights() for tensor in self.tensors} | dict(self.others)


def write(path: str | os.PathLike, compressed: Compressed, header: Mapping[str, Any]) -> int:
    """Write the file, whole or not at all; returns its size in bytes.

    Args:
        header: what is needed to build the network again (name, widths, classes); provenance is added.
    """
    content = encode(compressed.tensors, compressed.others, {**header, "provenance": provenance()})
    write_bytes(path, content)
    return len(content)


def load_bytes(path: str | os.PathLike) -> bytes:
    """The bytes of a file; HakdError where there is none."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise HakdError(f"cannot be read ({error.strerror})", where=path, remedy=make_again(path)) from None


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Float32 arrays by name, and the header, of a file that `write` made.

    Raises:
        HakdError: missing, truncated, damaged or another kind of file.
    """
    return decode(load_bytes(path), where=path)
