"""Fisher pruning with physical removal (Theis et al. 2018; Crowley et al. 2018, arXiv 1810.04622).

Train a few steps while the scores accumulate, remove the least channels, slice weights, batch-norm statistics and
momentum into a smaller network, and go on until the lowest level. Nothing is masked: later steps get cheaper.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from hakd.networks.families import build_graph, macs_of
from hakd.networks.module import Network, network_with, weights_of
from hakd.networks.slicing import slice_weights
from hakd.pruning.fisher import FisherScores
from hakd.records.arch import Architecture, architecture_from
from hakd.records.errors import HakdError
from hakd.training.loop import evaluate
from hakd.training.states import KeptState


@dataclass(frozen=True)
class PruneSettings:
    """`steps` SGD steps before each removal of `channels` channels; beta weighs MACs saved (Theis; Crowley: 0)."""

    steps: int = 10
    channels: int = 1
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 64
    beta: float = 0.0
    evaluate_every: int = 10


@dataclass(frozen=True)
class Level:
    """The state at a level; `images` and `macs_spent` are what the pruning run had trained on by then."""

    architecture: Architecture
    weights: dict[str, np.ndarray]
    images: int
    macs_spent: int


@dataclass
class _State:
    """A network on its way down; `kept` maps each group to the original channels it still holds."""

    architecture: Architecture
    module: Network
    kept: dict[str, np.ndarray]
    momentum: dict[str, np.ndarray] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    levels: dict[float, Level] = field(default_factory=dict)
    step: int = 0
    removals: int = 0
    images: int = 0
    macs_spent: int = 0

    @property
    def macs(self) -> int:
        return self.module.graph.macs()


def choose_removals(
    scores: Mapping[str, np.ndarray],
    widths: Mapping[str, int],
    count: int,
    beta: float,
    macs_of: Callable[[Mapping[str, int]], int],
) -> list[tuple[str, int]]:
    """The `count` channels with least Delta + beta * DeltaC, one after the other (group, index).

    DeltaC = C(after) - C(before) in MACs, negative, recomputed after each removal. A group keeps at least one channel.
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


def prune(
    architecture: Architecture,
    weights: Mapping[str, np.ndarray],
    data: Any,
    levels: Sequence[float],
    settings: PruneSettings,
    seed: int,
    label: str = "prune",
    resume_path: str | os.PathLike | None = None,
) -> tuple[list[dict[str, Any]], dict[float, Level]]:
    """Prune from the full network to the lowest level.

    Returns the trajectory (one row a removed channel, channels counted in the full network) and, for each level, the
    state after the first removal with MACs <= level x full MACs.

    Raises:
        HakdError: a level that no pruning reaches, or a loss that is not finite.
    """
    decisive = [architecture.to_dict(), sorted(levels), repr(settings), seed]
    kept_state = KeptState(resume_path, decisive, data, weights)
    state = _read(kept_state) or _State(
        architecture,
        network_with(build_graph(architecture), weights),
        {group: np.arange(width) for group, width in architecture.widths.items()},
    )
    state.module.to(data.train.labels.device)
    full_macs = build_graph(architecture).macs()
    batches = _stream(data.train, settings.batch_size, seed, state.step)
    with tqdm(
        desc=label, total=1.0, bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}", mininterval=1
    ) as bar:
        while True:
            _record_levels(state, levels, full_macs, data.validation)
            missing = set(levels) - set(state.levels)
            if not missing:
                return state.rows, state.levels
            _remove_some(state, batches, settings, min(missing))
            if state.removals % settings.evaluate_every == 0:
                state.rows[-1]["val_accuracy"] = evaluate(state.module, data.validation)
                kept_state.write(_content(state))
            share = state.macs / full_macs
            bar.n = min(1.0, (1 - share) / (1 - min(levels)))
            bar.set_postfix_str(f"MACs {share:.3f} of full, {len(state.rows)} channels removed")


