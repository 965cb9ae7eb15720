"""A device: where an engine runs and how it is set. Every field is checked before it can reach a command line."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hakd.records.errors import HakdError

TRANSPORTS = ("local",)
ENGINES = ("onnxruntime",)
PRECISIONS = ("float32",)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PATH = re.compile(r"/[A-Za-z0-9._/-]+")


@dataclass(frozen=True)
class Device:
    """A board, or this machine.

    Args:
        name: also used in file names and wildcards.
        transport: how it is reached; `local` is a subprocess on this machine.
        engine: what runs the models.
        threads: of the engine, each pinned to its own CPU.
        batch: images per inference.
        precision: of weights and activations.
        epoch: raise it to measure everything again, e.g. after a change of cooling.
        python: absolute path of the interpreter on the device; None: the one that runs this program.
        lock_path: file on the device whose lock gives exclusive use of it.
        lock_wait_s: how long to wait for that lock before giving up.

    Raises:
        HakdError: a field that does not fit its pattern or range.
    """

    name: str
    transport: str = "local"
    engine: str = "onnxruntime"
    threads: int = 1
    batch: int = 1
    precision: str = "float32"
    epoch: int = 1
    python: str | None = None
    lock_path: str = "/tmp/hakd.lock"
    lock_wait_s: float = 3600.0

    def __post_init__(self) -> None:
        self._match("name", _NAME, "letters, digits, `.`, `_`, `-`, at most 63, a letter or digit first")
        if self.python is not None:
            self._match("python", _PATH, "an absolute path of letters, digits, `.`, `_`, `-`")
        self._match("lock_path", _PATH, "an absolute path of letters, digits, `.`, `_`, `-`")
        for key, known in (("transport", TRANSPORTS), ("engine", ENGINES), ("precision", PRECISIONS)):
            if getattr(self, key) not in known:
                self._refuse(key, f"Known: {', '.join(known)}")
        for key, most in (("threads", 256), ("batch", 4096), ("epoch", 10**6)):
            value = getattr(self, key)
            if type(value) is not int or not 1 <= value <= most:
                self._refuse(key, f"Give a whole number from 1 to {most}")
        if type(self.lock_wait_s) not in (int, float) or not 0 <= self.lock_wait_s < 1e9:
            self._refuse("lock_wait_s", "Give seconds, 0 or more")

    def _match(self, key: str, pattern: re.Pattern[str], remedy: str) -> None:
        value = getattr(self, key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self._refuse(key, f"Use {remedy}")

    def _refuse(self, key: str, remedy: str) -> None:
        name = self.name if isinstance(self.name, str) and _NAME.fullmatch(self.name) else "?"
        raise HakdError(
            f"{getattr(self, key)!r} is not accepted", where=f"device {name}", key=key, remedy=remedy
        )

    @classmethod
    def from_config(cls, name: str, settings: Mapping[str, Any]) -> "Device":
        """A device from its entry in the configuration.

        Raises:
            HakdError: an unknown key or a value that does not fit.
        """
        known = [field.name for field in fields(cls) if field.name != "name"]
        for key in settings:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                remedy = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}"
                raise HakdError(f"unknown key {key!r}", where="devices", key=name, remedy=remedy)
        return cls(name=name, **settings)
