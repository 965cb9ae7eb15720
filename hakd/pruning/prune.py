"""Pruning with physical removal (Theis et al. 2018; Crowley et al. 2018, arXiv 1810.04622), one level at a time.

Train a few steps while the scores accumulate, remove the least channels, slice weights, batch-norm statistics and
momentum into a smaller network, and continue until the level. A level continues from the kept state of a higher one.
On the CPU its result is the same, bit for bit, from any of them and from the teacher.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from hakd.networks.families import build_graph
from hakd.networks.module import network_with, weights_of
from hakd.networks.prunable import WORDS, Count, Prunable, count_of, counts_of, prunable
from hakd.pruning.settings import PruneJob as PruneJob  # what a caller needs comes from here
from hakd.pruning.settings import PruneSettings as PruneSettings
from hakd.pruning.state import State, full_state, read_state, write_state
from hakd.pruning.trainee import Trainee
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.training.loop import evaluate
from hakd.training.states import KeptState
from hakd.training.statistics import renew_statistics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pruned:
    """The network at a level.

    Args:
        architecture, weights: after the first removal that meets the level.
        rows: the trajectory from the full network to here, one row a removed channel, counted in the full network.
        facts: about it, for its checkpoint. `kept`: the channels left, the one of the highest last score first.
    """

    architecture: Architecture
    weights: dict[str, np.ndarray]
    rows: list[dict[str, Any]]
    facts: dict[str, Any]


def choose_removals(
    scores: Mapping[str, np.ndarray],
    widths: Mapping[str, int],
    count: int,
    beta: float,
    macs_of: Count,
) -> list[tuple[str, int]]:
    """The `count` channels with least Delta + beta * DeltaC, one after the other (group, index).

    DeltaC = C(after) - C(before) in MACs, negative, recomputed after each removal. A group keeps at least one channel;
    a group without scores keeps all.
    """
    widths = dict(widths)
    left = {group: np.array(values, dtype=np.float64) for group, values in scores.items()}
    chosen: list[tuple[str, int]] = []
    for _ in range(count):
        best = None
        before = macs_of(widths) if beta else 0
        for group, values in left.items():
            if widths[group] <= 1:
                continue
            index = int(np.argmin(values))
            saved = macs_of({**widths, group: widths[group] - 1}) - before if beta else 0
            value = values[index] + beta * saved
            if best is None or value < best[0]:
                best = (value, group, index)
        if best is None:
            break
        _, group, index = best
        left[group][index] = math.inf
        widths[group] -= 1
        chosen.append((group, index))
    return chosen


def prune(architecture: Architecture, weights: Mapping[str, np.ndarray], data: Any, job: PruneJob) -> Pruned:
    """Prune a full network to a level.

    Raises:
        HakdError: nothing to prune, a level that no pruning reaches, or a loss that is not finite.
    """
    settings = job.settings
    decisive = [architecture.to_dict(), repr(settings), job.criterion, job.seed]
    above, own, on_the_way = (
        KeptState(path, decisive, data, weights) for path in (job.above_path, job.state_path, job.resume_path)
    )
    allowed = prunable(architecture.spec, settings.groups, settings.count)
    full = allowed.count({})
    state = read_state(on_the_way) or _started(above) or full_state(architecture, weights)
    trainee = Trainee(state, job, data.train.labels.device)
    batches = _stream(data.train, settings.batch_size, job.seed, state.step)
    with tqdm(
        desc=job.label, total=1.0, bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}", mininterval=1
    ) as bar:
        while (count := allowed.count(state.architecture.widths)) > job.level * full:
            bar.n = (1 - count / full) / (1 - job.level)
            bar.set_postfix_str(
                f"{WORDS[settings.count]} {count / full:.3f} of full, {len(state.rows)} channels removed"
            )
            _remove_some(state, trainee, batches, allowed, job)
            if state.removals % settings.evaluate_every == 0:
                state.rows[-1]["val_accuracy"] = evaluate(trainee, data.validation)
                trainee.keep(state)
                write_state(on_the_way, state)
    trainee.keep(state)
    write_state(own, state)
    return _pruned(state, job, data)


def _started(above: KeptState) -> State | None:
    """The state of a higher level; None where there is none of this pruning: the result is the same."""
    state = read_state(above)
    if state is None and above.path is not None:
        log.warning("%s cannot be used: starting from the full network", above.path)
    return state


def _pruned(state: State, job: PruneJob, data: Any) -> Pruned:
    """The result at a state: with statistics of its own widths, and validated.

    Both are of the result alone: the state that lower levels start from does not depend on which levels there are.
    """
    rows, weights = list(state.rows), state.weights
    if rows:
        module = network_with(build_graph(state.architecture), weights).to(data.train.labels.device)
        renew_statistics(module, data.train, job.settings.batch_size, job.seed)
        rows[-1] = rows[-1] | {"val_accuracy": evaluate(module, data.validation)}
        weights = weights_of(module)
    facts = {"level": job.level, "criterion": job.criterion, "count": job.settings.count}
    facts |= {"prune_images": state.images, "prune_macs": state.macs_spent, "kept": state.best_first()}
    return Pruned(state.architecture, weights, rows, facts)


def _remove_some(state: State, trainee: Trainee, batches: Iterator, allowed: Prunable, job: PruneJob) -> None:
    """One cycle: train while scores accumulate, choose, record, remove."""
    spec, widths = state.architecture.spec, dict(state.architecture.widths)
    counts = counts_of(spec)
    trainee.train_cycle(batches, state, counts(widths)["macs"])
    removed = choose_removals(
        {group: state.scores[group] for group in allowed.full},
        widths,
        job.settings.channels,
        job.settings.beta if job.criterion == "fisher" else 0.0,
        count_of(spec),
    )
    if not removed:
        raise HakdError(
            "cannot be reached: every width group that may be pruned is down to one channel",
            where="config",
            key=f"run.levels: {job.level}",
            remedy="Use a higher level",
        )
    for group, index in removed:
        widths[group] -= 1
        row = {"removal": state.removals, "step": state.step, "group": group}
        row |= {"channel": int(state.kept[group][index]), "score": float(state.scores[group][index])}
        state.rows.append(row | counts(widths) | {"val_accuracy": math.nan})
    state.removals += 1
    keep = {}
    for group in {group for group, _ in removed}:
        gone = [index for owner, index in removed if owner == group]
        keep[group] = np.delete(np.arange(state.architecture.widths[group]), gone)
        state.kept[group] = state.kept[group][keep[group]]
        state.scores[group] = state.scores[group][keep[group]]
    state.architecture = state.architecture.at(widths)
    trainee.remove(keep, counts(widths)["macs"])


def _stream(split: Any, batch_size: int, seed: int, skip: int) -> Iterator:
    """Endless batches, a function of (seed, step) only, so that a resumed run sees what the first would have."""
    epoch = 0
    while True:
        for batch in split.batches(batch_size, seed, epoch):
            if skip > 0:
                skip -= 1
                continue
            yield batch
        epoch += 1
