"""`hakd compare`: what differs between two studies or two candidates, and what of it is more than noise."""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hakd.commands.common import FINE, Commands, command
from hakd.records.errors import HakdError
from hakd.records.text import counted, printable

if TYPE_CHECKING:
    from hakd.study.sides import Side

_NAME = ("network", "level", "method", "budget", "target_device", "recipe", "loss")
_FIGURES = {"accuracy": "accuracy", "latency_ms": "latency", "size_bytes": "size", "macs": "MACs"}
_GROUPS = 12  # width groups of a choice that are listed
_VALUE = 60  # characters of a setting


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "compare",
        "show what differs between two studies or two candidates, and what of it is more than noise",
        "Show the settings, versions, devices and widths that differ between two studies, or two candidates, and the\n"
        "figures of what both have: accuracy, latency, size and MACs, with 95 % intervals of the differences. A\n"
        "difference that the intervals do not show is called undecided. Nothing is measured.\n\n"
        "A and B are folders of studies (or of their results), or candidates: a candidate's name, or a series\n"
        "method[@budget][/recipe[/loss]] with all of its seeds and levels; FOLDER:NAME for one of another study.\n\n"
        "examples:\n"
        "  hakd compare runs/before runs/after\n"
        "  hakd compare joint/distilled/logits fisher/distilled/logits\n"
        "  hakd compare runs/before:joint@round16/tuned/logits runs/after:joint@round16/tuned/logits --json",
        device=False,
    )
    found.add_argument("a", metavar="A", help="a study, or a candidate or series of one")
    found.add_argument("b", metavar="B", help="another, likewise")
    found.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.study.sides import find_side

    a, b = (find_side(text) for text in (arguments.a, arguments.b))
    if a.whole != b.whole:
        study, other = (a, b) if a.whole else (b, a)
        remedy = f"Name a candidate or series of it: {study.name}:NAME"
        raise HakdError(f"is a study, {other.name} is not", where=study.name, remedy=remedy)
    found = _compared(a, b)
    print(json.dumps(found, indent=1) if arguments.json else "\n".join(map(printable, _lines(found))))
    return FINE


def _compared(a: "Side", b: "Side") -> dict[str, Any]:
    """Everything, as JSON holds it: pairs are A's value and B's."""
    from hakd.analysis.pairs import figures, pair_keys
    from hakd.study.kept import differing
    from hakd.study.sides import CHOICE, configurations, own_settings, widths_by_group

    keys = pair_keys(a.rows, b.rows, a.whole)
    both, only_a, only_b = figures(a.rows, b.rows, keys)
    widths, choices = widths_by_group(a, b, CHOICE if a.whole else keys)
    devices = [side.devices for side in (a, b)]
    return {
        "a": a.name,
        "b": b.name,
        "what": "studies" if a.whole else "candidates",
        "candidates": {} if a.whole else own_settings(a, b),
        "configuration": configurations(a, b),
        "versions": differing(a.versions, b.versions),
        "devices": {
            "only_a": [name for name in devices[0] if name not in devices[1]],
            "only_b": [name for name in devices[1] if name not in devices[0]],
            "differences": {
                name: differing(devices[0][name], devices[1][name])
                for name in devices[0]
                if name in devices[1]
            },
        },
        "choices": choices,
        "widths": widths,
        "figures": both,
        "only_a": only_a,
        "only_b": only_b,
    }


def _lines(found: Mapping[str, Any]) -> list[str]:
    lines = [f"A: {found['a']}", f"B: {found['b']}"]
    if found["candidates"]:
        lines += ["candidates:", *_changes(found["candidates"])]
    lines += _configuration(found["configuration"])
    lines += ["versions:", *_changes(found["versions"])] if found["versions"] else ["versions: the same"]
    lines += _devices(found["devices"])
    lines += _widths(found["widths"], found["choices"])
    lines += _figures(found["figures"])
    for side in "ab":
        alone = found[f"only_{side}"]
        lines += [f"only in {side.upper()}:", *(f"  {_name(row)}" for row in alone)] if alone else []
    return lines


def _configuration(found: Mapping[str, Any]) -> list[str]:
    differences, hashes = found["differences"], found["hashes"]
    if differences is None:
        words = " and ".join(str(one or "unknown") for one in hashes)
        return [
            f"configuration: hashes {words}; no copy of one of them, so the settings that differ are not known"
        ]
    if not differences:
        return ["configuration: the same"]
    lines = ["configuration:", *_changes(differences)]
    if any(key.split(".")[0] == "data" for key in differences):
        lines.append("  the data differ: accuracies may be of other images")
    return lines


