"""Pruning with physical removal (Theis et al. 2018; Crowley et al. 2018, arXiv 1810.04622), one level at a time.

Train a few steps while the scores accumulate, remove the least channels, slice weights, batch-norm statistics and
momentum into a smaller network, and go on until the level. Nothing is masked: later steps get cheaper. A level goes on
from the kept state of a higher one. Its result is the same, bit for bit, from whichever of them or from the teacher.
"""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from hakd.networks.families import build_graph
from hakd.networks.module import network_with, weights_of
from hakd.networks.prunable import WORDS, Count, Prunable, count_of, prunable
from hakd.networks.slicing import slice_weights
from hakd.pruning.criteria import CRITERIA
from hakd.pruning.state import State, full_state, read_state, write_state
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.training.loop import evaluate
from hakd.training.optimiser import SGD
from hakd.training.states import KeptState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruneSettings:
    """`steps` SGD steps before each removal of `channels` channels, of the `groups` that may be pruned.

    beta weighs MACs saved against Fisher scores (Theis; Crowley: 0); the other criteria do without.
    """

    steps: int = 10
    channels: int = 1
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 64
    beta: float = 0.0
    evaluate_every: int = 10
    groups: str = "all"
    count: str = "macs"


@dataclass(frozen=True)
class PruneJob:
    """One level of one pruning.

    Args:
        level: fraction of the full network's count that may be left.
        settings: of the loop.
        seed: of the stream of images and of random scores.
        criterion: a key of `hakd.pruning.criteria.CRITERIA`.
        label: of the progress bar.
        above_path: the kept state of a higher level, to start from; None: the full network.
        state_path: where this level's state is kept for lower ones.
        resume_path: where the state is kept on the way, in case the job is killed.
    """

    level: float
    settings: PruneSettings
    seed: int = 0
    criterion: str = "fisher"
    label: str = "prune"
    above_path: str | os.PathLike | None = None
    state_path: str | os.PathLike | None = None
    resume_path: str | os.PathLike | None = None


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
    state.module.to(data.train.labels.device)
    batches = _stream(data.train, settings.batch_size, job.seed, state.step)
    with tqdm(
        desc=job.label, total=1.0, bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}", mininterval=1
    ) as bar:
        while (count := allowed.count(state.architecture.widths)) > job.level * full:
            bar.n = (1 - count / full) / (1 - job.level)
            bar.set_postfix_str(
                f"{WORDS[settings.count]} {count / full:.3f} of full, {len(state.rows)} channels removed"
            )
            _remove_some(state, batches, allowed, job)
            if state.removals % settings.evaluate_every == 0:
                state.rows[-1]["val_accuracy"] = evaluate(state.module, data.validation)
                write_state(on_the_way, state)
    write_state(own, state)
    return _pruned(state, job, data.validation)


def _started(above: KeptState) -> State | None:
    """The state of a higher level; None where there is none, or none of this pruning: the result is the same."""
    state = read_state(above)
    if state is None and above.path is not None:
        log.warning("%s cannot be used: starting from the full network", above.path)
    return state


def _pruned(state: State, job: PruneJob, validation: Any) -> Pruned:
    """The result at a state. Its last row is validated here alone, so that states do not depend on other levels."""
    rows = list(state.rows)
    if rows:
        rows[-1] = rows[-1] | {"val_accuracy": evaluate(state.module, validation)}
    facts = {"level": job.level, "criterion": job.criterion, "count": job.settings.count}
    facts |= {"prune_images": state.images, "prune_macs": state.macs_spent, "kept": state.best_first()}
    return Pruned(state.architecture, weights_of(state.module), rows, facts)


def _remove_some(state: State, batches: Iterator, allowed: Prunable, job: PruneJob) -> None:
    """One cycle: train while scores accumulate, choose, record, slice."""
    state.scores = _train(state, batches, job)
    widths = dict(state.architecture.widths)
    removed = choose_removals(
        {group: state.scores[group] for group in allowed.full},
        widths,
        job.settings.channels,
        job.settings.beta if job.criterion == "fisher" else 0.0,
        count_of(state.architecture.spec),
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
        graph = build_graph(state.architecture.at(widths))
        row = {"removal": state.removals, "step": state.step, "group": group}
        row |= {"channel": int(state.kept[group][index]), "score": float(state.scores[group][index])}
        state.rows.append(row | {"macs": graph.macs(), "params": graph.params(), "val_accuracy": math.nan})
    state.removals += 1
    _shrink(state, removed, widths)


def _shrink(state: State, removed: Sequence[tuple[str, int]], widths: Mapping[str, int]) -> None:
    """Copy the surviving slices of weights, statistics and momentum into the smaller network."""
    keep = {}
    for group in {group for group, _ in removed}:
        gone = [index for owner, index in removed if owner == group]
        keep[group] = np.delete(np.arange(state.architecture.widths[group]), gone)
        state.kept[group] = state.kept[group][keep[group]]
        state.scores[group] = state.scores[group][keep[group]]
    graph = state.module.graph
    state.momentum = slice_weights(graph, state.momentum, keep)
    weights = slice_weights(graph, weights_of(state.module), keep)
    state.architecture = state.architecture.at(widths)
    device = next(state.module.parameters()).device
    state.module = network_with(build_graph(state.architecture), weights).to(device)


def _train(state: State, batches: Iterator, job: PruneJob) -> dict[str, np.ndarray]:
    """`settings.steps` SGD steps in train mode, scores accumulating over them; momentum is carried over."""
    module, settings = state.module, job.settings
    module.train()
    optimiser = SGD(
        module.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    parameters = dict(module.named_parameters())
    for name, value in state.momentum.items():
        optimiser.state[parameters[name]]["momentum_buffer"] = torch.from_numpy(value).to(
            parameters[name].device
        )
    criterion = CRITERIA[job.criterion](module, job.seed, state.removals)
    macs = module.graph.macs()
    for _ in range(settings.steps):
        images, labels = next(batches)
        optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(module(images, criterion.tap), labels)
        loss.backward()
        criterion.add(len(labels))
        optimiser.step()
        state.step += 1
        state.images += len(labels)
        state.macs_spent += 3 * len(labels) * macs
        if not math.isfinite(float(loss.detach())):
            raise HakdError(
                f"pruning diverged at step {state.step}, learning rate {settings.lr:.4g}",
                where="config",
                key="prune.lr",
                remedy="Lower it",
            )
    state.momentum = {
        name: optimiser.state[p]["momentum_buffer"].cpu().numpy()
        for name, p in parameters.items()
        if optimiser.state[p].get("momentum_buffer") is not None
    }
    return {group: values.cpu().numpy() for group, values in criterion.scores().items()}


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
