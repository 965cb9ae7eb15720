"""How far a mean over few seeds and many test images may be off: intervals, p-values, what could have been detected.

Seeds and images are crossed: every training is scored on the same images. A bootstrap that resamples both, and the
images' originals whole, gives a mean the variance of resampled seeds plus that of resampled images. For a mean these
have a closed form, so nothing is drawn here (`hakd.analysis.fronts` draws). It is corrected twice (docs/statistics.md):

- Resampling n of n seeds has (n - 1) / n of their variance: here it is whole.
- What seeds and images have together (one training is right on an image and another is not) is part of both variances;
  the images' has it no more.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

_POINTS = 400  # of the grid of a distribution that is added to another; a third of it where two are
_ROUNDING = 1e-12  # accuracies that are no further apart are equal


@dataclass(frozen=True)
class Spread:
    """Independent parts of a mean's variance, each with the degrees of freedom that it was estimated with."""

    parts: tuple[tuple[float, float], ...]

    @property
    def standard_error(self) -> float:
        """Root of the variance; NaN where a part is not known."""
        return float(np.sqrt(sum(variance for variance, _ in self.parts)))

    def p_value(self, deviation: float) -> float:
        """How probable it is that a mean is off by this much or more, either way.

        Between two answers, since with few seeds one is too small and the other too large: Student's t with the degrees
        of freedom of Satterthwaite (Biometrics Bulletin 2, 1946), and the sum of a Student's t for each part (Behrens
        and Fisher). The latter counts as much as the seeds' share of the variance. With one part both are Student's t.
        `benchmarks/coverage.py` measures what intervals by this hold.
        """
        parts = self._sizeable()
        total = sum(variance for variance, _ in parts)
        if np.isnan(total) or np.isnan(deviation):
            return float("nan")
        if not parts:
            return float(abs(deviation) <= _ROUNDING)
        freedom = total**2 / sum(variance**2 / freedom for variance, freedom in parts)
        single = 2 * special.stdtr(freedom, -abs(deviation) / np.sqrt(total))
        if len(parts) == 1:
            return float(single)
        *few, (variance, freedom) = sorted(parts, key=lambda part: part[::-1])
        off, weights = np.zeros(1), np.ones(1)
        for v, f in few:
            values, probabilities = _student(f, _POINTS if len(few) == 1 else _POINTS // 3)
            off = np.add.outer(off, np.sqrt(v) * values).ravel()
            weights = np.multiply.outer(weights, probabilities).ravel()
        summed = 2 * weights @ special.stdtr(freedom, (off - abs(deviation)) / np.sqrt(variance))
        share = 1 - variance / total
        return float((1 - share) * single + share * summed)

    def half_width(self, confidence: float = 0.95) -> float:
        """Half of the interval that holds the mean with this confidence; NaN where it is not known."""
        error, parts = self.standard_error, self._sizeable()
        if not error > _ROUNDING:
            return error
        if len(parts) == 1:
            return float(error * special.stdtrit(parts[0][1], 0.5 + confidence / 2))
        high = 2 * error
        while self.p_value(high) > 1 - confidence:
            high *= 2
        return float(
            optimize.brentq(lambda x: self.p_value(x) - (1 - confidence), 0, high, xtol=1e-6 * error)
        )

    def _sizeable(self) -> list[tuple[float, float]]:
        """The parts that are more than rounding."""
        return [part for part in self.parts if not part[0] <= _ROUNDING**2]

    def detectable(self, alpha: float = 0.05, power: float = 0.8) -> float:
        """The smallest true difference from 0 that a test at `alpha` finds with this power, approximately."""
        return self.half_width(1 - alpha) + self.half_width(2 * power - 1)


@functools.cache
def _student(freedom: float, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of Student's t with their probabilities: a grid of the distribution that is finer in its tails."""
    even = (np.arange(points) + 0.5) / points
    values = special.stdtrit(freedom, even**3 * (10 - 15 * even + 6 * even**2))
    return values, 30 * (even * (1 - even)) ** 2 / points


def student_interval(values: Iterable[float], confidence: float = 0.95) -> tuple[float, float]:
    """Ends of Student's t interval of the mean; NaN with fewer than two values."""
    sample = np.asarray(list(values), dtype=float)
    half = seeds_spread([sample]).half_width(confidence)
    return float(sample.mean() - half), float(sample.mean() + half)


def seeds_spread(groups: Sequence[np.ndarray]) -> Spread:
    """Of a sum of means over independent groups of units: other seeds, the same images.

    Args:
        groups: the value of each unit.
    """
    return Spread(tuple(_variance(values) for values in groups))


def _variance(values: np.ndarray) -> tuple[float, float]:
    """Variance of the mean with its degrees of freedom; NaN for one value."""
    count = len(values)
    return (float(values.var(ddof=1)) / count, count - 1.0) if count > 1 else (float("nan"), float("nan"))


def images_spread(groups: Sequence[np.ndarray], sizes: np.ndarray) -> Spread:
    """Of the same sum: the same seeds, other originals.

    Args:
        groups: the sum over the images of each original (columns), by unit (rows).
        sizes: number of images of each original.
    """
    return Spread((_images(groups, sizes, shared=True),))


def crossed_spread(groups: Sequence[np.ndarray], sizes: np.ndarray) -> Spread:
    """Of the same sum: other seeds and other originals. Arguments as for `images_spread`."""
    seeds = seeds_spread([group.sum(axis=1) / sizes.sum() for group in groups])
    return Spread((*seeds.parts, _images(groups, sizes, shared=False)))


def _images(groups: Sequence[np.ndarray], sizes: np.ndarray, shared: bool) -> tuple[float, float]:
    """Variance by originals with its degrees of freedom; `shared`: with what seeds and images have together."""
    originals = len(sizes)
    if originals < 2:
        return float("nan"), float("nan")
    scale = originals / (originals - 1) / sizes.sum() ** 2
    off = [group - group.sum(axis=1, keepdims=True) / sizes.sum() * sizes for group in groups]
    variance = scale * (sum(part.mean(axis=0) for part in off) ** 2).sum()
    if not shared:
        both = [((p - p.mean(axis=0)) ** 2).sum() / (len(p) * (len(p) - 1)) for p in off if len(p) > 1]
        variance = max(variance - scale * sum(both), 0.0)
    return float(variance), originals - 1.0
