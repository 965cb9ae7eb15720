"""A network of a finished study as a folder that is ready to deploy: model, card, loader."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hakd.evaluation.export import for_engine
from hakd.evaluation.loaders import MODELS, ONNX, predict_text
from hakd.importing.reading import read_proto
from hakd.networks.int8_files import int8_header, is_tflite
from hakd.records.errors import HakdError, run_again
from hakd.records.files import write_bytes, write_json
from hakd.records.folders import atomic_folder
from hakd.records.tables import read_table
from hakd.records.text import did_you_mean

CARD, LOADER = "card.json", "predict.py"
OWN = {CARD, LOADER, "__pycache__", *(name for names in MODELS.values() for name in names)}
_ROW = (
    *("candidate", "network", "method", "recipe", "loss", "level", "budget", "target_device", "seed"),
    *("search_seed", "arch", "latency_ms", "latency_low_ms", "latency_high_ms", "val_accuracy", "accuracy"),
    *("size_bytes", "params", "macs", "data", "commit", "config_hash", "device", "threads", "precision"),
)
_CHOICE = ("network", "level", "method", "budget", "search_seed")  # what certificates belong to
_INPUT = ("size", "stored_size", "channels", "layout", "dtype", "pixels", "mean", "std", "classes")


@dataclass(frozen=True)
class Timed:
    """What a study knows of a device.

    Attributes:
        results: the study's folder of results.
        frame: a `summary` table with the device's rows.
        about: of the device: engine and its version, threads, batch.
    """

    results: Path
    frame: pd.DataFrame
    about: Mapping[str, Any]


def read_timed(results: Path, device: str) -> Timed:
    """The summary of all devices if it has the device, else the device's own.

    Raises:
        HakdError: neither has it.
    """
    joint, own = results / "summary.parquet", results / "devices" / device / "summary.parquet"
    known: list[str] = []
    if joint.is_file():
        frame, metadata = read_table(joint, "summary")
        if device in metadata["devices"]:
            return Timed(results, frame, metadata["devices"][device]["device"])
        known = list(metadata["devices"])
    known += sorted(path.parent.name for path in results.glob("devices/*/summary.parquet"))
    if device in known:
        frame, metadata = read_table(own, "summary")
        return Timed(results, frame, metadata["device"])
    remedy = did_you_mean(device, known) if known else "Run the study, or give its folder: --results FOLDER"
    raise HakdError("no results of this device", where=results, key=device, remedy=remedy)


def deploy(timed: Timed, row: pd.Series, more: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write the folder of one network, whole or not at all, and return its card.

    Args:
        timed: the study's results.
        row: the network's row of the summary.
        more: what else the card is to hold.
        folder: one that is there is replaced, unless it holds other files.

    Raises:
        HakdError: the exported network is missing or is not that of the summary, or the folder cannot be written.
    """
    path = _inside(timed.results, row["onnx_path"])
    header = _header(path, row)
    engine, _, version = row["engine"].partition(" ")
    if engine not in MODELS:
        remedy = f"Choose for a device with another engine, or run {row['onnx_path']} in one"
        raise HakdError(
            f"no folder can be made for the engine {engine}",
            where="hakd best",
            key=row["device"],
            remedy=remedy,
        )
    batch = int(timed.about["batch"])
    models = _models(path, engine, batch)
    card = {
        **{key: _plain(row[key]) for key in _ROW},
        "engine": engine,
        "engine_version": version,
        "batch": batch,
        "widths": header["widths"],
        "certificates": _certificates(timed.results, row),
        "input": {key: header["facts"]["images"][key] for key in _INPUT},
        "files": {name: len(content) for name, content in models.items()},
        **more,
    }
    with atomic_folder(folder, OWN) as made:
        for name, content in models.items():
            write_bytes(made / name, content)
        write_bytes(made / LOADER, predict_text(engine, version).encode())
        write_json(made / CARD, "card", card)
    return card


def _inside(results: Path, path: str) -> Path:
    """A file of the study: its tables name it from the folder that holds `results`."""
    return results.joinpath(*Path(path).parts[1:])


def _header(path: Path, row: pd.Series) -> dict[str, Any]:
    """What an exported network says of itself, once it is known to be that of the row."""
    again = run_again(row["onnx_path"])
    if not path.is_file():
        raise HakdError("no such file", where=path, remedy=again)
    if is_tflite(path):
        header = int8_header(path)
    else:
        properties = {entry.key: entry.value for entry in read_proto(path).metadata_props}
        header = json.loads(properties.get("hakd", "null"))
    if not header or header["arch"] != row["arch"] or header["facts"]["val_accuracy"] != row["val_accuracy"]:
        problem = f"not the network that the summary calls {row['candidate']}"
        raise HakdError(problem, where=path, remedy="Run the study's command again")
    lacking = [key for key in _INPUT if key not in header["facts"]["images"]]
    if lacking:
        problem = "of an older version: does not say what its input is"
        raise HakdError(problem, where=path, key=lacking[0], remedy="Run the study's command again")
    return header


def _models(path: Path, engine: str, batch: int) -> dict[str, bytes]:
    """The ONNX file as it is, and the model that the engine runs, by file name; LiteRT's int8 file alone."""
    names = MODELS[engine][1:]
    if is_tflite(path):
        return dict.fromkeys(names, path.read_bytes())
    found = {ONNX: path.read_bytes()}
    if names:
        model = for_engine(path, engine, batch)
        found |= dict(zip(names, _split(model) if engine == "ncnn" else [model], strict=True))
    return found


def _split(blob: bytes) -> Sequence[bytes]:
    """The two files of ncnn from what `hakd.networks.ncnn_model.to_ncnn` makes."""
    end = 4 + struct.unpack_from("<I", blob)[0]
    return blob[4:end], blob[end:]


def _certificates(results: Path, row: pd.Series) -> list[str]:
    """In words, those of the choice that the network's widths come from; none where its method has none."""
    path = results / "devices" / row["device"] / "certificates.csv"
    if not path.is_file():
        return []
    frame, _ = read_table(path, "certificates")
    for key in _CHOICE:
        if not pd.isna(row[key]) and frame[key].notna().any():
            frame = frame[frame[key] == row[key]]
    return [str(words) for words in frame["words"]]


def _plain(value: Any) -> Any:
    """A cell as JSON holds it."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
