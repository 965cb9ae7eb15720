"""Virtual devices in files, and latency tables swept on them, for the commands that use tables and stores."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from hakd.cli import main

NETWORKS = {
    "small": {"family": "mobilenet", "multiplier": 0.125, "input_size": 8},
    "dense": {"family": "densenet", "depth": 10, "growth": 9, "input_size": 8},
}
MODEL = {"overhead_us": 0.5, "us_per_mmac": 40.0, "tile_out": 16, "tile_in": 4, "penalty_in": 1.35}
GROUPS = ("block9", "block13")


def write_device(
    path: Path, name: str = "vdev", settings: Mapping[str, Any] | None = None, **model: Any
) -> str:
    """A device file; the cost model is the tests' own with changes."""
    device = {"transport": "virtual", "rounds": 3, "cost_model": {**MODEL, **model}, **(settings or {})}
    path.write_text(yaml.safe_dump({name: device}))
    return str(path)


def write_project(folder: Path) -> None:
    """A working directory with networks and a store, and a device file `vdev.yaml`."""
    (folder / "config").mkdir()
    config = {"networks": NETWORKS, "data": {"name": "digits"}, "store": "bursts"}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    write_device(folder / "vdev.yaml")


def swept(network: str, out: str, *words: str, device: str = "vdev.yaml") -> None:
    """`hakd sweep` in the working directory."""
    assert main(["sweep", device, network, "--out", out, *words]) == 0


def swept_project(factory: pytest.TempPathFactory, name: str, *sweeps: Sequence[str]) -> Path:
    """A project with the tables of some sweeps: (network, table, further words ...)."""
    folder, before = factory.mktemp(name), Path.cwd()
    write_project(folder)
    os.chdir(folder)
    try:
        for network, out, *words in sweeps:
            swept(network, out, *words)
    finally:
        os.chdir(before)
    return folder
