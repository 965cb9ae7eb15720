"""Weight tensors as a compressed file holds them: shared values with codes, or single values; zeros are left out."""

from dataclasses import dataclass

import numpy as np

from hakd.records.errors import HakdError

INDEX_BITS = {"conv": 8, "linear": 5}  # the paper's; kinds of weight tensors
MAX_BITS = 12
_LOWER_LR = "Lower the learning rate of the compression"


class _Tensor:
    """What both forms share: the kind of layer, and the bits of an index difference."""

    name: str
    kind: str
    index_bits: int

    def _check(self) -> None:
        if self.kind not in INDEX_BITS:
            raise ValueError(f"{self.name}: kind {self.kind!r} is not one of {sorted(INDEX_BITS)}")
        object.__setattr__(self, "index_bits", self.index_bits or INDEX_BITS[self.kind])
        if not 1 <= self.index_bits <= MAX_BITS:
            raise ValueError(f"{self.name}: index_bits {self.index_bits} is not within 1..{MAX_BITS}")


@dataclass(frozen=True)
class QuantisedTensor(_Tensor):
    """A quantised weight tensor.

    Args:
        name: its name in the state of the network, e.g. `features.0.weight`.
        codes: integers in the tensor's shape; 0 for a weight that was pruned.
        codebook: float32, shape (K,): the value of each code; `codebook[0]` is 0.0.
        kind: `conv` or `linear`; sets the default of `index_bits`.
        index_bits: bits of an index difference, 1 to 12; longer runs of zeros get fillers.

    Raises:
        HakdError: a shared weight is not finite.
        ValueError: codes without a value, a codebook of another form.
    """

    name: str
    codes: np.ndarray
    codebook: np.ndarray
    kind: str
    index_bits: int = 0

    def __post_init__(self) -> None:
        self._check()
        codes, codebook = np.asarray(self.codes), np.asarray(self.codebook)
        if codebook.dtype != np.float32 or codebook.ndim != 1 or not 1 <= len(codebook) <= 1 << MAX_BITS:
            raise ValueError(f"{self.name}: a codebook is 1 to {1 << MAX_BITS} float32 values")
        if codebook[:1].tobytes() != bytes(4):
            raise ValueError(f"{self.name}: code 0 is reserved for 0.0, it stands for {codebook[0]}")
        if not np.isfinite(codebook).all():
            raise HakdError("a shared weight is not finite", where=self.name, remedy=_LOWER_LR)
        if codes.dtype.kind not in "iu" or (
            codes.size and not 0 <= codes.min() <= codes.max() < len(codebook)
        ):
            raise ValueError(f"{self.name}: codes are integers within 0..{len(codebook) - 1}")
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "codebook", codebook)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weights."""
        return self.codes.shape

    @property
    def nonzero(self) -> int:
        """Weights that were not pruned: those with a code, which cost bytes."""
        return int(np.count_nonzero(self.codes))

    def weights(self) -> np.ndarray:
        """The quantised weights: float32 in the tensor's shape."""
        return self.codebook[self.codes]


@dataclass(frozen=True)
class SparseTensor(_Tensor):
    """A pruned weight tensor whose weights keep their own values.

    Args:
        name: its name in the state of the network.
        values: float32 in the tensor's shape; 0.0 for a weight that was pruned.
        kind, index_bits: as of `QuantisedTensor`.

    Raises:
        HakdError: a weight is not finite.
        ValueError: values of another type.
    """

    name: str
    values: np.ndarray
    kind: str
    index_bits: int = 0

    def __post_init__(self) -> None:
        self._check()
        values = np.asarray(self.values)
        if values.dtype != np.float32:
            raise ValueError(f"{self.name}: is {values.dtype}, the format stores float32")
        if not np.isfinite(values).all():
            raise HakdError("a weight is not finite", where=self.name, remedy=_LOWER_LR)
        object.__setattr__(self, "values", values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weights."""
        return self.values.shape

    @property
    def nonzero(self) -> int:
        """Weights that were not pruned."""
        return int(np.count_nonzero(_bits(self.values)))

    def weights(self) -> np.ndarray:
        """The weights: float32 in the tensor's shape."""
        return self.values


Tensor = QuantisedTensor | SparseTensor


def _bits(values: np.ndarray) -> np.ndarray:
    """Float32 as integers: -0.0 is not 0.0, so that files give back every bit."""
    return np.ascontiguousarray(values).view(np.uint32)


def entries(flat: np.ndarray, index_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Sparse form of a flat array: its entries, and the zeros before each (Han et al., section 2 and figure 2).

    Args:
        flat: codes, or float32 values, shape (N,).
        index_bits: of a difference.

    Returns:
        Two arrays of shape (entries,): codes or values (0 for fillers) and index differences, below 2 ** index_bits.
    """
    span = 1 << index_bits
    places = np.flatnonzero(_bits(flat) if flat.dtype == np.float32 else flat)
    gaps = np.diff(places, prepend=-1) - 1
    ends = np.cumsum((gaps >> index_bits) + 1) - 1
    count = int(ends[-1]) + 1 if len(ends) else 0
    found = np.zeros(count, np.float32 if flat.dtype == np.float32 else np.int64)
    differences = np.full(count, span - 1, np.int64)
    found[ends] = flat[places]
    differences[ends] = gaps & (span - 1)
    return found, differences


def from_entries(found: np.ndarray, differences: np.ndarray, size: int) -> np.ndarray:
    """The flat array (shape (size,); uint16 of codes, float32 of values) that `entries` was made from.

    Raises:
        ValueError: an entry lies outside.
    """
    places = np.cumsum(differences.astype(np.int64) + 1) - 1
    if len(places) and places[-1] >= size:
        raise ValueError("an index lies outside its tensor")
    flat = np.zeros(size, np.float32 if found.dtype == np.float32 else np.uint16)
    flat[places] = found
    return flat
