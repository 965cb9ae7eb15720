"""Rows of the tables that a study makes."""

import json

import numpy as np
import pandas as pd

from hakd.analysis.summary import DESCRIBED
from hakd.staircase.mapping import map_more, map_start
from tests.unit.shapes import sampled

LATENCY_ROW = {
    "network": "m",
    "level": 0.5,
    "kind": "block",
    "group": "pw1",
    "shape": "ab12",
    "width": 16,
    "neighbour_widths": '{"stem": 8}',
    "latency_ms": 0.02,
    "latency_low_ms": 0.019,
    "latency_high_ms": 0.021,
    "min_ms": 0.018,
    "median_ms": 0.022,
    "bursts": 20,
    "dropped": 1,
    "processes": 2,
    "residual_p95": 0.01,
    "tolerance": 0.02,
    "trusted": True,
    "reason": None,
}
LABELS = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1])


def rows(group: str, cost, full: int, residual: float = 0.002) -> list[dict]:
    """A mapped curve as rows of a latency table, as older ones are: without the late columns."""
    widths = set(map_start(full))
    while more := map_more(curve := sampled(cost, widths, residual), full):
        widths |= set(more)
    return [
        {
            "network": "mobilenet", "level": 1.0, "kind": "block", "group": group, "shape": f"{group}{width}",
            "width": width, "neighbour_widths": json.dumps({"stem": 8}), "latency_ms": latency, "latency_low_ms": None,
            "latency_high_ms": None, "min_ms": latency, "bursts": 20, "dropped": 0, "processes": 2,
            "residual_p95": curve.residual_p95, "trusted": curve.trusted, "reason": curve.reason,
        }
        for width, latency in zip(curve.widths, curve.latency_ms, strict=True)
    ]  # fmt: skip


def described(name: str, **changes) -> dict:
    """A candidate's own description."""
    values = {
        "candidate": name,
        "network": "mobilenet",
        "data": "digits",
        "method": "hakd",
        "recipe": "distilled",
        "loss": "at",
        "level": 0.5,
        "target_device": None,
        "seed": 0,
        "search_seed": None,
        "budget": None,
        "arch": "0a1b",
        "val_accuracy": 0.9,
        "size_bytes": 1000,
        "params": 200,
        "nonzero_params": 200,
        "macs": 5000,
        "train_images": 100,
        "train_macs": 500_000,
        "search_s": None,
        "search_images": None,
        "checkpoint_path": "a",
        "onnx_path": "b",
        "commit": "c",
        "config_hash": None,
    }
    assert set(values) == set(DESCRIBED)
    return {**values, **changes}


def predicted(name: str, right: int) -> pd.DataFrame:
    """Predictions of which the first `right` are right."""
    said = np.where(np.arange(len(LABELS)) < right, LABELS, LABELS + 1)
    return pd.DataFrame(
        {"candidate": name, "image": np.arange(len(LABELS)), "label": LABELS, "prediction": said}
    )


def timed(*names: str) -> pd.DataFrame:
    """Benchmark rows."""
    n = np.arange(1, len(names) + 1, dtype=float)
    return pd.DataFrame(
        {
            "candidate": names,
            "latency_ms": n,
            "low": n * 0.9,
            "high": n * 1.1,
            "median_ms": 1.05 * n,
            "predicted_ms": n,
            "memory_bytes": 1000,
            "weight_bytes": 800,
            "energy_mj": None,
            "energy_low_mj": None,
            "energy_high_mj": None,
            "idle_w": None,
            "trusted": True,
        }
    )


SUMMARY_ROW = {
    "candidate": "m/0.5/hakd/local/distilled/at/0",
    "network": "m",
    "data": "digits",
    "method": "hakd",
    "recipe": "distilled",
    "loss": "at",
    "level": 0.5,
    "target_device": "local",
    "device": "local",
    "engine": "onnxruntime 1.31.0",
    "threads": 1,
    "seed": 0,
    "search_seed": 1,
    "budget": "round16",
    "arch": "0a1b",
    "val_accuracy": 0.9,
    "accuracy": 0.89,
    "latency_ms": 0.3,
    "latency_low_ms": 0.29,
    "latency_high_ms": 0.31,
    "median_ms": 0.32,
    "predicted_ms": 0.305,
    "size_bytes": 12345,
    "params": 3000,
    "nonzero_params": 2999,
    "macs": 10**6,
    "memory_bytes": 4_000_000,
    "weight_bytes": 12_000,
    "energy_mj": 1.5,
    "energy_low_mj": 1.4,
    "energy_high_mj": 1.6,
    "idle_w": 2.5,
    "train_images": 10**4,
    "train_macs": 10**15,
    "search_s": 3.5,
    "trusted": True,
    "checkpoint_path": "a.st",
    "onnx_path": "a.onnx",
    "commit": "abc",
    "config_hash": "def",
}
HAZARD_ROW = {
    "device": "local",
    "network": "m",
    "level": 0.5,
    "group": "pw1",
    "neighbour_widths": '{"stem": 8}',
    "full_width": 32,
    "lowest_width": 29,
    "widths": 3,
    "timed": 2,
    "worst_width": 31,
    "slowdown": 0.4,
    "any_start": 16,
    "any_worst": 15,
    "any_slowdown": 0.6,
    "any_widths": 1,
    "any_timed": 1,
    "trusted": True,
    "reason": "residual p95 0.5%",
}
