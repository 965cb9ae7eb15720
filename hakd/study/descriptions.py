"""Lists of finished candidates with what their files say: the hand-over from training to benchmark and score."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from hakd.networks.families import build_graph
from hakd.networks.int8_files import int8_facts
from hakd.records.arch import architecture_from
from hakd.records.files import file_digest
from hakd.study.candidates import COMPRESSED, Candidate
from hakd.study.precisions import FLOAT_FORM, is_int8


def describe(candidate: Candidate, chosen: Mapping[str, Any], form: str = FLOAT_FORM) -> dict[str, Any]:
    """Everything about a candidate that needs no device and no test split, as JSON holds it.

    `size_bytes` is the real file's: the exported network, the compressed file, or the one in int8 whatever it was made
    from. `nonzero_params` counts what is not zero in the exported weights' own network. In int8, `val_accuracy` is that
    of the quantised file, and `onnx_path` names it.
    """
    path = candidate.path_in(form)
    model = onnx.load(candidate.onnx_path)
    header = json.loads({p.key: p.value for p in model.metadata_props}["hakd"])
    facts, architecture = header["facts"], architecture_from(header, candidate.onnx_path)
    facts |= int8_facts(path) if form else {}
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
        "size_bytes": os.path.getsize(sized_path(candidate.checkpoint_path, path)),
        "params": graph.params(),
        "nonzero_params": facts.get("nonzero_params", _nonzero(model, graph.params())),
        "macs": graph.macs(),
        "train_images": facts["train_images"],
        "train_macs": facts["train_macs"],
        "search_s": chosen.get("search_s"),
        "search_images": chosen.get("search_images"),
        "checkpoint_path": candidate.checkpoint_path,
        "onnx_path": path,
        "onnx_digest": file_digest(path, 16),
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


def sized_path(checkpoint_path: str, path: str) -> str:
    """The file whose size counts, of a candidate whose file `path` is timed."""
    return checkpoint_path if checkpoint_path.endswith(COMPRESSED) and not is_int8(path) else path


def describe_all(
    candidates: Sequence[Candidate], chosen: Mapping[str, Mapping[str, Any]], form: str = FLOAT_FORM
) -> list[dict[str, Any]]:
    """`describe` each; `chosen` says by choice what measuring and choosing cost (`search_s`, `search_images`)."""
    return [describe(one, chosen.get(one.choice or one.method, {}), form) for one in candidates]
