"""`hakd clean`: what of a study's results its configuration does not use any more."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hakd.commands.common import FINE, Commands, command
from hakd.records.text import counted

if TYPE_CHECKING:
    from hakd.study.cleaning import Unused

_LISTED = 20  # of each reason


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "clean",
        "list what of a study's results its configuration does not use any more, and remove it",
        "List files of results/ that no device, network, level, method, seed, recipe or loss of the configuration\n"
        "uses any more, with the reason and their sizes. --yes removes them; without it nothing is removed.\n"
        "The measurement store, logs, and files that hakd does not know are left alone. Run it in the folder of the\n"
        "study, with the configuration files that the study has.\n\n"
        "examples:\n"
        "  hakd clean\n"
        "  hakd clean --config my.yaml\n"
        "  hakd clean --config my.yaml --yes",
    )
    found.add_argument("--yes", action="store_true", help="remove what is listed")
    found.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.study.cleaning import check_known, idle_study, remove, unused
    from hakd.study.files import read_configuration
    from hakd.study.schema import checked_study

    read = read_configuration(arguments.config)
    config = checked_study(read)
    with idle_study():
        entries, incomplete = unused(config)
        if arguments.yes and entries:
            check_known(config, read.where)
            remove(entries)
    removed = bool(arguments.yes and entries)
    if arguments.json:
        print(json.dumps(_content(entries, incomplete, removed), indent=1))
    else:
        print("\n".join(_lines(entries, incomplete, removed, read.where)))
    return FINE


def _content(entries: Sequence["Unused"], incomplete: Sequence[str], removed: bool) -> dict[str, Any]:
    groups = [
        {
            "reason": reason,
            "paths": [{"path": e.path, "files": len(e.files), "bytes": e.size_bytes} for e in group],
        }
        for reason, group in _groups(entries).items()
    ]
    return {"removed": removed, "bytes": _bytes(entries), "incomplete": list(incomplete), "groups": groups}


def _lines(entries: Sequence["Unused"], incomplete: Sequence[str], removed: bool, where: str) -> list[str]:
    from hakd.boards.store_report import size_text

    lines = []
    for reason, group in _groups(entries).items():
        lines.append(f"{reason}: {size_text(_bytes(group))}")
        for entry in group[:_LISTED]:
            folder = "" if entry.files == (entry.path,) else f", {counted(len(entry.files), 'file')}"
            lines.append(f"  {entry.path}{'/' if folder else ''} ({size_text(entry.size_bytes)}{folder})")
        if group[_LISTED:]:
            lines.append(f"  and {len(group) - _LISTED} more; --json lists all")
    lines += [
        f"{network}: not all widths are chosen yet; its students and all architectures are kept"
        for network in incomplete
    ]
    if not entries:
        return [*lines, f"Nothing to remove: of what hakd knows in results/, all is used by {where}."]
    what = f"{counted(sum(len(one.files) for one in entries), 'file')}, {size_text(_bytes(entries))}"
    end = f"Removed: {what}." if removed else f"{what}. Nothing was removed; --yes removes these files."
    return [*lines, end]


def _groups(entries: Sequence["Unused"]) -> dict[str, list["Unused"]]:
    """By reason, the one that frees most first."""
    found: dict[str, list[Unused]] = {}
    for entry in entries:
        found.setdefault(entry.reason, []).append(entry)
    return dict(sorted(found.items(), key=lambda group: -_bytes(group[1])))


def _bytes(entries: Sequence["Unused"]) -> int:
    return sum(entry.size_bytes for entry in entries)
