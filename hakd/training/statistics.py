"""Batch-norm statistics, taken again after a change of widths."""

from itertools import islice
from typing import Any

import torch
from torch import nn


@torch.no_grad()
def renew_statistics(module: nn.Module, split: Any, batch_size: int, seed: int, batches: int = 200) -> None:
    """Replace the running statistics of every batch norm by means over batches of a split, without augmentation.

    Running statistics forget slowly: after a change of widths they still hold those of the network before it.

    Args:
        module: the network; its mode and its momenta stay as they are.
        split: the train split.
        batch_size, seed: of the batches, of which at most `batches` are used.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta, was_training = [norm.momentum for norm in norms], module.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    module.train()
    for images, _ in islice(split.batches(batch_size, seed, 0, augment=False), batches if norms else 0):
        module(images)
    module.train(was_training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
