"""Where a result came from: commit, configuration, versions."""

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "scikit-learn", "snakemake")


@functools.cache
def commit() -> str:
    """The commit of this source tree, with `+` when it was changed; `unknown` outside a clone."""
    root = Path(__file__).resolve().parents[2]
    try:
        run = functools.partial(
            subprocess.run, cwd=root, capture_output=True, text=True, timeout=10, check=True
        )
        head = run(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip()
        changed = run(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head + ("+" if changed else "")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape results (those installed)."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def config_hash() -> str | None:
    """Hash of the study's configuration, handed down by the Snakefile in the environment."""
    return os.environ.get("HAKD_CONFIG_HASH")


def provenance() -> dict[str, object]:
    """What every written file carries."""
    return {"commit": commit(), "config_hash": config_hash(), "versions": versions()}
