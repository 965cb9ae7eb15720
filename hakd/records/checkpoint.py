"""Checkpoints: safetensors with a JSON header. Loadable without pickle and without any training code."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hakd.records.arch import Architecture, NetworkSpec, architecture_from
from hakd.records.errors import HakdError, make_again
from hakd.records.files import atomic
from hakd.records.provenance import provenance

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """An architecture with weights (by graph name, float32) and facts about how they were got."""

    architecture: Architecture
    weights: Mapping[str, np.ndarray] = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_checkpoint(
    path: str | os.PathLike,
    architecture: Architecture,
    weights: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
) -> None:
    """Write weights, architecture, `facts` (JSON-able) and provenance as one file, whole or not at all."""
    header = {"format": FORMAT, **architecture.to_dict(), "facts": dict(facts), "provenance": provenance()}
    arrays = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in weights.items()}
    with atomic(path) as temporary:
        save_file(arrays, temporary, metadata={"hakd": json.dumps(header, allow_nan=False)})


def read_checkpoint(path: str | os.PathLike, spec: NetworkSpec | None = None) -> Checkpoint:
    """Read a checkpoint; `spec` demands that it is of this network.

    Raises:
        HakdError: missing or damaged file, other format, or another network than `spec`.
    """
    try:
        with safe_open(os.fspath(path), framework="numpy") as stream:
            header = json.loads((stream.metadata() or {}).get("hakd", "null"))
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise HakdError("no such checkpoint", where=path, remedy=make_again(path)) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise HakdError(f"not a readable checkpoint ({error})", where=path, remedy=make_again(path)) from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise HakdError(
            "has no header that this program reads",
            where=path,
            key="format",
            remedy=make_again(path),
        )
    architecture = architecture_from(header, path)
    if spec is not None and architecture.spec != spec:
        raise HakdError(
            f"is a checkpoint of another network: {_describe(architecture.spec)}, not {_describe(spec)}",
            where=path,
            key="network",
            remedy=make_again(path),
        )
    return Checkpoint(architecture, weights, header.get("facts", {}), header.get("provenance", {}))


def _describe(spec: NetworkSpec) -> str:
    options = " ".join(
        f"{key}={value}" if key != "ops" else f"of {len(value)} ops" for key, value in spec.options.items()
    )
    size = "x".join(map(str, (spec.input_channels, *spec.image)))
    return f"{spec.family} {options} at {size}, {spec.num_classes} classes"
