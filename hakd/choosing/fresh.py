"""What verification measures: figures from bursts that no choice was made on."""

import math
from dataclasses import dataclass

from hakd.records.errors import HakdError
from hakd.staircase.ratio import Ratio


@dataclass(frozen=True)
class Fresh:
    """A network's latency in ms, and that over its budget or over its twin.

    Raises:
        HakdError: a ratio that is not a measurement.
    """

    latency_ms: float
    ratio: Ratio

    def __post_init__(self) -> None:
        value, low, high = self.ratio.value, self.ratio.low, self.ratio.high
        if not (0 < low <= value <= high and math.isfinite(high)):
            raise HakdError(
                f"a ratio of {value} in [{low}, {high}] is not a measurement",
                key="verification",
                remedy="Time the networks in at least two processes",
            )
