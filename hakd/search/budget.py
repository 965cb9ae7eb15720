"""The latency budget of a chosen network on a device: the latency of another network, or milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hakd.networks.families import full_architecture
from hakd.records.arch import Architecture
from hakd.records.budgets import budget_label
from hakd.records.errors import HakdError


@dataclass(frozen=True)
class Budget:
    """A latency budget: the latency of another network times `share`, or `latency_ms`.

    `label`: its name in candidates' names (`hakd.records.budgets`); None: it is not one of the configuration's.
    """

    words: str
    reference: Architecture | None = None
    share: float = 1.0
    latency_ms: float | None = None
    label: str | None = None

    @property
    def same(self) -> bool:
        """Whether it is exactly the latency of a network, which then keeps it by definition."""
        return self.reference is not None and self.share == 1

    def ms(self, measured_ms: Mapping[str, float]) -> float:
        """In ms, given the latencies of networks by arch.

        Raises:
            HakdError: the reference could not be timed.
        """
        if self.reference is None:
            return float(self.latency_ms or 0)
        if self.reference.arch not in measured_ms:
            raise HakdError(
                "its reference could not be timed",
                key="choosing.budgets",
                remedy="See the failures that the device reported",
            )
        return self.share * measured_ms[self.reference.arch]


def budget_from(settings: Mapping[str, Any], known: Mapping[str, Architecture]) -> Budget:
    """The budget of an entry of `choosing.budgets`.

    Args:
        settings: one of {like: method}, {latency_ms: number}, {speedup: number}.
        known: architectures by method, chosen so far.

    Raises:
        HakdError: no such method, or none of the three.
    """
    label = budget_label(settings)
    if settings.get("latency_ms"):
        value = float(settings["latency_ms"])
        return Budget(f"{value:g} ms", latency_ms=value, label=label)
    if settings.get("speedup"):
        factor = float(settings["speedup"])
        full = full_architecture(known["fisher"].spec)
        return Budget(f"the full network's latency / {factor:g}", full, 1 / factor, label=label)
    like = str(settings.get("like"))
    if like not in known:
        raise HakdError(
            f"no widths of the method {like!r}, whose latency is the budget",
            key="choosing.budgets",
            remedy=f"Known: {', '.join(known)}",
        )
    return Budget(f"the latency of {like}", known[like], label=label)
