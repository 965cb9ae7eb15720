"""Lists of finished candidates with what their files say: the hand-over from training to benchmark and score."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from hakd.networks.families import build_graph
from hakd.records.arch import architecture_from
from hakd.records.files import file_digest
from hakd.study.candidates import Candidate


def describe(candidate: Candidate, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Everything about a candidate that needs no device and no test split, as JSON holds it.

    `size_bytes` is the real file's: the exported network, or the compressed file. `nonzero_params` counts what is not
    zero in the exported weights' own network.
    """
    model = onnx.load(candidate.onnx_path)
    header = json.loads({p.key: p.value for p in model.metadata_props}["hakd"])
    facts, architecture = header["facts"], architecture_from(header, candidate.onnx_path)
    graph = build_graph(architecture)
    return {
        "candidate": candidate.name,
        "network": candidate.network,
        "data": facts["data"],
        "method": candidate.method,
        "recipe": candidate.recipe,
        "loss": candidate.loss,
        "level": candidate.level,
        "target_device": candidate.target_device,
        "seed": candidate.seed,
        "search_seed": candidate.search_seed,
        "budget": candidate.budget,
        "arch": architecture.arch,
        "widths": dict(architecture.widths),
        "network_spec": architecture.spec.to_dict(),
        "val_accuracy": facts["val_accuracy"],
        "size_bytes": os.path.getsize(
            candidate.checkpoint_path if candidate.compressed else candidate.onnx_path
        ),
        "params": graph.params(),
        "nonzero_params": facts.get("nonzero_params", _nonzero(model, graph.params())),
        "macs": graph.macs(),
        "train_images": facts["train_images"],
        "train_macs": facts["train_macs"],
        "search_s": chosen.get("search_s"),
        "search_images": chosen.get("search_images"),
        "checkpoint_path": candidate.checkpoint_path,
        "onnx_path": candidate.onnx_path,
        "onnx_digest": file_digest(candidate.onnx_path, 16),
        "facts": facts,
        "commit": header["provenance"]["commit"],
        "config_hash": header["provenance"]["config_hash"],
    }


def _nonzero(model: onnx.ModelProto, params: int) -> int:
    """Parameters less the zeros in the exported convolution and linear weights (batch norms are folded there)."""
    zeros = 0
    for array in model.graph.initializer:
        values = onnx.numpy_helper.to_array(array)
        if values.ndim > 1:
            zeros += int(values.size - np.count_nonzero(values))
    return params - zeros


def describe_all(
    candidates: Sequence[Candidate], chosen: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """`describe` each; `chosen` says by choice what measuring and choosing cost (`search_s`, `search_images`)."""
    return [describe(one, chosen.get(one.choice or one.method, {})) for one in candidates]
