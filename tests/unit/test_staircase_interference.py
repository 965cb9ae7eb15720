"""Estimates on a simulated machine that is slow at times: phases, whole processes, factors uneven over the keys."""

from dataclasses import dataclass

import numpy as np

from hakd.boards.points import Burst

BURST_MS = 1.3  # a visit: two discarded calls and a burst of 1.2 ms


@dataclass(frozen=True)
class State:
    """How a process ran: its own factor, the share of slow time, and how long a slow phase lasts on average."""

    share: float = 0.0
    phase_ms: float = 50.0
    factor: float = 1.0


WHOLE = State(share=1.0)  # slow from end to end
TRUTH = {f"k{i}": 0.02 * 1.05**i for i in range(60)}
CALM = State()


def slow_factors(kind, seed):
    """Log factor of each key in the slow state, 1.3 to 1.5: at random, or the wider (later) a key, the larger."""
    rng = np.random.default_rng(seed)
    drawn = np.log(rng.uniform(1.3, 1.5, len(TRUTH)))
    order = {"any": drawn, "wide": np.sort(drawn), "narrow": -np.sort(-drawn)}
    return dict(zip(TRUTH, order[kind], strict=True))


def machine(states, slow, *, rounds=10, noise=0.003, truth=TRUTH, seed=0):
    """Bursts of a machine with a slow state, in processes {name: State}, every key once a round in random order.

    slow: {key: log factor of the slow state}. A burst has the state of the machine at its middle.
    """
    rng = np.random.default_rng(seed)
    bursts = {key: [] for key in truth}
    for process, state in states.items():
        slow_at = _phases(rng, state, rounds * len(truth) * BURST_MS)
        now = 0.0
        for turn in range(rounds):
            for position, key in enumerate(rng.permutation(list(truth))):
                level = slow[key] * slow_at(now + BURST_MS / 2) + noise * rng.standard_normal()
                ns = truth[key] * state.factor * np.exp(level) * 1e6
                bursts[key].append(Burst(key, process, turn, position, 20, 0.99 * ns, ns, 0, None, 1.0))
                now += BURST_MS
    return bursts


def _phases(rng, state, length_ms):
    """When the machine is slow: phases of exponential length, begun in the state it has in the long run."""
    if state.share in (0, 1):
        return lambda _: state.share
    mean = {True: state.phase_ms, False: state.phase_ms * (1 - state.share) / state.share}
    is_slow = first = bool(rng.random() < state.share)
    ends = []
    while not ends or ends[-1] < length_ms:
        ends.append((ends[-1] if ends else 0.0) + rng.exponential(mean[is_slow]))
        is_slow = not is_slow
    return lambda at: first ^ bool(np.searchsorted(ends, at) % 2)
