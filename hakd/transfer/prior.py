"""A prior over the curves of a new device, learned from tables of others, conditioned on the points timed so far."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hakd.records.errors import HakdError
from hakd.records.graph import Graph
from hakd.staircase.curve import Curve
from hakd.staircase.guided import Forecast, LikelyStep
from hakd.transfer.shapes import SMOOTH, STEPS, BlockShape, block_shape, features

if TYPE_CHECKING:
    from hakd.transfer.kernel import Learned, Task

STEPS_OF_LEARNING = 40
DEVICE_POINTS = 170  # about this many of a device are used: learning time grows with their cube
CURVE_POINTS = (6, 24)  # fewest and most of a curve
SEED = 20260101
LEAST_NOISE = 0.003  # of a point of log latency; the residual p95 is 2.77 standard deviations of one process
UNKNOWN_NOISE = 0.02
_P95 = 1.96 * math.sqrt(2) * math.sqrt(2)  # and two processes share a point


@dataclass(frozen=True)
class TimedCurve:
    """A curve of a device with the shape of its block; `residual_p95` as `hakd.staircase.curve.Curve` has it."""

    shape: BlockShape
    widths: tuple[int, ...]
    latency_ms: tuple[float, ...]
    residual_p95: float | None = None

    @property
    def noise(self) -> float:
        """Variance of a point's log latency."""
        sigma = UNKNOWN_NOISE if self.residual_p95 is None else self.residual_p95 / _P95
        return max(LEAST_NOISE, sigma) ** 2


@dataclass(frozen=True)
class Prior:
    """The result of learning from other devices' tables.

    `mean` and `scale` standardise features; `devices` are the names of those devices.
    """

    learned: "Learned"
    mean: np.ndarray
    scale: np.ndarray
    devices: tuple[str, ...]


def learn_prior(
    devices: Mapping[str, Sequence[TimedCurve]], seed: int = SEED, steps: int = STEPS_OF_LEARNING
) -> Prior:
    """Learn from the curves of other devices.

    Args:
        devices: {name: its curves}.
        seed: of the start of the learning, and of the choice among the widths of long curves.
        steps: of the optimiser.

    Raises:
        HakdError: no curves, or gpytorch is not installed.
    """
    devices = {name: curves for name, curves in devices.items() if curves}
    if not devices:
        raise HakdError("no curves to learn from", key="--prior", remedy="Give tables of `hakd sweep`")
    from hakd.transfer.kernel import learn

    rng = np.random.default_rng(seed)
    kept = {name: _thinned(curves, rng) for name, curves in devices.items()}
    rows = np.concatenate([features(c.shape, c.widths) for curves in kept.values() for c in curves])
    mean = rows.mean(axis=0)
    mean[:STEPS] = 0.0  # for the features that step, 0 means no step
    scale = rows.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1.0)
    tasks = [_task(dict(enumerate(curves)), mean, scale) for curves in kept.values()]
    return Prior(learn(tasks, SMOOTH, seed, steps), mean, scale, tuple(devices))


def _thinned(curves: Sequence[TimedCurve], rng: np.random.Generator) -> list[TimedCurve]:
    """Some widths of each curve, chosen in runs of two: a step shows between neighbours."""
    most = int(np.clip(DEVICE_POINTS // len(curves), *CURVE_POINTS))
    found = []
    for curve in curves:
        kept = np.arange(len(curve.widths))
        if len(kept) > most:
            starts = rng.choice(len(kept) - 1, most // 2, replace=False)
            kept = np.array(sorted({*starts, *(starts + 1)}))
        widths, latency = tuple(curve.widths[i] for i in kept), tuple(curve.latency_ms[i] for i in kept)
        found.append(TimedCurve(curve.shape, widths, latency, curve.residual_p95))
    return found


def _task(curves: Mapping[int, TimedCurve], mean: np.ndarray, scale: np.ndarray) -> "Task":
    """Points of the curves of a device, by their numbers."""
    from hakd.transfer.kernel import Task

    logs = [np.log(curve.latency_ms) for curve in curves.values()]
    return Task(
        np.concatenate([(features(c.shape, c.widths) - mean) / scale for c in curves.values()]),
        np.concatenate([np.full(len(c.widths), float(i)) for i, c in curves.items()]),
        np.concatenate([one - one.mean() for one in logs]),
        np.concatenate([np.full(len(c.widths), c.noise) for c in curves.values()]),
    )


@dataclass
class Session:
    """The prior on one new device: each timed curve improves the prediction of the others, as far as they are related.

    `seen` holds the latest curve of each block by name.
    """

    prior: Prior
    seen: dict[str, TimedCurve] = field(default_factory=dict)

    def guide(self, name: str, shape: BlockShape) -> "BlockGuide":
        """A guide for one block."""
        return BlockGuide(self, name, shape)

    def guiding(self, name: str, full: int, graph: Callable[[int], Graph]) -> "BlockGuide":
        """A guide for the block that `graph` makes at a width of up to `full` channels."""
        return self.guide(name, block_shape(name, full, graph))

    def steps(self) -> dict[str, list[LikelyStep]]:
        """Likely steps of every block with timed points, the largest first."""
        return {name: self.forecast(name, timed.shape).steps() for name, timed in self.seen.items()}

    def about(self) -> dict[str, Any]:
        """The prior in a table's metadata."""
        return {
            "devices": list(self.prior.devices),
            "seed": SEED,
            "likely_steps": {
                name: [
                    [one.before, one.after, round(one.ratio, 4), round(one.probability, 3)] for one in found
                ]
                for name, found in self.steps().items()
            },
        }

    def forecast(self, name: str, shape: BlockShape) -> Forecast:
        """Posterior of a block's curve at all its widths, given everything timed so far on this device."""
        learned, widths = self.prior.learned, tuple(range(1, shape.full + 1))
        wanted = self._points({0: TimedCurve(shape, widths, (1.0,) * shape.full)})
        mean, covariance = wanted.design @ learned.weights, learned.covariance(wanted, wanted)
        own = self.seen.get(name)
        others = [timed for other, timed in self.seen.items() if other != name]
        curves = ({0: own} if own else {}) | dict(enumerate(others, 1))
        if not curves:
            return Forecast(mean, covariance, (), (), ())
        known = self._points(curves)
        inverse = np.linalg.inv(learned.covariance(known, known) + np.diag(known.noise))
        gain = learned.covariance(wanted, known) @ inverse
        weighted = inverse @ (known.log_ms - known.design @ learned.weights)
        level = float(np.log(own.latency_ms).mean()) if own else 0.0
        count = len(own.widths) if own else 0
        precision = np.diag(inverse)[:count]
        return Forecast(
            mean + learned.covariance(wanted, known) @ weighted + level,
            covariance - gain @ learned.covariance(known, wanted),
            own.widths if own else (),
            tuple(weighted[:count] / precision),  # left out one by one: Rasmussen and Williams, equation 5.12
            tuple(1 / np.sqrt(precision)),
        )

    def _points(self, curves: Mapping[int, TimedCurve]) -> "Task":
        return _task(curves, self.prior.mean, self.prior.scale)


@dataclass(frozen=True)
class BlockGuide:
    """Predicts one block's curve; a `hakd.sweeping.modes.Guide`."""

    session: Session
    name: str
    shape: BlockShape

    def note(self, curve: Curve) -> None:
        """Keep the curve as timed so far."""
        self.session.seen[self.name] = TimedCurve(
            self.shape, curve.widths, curve.latency_ms, curve.residual_p95
        )

    def forecast(self) -> Forecast:
        """The prediction from all that was noted."""
        return self.session.forecast(self.name, self.shape)
