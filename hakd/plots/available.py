"""The joint plot of the devices that have results, while others have none yet."""

import os
from collections.abc import Mapping

import pandas as pd

from hakd.analysis.summary import join_devices
from hakd.plots.pareto import pareto_figure
from hakd.records.errors import HakdError
from hakd.records.files import write_bytes
from hakd.records.tables import read_table, write_table
from hakd.records.text import counted
from hakd.study.branches import summary_path

State = Mapping[str, str | None]


def write_available(
    states: Mapping[str, State],
    path_to_plot: str | os.PathLike,
    path_to_csv: str | os.PathLike,
    path_to_list: str | os.PathLike,
) -> None:
    """Write the joint plot and summary of the devices that have one, and a list of all devices, a line each.

    Args:
        states: by device, as `hakd.study.branches.states` finds them.
        path_to_plot: PDF, a page per network and device; every page names the devices that are missing.
        path_to_csv: the joint summary.
        path_to_list: text, for the terminal.

    Raises:
        HakdError: no device has results.
    """
    frames, reasons = _read({name: summary_path(name) for name, state in states.items() if state["digest"]})
    for name, state in states.items():
        if name not in frames:
            reasons.setdefault(name, state["trouble"] or "its jobs have not finished")
    if not frames:
        words = "; ".join(f"{name} ({reason})" for name, reason in reasons.items())
        raise HakdError(
            f"no device has results yet: {words}",
            where="available",
            remedy="Run the study without this target",
        )
    lines = [
        f"no results from {name}: {reasons[name]}" if name in reasons else _line(name, frames[name], state)
        for name, state in states.items()
    ]
    joined = join_devices(frames.values())
    pareto_figure(joined, path_to_plot, missing=list(reasons))
    write_table(path_to_csv, "summary", joined)
    write_bytes(path_to_list, "".join(f"{line}\n" for line in lines).encode())


def _read(paths: Mapping[str, str]) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """(summaries by device, reasons why others cannot be shown).

    After a change to the study a device that is away still has its old summary. Where it contradicts a newer one
    (other weights under a candidate's name) the newer one is right.
    """
    frames: dict[str, pd.DataFrame] = {}
    reasons: dict[str, str] = {}
    for name in sorted(paths, key=lambda name: os.path.getmtime(paths[name]), reverse=True):
        try:
            frame, _ = read_table(paths[name], "summary")
        except HakdError as error:
            reasons[name] = str(error)
            continue
        try:
            join_devices([*frames.values(), frame])
        except HakdError as error:
            reasons[name] = f"its results are of an older state of the study ({error.problem})"
        else:
            frames[name] = frame
    return {name: frames[name] for name in paths if name in frames}, reasons


def _line(name: str, frame: pd.DataFrame, state: State) -> str:
    engine, threads = frame["engine"].iloc[0], int(frame["threads"].iloc[0])
    text = f"{name}: {counted(len(frame), 'candidate')}, {engine}, {counted(threads, 'thread')}"
    return f"{text}; its last run failed: {state['trouble']}" if state["trouble"] else text
