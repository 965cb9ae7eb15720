"""A device in int8 in the smallest study: quantised files are scored and timed, and the best of them is copied."""

import json

import numpy as np
import onnx
import pandas as pd
import pytest

from hakd.commands.common import FINE
from hakd.evaluation.export import session
from hakd.networks.int8_files import int8_facts
from tests.unit.command import run
from tests.workflow.study import Study

SUMMARY = "results/devices/small/summary.parquet"
LITERT = "results/tiny/teacher/0.int8.tflite"


def test_a_device_in_int8_times_and_scores_quantised_files(copied: Study):
    few = {"rounds": 3, "burst_ms": 0.3, "min_step": 1}  # what is made is the question, not what is chosen
    copied.config["devices"]["small"] = {"precision": "int8", **few}
    copied.config["run"] |= {"devices": ["small"], "methods": ["teacher", "fisher"]}
    copied.config["students"]["recipes"] = {"fisher": ["tuned/ce"]}
    copied.config["analysis"]["contrasts"] = []
    jobs = copied.run(SUMMARY, LITERT)
    assert jobs["quantise"] == 3 and jobs["sweep"] == jobs["benchmark"] == jobs["score"] == 1
    assert not {"data", "teacher", "prune", "student", "tuned", "export"} & set(jobs)
    rows = pd.read_parquet(copied.directory / SUMMARY)
    assert set(rows["method"]) == {"teacher", "fisher"} and set(rows["precision"]) == {"int8"}
    test = np.load(copied.directory / "results" / "data" / "test.npz")
    for row in rows.itertuples():
        path = copied.directory / row.onnx_path
        assert row.onnx_path.endswith(".int8.onnx") and row.size_bytes == path.stat().st_size
        facts = int8_facts(path)
        assert facts["val_accuracy"] == row.val_accuracy and facts["int8"]["images"] == 256
        assert abs(facts["val_accuracy"] - facts["int8"]["float32_val_accuracy"]) < 0.15
        kinds = {node.op_type for node in onnx.load(path).graph.node}
        assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds
        mean, std = (np.array(facts["images"][key], np.float32)[:, None, None] for key in ("mean", "std"))
        images = (test["images"].astype(np.float32) - mean) / std
        logits = session(path.read_bytes()).run(None, {"input": images})[0]
        assert (logits.argmax(1) == test["labels"]).mean() == pytest.approx(row.accuracy, abs=1e-9)
    assert int8_facts(copied.directory / LITERT)["int8"]["weight_bits"] == 8
    folder = copied.directory / "best"
    done = run(
        *("best", "--device", "small", "--max-latency-ms", "1000", "--out", str(folder)), cwd=copied.directory
    )
    assert done.returncode == FINE, done.stderr
    card = json.loads((folder / "card.json").read_text())
    assert card["precision"] == "int8" and card["val_accuracy"] == rows["val_accuracy"].max()
    (row,) = rows[rows["candidate"] == card["candidate"]].itertuples()
    assert (folder / "model.onnx").read_bytes() == (copied.directory / row.onnx_path).read_bytes()
    copied.config["int8"] = {"images": 100}
    plan = copied.planned(SUMMARY)
    assert plan["quantise"] == 2 and plan["benchmark"] == plan["score"] == 1
    assert not {"sweep", "snap", "teacher", "prune", "tuned"} & set(plan)
