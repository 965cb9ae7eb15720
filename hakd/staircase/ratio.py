"""A latency over another one, or over a budget, with the ends of its interval."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """A measured ratio of latencies; `low` and `high` are the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def kept(self) -> bool:
        """Whether it is shown to be at most 1."""
        return self.high <= 1

    def over(self, share: float) -> "Ratio":
        """The same divided by a number."""
        return Ratio(self.value / share, self.low / share, self.high / share)

    def to_dict(self) -> dict[str, float]:
        """As JSON holds it."""
        return {"ratio": self.value, "ratio_low": self.low, "ratio_high": self.high}

    def __str__(self) -> str:
        return f"{self.value - 1:+.1%} ({self.low - 1:+.1%} to {self.high - 1:+.1%})"


SAME = Ratio(1.0, 1.0, 1.0)  # of a network over itself


def plain(record: Any) -> Any:
    """A record as JSON holds it: dataclasses as mappings, the three numbers of a `Ratio` next to the other fields."""
    if is_dataclass(record):
        content: dict[str, Any] = {}
        for name, value in ((field.name, getattr(record, field.name)) for field in fields(record)):
            content |= value.to_dict() if isinstance(value, Ratio) else {name: plain(value)}
        return content
    if isinstance(record, Mapping):
        return {key: plain(value) for key, value in record.items()}
    return [plain(value) for value in record] if isinstance(record, tuple | list) else record
