"""Start weights of a network of given widths, from the files that pruning left."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from hakd.networks.families import build_graph
from hakd.networks.stored import read_network
from hakd.pruning.inherit import inherit, kept_channels
from hakd.pruning.trajectory import ranking, read_trajectory
from hakd.records.checkpoint import Checkpoint


def start_weights(
    teacher: Checkpoint,
    path_to_pruned: str | os.PathLike,
    path_to_trajectory: str | os.PathLike,
    widths: Mapping[str, int],
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(weights by name, facts about the pruning that they come from).

    Raises:
        HakdError: a file that is missing or damaged, or of another network than the teacher.
    """
    pruned = read_network(path_to_pruned, teacher.architecture.spec)
    order = ranking(read_trajectory(path_to_trajectory), pruned.facts["kept"])
    weights = inherit(
        build_graph(teacher.architecture),
        teacher.weights,
        pruned.weights,
        kept_channels(order, pruned.architecture.widths),
        kept_channels(order, widths),
    )
    return weights, {key: pruned.facts[key] for key in ("prune_images", "prune_macs")}
