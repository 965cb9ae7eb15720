"""Checks of a finished study: do its tables agree with one another, with the configuration and with the files?

Tables in, findings out. Each check computes what it compares from the plainest source, not by the code that wrote the
table, and describes each violation in one line.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hakd.analysis.summary import CONFIGURATION, aggregate
from hakd.records.errors import HakdError, make_again, run_again
from hakd.records.text import counted

COLUMNS = ("name", "what", "passed", "checked", "detail")
SUMMARY, FRONTS = "results/summary.parquet", "results/fronts.csv"
_EQUAL = 1e-9  # relative: numbers that went through a CSV file
_KEY = (
    "network",
    "level",
    "method",
    "budget",
    "search_seed",
    "device",
)  # of the widths that a certificate is about


@dataclass(frozen=True)
class Artefacts:
    """What a study made, read from its files.

    Attributes:
        summary: the `summary` table of all devices.
        predictions: by device, its `predictions` table.
        expected: by device, the names of the candidates that the configuration asks for.
        listed: by device, the entries of its candidate lists (`hakd.study.descriptions`).
        audits: by device, the `audit` of its benchmark; empty where nothing could be compared.
        certificates: by device, its `certificates` table.
        fronts: `results/fronts.csv`; None where no contrasts are declared.
        architectures: widths by arch; the error where the file cannot be read.
        files: by the path of the network that was timed, that of the file whose size counts, and its bytes; None: the
            file is not there.
    """

    summary: pd.DataFrame
    predictions: Mapping[str, pd.DataFrame]
    expected: Mapping[str, Sequence[str]]
    listed: Mapping[str, Sequence[Mapping[str, Any]]]
    audits: Mapping[str, Mapping[str, Any]]
    certificates: Mapping[str, pd.DataFrame]
    fronts: pd.DataFrame | None
    architectures: Mapping[str, Mapping[str, int] | str]
    files: Mapping[str, tuple[str, int | None]]


Found = tuple[int, list[str]]  # how many things were checked, a line for each violation


@dataclass(frozen=True)
class Finding:
    """The result of a check: how many things it looked at, and a line for each that is wrong."""

    name: str
    what: str
    checked: int
    violations: Sequence[str]

    def row(self) -> dict[str, Any]:
        """As `results/checks.csv` has it."""
        return {
            "name": self.name,
            "what": self.what,
            "passed": not self.violations,
            "checked": self.checked,
            "detail": " | ".join(self.violations) or ("" if self.checked else "nothing to check"),
        }


def run_checks(artefacts: Artefacts) -> list[Finding]:
    """Every check of `CHECKS`, in its order. A table that no check can read raises what its reader raises."""
    return [Finding(name, what, *check(artefacts)) for name, (what, check) in CHECKS.items()]


def _line(where: str, key: str, problem: str, remedy: str) -> str:
    return str(HakdError(problem, where=where, key=key, remedy=remedy))


def _accuracies(artefacts: Artefacts) -> Found:
    """Accuracies from 0 to 1; that of the test split is the share of right predictions."""
    shares = {
        (device, str(name)): float(right.mean())
        for device, table in artefacts.predictions.items()
        for name, right in (table["label"] == table["prediction"]).groupby(table["candidate"].astype(str))
    }
    wrong = []
    for row in artefacts.summary.itertuples():
        share = shares.get((row.device, row.candidate))
        for name in ("accuracy", "val_accuracy"):
            if not 0 <= getattr(row, name) <= 1:
                problem = f"{name} is {getattr(row, name):g}, not from 0 to 1"
                wrong.append(_line(SUMMARY, row.candidate, problem, run_again("candidates baselines")))
        if share is None:
            problem = f"no predictions on {row.device}"
            wrong.append(_line(SUMMARY, row.candidate, problem, run_again("score")))
        elif not np.isclose(row.accuracy, share, rtol=_EQUAL, atol=_EQUAL):
            problem = f"accuracy on {row.device} is {row.accuracy:.6g}, its predictions give {share:.6g}"
            wrong.append(_line(SUMMARY, row.candidate, problem, run_again("device_summary")))
    return len(artefacts.summary), wrong


def _candidates(artefacts: Artefacts) -> Found:
    """Every candidate that the configuration asks for is listed and summarised on its devices, and no other."""
    wrong, checked = [], 0
    for device, names in artefacts.expected.items():
        listed = {entry["candidate"] for entry in artefacts.listed[device]}
        there = set(artefacts.summary.loc[artefacts.summary["device"] == device, "candidate"])
        checked += len(set(names) | listed | there)
        for found, problem, again in (
            (set(names) - listed, "is configured, but in no list of candidates", "candidates baselines"),
            (set(names) & listed - there, "is configured and listed, but not summarised", "device_summary"),
            (listed - set(names), "is listed, but not configured", "candidates baselines"),
            (there - listed, "is summarised, but not listed", "device_summary"),
        ):
            wrong += [
                _line(SUMMARY, name, f"{problem} ({device})", run_again(again)) for name in sorted(found)
            ]
    return checked, wrong


def _fronts(artefacts: Artefacts) -> Found:
    """The averages in `fronts.csv` are the summary's, and those on the front are those that no other one beats."""
    if artefacts.fronts is None:
        return 0, []
    listed = {_known(row): row for row in artefacts.fronts.to_dict("records")}
    made = {_known(row): row for row in aggregate(artefacts.summary).to_dict("records")}
    again = run_again("contrasts")
    wrong = [_line(FRONTS, _name(key), "is not in the summary", again) for key in listed.keys() - made.keys()]
    for key, row in made.items():
        if key not in listed:
            wrong.append(_line(FRONTS, _name(key), "is in the summary, but not in this table", again))
            continue
        for name in ("latency_ms", "accuracy"):
            if not np.isclose(listed[key][name], row[name], rtol=_EQUAL):
                problem = f"{name} is {listed[key][name]:.6g}, the summary gives {row[name]:.6g}"
                wrong.append(_line(FRONTS, _name(key), problem, again))
        others = [o for o in made.values() if (o["network"], o["device"]) == (row["network"], row["device"])]
        beaten = any(_beats(other, row) for other in others)
        if bool(listed[key]["on_front"]) == beaten:
            problem = "is on the front, but another one beats it" if beaten else "no other one beats it"
            wrong.append(_line(FRONTS, _name(key), f"{problem} (on_front)", again))
        if not 0 <= listed[key]["probability"] <= 1:
            problem = f"probability is {listed[key]['probability']:g}"
            wrong.append(_line(FRONTS, _name(key), problem, again))
    return len(made), wrong


