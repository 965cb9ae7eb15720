"""The end-to-end benchmark of a device: every candidate in one interleaved session, with predictions and memory."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hakd.boards import PROTOCOL, Board, Device, Point, open_board
from hakd.boards.device import INT8, SPARSE_ENGINES
from hakd.evaluation.energy import energy_columns
from hakd.evaluation.export import fix_batch, for_engine, session, weight_bytes
from hakd.evaluation.quantising import interpreter, refuse_float_layers
from hakd.networks.engine_model import ONNX_ENGINES
from hakd.networks.int8 import WHOLE_TOLERANCE
from hakd.networks.int8_files import is_tflite
from hakd.networks.int8_parts import plain_output
from hakd.ops.op import sides
from hakd.records.arch import Architecture, architecture_from
from hakd.records.errors import HakdError
from hakd.records.files import digest
from hakd.records.text import counted
from hakd.staircase.estimate import Estimate
from hakd.sweeping.auditing import audit_device
from hakd.sweeping.parts import network_point
from hakd.sweeping.same_board import refuse_change
from hakd.sweeping.seams import Parts, tie_points, time_parts
from hakd.sweeping.timing import device_from, end_to_end, known

T = TypeVar("T")
log = logging.getLogger(__name__)
MORE = "the others are not trusted; stop other programs on the device, or raise its `benchmark_processes`"


def candidate_point(entry: Mapping[str, Any], device: Device) -> Point:
    """A point that times the exported file, or a model made from it for an engine that does not read ONNX.

    Either way its output is checked against that of ONNX Runtime for the file on this machine; in int8 against what the
    file's nodes give when each is computed in float32 between two roundings.

    Candidates that share a file share the point, since the file is timed.
    """
    path = Path(entry["onnx_path"])
    spec = entry["network_spec"]
    shape = (device.batch, spec["input_channels"], *sides(spec["input_size"]))

    def model() -> bytes:
        return for_engine(path, device.engine, device.batch)

    int8 = device.precision == INT8

    def reference(images: np.ndarray) -> np.ndarray:
        if is_tflite(path):
            return interpreter(path.read_bytes(), plain=True)(images)
        content = fix_batch(path.read_bytes(), device.batch)
        return plain_output(content, images) if int8 else session(content).run(None, {"input": images})[0]

    tolerance = WHOLE_TOLERANCE if int8 else None
    largest = entry["facts"]["int8"]["largest_logit"] if int8 else 0.0
    key = f"onnx:{entry['onnx_digest']}"
    return Point(key, entry["candidate"], model, reference, shape, tolerance=tolerance, largest=largest)


def benchmark(
    name: str,
    settings: Mapping[str, Any],
    store: str | Path,
    entries: Sequence[Mapping[str, Any]],
    chosen_on: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Time all candidates of a device, predict each from its parts, measure memory and energy of each architecture.

    Args:
        name: the device.
        settings: its entry in the configuration.
        store: the measurement store.
        entries: candidates as `hakd.study.descriptions` lists them.
        chosen_on: board and engine that widths were chosen on, by the list they come from (of all networks and levels).

    Returns:
        JSON-able: `rows` (candidate, latency_ms with interval, predicted_ms, memory_bytes, weight_bytes, energy_mj
        with interval, idle_w, trusted), `audit` of predicted against measured over distinct architectures
        (`hakd.sweeping.auditing`), `device` (engine, threads, context).

    Raises:
        HakdError: the device does not answer, is another board or has another engine than widths were chosen on, or
            could not time a candidate.
    """
    device, measuring = device_from(name, settings)
    points = {entry["candidate"]: candidate_point(entry, device) for entry in entries}
    archs = {entry["arch"]: architecture_from({**entry, "network": entry["network_spec"]}, "candidates")
             for entry in entries}  # fmt: skip
    ties = tie_points(list(archs.values()), device)
    purpose = "benchmark:" + digest(sorted({p.key for p in (*points.values(), *ties)}))
    with open_board(device, Path(store)) as board:
        refuse_change(board, chosen_on)
        timed = end_to_end(board, [*points.values(), *ties], measuring, purpose)
        _refuse_failures(board, points)
        _refuse_float_layers(board, entries, points)
        beside = {p.key: timed.by_key[p.key].latency_ms for p in ties if p.key in timed.by_key}
        parts = time_parts(board, list(archs.values()), measuring, beside)
        whole = points if device.engine in SPARSE_ENGINES else _shapes(entries, archs, device)
        memory, energy = (
            _by_candidate(board.memory, whole),
            _by_candidate(partial(board.energy, settings=measuring.energy), whole),
        )
        info = {"name": name, "engine": f"{device.engine} {board.engine_version}", "threads": device.threads}
        info |= {"precision": device.precision}
        info |= {"fingerprint": board.fingerprint, "batch": device.batch, "context": board.context}
    figures = {one.key: timed.by_key[one.key] for one in points.values()}  # by file; ties are not candidates
    trusted = {key: known(figure, measuring.min_step / 2) for key, figure in figures.items()}
    predicted, checked = _audit(entries, points, figures, parts)
    rows = []
    for entry in entries:
        key = points[entry["candidate"]].key
        row = _row(entry, figures[key], predicted, memory) | energy_columns(energy.get(entry["candidate"]))
        rows.append(row | {"trusted": trusted[key]})
    return {
        "device": info,
        "protocol": PROTOCOL,
        "residual_p95": timed.residual_of(figures),
        "bursts": sum(figure.bursts for figure in figures.values()),
        "dropped": sum(figure.dropped for figure in figures.values()),
        "trust": _trust(name, list(trusted.values()), measuring.min_step / 2),
        "audit": checked,
        "rows": rows,
    }


