"""The closing message of a study: results, what is undecided or useless, what failed, and what to do.

Read by the rules at planning time: no heavy imports.
"""

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hakd.records.errors import HakdError
from hakd.records.files import read_json
from hakd.records.text import counted, duration
from hakd.study.branches import trouble
from hakd.study.candidates import teacher_path
from hakd.study.doors import teacher_seed
from hakd.study.fleets import waiting_for
from hakd.study.levels import level_text
from hakd.study.logs import LOGS, errors_since, failed_since, seconds_by_rule
from hakd.study.searches import searches

BY_CURVES = ("hakd", "hakd_free")  # methods that use single curves (`hakd.choosing.snap`)
RESULTS = {
    "pareto.html": "accuracy against measured latency and size, interactive: open it in a browser",
    "pareto.pdf": "the same on paper",
    "staircases.pdf": "latency of every layer against its width",
    "widths.pdf": "the widths that each method chose",
    "seeds.pdf": "test accuracy of every seed",
    "stack.pdf": "threads, time, memory and size beside accuracy",
    "summary.csv": "every network on every device",
    "contrasts.pdf": "declared differences of accuracy, with intervals",
}
_NAMED = 6  # rules whose time is given, and logs


def success_words(
    config: Mapping[str, Any], since: float, arguments: Sequence[str] = ("--cores", "all")
) -> str:
    """What to say at the end of a run that began at `since` (seconds since the epoch) and did all it was asked to."""
    return _text(
        [*_made(since), *_times(since), *_unkept(config), *_undecided(config, arguments), *_at_chance(config)]
    )


def failure_words(config: Mapping[str, Any], since: float) -> str:
    """What to say at the end of a run that failed or was stopped: every error once more, and what to do."""
    devices = config["run"]["devices"]
    found = {device: trouble(config, device, since) for device in devices}
    errors = {device: text for device, text in found.items() if text is not None}
    others = [error for error in errors_since(since) if error not in errors.values()]
    lines = _at_chance(config)
    if errors:
        waiting = waiting_for(config, errors)
        lines += [
            f"{len(errors)} of {counted(len(devices), 'device')} failed; what they have measured is kept:",
            *(f"  {text}" for text in dict.fromkeys(errors.values())),
            *(f"  {device} waits for its fleet: {', '.join(fleets)}" for device, fleets in waiting.items()),
        ]
    if others:
        lines += [
            "These jobs failed:" if not errors else "Other jobs failed too:",
            *(f"  {e}" for e in others),
        ]
    lines += [*_logs(since), *_times(since)]
    lines.append(
        f"Run the same command again to complete the study in {Path.cwd()}; finished jobs do not run again."
    )
    if errors:
        lines.append("`snakemake available`, with the same options, plots the devices that have results.")
    return _text(lines)


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _made(since: float) -> list[str]:
    """The files for people, of the whole study or of the target `available`, where the run has written one of them."""
    lines = []
    for folder in (Path("results"), Path("results/available")):
        paths = {folder / name: about for name, about in RESULTS.items() if (folder / name).exists()}
        if any(path.stat().st_mtime >= since for path in paths):
            lines += [f"  {path.absolute()}: {about}" for path, about in paths.items()]
    devices = Path("results/devices").absolute()
    return ["Results:", *lines, f"  {devices}: the same and more of each device"] if lines else []


def _logs(since: float) -> list[str]:
    """Where the logs are, and those of the jobs that failed."""
    failed = [str(path.relative_to(LOGS)) for path in failed_since(since)]
    if not failed:
        return []
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return [f"Their logs, in {LOGS.absolute()}: {', '.join(failed[:_NAMED])}{more}"]


def _times(since: float) -> list[str]:
    """Where the time of the run went, the longest rule first."""
    seconds = sorted(seconds_by_rule(since).items(), key=lambda entry: -sum(entry[1]))
    if not seconds:
        return []
    words = [f"{rule} {duration(sum(jobs))} ({len(jobs)})" for rule, jobs in seconds[:_NAMED]]
    rest = [job for _, jobs in seconds[_NAMED:] for job in jobs]
    words += [f"all others {duration(sum(rest))} ({len(rest)})"] if rest else []
    return [f"Time by rule (number of jobs): {', '.join(words)}"]


