"""Where training runs: the data live there too, and no worker process carries them."""

import os
from dataclasses import dataclass

import torch

from hakd.data.split import Size, Splits, load_splits
from hakd.records.errors import HakdError


def training_device(name: str = "auto") -> torch.device:
    """The device to train on: `cpu`, `cuda`, or `auto`, which takes CUDA where there is one.

    Raises:
        HakdError: `cuda` on a machine without.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise HakdError(
            "this machine has no CUDA device that torch can use",
            where="configuration",
            key="training.device",
            remedy="Use `auto` or `cpu`",
        )
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


@dataclass(frozen=True)
class PreparedData:
    """The files of the train and the validation split, and the name of the device to train on."""

    train: str | os.PathLike
    validation: str | os.PathLike
    device: str = "auto"

    def load(self, input_size: Size) -> Splits:
        """Both splits on the device, at `input_size` pixels (height, width); raises as `load_splits`."""
        return load_splits(self.train, self.validation, input_size, training_device(self.device))
