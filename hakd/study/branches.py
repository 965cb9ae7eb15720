"""A device's branch of the study: which board it needs, what of its settings is tracked, what it has brought so far.

Read by the rules at planning time: no heavy imports.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hakd.boards.device import REACH_KEYS
from hakd.records.files import file_digest
from hakd.study.candidates import baseline_methods
from hakd.study.configuration import settings
from hakd.study.fleets import fleets_of, members
from hakd.study.levels import level_text
from hakd.study.logs import last_error
from hakd.study.precisions import form_of
from hakd.study.searches import searches

_ADDRESS = ("transport", "host", "port", "jump")


def tokens(devices: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The resource that stands for the board of each device: `board_` and the first device with the same address.

    Two devices may be one board, e.g. with one thread and with four. A virtual device is always its own. Names of
    resources hold letters, digits and `_`.
    """
    first: dict[tuple, str] = {}
    found = {}
    for name, entry in devices.items():
        own = name if entry.get("transport") == "virtual" else None
        address = (own, *(entry.get(key) for key in _ADDRESS))
        found[name] = first.setdefault(address, "board_" + re.sub(r"\W", "_", name))
    return found


def tracked(config: Mapping[str, Any], device: str) -> dict[str, Any]:
    """A device's settings without those that only say how to reach it or how long to wait for it, and its energy's."""
    entry = settings(config, f"devices/{device}")
    return {key: value for key, value in entry.items() if key not in (*REACH_KEYS, "energy")}


def energy_settings(config: Mapping[str, Any], device: str) -> dict[str, Any]:
    """How the energy of a device is measured, as far as it is set: only the benchmark depends on it."""
    entry = settings(config, f"devices/{device}")
    return {key: value for key, value in entry.items() if key == "energy"}


def reach(config: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The others: no measurement depends on them, so a change of them reruns nothing."""
    entry = settings(config, f"devices/{device}")
    return {key: value for key, value in entry.items() if key in REACH_KEYS}


def by_threads(config: Mapping[str, Any]) -> dict[str, str]:
    """By selected device, a name for all that differ from it in `threads` and `cpus` alone: `pi4` of `pi4-t2`."""
    names: dict[str, str] = {}
    found = {}
    for device in sorted(config["run"]["devices"]):
        entry = {
            key: value for key, value in tracked(config, device).items() if key not in ("threads", "cpus")
        }
        own = device.removesuffix(f"-t{config['devices'][device].get('threads', 1)}")
        found[device] = names.setdefault(repr(entry), own)
    return found


def fleet_tracked(config: Mapping[str, Any], fleet: str) -> dict[str, Any]:
    """`tracked` of every member of a fleet."""
    return {device: tracked(config, device) for device in members(config, fleet)}


def fleet_reach(config: Mapping[str, Any], fleet: str) -> dict[str, Any]:
    """`reach` of every member of a fleet."""
    return {device: reach(config, device) for device in members(config, fleet)}


def summary_path(device: str) -> str:
    """The end of a device's branch."""
    return f"results/devices/{device}/summary.parquet"


def candidate_lists(config: Mapping[str, Any], device: str) -> list[str]:
    """The lists of all candidates that a device times, in its form: its own, its fleets', and those chosen for none."""
    networks, levels = config["run"]["networks"], list(map(level_text, config["run"]["levels"]))
    targets = [device, *(f"fleets/{fleet}" for fleet in fleets_of(config, device))]
    targets += [f"methods/{method}" for method in baseline_methods(config)]
    folders = [search.folder for search in searches(config)]
    places = [f"{network}/{folder}{level}" for network in networks for folder in folders for level in levels]
    lists = [f"{place}/{target}" for place in places for target in targets]
    form = form_of(config["devices"].get(device, {}))
    names = [*lists, *(f"{n}/baselines" for n in networks)]
    return [f"results/candidates/{name}{form}.json" for name in names]


def states(config: Mapping[str, Any]) -> dict[str, dict[str, str | None]]:
    """What every selected device has brought: `digest` of its summary, and the `trouble` it had since.

    Trouble is the last error of the jobs that drive the board, when it is newer than the summary. Both are None where
    there is none.
    """
    found: dict[str, dict[str, str | None]] = {}
    for device in config["run"]["devices"]:
        path = Path(summary_path(device))
        digest, since = (file_digest(path, 16), path.stat().st_mtime) if path.exists() else (None, 0.0)
        found[device] = {"digest": digest, "trouble": trouble(config, device, since)}
    return found


def trouble(config: Mapping[str, Any], device: str, since: float) -> str | None:
    """The last error of the jobs that drive a device, out of the logs written after `since` (seconds, as mtime)."""
    levels, fleets = list(map(level_text, config["run"]["levels"])), fleets_of(config, device)
    names = []
    for place in [
        search.folder + network for search in searches(config) for network in config["run"]["networks"]
    ]:
        names += [f"sweep/{place}-{device}", *(f"snap/{place}-{level}-{device}" for level in levels)]
        names += [f"fleet/{place}-{level}-{fleet}" for fleet in fleets for level in levels]
    logs = [Path(f"results/logs/{name}.log") for name in [*names, f"benchmark/{device}"]]
    written = {path: path.stat().st_mtime for path in logs if path.exists()}
    for path in sorted(written, key=lambda path: written[path], reverse=True):
        error = last_error(path)
        if error is not None and written[path] >= since:
            return error
    return None
