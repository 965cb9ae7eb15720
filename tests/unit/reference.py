"""What engines are compared with, and the OpenCL engines where this machine has them."""

from typing import Any

import numpy as np
import torch

from hakd.boards import engines
from hakd.networks.module import network_with
from hakd.records.graph import Graph
from tests.boards.rigs import Unavailable
from tests.boards.skipping import system_part


def torch_output(graph: Graph, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """torch's output for an input (batch first)."""
    with torch.no_grad():
        return network_with(graph, weights).eval()(torch.from_numpy(x)).numpy()


def opencl_engine(name: str) -> Any:
    """An OpenCL engine; skips, or fails where system packages are required, without a device for it."""
    with system_part():
        try:
            return engines.load(name, 1)
        except (ImportError, RuntimeError) as lack:
            raise Unavailable(str(lack)) from None
