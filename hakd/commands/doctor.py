"""`hakd doctor`: are devices fit for measuring?"""

import argparse
import json
import logging

from hakd.commands.common import FINDING, FINE, Commands, command


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "doctor",
        "check whether devices are fit for measuring, and say what to do where they are not",
        "Check whether devices are fit for measuring: connection, host key, Python, engine, CPUs, clock,\n"
        "temperature, memory, load, and how well timings repeat. About 10 s a device; boards in parallel.\n\n"
        "examples:\n"
        "  hakd doctor                  all devices of the configuration\n"
        "  hakd doctor pi4 local        two of them\n"
        "  hakd doctor boards.yaml      all devices of a device file\n"
        "  hakd doctor --json pi4       as JSON",
    )
    found.add_argument(
        "devices", nargs="*", metavar="DEVICE", help="which devices (default: all of the configuration)"
    )
    found.add_argument("--json", action="store_true", help="print one JSON list instead of text")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.doctor import Report, examine_all
    from hakd.study.devices import find_devices

    logging.getLogger("hakd").setLevel(logging.ERROR)  # a session's warnings are among the findings
    reports: list[Report] = []
    for report in examine_all(find_devices(arguments.devices, arguments.config)):
        if not arguments.json:
            print("\n" * bool(reports) + report.text(), flush=True)
        reports.append(report)
    if arguments.json:
        print(json.dumps([report.to_dict() for report in reports], indent=1))
    return FINE if all(report.fit for report in reports) else FINDING
