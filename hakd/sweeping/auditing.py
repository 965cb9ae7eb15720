"""The audit of a device: predictions from parts against whole networks, their correction, and its quality."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from hakd.staircase.correction import correct, correct_left_out, qualities
from hakd.staircase.predict import fit_overhead, predict_left_out
from hakd.sweeping.seams import Parts


def audit_device(
    parts: Mapping[str, Parts],
    measured_ms: Mapping[str, float],
    candidates: Mapping[str, Sequence[str]],
) -> tuple[dict[str, float], dict[str, Any]]:
    """Predict every architecture from its parts, with a correction learned from the others only.

    Args:
        parts: times of the parts of each architecture, by arch.
        measured_ms: end-to-end latencies by arch; those without parts are left out.
        candidates: names of the candidates that have an architecture, by arch.

    Returns:
        Predictions in ms by arch, and the audit as JSON holds it (docs/results.md): the overhead of the engine, whether
        predictions are biased, how good they are before and after, and a row per architecture. Both empty when there
        is nothing to compare.
    """
    archs = [arch for arch in parts if arch in measured_ms]
    if not archs:
        return {}, {}
    measured = [measured_ms[arch] for arch in archs]
    stages = _stages([parts[arch] for arch in archs], measured)
    tiles = [len(parts[arch].tiles_ms) for arch in archs]
    checked = {
        "overhead": _overhead([parts[arch] for arch in archs])
        | {"one_per_tile_ms": fit_overhead(stages["sum_ms"], measured, tiles).value},
        "paces": sorted({parts[arch].pace for arch in archs}),
        "correction": asdict(correct(stages["seams_ms"], measured)),
        "quality": {
            stage: {size: one and asdict(one) for size, one in qualities(values, measured).items()}
            for stage, values in stages.items()
        },
        "archs": [
            {"arch": arch, "candidates": list(candidates.get(arch, ())), "tiles": tiles[i]}
            | {stage: values[i] for stage, values in stages.items()}
            | {"measured_ms": measured[i]}
            for i, arch in enumerate(archs)
        ],
    }
    return dict(zip(archs, stages["predicted_ms"], strict=True)), checked


def _stages(parts: Sequence[Parts], measured_ms: Sequence[float]) -> dict[str, list[float]]:
    """Predictions in ms, from the plain sum to the final one; no network is used to predict itself."""
    sums, seams = [one.sum_ms for one in parts], [one.joined_ms for one in parts]
    single = predict_left_out(sums, measured_ms, [len(one.tiles_ms) for one in parts])
    corrected = correct_left_out(seams, measured_ms)
    return {
        "sum_ms": sums,
        "one_overhead_ms": single.tolist(),
        "seams_ms": seams,
        "predicted_ms": corrected.tolist(),
    }


def _overhead(parts: Sequence[Parts]) -> dict[str, Any]:
    """The time that the seams of all networks save, in ms."""
    savings = [ms for one in parts for ms in one.savings_ms.values()]
    ends = [min(savings), median(savings), max(savings)] if savings else [None] * 3
    return {"seams": len(savings)} | dict(zip(("lowest_ms", "median_ms", "highest_ms"), ends, strict=True))
