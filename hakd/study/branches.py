"""A device's branch of the study: which board it needs, what of its settings is tracked, what it has brought so far.

Read by the rules at planning time: no heavy imports.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hakd.boards.device import REACH_KEYS
from hakd.records.errors import HakdError
from hakd.records.files import file_digest, read_json
from hakd.study.configuration import level_text, settings
from hakd.study.fleets import fleets_of, members, waiting_for

BY_CURVES = ("hakd", "hakd_free")  # methods that go by single curves (`hakd.choosing.snap`)
_ADDRESS = ("transport", "host", "port", "jump")
_ERROR = re.compile(r"^[\d-]+ [\d:,]+ error: (.+)$", re.MULTILINE)  # as hakd.study.scripting logs a mistake


def tokens(devices: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The resource that stands for the board of each device: `board_` and the first device with the same address.

    Two devices may be one board, e.g. with one thread and with four. Names of resources hold letters, digits and `_`.
    """
    first: dict[tuple, str] = {}
    for name, entry in devices.items():
        first.setdefault(tuple(entry.get(key) for key in _ADDRESS), "board_" + re.sub(r"\W", "_", name))
    return {name: first[tuple(entry.get(key) for key in _ADDRESS)] for name, entry in devices.items()}


def tracked(config: Mapping[str, Any], device: str) -> dict[str, Any]:
    """A device's settings without those that only say how to reach it or how long to wait for it."""
    entry = settings(config, f"devices/{device}")
    return {key: value for key, value in entry.items() if key not in REACH_KEYS}


def reach(config: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The others: no measurement depends on them, so a change of them reruns nothing."""
    entry = settings(config, f"devices/{device}")
    return {key: value for key, value in entry.items() if key in REACH_KEYS}


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
    """The lists of all candidates that a device times: its own, its fleets', and those chosen for none."""
    networks, levels = config["run"]["networks"], list(map(level_text, config["run"]["levels"]))
    targets = [device, *(f"fleets/{fleet}" for fleet in fleets_of(config, device))]
    lists = [f"{network}/{level}/{target}" for network in networks for level in levels for target in targets]
    return [f"results/candidates/{name}.json" for name in [*lists, *(f"{n}/baselines" for n in networks)]]


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
    networks, levels = config["run"]["networks"], list(map(level_text, config["run"]["levels"]))
    names = [f"sweep/{network}-{device}" for network in networks]
    names += [f"snap/{network}-{level}-{device}" for level in levels for network in networks]
    fleets = fleets_of(config, device)
    names += [
        f"fleet/{network}-{level}-{fleet}" for fleet in fleets for level in levels for network in networks
    ]
    logs = [Path(f"results/logs/{name}.log") for name in [*names, f"benchmark/{device}"]]
    written = {path: path.stat().st_mtime for path in logs if path.exists()}
    for path in sorted(written, key=lambda path: written[path], reverse=True):
        errors = _ERROR.findall(path.read_text(errors="replace"))
        if errors and written[path] >= since:
            return errors[-1]
    return None


def undecided_words(config: Mapping[str, Any]) -> str:
    """What to say at the end of a run whose devices were too noisy for all answers; empty: nothing was left open."""
    lines = [line for device in config["run"]["devices"] for line in _undecided(config, device)]
    if not lines:
        return ""
    lines = ["Not everything could be decided; what is not known for sure changed nothing:", *lines]
    lines += [
        "To decide more: end what else runs on the device; then `snakemake -R sweep` takes further looks at what is",
        "open, `-R benchmark` at the figures (twelve at most). Or raise `processes` and `benchmark_processes`.",
    ]
    return "".join(f"{line}\n" for line in lines)


def _undecided(config: Mapping[str, Any], device: str) -> list[str]:
    """A line for each kind of answer that a device did not give."""
    open_, verified, choices = set(), [], set()
    for network in config["run"]["networks"]:
        for level in map(level_text, config["run"]["levels"]):
            path = Path(f"results/{network}/snap/{level}/{device}.json")
            if not path.exists():
                continue
            for method, entry in _content(path, "snap", "methods", {}).items():
                if method in BY_CURVES:
                    pruned = [one for one in entry["choices"] if one["width_from"] < one["full_width"]]
                    told = {f"{network} {level} {one['group']}": one["trusted"] for one in pruned}
                    choices |= set(told)
                    open_ |= {name for name, known in told.items() if not known}
                if not entry["repair"].get("verified", True):
                    verified.append(f"{network} {level} {method}")
    lines = []
    if open_:
        which = _short(", ".join(sorted(open_)))
        lines.append(f"  {device}: {len(open_)} of {len(choices)} widths not decided for sure: {which}")
    if verified:
        lines.append(f"  {device}: could not be verified, what was there before stays: {', '.join(verified)}")
    summary = Path(f"results/devices/{device}/benchmark.json")
    if summary.exists():
        rows = _content(summary, "benchmark", "rows", [])
        vague = sum(not row["trusted"] for row in rows)
        if vague:
            lines.append(f"  {device}: {vague} of {len(rows)} end-to-end latencies are not known well enough")
    return lines


def _content(path: Path, kind: str, key: str, otherwise: Any) -> Any:
    """What a result holds under a key; a damaged file is no reason to end a finished study with an error."""
    try:
        return read_json(path, kind)[key]
    except (HakdError, KeyError):
        return otherwise


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[:most].rsplit(', ', 1)[0]}, ..."


def closing_words(config: Mapping[str, Any], since: float) -> str:
    """What to say at the end of a failed run: each board's error once more, and what to do. Empty: no board failed."""
    devices = config["run"]["devices"]
    found = {device: trouble(config, device, since) for device in devices}
    errors = {device: text for device, text in found.items() if text is not None}
    if not errors:
        return ""
    waiting = waiting_for(config, errors)
    lines = [
        f"{len(errors)} of {len(devices)} devices failed; what they have measured is kept:",
        *(f"  {text}" for text in dict.fromkeys(errors.values())),
        *(f"  {device} waits for its fleet: {', '.join(fleets)}" for device, fleets in waiting.items()),
        "The same command makes what is missing, and nothing else.",
        "With the target `available` it plots the devices that have results.",
    ]
    return "".join(f"{line}\n" for line in lines)
