"""What one worker may say: each thing once, and nothing that was not asked for."""

import pytest

from hakd.boards.points import Protocol
from hakd.boards.run import Run
from hakd.records.errors import HakdError


def job(kind: str = "time") -> Run:
    return Run("device x", 1, "s.1", kind, "sweep", 0, frozenset("ab"), {("a", 0, False)}, Protocol())


BURST = {
    "t": "burst", "job": 1, "key": "a", "round": 0, "position": 0, "reference": False, "calls": 5, "min_ns": 10,
    "median_ns": 11, "switches": 0, "clock_mhz": None, "cpu_ratio": 1.0, "at_ns": 5,
}  # fmt: skip
ONCE = [
    ("time", BURST),
    ("time", {"t": "ready", "job": 1, "key": "a", "max_abs_error": None}),
    ("time", {"t": "failed", "job": 1, "key": "a", "reason": "no"}),
    ("time", {"t": "warm", "job": 1, "tasks": 3}),
    ("time", {"t": "missing", "job": 1, "detail": "gone"}),
    ("memory", {"t": "memory", "job": 1, "key": "a", "bytes": 7}),
]


@pytest.mark.parametrize(("kind", "message"), ONCE, ids=lambda value: str(value)[:20])
def test_what_can_be_said_once_is_refused_the_second_time(kind, message):
    run = job(kind)
    assert run.take(dict(message)) is not None
    with pytest.raises(HakdError, match="device x: the device sent a"):
        run.take(dict(message))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("memory", BURST),
        ("time", {**BURST, "key": "b"}),
        ("time", {**BURST, "job": 2}),
        ("time", {**BURST, "key": "c"}),
        ("time", {"t": "memory", "job": 1, "key": "a", "bytes": 7}),
        ("time", {"t": "done", "job": 1, "outcome": "ok", "key": "c", "detail": ""}),
        ("time", {"t": "hello", "job": 1}),
    ],
)
def test_what_was_not_asked_for_is_refused(kind, message):
    with pytest.raises(HakdError, match="device x: the device sent a"):
        job(kind).take(dict(message))
