"""Do intervals of contrasts hold the true difference in 95 % of studies? The table of docs/statistics.md:

python -m benchmarks.coverage

Simulated studies of two series with known accuracies, each at two levels whose latencies interlock. A network is right
on an image if the sum of independent normal numbers is above 0: those of the original, of the image, of its series on
the image, of its seed (one part is shared by both series), and of this training on this image.
"""

import argparse
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from hakd.analysis.spread import Spread, crossed_spread

LATENCY_MS = {"hakd": (1.0, 0.6), "fisher": (1.1, 0.7)}  # of both levels
SHARED_MS = (0.7, 1.0)  # where both series have an accuracy
MEAN = {"hakd": (1.2, 0.9), "fisher": (1.1, 0.7)}
IMAGE, ORIGINAL = 0.6, 0.8  # standard deviations; training on an image: 1
REPLICATES = 500  # of the naive bootstrap


@dataclass(frozen=True)
class Scenario:
    """A kind of study, with the standard deviations of seeds, of search seeds and of originals.

    `search_sd` 0: no search seeds. `original_sd`: of an original for one series and not for the other.
    """

    seeds: int
    seed_sd: float
    originals: int = 1000
    images: int = 1  # of each original
    trainings: int = 1
    search_sd: float = 0.0
    original_sd: float = 0.4

    @property
    def name(self) -> str:
        """In words."""
        seeds = f"{self.seeds} seeds (sd {self.seed_sd:g})"
        if self.search_sd:
            seeds = (
                f"{self.seeds} search seeds (sd {self.search_sd:g}) x {self.trainings} (sd {self.seed_sd:g})"
            )
        images = f"{self.originals} x {self.images}" if self.images > 1 else f"{self.originals}"
        return f"{seeds}, {images} images (sd {self.original_sd:g})"


CROSSED = (
    Scenario(3, 0.0, trainings=3, search_sd=0.15),
    Scenario(3, 0.1, trainings=3, search_sd=0.05),
)
SCENARIOS = (
    *(
        Scenario(seeds, seed_sd, *images, original_sd=original_sd)
        for seeds in (2, 3, 5)
        for images in ((1000, 1), (200, 5))
        for seed_sd, original_sd in ((0.02, 2.0), (0.02, 0.4), (0.12, 0.4), (0.4, 0.4))
    ),
    *CROSSED,
    *(replace(one, originals=200, images=5) for one in CROSSED),
)


def simulate(scenario: Scenario, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], float]:
    """One study.

    Returns:
        Right images of each series by level, unit, training and original; and the true difference, mean over the shared
        latencies.
    """
    shape = (scenario.originals, scenario.images)
    original = ORIGINAL if scenario.images > 1 else 0.0  # shared by the series
    runs = (scenario.seeds, scenario.trainings)
    image = rng.normal(0, IMAGE, shape) + rng.normal(0, original, (scenario.originals, 1))
    common = rng.normal(0, scenario.seed_sd * 0.3**0.5, runs)
    right, truth = {}, {}
    variance = 1 + 1.25 * IMAGE**2 + original**2
    variance += scenario.original_sd**2 + scenario.seed_sd**2 + scenario.search_sd**2
    for name, means in MEAN.items():
        own = rng.normal(0, IMAGE / 2, shape) + rng.normal(0, scenario.original_sd, (scenario.originals, 1))
        levels = []
        for mean in means:
            luck = common + rng.normal(0, scenario.seed_sd * 0.7**0.5, runs)
            luck += rng.normal(0, scenario.search_sd, (scenario.seeds, 1))
            sums = rng.normal(mean, 1, (*runs, *shape)) + (image + own) + luck[..., None, None]
            levels.append((sums > 0).sum(axis=-1))
        right[name] = np.array(levels, dtype=float)
        truth[name] = _at_shared(name, stats.norm.cdf(np.array(means) / np.sqrt(variance)))
    return right, float(truth["hakd"] - truth["fisher"])


def _at_shared(name: str, levels: np.ndarray) -> np.ndarray:
    """Values by level, read off their line and averaged over the shared latencies."""
    (slow, fast), latency = LATENCY_MS[name], np.mean(SHARED_MS)
    share = (latency - fast) / (slow - fast)
    return share * levels[0] + (1 - share) * levels[1]


def by_unit(right: dict[str, np.ndarray]) -> np.ndarray:
    """The paired difference of right images by unit and original."""
    return _at_shared("hakd", right["hakd"]).mean(axis=1) - _at_shared("fisher", right["fisher"]).mean(axis=1)


def naive(difference: np.ndarray, images: int, rng: np.random.Generator) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of a bootstrap that resamples units and originals, without corrections."""
    units, originals = difference.shape
    seeds = rng.multinomial(units, np.full(units, 1 / units), REPLICATES)
    places = (
        rng.integers(originals, size=(REPLICATES, originals)) + originals * np.arange(REPLICATES)[:, None]
    )
    drawn = np.bincount(places.ravel(), minlength=places.size).reshape(places.shape)
    found = (drawn @ difference.T * seeds).sum(axis=1) / (units * originals * images)
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def coverage(scenario: Scenario, studies: int, seed: int = 0) -> dict[str, float]:
    """What became of simulated studies, as fractions.

    Returns:
        `held`: how many intervals hold the true difference; `naive`: those of the naive bootstrap; `detectable`: the
        mean over 100 studies; `found`: how many find such a difference; `seeds`: their share of the variance.
    """
    rng = np.random.default_rng([seed, studies])
    sizes = np.full(scenario.originals, scenario.images)
    offs: list[tuple[float, Spread]] = []
    naively = 0
    for _ in range(studies):
        right, truth = simulate(scenario, rng)
        difference = by_unit(right)
        offs.append(
            (difference.sum(axis=1).mean() / sizes.sum() - truth, crossed_spread([difference], sizes))
        )
        low, high = naive(difference, scenario.images, rng)
        naively += low <= truth <= high
    parts = np.array([[variance for variance, _ in spread.parts] for _, spread in offs]).mean(axis=0)
    detectable = np.mean([spread.detectable() for _, spread in offs[:100]])
    return {
        "seeds": parts[0] / parts.sum(),
        "held": float(np.mean([spread.p_value(off) > 0.05 for off, spread in offs])),
        "naive": naively / studies,
        "found": float(np.mean([spread.p_value(off + detectable) < 0.05 for off, spread in offs])),
        "detectable": float(detectable),
    }


def main() -> None:
    """Print a row per scenario."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    columns = ("study", "seeds (%)", "held (%)", "naive (%)", "detectable (points)", "found (%)")
    print(f"| {' | '.join(columns)} |")
    print("|---|---:|---:|---:|---:|---:|")
    for scenario in SCENARIOS:
        found = {
            name: 100 * value for name, value in coverage(scenario, options.studies, options.seed).items()
        }
        row = (
            f"| {scenario.name} | {found['seeds']:.0f} | {found['held']:.1f} | {found['naive']:.1f} "
            f"| {found['detectable']:.1f} | {found['found']:.0f} |"
        )
        print(row, flush=True)


if __name__ == "__main__":
    main()
