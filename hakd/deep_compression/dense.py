"""Quantise and code a network that was not pruned: the same codec on the student."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hakd.deep_compression.codec import encode
from hakd.deep_compression.settings import CompressionSettings
from hakd.deep_compression.sharing import share
from hakd.deep_compression.tensors import QuantisedTensor
from hakd.records.errors import HakdError

DEFAULTS = CompressionSettings()
_COUNTER = "num_batches_tracked"  # of torch's batch norm; of no use to a finished network


def kinds_of(state: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Weight tensors of a state by their number of axes: 2 is linear, 3 or more a convolution."""
    return {
        name: "linear" if array.ndim == 2 else "conv"
        for name, array in state.items()
        if array.ndim >= 2 and name.rpartition(".")[2] == "weight"
    }


def quantise_and_encode(
    state: Mapping[str, Any],
    header: Mapping[str, Any],
    settings: CompressionSettings = DEFAULTS,
    kinds: Mapping[str, str] | None = None,
) -> bytes:
    """Share and code the weights of any float32 state without pruning; no training follows.

    Every weight gets a cluster, zeros too, so all index differences are 0 and take no bits.

    Args:
        state: arrays or tensors on the CPU by name; batch norm's counters are left out.
        header: goes into the file.
        settings: of these, bits and members per cluster.
        kinds: `conv` or `linear` by name of the weight tensors; by `kinds_of` when None.

    Returns:
        The bytes of a file for `codec.decode`.

    Raises:
        HakdError: NaN or infinity, or an array that is not of floating point.
    """
    arrays = {name: _array(name, value) for name, value in state.items() if not name.endswith(_COUNTER)}
    kinds = kinds_of(arrays) if kinds is None else kinds
    tensors = []
    for name, kind in kinds.items():
        code_bits, index_bits = settings.bits(kind)
        kept = np.ones(arrays[name].shape, bool)
        codes, codebook = share(arrays[name], kept, code_bits, settings.members_per_cluster)
        tensors.append(QuantisedTensor(name, codes, codebook, kind, index_bits))
    return encode(tensors, {name: array for name, array in arrays.items() if name not in kinds}, header)


def _array(name: str, value: Any) -> np.ndarray:
    """A finite float32 array of a numpy array or a torch tensor."""
    array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    if array.dtype.kind != "f":
        raise HakdError(
            f"{array.dtype} cannot be quantised", where=name, remedy="Give floating-point weights"
        )
    if not np.isfinite(array).all():
        raise HakdError("holds NaN or infinity", where=name, remedy="Give a network whose training converged")
    return array.astype(np.float32)