def _record_levels(state: _State, levels: Sequence[float], full_macs: int, validation: Any) -> None:
    """Note the network at each level that it has come down to: several at once after a large removal."""
    reached = [level for level in levels if level not in state.levels and state.macs <= level * full_macs]
    for level in sorted(reached, reverse=True):
        weights = weights_of(state.module)
        state.levels[level] = Level(state.architecture, weights, state.images, state.macs_spent)
    if reached and state.rows:
        state.rows[-1]["val_accuracy"] = evaluate(state.module, validation)


def _remove_some(state: _State, batches: Iterator, settings: PruneSettings, level: float) -> None:
    """One cycle: train while scores accumulate, choose, record, slice."""
    scores = _train(state, batches, settings)
    widths = dict(state.architecture.widths)
    removed = choose_removals(
        scores, widths, settings.channels, settings.beta, macs_of(state.architecture.spec)
    )
    if not removed:
        raise HakdError(
            "cannot be reached: every width group is down to one channel",
            where="config",
            key=f"run.levels: {level}",
            remedy="Use a higher level",
        )
    for group, index in removed:
        widths[group] -= 1
        graph = build_graph(state.architecture.at(widths))
        row = {"removal": state.removals, "step": state.step, "group": group}
        row |= {"channel": int(state.kept[group][index]), "score": float(scores[group][index])}
        state.rows.append(row | {"macs": graph.macs(), "params": graph.params(), "val_accuracy": math.nan})
    state.removals += 1
    _shrink(state, removed, widths)


def _shrink(state: _State, removed: Sequence[tuple[str, int]], widths: Mapping[str, int]) -> None:
    """Copy the surviving slices of weights, statistics and momentum into the smaller network."""
    keep = {}
    for group in {group for group, _ in removed}:
        gone = [index for owner, index in removed if owner == group]
        keep[group] = np.delete(np.arange(state.architecture.widths[group]), gone)
        state.kept[group] = state.kept[group][keep[group]]
    graph = state.module.graph
    state.momentum = slice_weights(graph, state.momentum, keep)
    weights = slice_weights(graph, weights_of(state.module), keep)
    state.architecture = state.architecture.at(widths)
    device = next(state.module.parameters()).device
    state.module = network_with(build_graph(state.architecture), weights).to(device)


def _train(state: _State, batches: Iterator, settings: PruneSettings) -> dict[str, np.ndarray]:
    """`settings.steps` SGD steps in train mode, scores accumulating over them; momentum is carried over."""
    module = state.module
    module.train()
    optimiser = torch.optim.SGD(
        module.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    parameters = dict(module.named_parameters())
    for name, value in state.momentum.items():
        optimiser.state[parameters[name]]["momentum_buffer"] = torch.from_numpy(value).to(
            parameters[name].device
        )
    fisher = FisherScores(module.graph)
    for _ in range(settings.steps):
        images, labels = next(batches)
        optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(module(images, fisher.tap), labels)
        loss.backward()
        fisher.add(len(labels))
        optimiser.step()
        state.step += 1
        state.images += len(labels)
        state.macs_spent += 3 * len(labels) * state.macs
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
    return {group: values.cpu().numpy() for group, values in fisher.scores().items()}


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


def _content(state: _State) -> dict[str, Any]:
    """What is kept of a state."""
    return {
        "architecture": state.architecture.to_dict(),
        "weights": _tensors(weights_of(state.module)),
        "kept": _tensors(state.kept),
        "momentum": _tensors(state.momentum),
        "rows": state.rows,
        "levels": {
            share: (level.architecture.to_dict(), _tensors(level.weights), level.images, level.macs_spent)
            for share, level in state.levels.items()
        },
        "counters": [state.step, state.removals, state.images, state.macs_spent],
    }


def _read(kept_state: KeptState) -> _State | None:
    """The state that was kept of this run, if there is one."""
    content = kept_state.read()
    if content is None:
        return None
    architecture = architecture_from(content["architecture"], kept_state.path)
    return _State(
        architecture,
        network_with(build_graph(architecture), _arrays(content["weights"])),
        _arrays(content["kept"]),
        _arrays(content["momentum"]),
        content["rows"],
        {
            share: Level(architecture_from(reached, kept_state.path), _arrays(weights), *spent)
            for share, (reached, weights, *spent) in content["levels"].items()
        },
        *content["counters"],
    )


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in tensors.items()}
