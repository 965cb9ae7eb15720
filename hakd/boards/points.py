"""Points, protocols and bursts: the records that the board layer shares with its callers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from hakd.boards.worker import DISCARDED_CALLS

# Number of the timing protocol; part of every store key, raised when old figures are not comparable any more.
PROTOCOL = 2


class Unmeasurable(Exception):
    """A single point cannot be timed, for this reason; others can."""


@dataclass(frozen=True)
class Point:
    """One model to time.

    Args:
        key: content hash of everything that affects the measurement (or a candidate's own key).
        label: its name in messages.
        model: makes the bytes that the device's engine takes: fixed batch, one float32 input, one output. Called
            only when it is measured.
        reference: expected output for the board's input, computed here; None when there is nothing to compare.
        input_shape: shape of the input, batch first.
        curve: points of one non-empty curve stay in one process, so that they can be compared with each other.
        tolerance: of the output, as a fraction of its largest value; None: what float32 needs.
        largest: value that the output may have, where this input gives smaller ones.

    `model` and `reference` may raise `Unmeasurable`: then the point fails.
    """

    key: str
    label: str
    model: Callable[[], bytes]
    reference: Callable[[Any], Any] | None
    input_shape: tuple[int, ...]
    curve: str = ""
    tolerance: float | None = None
    largest: float = 0.0

    def __post_init__(self) -> None:
        if not self.key or not self.key.isprintable() or len(self.key) > 200:
            raise ValueError(f"a point's key is 1 to 200 printable characters, not {self.key!r}")
        if not self.input_shape or any(size < 1 for size in self.input_shape):
            raise ValueError(f"{self.label}: bad input shape {self.input_shape}")


@dataclass(frozen=True)
class Protocol:
    """How points are timed: fresh processes, rounds in each, bursts of calls, warm-up, and limits.

    A burst lasts about `burst_ms`, with at least `min_calls` and at most `max_calls` calls. `point_timeout_s` is
    device time for one step of one point (loading, warm-up, one burst). `chunk_points` bounds how many models
    one process holds.
    """

    processes: int = 2
    rounds: int = 10
    burst_ms: float = 1.2
    min_calls: int = 5
    max_calls: int = 60
    warmup_calls: int = 5
    warmup_ms: float = 5.0
    point_timeout_s: float = 60.0
    chunk_points: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not math.isfinite(value) or value <= 0:
                raise ValueError(f"protocol: {field.name} is positive, not {value!r}")
            if field.type is int and not isinstance(value, int):
                raise ValueError(f"protocol: {field.name} is a whole number, not {value!r}")
        if self.min_calls > self.max_calls:
            raise ValueError("protocol: min_calls exceeds max_calls")

    def visit_s(self, call_s: float, loading_s: float = 0.01) -> float:
        """Seconds of one visit of a point whose call takes `call_s`: a burst, and its share of the start."""
        calls = min(max(self.burst_ms / 1e3 / call_s, self.min_calls), self.max_calls)
        warm_s = max(self.warmup_calls * call_s, self.warmup_ms / 1e3) + loading_s
        return (DISCARDED_CALLS + calls) * call_s + warm_s / self.rounds

    def slots(self) -> set[tuple[int, int]]:
        """All (process slot, round) pairs that a complete point has."""
        return {(slot, turn) for slot in range(self.processes) for turn in range(self.rounds)}


@dataclass(frozen=True)
class Burst:
    """One burst of one point in one round of one process.

    `process` is unique to a worker process. `switches` counts involuntary context switches: a preempted burst has
    some. `clock_mhz` is None where the board does not report it. `cpu_ratio` is cpu time over wall time.
    """

    key: str
    process: str
    round: int
    position: int
    calls: int
    min_ns: int
    median_ns: int
    switches: int
    clock_mhz: float | None
    cpu_ratio: float
