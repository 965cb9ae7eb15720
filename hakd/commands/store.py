"""`hakd store`: what is stored, and whether it is sound."""

import argparse
import json
from pathlib import Path

from hakd.commands.common import FINDING, FINE, Commands, command
from hakd.records.text import counted

PURPOSES = (
    "sweep",
    "tiles",
    "tables",
    "screen",
    "calibrate",
    "verify",
    "certify",
    "race",
    "benchmark",
    "explain",
    "recheck",
    "doctor",
)


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "store",
        "list what a measurement store holds, or check whether it is sound",
        "ls      a paragraph per device identity: device, engine and version, threads, epoch, fingerprint; sessions,\n"
        "        points, bursts, failures, size, first and last session (UTC)\n"
        "verify  read every journal and report damage, with the remedy; the exit status is 1 for damage\n"
        "forget  leave out what was measured on --device for --purpose (a disturbed hour, for example): it is\n"
        "        measured again when it is next needed; nothing is deleted\n\n"
        "examples:\n"
        "  hakd store ls\n"
        "  hakd store ls --json --store ../runs/paper/results/measurements\n"
        "  hakd store verify\n"
        "  hakd store forget --device pi4 --purpose verify",
    )
    found.add_argument(
        "what", choices=("ls", "verify", "forget"), help="list, check for damage, or leave out"
    )
    found.add_argument("--device", metavar="NAME", help="forget: the device it was measured on")
    found.add_argument("--purpose", choices=PURPOSES, help="forget: the purpose it was measured for")
    found.add_argument("--store", metavar="DIR", help="measurement store (default: the configuration's)")
    found.add_argument("--json", action="store_true", help="print JSON instead of text")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.boards.store_report import forget, holdings, listing, verify
    from hakd.records.errors import HakdError
    from hakd.study.files import read_configuration

    root = Path(arguments.store or read_configuration(arguments.config).store())
    if arguments.what == "forget":
        if not (arguments.device and arguments.purpose):
            remedy = f"Give both. Purposes: {', '.join(PURPOSES)}"
            raise HakdError("missing", key="--device, --purpose", remedy=remedy)
        points, bursts = forget(root, arguments.device, arguments.purpose)
        print(
            f"{root}: {counted(bursts, 'burst')} of {counted(points, 'point')} left out, to be measured again"
        )
        return FINE
    if arguments.what == "ls":
        found = holdings(root)
        if arguments.json:
            print(json.dumps([one.to_dict() for one in found], indent=1))
        else:
            print("\n".join(listing(found)))
        return FINE
    findings, journals, bursts = verify(root)
    damage = sum(not finding.note for finding in findings)
    if arguments.json:
        rows = [{**vars(finding), "where": str(finding.where)} for finding in findings]
        print(
            json.dumps({"journals": journals, "bursts": bursts, "damage": damage, "findings": rows}, indent=1)
        )
    else:
        for finding in findings:
            print(finding.text())
        verdict = counted(damage, "damaged place") if damage else "sound"
        print(f"{root}: {counted(journals, 'journal')}, {counted(bursts, 'burst')}: {verdict}")
    return FINDING if damage else FINE
