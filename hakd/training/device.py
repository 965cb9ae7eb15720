"""Where training runs: the data live there too, and no worker process carries them."""

import torch

from hakd.records.errors import HakdError


def training_device(name: str = "auto") -> torch.device:
    """The device to train on: `cpu`, `cuda`, or `auto`, which takes CUDA where there is one.

    Raises:
        HakdError: `cuda` on a machine without.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise HakdError(
            "this machine has no CUDA device that torch can use",
            where="configuration",
            key="training.device",
            remedy="Use `auto` or `cpu`",
        )
    return torch.device("cuda" if there and name != "cpu" else "cpu")
