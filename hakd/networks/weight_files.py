"""Weights from files: safetensors, or a state dict that torch saved."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hakd.records.errors import HakdError
from hakd.records.text import did_you_mean

_COUNTER = "num_batches_tracked"
_NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts put the state dict
_PARALLEL = "module."  # what torch's data parallelism puts in front of names


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Arrays by name, float32.

    Raises:
        HakdError: no such file, or one that is neither safetensors nor a state dict.
    """
    if not Path(path).is_file():
        raise HakdError("no such file of weights", where=path, key="weights", remedy="Give another path")
    with open(path, "rb") as stream:
        zipped = stream.read(2) == b"PK"
    found = (
        _torch(path)
        if zipped or Path(path).suffix in (".pth", ".pt", ".ckpt", ".bin")
        else _safetensors(path)
    )
    if found and all(name.startswith(_PARALLEL) for name in found):
        found = {name.removeprefix(_PARALLEL): value for name, value in found.items()}
    return found


def _safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return {name: np.asarray(value, dtype=np.float32) for name, value in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:
        remedy = "Give a .safetensors file, or a .pth file of `torch.save(network.state_dict(), ...)`"
        raise HakdError(
            f"not a safetensors file ({error})", where=path, key="weights", remedy=remedy
        ) from None


def _torch(path: str | os.PathLike) -> dict[str, np.ndarray]:
    import torch

    remedy = "Save the weights alone: torch.save(network.state_dict(), ...)"
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # of many kinds; its text explains how to run the code in the file, which we do not
        words = f"not a state dict that can be read without running code ({type(error).__name__})"
        raise HakdError(words, where=path, key="weights", remedy=remedy) from None
    if isinstance(found, Mapping):
        found = next((found[key] for key in _NESTED if isinstance(found.get(key), Mapping)), found)
    if not isinstance(found, Mapping) or not all(map(_is_plain, found.values())):
        names = f" (it has {', '.join(map(str, found))[:100]})" if isinstance(found, Mapping) else ""
        raise HakdError(f"not a state dict of plain tensors{names}", where=path, key="weights", remedy=remedy)
    return {str(name): value.detach().float().numpy() for name, value in found.items()}


def _is_plain(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_complex()


def fitting(
    arrays: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]], path: str | os.PathLike
) -> dict[str, np.ndarray]:
    """The arrays of a network, each with its shape; batch counters are not weights.

    Raises:
        HakdError: the first that is missing, unknown or of another shape.
    """
    remedy = "Give the weights of this network"
    for name in wanted:
        if name not in arrays and not name.endswith(_COUNTER):
            raise HakdError("the network has it, the file does not", where=path, key=name, remedy=remedy)
    found = {}
    for name, value in arrays.items():
        if name.endswith(_COUNTER) and name not in wanted:
            continue
        if name not in wanted:
            words = f"{did_you_mean(name, wanted)}. {remedy}"
            raise HakdError("the file has it, the network does not", where=path, key=name, remedy=words)
        if tuple(value.shape) != tuple(wanted[name]):
            there, here = (
                " x ".join(map(str, shape)) or "one number" for shape in (value.shape, wanted[name])
            )
            raise HakdError(
                f"{there} in the file, {here} in the network", where=path, key=name, remedy=remedy
            )
        found[name] = value
    return {name: np.zeros(wanted[name], np.float32) for name in wanted if name not in found} | found