def _known(row: Mapping[str, Any]) -> tuple:
    """The configuration of a row, which equals itself: NaN does not."""
    return tuple(None if pd.isna(row[name]) else row[name] for name in CONFIGURATION)


def _name(key: Iterable[Any]) -> str:
    return "/".join(f"{part:g}" if isinstance(part, float) else str(part) for part in key if part is not None)


def _beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    faster, better = other["latency_ms"] - one["latency_ms"], one["accuracy"] - other["accuracy"]
    return faster >= 0 and better >= 0 and (faster > 0 or better > 0)


def _predictions(artefacts: Artefacts) -> Found:
    """Predicted latencies are the audit's, and their errors lie within the range that the audit states."""
    wrong, checked = [], 0
    for device, rows in artefacts.summary.groupby("device"):
        audit = artefacts.audits[str(device)]
        where, again = f"results/devices/{device}/benchmark.json", run_again("benchmark")
        stated = {entry["arch"]: entry["predicted_ms"] for entry in audit.get("archs", ())}
        bounds = audit["quality"]["predicted_ms"]["all"] if stated else {}
        # A latency that is not positive is named by `latencies`.
        for arch, own in rows[rows["predicted_ms"].notna() & (rows["latency_ms"] > 0)].groupby("arch"):
            checked += 1
            predicted, measured = own["predicted_ms"].iloc[0], own["latency_ms"].median()
            if arch not in stated or not np.allclose(own["predicted_ms"], stated[arch], rtol=_EQUAL):
                problem = f"predicted_ms is {predicted:.6g}, the audit has {stated.get(arch, 'none')}"
                wrong.append(_line(where, str(arch), problem, again))
            elif not _within(predicted / measured, bounds["lowest"], bounds["highest"]):
                ends = f"{bounds['lowest']:.4f} to {bounds['highest']:.4f}"
                problem = f"predicted / measured is {predicted / measured:.4f}, the audit states {ends}"
                wrong.append(_line(where, str(arch), problem, again))
    return checked, wrong


def _within(value: float, low: float, high: float) -> bool:
    return low * (1 - _EQUAL) <= value <= high * (1 + _EQUAL)