def _changes(pairs: Mapping[str, Sequence[Any]]) -> list[str]:
    return [f"  {key}: {_value(a)} -> {_value(b)}" for key, (a, b) in pairs.items()]


def _value(value: Any) -> str:
    return (
        "none" if value is None else printable(value if isinstance(value, str) else json.dumps(value), _VALUE)
    )


def _devices(found: Mapping[str, Any]) -> list[str]:
    lines = [f"  {name}: only in {side.upper()}" for side in "ab" for name in found[f"only_{side}"]]
    for name, pairs in found["differences"].items():
        if pairs:
            words = "; ".join(f"{key} {_value(a)} -> {_value(b)}" for key, (a, b) in pairs.items())
            lines.append(f"  {name}: {words}")
        if "fingerprint" in pairs:
            lines.append(
                f"  {name}: another board, engine version or number of threads: latencies differ by that too"
            )
    return ["devices:", *lines] if lines else ["devices: the same"]


def _widths(rows: Sequence[Mapping[str, Any]], choices: int) -> list[str]:
    if not rows:
        return [
            f"widths: the same ({counted(choices, 'choice')})"
            if choices
            else "widths: no choice that both have"
        ]
    lines = [f"widths: {len(rows)} of {counted(choices, 'choice')} differ"]
    for row in rows:
        name = f"{_name(row)}: " if _name(row) else ""
        if row["groups"] is None:
            lines.append(
                f"  {name}architecture {row['arch'][0]} -> {row['arch'][1]}; widths not in the results"
            )
            continue
        pairs = [f"{group} {_value(a)} -> {_value(b)}" for group, (a, b) in row["groups"].items()]
        more = f", and {len(pairs) - _GROUPS} more groups" if pairs[_GROUPS:] else ""
        lines.append(f"  {name}{', '.join(pairs[:_GROUPS]) or 'another network'}{more}")
    return lines


def _figures(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["figures: no candidates that both have"]
    lines = [f"figures of {counted(len(rows), 'pair')} that both have, B against A:"]
    for key, word in _FIGURES.items() if len(rows) > 1 else ():
        verdicts = Counter(row[key]["verdict"] if row[key] else "not compared" for row in rows)
        words = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common())
        lines.append(f"  {word}: {words}")
    for row in rows:
        a, b = row["seeds"]
        lines += [
            f"  {_name(row) or 'the candidates'} ({counted(a, 'seed')}{f' and {b}' if b != a else ''})",
            f"    accuracy {_accuracy(row['accuracy'])}",
            f"    latency {_latency(row['latency_ms'])}",
            f"    size {_exact(row['size_bytes'], 1e-3, 'kB')}; MACs {_exact(row['macs'], 1e-6, 'M')}",
        ]
    return lines


def _name(row: Mapping[str, Any]) -> str:
    """What a row is of."""
    parts = [
        f"{row[key]:g}" if key == "level" else str(row[key]) for key in _NAME if row.get(key) is not None
    ]
    return " ".join([*parts, *([f"on {row['device']}"] if "device" in row else [])])


def _accuracy(one: Mapping[str, Any]) -> str:
    if one["verdict"] == "same":
        return f"{one['a']:.2%}: same"
    ends = f" ({one['low'] * 100:+.2f} to {one['high'] * 100:+.2f})" if one["low"] is not None else ""
    return f"{one['a']:.2%} -> {one['b']:.2%}, {one['difference'] * 100:+.2f} points{ends}: {one['verdict']}"


def _latency(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "not compared: timed on different devices"
    ends = f" ({one['low'] - 1:+.1%} to {one['high'] - 1:+.1%})" if one["low"] is not None else ""
    return f"{one['a']:.4g} -> {one['b']:.4g} ms, {one['ratio'] - 1:+.1%}{ends}: {one['verdict']}"


def _exact(one: Mapping[str, Any], scale: float, unit: str) -> str:
    if one["verdict"] == "same":
        return f"{one['a'] * scale:.4g} {unit}: same"
    change = f"{one['b'] / one['a'] - 1:+.1%}"
    return f"{one['a'] * scale:.4g} -> {one['b'] * scale:.4g} {unit}, {change}: {one['verdict']}"
