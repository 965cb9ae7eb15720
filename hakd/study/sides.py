"""Two sides of a comparison: studies, or candidates and series of studies; how they were made and what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hakd.analysis.series import on_their_devices, select
from hakd.records.errors import HakdError
from hakd.records.files import read_json
from hakd.records.tables import read_table
from hakd.records.text import did_you_mean
from hakd.study.kept import differing, kept_configuration

SUMMARY = "summary.parquet"
OWN = (
    "network",
    "data",
    "method",
    "budget",
    "recipe",
    "loss",
    "level",
    "target_device",
    "seed",
    "search_seed",
)
CHOICE = ("network", "level", "method", "budget", "target_device")  # what widths were chosen for
_OF_CONTEXT = ("cpu_model", "cpus", "serial", "kernel", "governor")
_OF_DEVICE = ("fingerprint", "engine", "threads", "batch")
Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Side:
    """A study, or what one name stands for in it.

    Attributes:
        name: as the command line has it.
        results: folder of the study's results.
        rows: of its summary.
        about: the summary's metadata.
        whole: whether it is the whole study.
    """

    name: str
    results: Path
    rows: pd.DataFrame
    about: Mapping[str, Any]
    whole: bool

    @property
    def config_hash(self) -> str | None:
        """Of the configuration: that of its candidates where they have one, else that of the summary."""
        hashes = [*self.rows["config_hash"].dropna().unique()]
        summary = self.about.get("provenance", {}).get("config_hash")
        return hashes[0] if len(hashes) == 1 and not self.whole else summary

    @property
    def versions(self) -> dict[str, str]:
        """Commit and packages by name."""
        made = self.about.get("provenance", {})
        commits = [made.get("commit")] if self.whole else sorted({*self.rows["commit"]})
        return {"commit": ", ".join(map(str, commits)), **made.get("versions", {})}

    @property
    def devices(self) -> dict[str, dict[str, Any]]:
        """What is known of each device that has timed it."""
        found = {}
        for name in dict.fromkeys(self.rows["device"]):
            about = self.about.get("devices", {}).get(name, {})
            device = about.get("device", {})
            context = device.get("context", {})
            entry = {key: device.get(key) for key in _OF_DEVICE} | {"protocol": about.get("protocol")}
            found[name] = entry | {key: context.get(key) for key in _OF_CONTEXT}
        return found


def find_side(text: str) -> Side:
    """What a word of the command line names.

    Args:
        text: a study's folder or that of its results; `FOLDER:NAME`; or a NAME in the results of the working directory.
            A name is a candidate's, or a series `method[@budget][/recipe[/loss]]`.

    Raises:
        HakdError: no results, or no or several such candidates.
    """
    folder, _, name = text.rpartition(":")
    if Path(text).is_dir():
        folder, name = text, ""
    results = _results(Path(folder or "."), text)
    rows, about = read_table(results / SUMMARY, "summary")
    if not name:
        return Side(text, results, rows, about, True)
    one = rows[rows["candidate"] == name]
    if one.empty and name.count("/") > 2:
        remedy = did_you_mean(name, rows["candidate"])
        raise HakdError(f"no such candidate: {name}", where=results / SUMMARY, remedy=remedy)
    if one.empty:
        one = rows.loc[select(on_their_devices(rows), name).index]
    return Side(text, results, one, about, False)


def _results(folder: Path, text: str) -> Path:
    for place in (folder / "results", folder):
        if (place / SUMMARY).is_file():
            return place
    if folder.is_dir():
        remedy = "Give the folder of a study that is complete"
        raise HakdError(f"no results/{SUMMARY}", where=folder, remedy=remedy)
    remedy = "Give a study's folder, or FOLDER:CANDIDATE"
    raise HakdError("no such folder", where=text, remedy=remedy)


def configurations(a: Side, b: Side) -> dict[str, Any]:
    """The settings that differ: `hashes`, and `differences` by dotted key; None where no copy says them."""
    hashes = (a.config_hash, b.config_hash)
    if None not in hashes and hashes[0] == hashes[1]:
        return {"hashes": hashes, "differences": {}}
    copies = [kept_configuration(side.results, side.config_hash) for side in (a, b)]
    known = None if None in copies else differing(copies[0], copies[1])
    return {"hashes": hashes, "differences": known}


def own_settings(a: Side, b: Side) -> dict[str, Pair]:
    """Of two candidates or series, what they are and differ in; several values as a list."""
    found = {}
    for name in OWN:
        values = tuple(_values(side.rows[name]) for side in (a, b))
        if values[0] != values[1]:
            found[name] = values
    return found


def _values(column: pd.Series) -> Any:
    plain = [value.item() if isinstance(value, np.generic) else value for value in column.dropna().unique()]
    found = [*sorted(plain), *([None] if column.isna().any() else [])]
    return found[0] if len(found) == 1 else found


def widths_by_group(a: Side, b: Side, keys: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
    """Choices of widths that both have and that differ, and the number of choices that both have.

    Args:
        keys: the columns that distinguish choices.

    Returns:
        Rows with the keys, `arch` on both sides and `groups`: both widths of every group that differs, by name; None
        where they are not known. Of several searches the one of the smallest seed counts.
    """
    sides = [_choices(side, keys) for side in (a, b)]
    shared = [key for key in sides[0] if key in sides[1]]
    different = [key for key in shared if sides[0][key] != sides[1][key]]
    widths = [_widths(side) if different else {} for side in (a, b)]
    rows = []
    for key in different:
        archs = [side[key] for side in sides]
        both = [known.get(arch) for known, arch in zip(widths, archs, strict=True)]
        groups = None if None in both else differing(both[0], both[1])
        rows.append(dict(zip(keys, key, strict=True)) | {"arch": archs, "groups": groups})
    return rows, len(shared)


def _choices(side: Side, keys: Sequence[str]) -> dict[tuple, str]:
    """The architecture of each choice."""
    found: dict[tuple, str] = {}
    for row in side.rows.sort_values(["search_seed", "seed"], kind="stable").to_dict("records"):
        key = tuple(None if pd.isna(row[name]) else row[name] for name in keys)
        found.setdefault(key, row["arch"])
    return found


def _widths(side: Side) -> dict[str, dict[str, int]]:
    """Widths by architecture, from the lists of candidates."""
    found = {}
    for path in sorted((side.results / "candidates").rglob("*.json")):
        for entry in read_json(path, "candidates")["candidates"]:
            found[entry["arch"]] = entry["widths"]
    return found
