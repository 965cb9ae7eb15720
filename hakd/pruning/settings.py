"""What a pruning is: its settings, and one level of it as a job."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class PruneSettings:
    """`steps` SGD steps before each removal of `channels` channels, of the `groups` that may be pruned.

    beta is the weight of saved MACs against Fisher scores (Theis; Crowley: 0); the other criteria do not use it.
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
        masks: whether removed channels are masked for a while before the network shrinks (`hakd.pruning.trainee`);
            None: where the device is CUDA. The result is the same up to rounding.
    """

    level: float
    settings: PruneSettings
    seed: int = 0
    criterion: str = "fisher"
    label: str = "prune"
    above_path: str | os.PathLike | None = None
    state_path: str | os.PathLike | None = None
    resume_path: str | os.PathLike | None = None
    masks: bool | None = None
