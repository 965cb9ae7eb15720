"""Simulated bursts whose true latency is known."""

from dataclasses import replace

import numpy as np

from hakd.boards.points import Burst

TRUTH = {f"k{i}": 0.02 * 1.05**i for i in range(60)}


def simulate(
    truth, factors, *, rounds=10, noise=0.0, point=0.0, drift=0.0, share=0.0, spikes=0.0, hidden=0.0, seed=0
):
    """Bursts of `truth` {key: ms} in processes {name: factor}, visited in random order in every round.

    noise: per burst; point: per key and process (memory layout); drift: rise over a process; share: of the calls of a
    burst that others slow by 1.3, 0 to twice as many from burst to burst, which the median call shows and the fastest
    one only where all 20 were slowed; spikes: share of preempted bursts, whole ones 1.3 to 3 times slower; hidden: the
    same, but no counter shows them.
    """
    rng = np.random.default_rng(seed)
    bursts = {key: [] for key in truth}
    for process, factor in factors.items():
        layout = {key: np.exp(point * rng.standard_normal()) for key in truth}
        for turn in range(rounds):
            for position, key in enumerate(rng.permutation(list(truth))):
                at = (turn + position / len(truth)) / rounds
                value = (
                    truth[key]
                    * factor
                    * layout[key]
                    * (1 + drift * at)
                    * np.exp(noise * rng.standard_normal())
                )
                preempted, slow = rng.random() < spikes, rng.random() < hidden
                value *= rng.uniform(1.3, 3) if preempted or slow else 1
                slowed = rng.binomial(20, 2 * share * rng.random()) if share else 0
                fastest, median = (1e6 * value * (1.3 if slowed > least else 1) for least in (19, 10))
                burst = Burst(
                    key,
                    process,
                    turn,
                    position,
                    20,
                    int(fastest),
                    int(1.05 * median),
                    int(preempted),
                    None,
                    1.0,
                )
                bursts[key].append(burst)
    return bursts


def at_speed(burst, factor):
    """The same burst at another speed."""
    return replace(burst, min_ns=burst.min_ns * factor, median_ns=burst.median_ns * factor)
