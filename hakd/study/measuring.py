"""How a device is measured: what its configuration says beside how to reach it. Light: the command line reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hakd.boards import Device, Protocol
from hakd.boards.device import MEASURING_KEYS


@dataclass(frozen=True)
class Measuring:
    """How a device of the study is measured: the keys of its configuration that the board layer does not know."""

    processes: int = 2
    rounds: int = 10
    burst_ms: float = 1.2
    benchmark_processes: int = 5
    min_step: float = 0.06
    energy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def visits(self) -> str:
        """How often and how long a point is timed in a process, as part of what a stored measurement is called."""
        return f"{self.rounds}x{self.burst_ms:g}ms"

    def one_process(self) -> Protocol:
        """Protocol of one pass of a sweep."""
        return Protocol(processes=1, rounds=self.rounds, burst_ms=self.burst_ms)

    def end_to_end(self) -> Protocol:
        """Protocol of verification and benchmark: more processes, all networks in each that it can hold."""
        return Protocol(
            processes=self.benchmark_processes, rounds=self.rounds, burst_ms=self.burst_ms, chunk_points=1000
        )


def device_from(name: str, settings: Mapping[str, Any]) -> tuple[Device, Measuring]:
    """The board and how to measure it, from the device's entry in the configuration."""
    measuring = {key: settings[key] for key in MEASURING_KEYS if key in settings}
    return Device.from_config(name, settings), Measuring(**measuring)