def _certificates(artefacts: Artefacts) -> Found:
    """The widths that certificates name are those of the candidates that were trained."""
    wrong, checked = [], 0
    for device, table in artefacts.certificates.items():
        trained: dict[tuple, set[str]] = {}
        for entry in artefacts.listed[device]:
            about = _about({**entry, "device": entry["target_device"]})
            trained.setdefault(about, set()).add(entry["arch"])
        where = f"results/devices/{device}/certificates.csv"
        for row in table[table["scope"] == "width"].to_dict("records"):
            for arch in sorted(trained.get(_about(row), ())):  # none: a choice that is not trained
                widths = artefacts.architectures.get(arch, {})
                if isinstance(widths, str):
                    continue  # `architectures` names it
                checked += 1
                if widths.get(row["group"]) != row["width_to"]:
                    problem = f"certifies {row['width_to']}, {widths.get(row['group'])} was trained ({arch})"
                    place = f"{row['method']} {row['group']}"
                    wrong.append(_line(where, place, problem, run_again("snap certificates")))
    return checked, wrong


def _about(row: Mapping[str, Any]) -> tuple:
    return tuple(None if pd.isna(row[name]) else row[name] for name in _KEY)


def _sizes(artefacts: Artefacts) -> Found:
    """Sizes are those of the files."""
    wrong = []
    rows = artefacts.summary.drop_duplicates(["candidate", "onnx_path"])
    for name, timed, size in zip(rows["candidate"], rows["onnx_path"], rows["size_bytes"], strict=True):
        path, bytes_ = artefacts.files.get(str(timed), ("no file", None))
        if bytes_ is None:
            wrong.append(_line(path, str(name), "no such file", make_again(path)))
        elif bytes_ != size:
            problem = f"has {bytes_} bytes, the summary says {size}"
            wrong.append(_line(path, str(name), problem, make_again(path)))
    return artefacts.summary["candidate"].nunique(), wrong


def _latencies(artefacts: Artefacts) -> Found:
    """Latencies are positive and lie within their intervals."""
    wrong, checked = [], 0
    for row in artefacts.summary.itertuples():
        low, high = row.latency_low_ms, row.latency_high_ms
        known = not (pd.isna(low) or pd.isna(high))
        checked += known
        if not row.latency_ms > 0 or (known and not low <= row.latency_ms <= high):
            problem = f"{row.latency_ms:.6g} ms on {row.device}, interval {low:.6g} to {high:.6g} ms"
            wrong.append(_line(SUMMARY, row.candidate, problem, run_again("benchmark")))
    return checked, wrong


def _architectures(artefacts: Artefacts) -> Found:
    """Every file of widths can be read, and every student has one."""
    named, wrong = set(_student_archs(artefacts.summary)), []
    for arch, content in artefacts.architectures.items():
        if isinstance(content, str) and arch in named:
            wrong.append(content)
        elif isinstance(content, str):
            problem = "cannot be read, and no candidate of the study has these widths"
            wrong.append(_line(f"results/architectures/{arch}.json", "arch", problem, "Delete it"))
    for arch in sorted(named - artefacts.architectures.keys()):
        path = f"results/architectures/{arch}.json"
        wrong.append(_line(path, arch, "no such file", make_again(path)))
    return len(named | artefacts.architectures.keys()), wrong


def _student_archs(summary: pd.DataFrame) -> Iterator[str]:
    for path in summary["checkpoint_path"].dropna():
        found = re.search(r"/students/([0-9a-f]{12})/", path)
        if found:
            yield found[1]


CHECKS: Mapping[str, tuple[str, Callable[[Artefacts], Found]]] = {
    "accuracies": ("accuracies are from 0 to 1 and what the predictions count", _accuracies),
    "candidates": ("the summary holds the configured candidates, all of them and no others", _candidates),
    "fronts": ("the Pareto fronts are those of the summary", _fronts),
    "predictions": (
        "predicted latencies are as close to the measured ones as the audit states",
        _predictions,
    ),
    "certificates": ("certificates are about the widths that were trained", _certificates),
    "sizes": ("sizes are those of the files", _sizes),
    "latencies": ("latencies lie within their intervals", _latencies),
    "architectures": ("the files of widths can be read", _architectures),
}


def summed_up(findings: Sequence[Finding]) -> str | None:
    """The failed checks in one clause; None: all passed."""
    failed = [one for one in findings if one.violations]
    if not failed:
        return None
    names = ", ".join(f"{one.name} ({len(one.violations)})" for one in failed)
    return f"{len(failed)} of {counted(len(findings), 'check')} failed: {names}"
