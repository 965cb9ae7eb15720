"""Test accuracy of candidates, from the exported files: the only reader of the test split."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from hakd.data.split import load
from hakd.evaluation.quantising import predictions
from hakd.ops.op import Sides, sides
from hakd.records.errors import HakdError


def score(entries: Sequence[Mapping[str, Any]], path_to_test: str) -> pd.DataFrame:
    """Prediction of every candidate for every test image (columns of the `predictions` table).

    Raises:
        HakdError: a candidate has another number of classes or channels than the data.
    """
    splits: dict[Sides, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    known: dict[str, np.ndarray] = {}
    parts = []
    for entry in tqdm(entries, desc="score", unit="candidate", mininterval=1):
        spec = entry["network_spec"]
        size = sides(spec["input_size"])
        if size not in splits:
            split = load(path_to_test, size)
            splits[size] = (split.images.numpy(), split.labels.numpy(), split.ids.numpy())
            if (split.channels, split.num_classes) != (spec["input_channels"], spec["num_classes"]):
                raise HakdError(
                    "made for other data than the test split", where=entry["onnx_path"], key="network"
                )
        images, labels, originals = splits[size]
        if entry["onnx_digest"] not in known:
            known[entry["onnx_digest"]] = predictions(entry["onnx_path"], images)
        parts.append(
            pd.DataFrame(
                {
                    "candidate": entry["candidate"],
                    "image": np.arange(len(labels)),
                    "label": labels,
                    "prediction": known[entry["onnx_digest"]],
                    "original": originals,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
