"""The doctor's noise probe: the time of an empty call of the engine, and how well timings of one fixed block repeat.

The block is timed as a sweep times points: interleaved bursts in fresh processes, of eight copies. All copies are the
same model, so every difference between them is noise.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hakd.boards import Board, Burst, Point, Protocol
from hakd.boards.device import INT8, Device
from hakd.networks.engine_model import engine_model
from hakd.networks.int8 import TOLERANCE
from hakd.networks.int8_parts import reference_output
from hakd.networks.onnx_model import stand_in_weights
from hakd.ops.tensors import Segment
from hakd.records.errors import HakdError
from hakd.records.graph import Builder, Graph
from hakd.staircase.curve import TOLERANCE_FLOOR
from hakd.staircase.estimate import estimate
from hakd.staircase.factors import process_times
from hakd.study.measuring import Measuring

PROBE_S = 5.0  # of passes: as many fresh processes as fit, at least two
FEWEST, MOST = 2, 8  # a sweep has two processes in a look, and at most four looks
COPIES = 8
CHANNELS, SIZE = 32, 16
CALL = "call"
BUSY_SHARE = 0.25  # share of preempted bursts from which other programs must be running on the timed CPUs
SPREAD = 0.05  # log spread of whole processes from which the machine's speed is not steady
UNSTABLE = 0.015  # scatter of burst medians inside a process from which it is unstable


@dataclass(frozen=True)
class Repeatability:
    """How well timings repeat; all figures except counts and times are fractions.

    Attributes:
        latency_ms: of the fixed block.
        call_us: of a call with nearly nothing to do.
        processes: fresh processes that timed it.
        bursts: in all of them.
        within: scatter of bursts inside a process: median distance from the median.
        between: standard deviation over processes of the factor that a whole process has in common.
        residual_p95: of two processes, their common factor removed, as in one look of a sweep.
        residual_all_p95: of two halves of all processes, as in several looks; None with fewer than four.
        preempted: share of bursts that were interrupted.
        cpu_ratio: cpu time over wall time during bursts.
    """

    latency_ms: float
    call_us: float
    processes: int
    bursts: int
    within: float
    between: float
    residual_p95: float
    residual_all_p95: float | None
    preempted: float
    cpu_ratio: float

    @property
    def best_min_step(self) -> float:
        """The smallest `min_step` that a sweep could decide widths with: twice what two measurements differ by."""
        known = [self.residual_p95, *([] if self.residual_all_p95 is None else [self.residual_all_p95])]
        return max(2 * TOLERANCE_FLOOR, 2 * min(known))


def block() -> Graph:
    """A 3 x 3 convolution with its activation: about 0.1 ms on a fast core."""
    b = Builder(CHANNELS, SIZE)
    return b.graph(b.relu(b.conv(b.input, "conv", Segment("out", CHANNELS), 3), "relu"))


def nothing() -> Graph:
    """One activation of one number: its time is that of the call."""
    b = Builder(1, 1)
    return b.graph(b.relu(b.input, "relu"))


def reference(images: np.ndarray) -> np.ndarray:
    """The block's output for an input (batch, C, S, S), by plain sums."""
    weight = stand_in_weights(block())["conv.weight"]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.maximum(np.einsum("ncyxij,ocij->noyx", windows, weight, optimize=True), 0.0)


def points(device: Device) -> list[Point]:
    """Copies of the block, in one curve so that they share every process, and the empty call."""

    def made(graph: Graph) -> Callable[[], bytes]:
        return lambda: engine_model(
            device.engine, graph, stand_in_weights(graph), device.batch, device.precision
        )

    int8 = device.precision == INT8
    expected = (
        partial(reference_output, device.engine, block(), stand_in_weights(block())) if int8 else reference
    )
    more: dict[str, Any] = {"curve": "noise", "tolerance": TOLERANCE if int8 else None}
    shape = (device.batch, CHANNELS, SIZE, SIZE)
    copies = [
        Point(f"noise:{copy}", f"fixed block, copy {copy}", made(block()), expected, shape, **more)
        for copy in range(COPIES)
    ]
    one = (device.batch, 1, 1, 1)
    call = Point(CALL, "a call", made(nothing()), lambda x: np.maximum(x, 0.0), one, **more)
    return [*copies, call]


