"""States of unfinished work, kept on disk so that a killed job continues where it was."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hakd.records.files import atomic, digest


class KeptState:
    """A file with the state of one piece of work. A state of other work, or a damaged one, is not read.

    Args:
        path: the file; None where nothing is to be kept. Who started the work deletes it once the result is safe.
        settings: whatever decides the result and JSON can hold.
        data: the splits that are trained on.
        weights: the ones that the work starts from, by name.
    """

    def __init__(
        self, path: str | os.PathLike | None, settings: Any, data: Any, weights: Mapping[str, np.ndarray]
    ) -> None:
        self.path, hashed = path, hashlib.sha256()
        for name in sorted(weights):
            hashed.update(name.encode())
            hashed.update(weights[name].tobytes())
        self._identity = digest([settings, getattr(data.train, "dataset", None), hashed.hexdigest()])

    def write(self, state: Mapping[str, Any]) -> None:
        """Keep `state` in place of the one before, whole or not at all.

        It holds tensors, numbers, text, and lists and dictionaries of them: torch reads numpy arrays with pickle only.
        """
        if self.path is None:
            return
        with atomic(self.path) as temporary:
            torch.save({**state, "identity": self._identity}, temporary)

    def read(self) -> dict[str, Any] | None:
        """The state that was kept of this work, tensors on the CPU; None where there is none."""
        if self.path is None or not os.path.exists(self.path):
            return None
        try:
            state = torch.load(self.path, weights_only=True, map_location="cpu")
        except Exception:  # damaged by whatever killed the job: start over, nothing else is lost
            return None
        return state if isinstance(state, dict) and state.get("identity") == self._identity else None