def _at_chance(config: Mapping[str, Any]) -> list[str]:
    """A line for each teacher that is hardly better than guessing, and what to do."""
    lines = []
    for network in config["run"]["networks"]:
        for seed in config["run"]["seeds"]:
            if seed != teacher_seed(config, network, seed):
                continue
            accuracy, chance = _teacher(Path(teacher_path(config, network, seed)))
            # Below twice the chance; with few classes, less than a tenth of the way from chance to all right.
            if accuracy < min(2 * chance, chance + 0.1 * (1 - chance)):
                known = f"{accuracy:.1%} of the validation images right, by chance {chance:.1%}"
                lines.append(f"  {network}, seed {seed}: {known}")
    if not lines:
        return []
    return [
        "A teacher is hardly better than chance; what was pruned and trained from it is useless:",
        *lines,
        "Raise `teacher.epochs`, change `teacher.recipe.lr`, or check the labels of the data; then run again.",
    ]


def _teacher(path: Path) -> tuple[float, float]:
    """Validation accuracy of a teacher and 1 / classes; 1 and 0 where there is none to read."""
    from hakd.records.checkpoint import read_checkpoint  # once, at the end: every job reads the rules again

    try:
        teacher = read_checkpoint(path)
        return float(teacher.facts["val_accuracy"]), 1 / teacher.architecture.spec.num_classes
    except (HakdError, KeyError):
        return 1.0, 0.0


def _unkept(config: Mapping[str, Any]) -> list[str]:
    """A line for each budget that no widths keep, and what to do."""
    lines = []
    for where, device, path in _snaps(config):
        lines += [
            f"  {where} {key}, {device}: {why}" for key, why in _content(path, "snap", "unkept", {}).items()
        ]
    if not lines:
        return []
    return [
        "No widths meet these budgets; there are no networks for them:",
        *lines,
        "Raise the budget in `choosing.budgets`, or lower `choosing.reach`: narrower widths are timed then.",
    ]


def _snaps(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Path]]:
    """Network and level in words, device, and path of each file of choices that is there."""
    run = config["run"]
    for device, search, network in itertools.product(run["devices"], searches(config), run["networks"]):
        for level in map(level_text, run["levels"]):
            path = Path(f"results/{network}/{search.folder}snap/{level}/{device}.json")
            if path.exists():
                yield f"{network} {level}", device, path


def _undecided(config: Mapping[str, Any], arguments: Sequence[str]) -> list[str]:
    """What is undecided because devices were too noisy, and what to do; empty: nothing."""
    lines = [line for device in config["run"]["devices"] for line in _undecided_on(config, device)]
    if not lines:
        return []
    return [
        "Not everything was decided; widths that are undecided were left as they are:",
        *lines,
        "To decide more, stop other work on the device. Then take further looks at the curves (twelve at most) with",
        f"  {shlex.join(['snakemake', *arguments, '-R', 'sweep'])}",
        "or at the latencies with `-R benchmark`; or raise `processes` and `benchmark_processes`.",
    ]


def _undecided_on(config: Mapping[str, Any], device: str) -> list[str]:
    """A line for each kind of result that is undecided on a device."""
    open_, verified, choices = set(), [], set()
    for where, _, path in (one for one in _snaps(config) if one[1] == device):
        for method, entry in _content(path, "snap", "methods", {}).items():
            if method in BY_CURVES:
                pruned = [one for one in entry["choices"] if one["width_from"] < one["full_width"]]
                trusted = {f"{where} {one['group']}": one["trusted"] for one in pruned}
                choices |= set(trusted)
                open_ |= {name for name, known in trusted.items() if not known}
            if not entry["repair"].get("verified", True):
                verified.append(f"{where} {method}")
    lines = []
    if open_:
        which = _short(", ".join(sorted(open_)))
        lines.append(f"  {device}: {len(open_)} of {counted(len(choices), 'width')} undecided: {which}")
    if verified:
        lines.append(
            f"  {device}: could not be verified, the widths before the choice stay: {', '.join(verified)}"
        )
    summary = Path(f"results/devices/{device}/benchmark.json")
    if summary.exists():
        rows = _content(summary, "benchmark", "rows", [])
        vague = sum(not row["trusted"] for row in rows)
        if vague:
            lines.append(f"  {device}: {vague} of {len(rows)} latencies not known to within half of min_step")
    return lines


def _content(path: Path, kind: str, key: str, otherwise: Any) -> Any:
    """What a result holds under a key; a damaged file must not end a finished study with an error."""
    try:
        return read_json(path, kind)[key]
    except (HakdError, KeyError):
        return otherwise


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[:most].rsplit(', ', 1)[0]}, ..."
