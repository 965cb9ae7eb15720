"""Scoring: predictions of exported networks on the test split, with the originals that its images show."""

import numpy as np
import pytest

from hakd.data.split import load
from hakd.evaluation.score import score
from hakd.records.errors import HakdError
from hakd.records.files import file_digest
from hakd.records.tables import check_table
from tests.unit.builders import SPECS, exported


def entry(name: str, path, spec, **changes) -> dict:
    """A candidate as a list of candidates describes it."""
    about = {"candidate": name, "onnx_path": str(path), "onnx_digest": file_digest(path, 16)}
    return {**about, "network_spec": {**spec.to_dict(), **changes}}


def test_every_prediction_has_the_original_of_its_image(tmp_path, cluttered):
    spec = SPECS["mobilenet"]()
    module = exported(tmp_path / "x.onnx", spec)
    entries = [entry(name, tmp_path / "x.onnx", spec) for name in ("x", "y")]
    found = check_table("predictions", score(entries, cluttered / "test.npz"))
    test = load(cluttered / "test.npz", spec.input_size)
    for _, part in found.groupby("candidate", observed=True):
        assert (
            part["original"].tolist() == test.ids.tolist() and part["label"].tolist() == test.labels.tolist()
        )
        expected = module(test.images).argmax(1).numpy()
        assert (
            np.mean(part["prediction"].to_numpy() == expected) > 0.99
        )  # equal logits may be told apart by rounding
    assert test.ids.unique().numel() < len(test)  # drawn images share originals
    with pytest.raises(HakdError, match="made for other data than the test split"):
        score([entry("z", tmp_path / "x.onnx", spec, num_classes=3)], cluttered / "test.npz")