def probe(board: Board, measuring: Measuring, seconds: float = PROBE_S) -> Repeatability:
    """Time the fixed block in one fresh process after the other, for `seconds` and at least twice.

    Raises:
        HakdError: the engine fails on the block, or gives wrong results.
    """
    protocol = Protocol(processes=1, rounds=measuring.rounds, burst_ms=measuring.burst_ms)
    wanted, bursts = points(board.device), dict[str, list[Burst]]()
    start, number = time.monotonic(), 0
    while number < FEWEST or (time.monotonic() - start < seconds and number < MOST):
        number += 1
        for key, found in board.measure(wanted, protocol, f"doctor:{number}", progress=False).items():
            bursts.setdefault(key, []).extend(found)
        if board.failures:
            reason = next(iter(board.failures.values()))
            remedy = f"Install another version of {board.device.engine} there"
            raise HakdError(reason, where=f"device {board.device.name}", key="engine", remedy=remedy)
    return noise(bursts)


def noise(bursts: dict[str, list[Burst]]) -> Repeatability:
    """The repeatability that the bursts of `points` show."""
    calls = [burst.median_ns / 1e3 for burst in bursts[CALL]]
    copies = {key: found for key, found in bursts.items() if key != CALL}
    times = process_times(copies)
    made = estimate(copies)
    every = [burst for found in copies.values() for burst in found]
    return Repeatability(
        latency_ms=float(np.median([one.latency_ms for one in made.by_key.values()])),
        call_us=float(np.median(calls)),
        processes=len(times.processes),
        bursts=len(every),
        within=_within(copies),
        between=float(np.std([np.log(factor) for factor in made.factors.values()], ddof=1)),
        residual_p95=_of_pairs(times.log_ms),
        residual_all_p95=made.residual_p95 if len(times.processes) >= 4 else None,
        preempted=float(np.mean([burst.switches > 0 for burst in every])),
        cpu_ratio=float(np.median([burst.cpu_ratio for burst in every])),
    )


def _within(copies: dict[str, list[Burst]]) -> float:
    """Median over all bursts of |log time - median of its copy in its process|."""
    cells: dict[tuple[str, str], list[float]] = {}
    for key, found in copies.items():
        for burst in found:
            cells.setdefault((key, burst.process), []).append(np.log(burst.median_ns))
    return float(np.median([abs(value - np.median(own)) for own in cells.values() for value in own]))


def _of_pairs(log_ms: np.ndarray) -> float:
    """95th percentile over copies and pairs of processes of |log ratio|, the pair's common factor removed."""
    gaps: list[float] = []
    for one, other in itertools.combinations(range(log_ms.shape[1]), 2):
        ratio = log_ms[:, one] - log_ms[:, other]
        gaps.extend(np.abs(ratio - np.nanmedian(ratio)))
    return float(np.nanpercentile(gaps, 95))


def verdict(found: Repeatability, min_step: float) -> tuple[str, str, str]:
    """(`fit`, `more` or `unfit`; in words; what to do about it)."""
    least = found.best_min_step
    steps = f"steps of {least:.1%} and more can be detected"
    if 2 * found.residual_p95 <= min_step:
        return "fit", f"fit: {steps}", ""
    if least <= min_step:
        words = f"usable with more looks, which a sweep takes by itself: {steps}"
        return "more", words, "Raise `rounds` or `processes` to make each look better"
    cause, remedy = _cause(found)
    remedy = f"{remedy}; or set `min_step: {np.ceil(100 * least) / 100:.2f}`, if smaller steps do not matter"
    return "unfit", f"unfit for steps of {min_step:.1%}: {cause}; {steps}", remedy


def _cause(found: Repeatability) -> tuple[str, str]:
    if found.preempted > BUSY_SHARE:
        return f"{found.preempted:.0%} of the bursts were interrupted", "End what else runs on those CPUs"
    if found.cpu_ratio < 0.9:
        return f"the engine had only {found.cpu_ratio:.2f} CPUs", "End what else runs on those CPUs"
    if found.between > SPREAD:
        words = f"whole processes differ by {found.between:.1%}"
        return words, "Check governor, temperature and other guests of the same machine"
    if found.within > UNSTABLE:
        words = f"bursts scatter by {found.within:.1%} inside a process"
        return words, "Check for other programs running on the device, and the governor"
    return f"processes disagree by {found.residual_p95:.1%}", "Raise `rounds` and `processes`"


def summary(found: Repeatability) -> Sequence[str]:
    """The figures, in words."""
    looks = f", {found.residual_all_p95:.1%} with all" if found.residual_all_p95 is not None else ""
    return (
        f"{found.bursts} bursts in {found.processes} processes, block of {found.latency_ms * 1e3:.0f} us",
        f"inside a process {found.within:.1%}, between {found.between:.1%}",
        f"residual p95 {found.residual_p95:.1%} with two processes{looks}",
        f"{found.preempted:.0%} of bursts interrupted",
    )
