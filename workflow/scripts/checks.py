"""Check what the study made: its tables against one another, the configuration and the files."""

import logging
import os
from pathlib import Path

import pandas as pd

from hakd.analysis.checks import Artefacts, run_checks, summed_up
from hakd.analysis.summary import CONFIGURATION
from hakd.records.arch import read_architecture
from hakd.records.errors import HakdError
from hakd.records.files import atomic, read_json
from hakd.records.tables import read_table
from hakd.study.descriptions import sized_path
from hakd.study.scripting import reporting

log = logging.getLogger("hakd.checks")


def main(
    path_to_summary, path_to_fronts, predictions, benchmarks, certificates, lists, expected, path_to_table
):
    """Write a row per check. A violation is a line of the log, and ends the job with an error.

    By device: the paths of its tables, of its lists of candidates, and the configured candidates
    (`hakd.study.candidates.expected_names`).
    """
    listed = {device: _entries(paths) for device, paths in lists.items()}
    artefacts = Artefacts(
        read_table(path_to_summary, "summary")[0],
        {device: read_table(path, "predictions")[0] for device, path in predictions.items()},
        {device: _kept(names) for device, names in expected.items()},
        listed,
        {device: read_json(path, "benchmark")["audit"] for device, path in benchmarks.items()},
        {device: read_table(path, "certificates")[0] for device, path in certificates.items()},
        None if path_to_fronts is None else _fronts(path_to_fronts),
        {path.stem: _widths(path) for path in sorted(Path("results/architectures").glob("*.json"))},
        {entry["onnx_path"]: _file(entry) for entries in listed.values() for entry in entries},
    )
    findings = run_checks(artefacts)
    for line in (line for one in findings for line in one.violations):
        log.warning("check: %s", line)
    failed = summed_up(findings)
    if failed:
        remedy = "The lines of results/logs/checks/checks.log name each violation and what to do"
        raise HakdError(failed, where=path_to_table, remedy=remedy)
    with atomic(path_to_table) as temporary:
        pd.DataFrame([one.row() for one in findings]).to_csv(temporary, index=False, lineterminator="\n")


def _entries(paths):
    return [entry for path in paths for entry in read_json(path, "candidates")["candidates"]]


def _kept(expected):
    """Names of candidates without those whose budget no widths keep."""
    unkept = {path: read_json(path, "snap").get("unkept", {}) for path, _ in filter(None, expected.values())}
    return [name for name, made in expected.items() if not made or made[1] not in unkept[made[0]]]


def _fronts(path):
    return pd.read_csv(path, dtype={name: str for name in CONFIGURATION if name != "level"})


def _widths(path):
    try:
        return dict(read_architecture(path).widths)
    except HakdError as error:
        return str(error)


def _file(entry):
    path = sized_path(entry["checkpoint_path"], entry["onnx_path"])
    return path, os.path.getsize(path) if os.path.exists(path) else None


def _by_device(paths):
    return {Path(path).parent.name: path for path in paths}


if __name__ == "__main__":
    with reporting(snakemake.log):
        files, params = snakemake.input, snakemake.params
        main(
            files.summary,
            next(iter(files.fronts), None),
            _by_device(files.predictions),
            _by_device(files.benchmarks),
            _by_device(files.certificates),
            params.lists,
            params.expected,
            snakemake.output[0],
        )