def _refuse_failures(board: Board, points: Mapping[str, Point]) -> None:
    for candidate, one in points.items():
        if one.key in board.failures:
            raise HakdError(
                f"could not be timed: {board.failures[one.key]}",
                where=f"device {board.device.name}",
                key=candidate,
                remedy="Check the device, then run again: what was measured is kept",
            )


def _refuse_float_layers(
    board: Board, entries: Sequence[Mapping[str, Any]], points: Mapping[str, Point]
) -> None:
    """Refuse a device in int8 whose ONNX Runtime computes layers in float32: looked at in one file of each network."""
    if board.device.precision != INT8 or board.device.engine not in ONNX_ENGINES:
        return
    first = {entry["network"]: points[entry["candidate"]] for entry in reversed(entries)}
    for key, ops in board.graphs(list(first.values())).items():
        refuse_float_layers(ops, f"device {board.device.name}: {key}")


def _shapes(
    entries: Sequence[Mapping[str, Any]], archs: Mapping[str, Architecture], device: Device
) -> dict[str, Point]:
    """By candidate, its architecture as a point: memory and energy depend on the weights in sparse engines alone."""
    shapes = {arch: network_point(architecture, device) for arch, architecture in archs.items()}
    return {entry["candidate"]: shapes[entry["arch"]] for entry in entries}


def _by_candidate(
    measure: Callable[[Sequence[Point]], Mapping[str, T]], points: Mapping[str, Point]
) -> dict[str, T]:
    """Figures of whole networks by candidate, where there are any."""
    figures = measure(list({one.key: one for one in points.values()}.values()))
    return {candidate: figures[one.key] for candidate, one in points.items() if one.key in figures}


def _audit(
    entries: Sequence[Mapping[str, Any]],
    points: Mapping[str, Point],
    figures: Mapping[str, Estimate],
    parts: Mapping[str, Parts],
) -> tuple[dict[str, float], dict[str, Any]]:
    """Predictions in ms by architecture, and the audit; an architecture takes the median of its candidates."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        names.setdefault(entry["arch"], []).append(entry["candidate"])
    measured_ms = {
        arch: float(np.median([figures[points[name].key].latency_ms for name in own]))
        for arch, own in names.items()
    }
    return audit_device(parts, measured_ms, names)


def _trust(name: str, trusted: Sequence[bool], precision: float) -> str:
    """How many figures are known well enough; logged as a warning where some are not."""
    words = f"{sum(trusted)} of {counted(len(trusted), 'figure')} known to within {precision:.1%}"
    if not all(trusted):
        log.warning("%s: %s: %s", name, words, MORE)
    return words


def _row(
    entry: Mapping[str, Any], figure: Estimate, predicted: Mapping[str, float], memory: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "candidate": entry["candidate"],
        "latency_ms": figure.latency_ms,
        "latency_low_ms": figure.latency_low_ms,
        "latency_high_ms": figure.latency_high_ms,
        "median_ms": figure.median_ms,
        "predicted_ms": predicted.get(entry["arch"]),
        "memory_bytes": memory.get(entry["candidate"]),
        "weight_bytes": weight_bytes(entry["onnx_path"]),
    }
