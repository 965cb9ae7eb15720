"""How networks are compressed: the settings of Deep Compression, those of the paper, and of what shares its phases."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from hakd.deep_compression.tensors import MAX_BITS
from hakd.records.errors import HakdError

RULES = ("lamp", "std", "global")
STEPS = ("mean", "sum")
NORMS = ("half", "single", "whole")
_CHOICES = {"threshold": RULES, "centroid_step": STEPS, "batch_norm": NORMS}
# Of these alone pruning depends.
OF_WEIGHT_PRUNING = ("rounds", "epochs", "threshold", "conv_index_bits", "linear_index_bits", "batch_norm")
# Han et al. (arXiv 1510.00149) where this project's defaults differ: a threshold by the deviation of each layer, as
# many clusters as the bits allow, the sum of the gradients (equation 3), and everything beside the weights as it is.
PAPER = {
    "conv_bits": 8,
    "linear_bits": 5,
    "conv_index_bits": 8,
    "linear_index_bits": 5,
    "threshold": "std",
    "members_per_cluster": 1,
    "centroid_step": "sum",
    "batch_norm": "whole",
}


@dataclass(frozen=True)
class CompressionSettings:
    """How to compress.

    Args:
        rounds: prunings on the way to the density; each leaves the same fraction of what the one before left.
        epochs: fine-tuning after each.
        sharing_epochs: fine-tuning of the centroids.
        conv_bits, linear_bits: bits of a code; 2 ** bits - 1 shared weights and the filler's zero.
        conv_index_bits, linear_index_bits: bits of an index difference.
        threshold: how weights of different layers compare, `lamp`, `std` or `global`; `pruning.scores`.
        members_per_cluster: weights a cluster has at least, on average; 1 is the paper, see
            `sharing.usable_clusters`.
        centroid_step: `mean` or `sum`, see `tuning.Centroids`.
        batch_norm: how it is stored, `half`, `single` or `whole`; see `tuning.reduce_norms`.

    Raises:
        HakdError: a value out of its range.
    """

    rounds: int = 3
    epochs: int = 2
    sharing_epochs: int = 2
    conv_bits: int = 8
    linear_bits: int = 5
    conv_index_bits: int = 8
    linear_index_bits: int = 5
    threshold: str = "lamp"
    members_per_cluster: int = 4
    centroid_step: str = "mean"
    batch_norm: str = "half"

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            allowed = _CHOICES.get(name)
            if allowed:
                check_choice(name, value, allowed)
                continue
            lowest = 0 if name.endswith("epochs") else 1
            highest = MAX_BITS if name.endswith("_bits") else 10**6
            if type(value) is not int or not lowest <= value <= highest:
                problem = f"{value!r} is not a whole number from {lowest} to {highest}"
                raise HakdError(problem, key=name, remedy="Change it in the configuration")

    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> "CompressionSettings":
        """From the configuration's mapping; unknown keys are an error."""
        unknown = sorted(set(settings) - {setting.name for setting in fields(cls)})
        if unknown:
            raise HakdError("unknown setting", key=unknown[0], remedy="See config/README.md")
        return cls(**settings)

    def bits(self, kind: str) -> tuple[int, int]:
        """Bits of a code and of an index difference for `conv` or `linear`."""
        if kind == "linear":
            return self.linear_bits, self.linear_index_bits
        return self.conv_bits, self.conv_index_bits


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse a setting that is not one of a few words.

    Raises:
        HakdError: names the key.
    """
    if value not in allowed:
        problem = f"{value!r} is not one of {list(allowed)}"
        raise HakdError(problem, key=name, remedy="Choose one of them")
