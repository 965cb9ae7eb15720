"""`hakd recheck`: checks whether a latency table still holds."""

import argparse
import json

from hakd.commands.common import FINDING, FINE, Commands, command, from_, respelling, sizes


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "recheck",
        "after an update of the engine: time a few check points again, and name the stale groups and choices",
        "Time a few check points of a latency table again, in fresh processes: both sides of each curve's largest\n"
        "steps and both ends of its widest plateau. A curve is stale where a ratio differs from the table's by more\n"
        "than the curve's tolerance. It also says which layers became slower or faster than the others, by how much,\n"
        "and which choices of a study to renew. The exit status is 1 unless all curves and choices hold.\n\n"
        "examples:\n"
        "  hakd recheck pi4 --table pi4.parquet\n"
        "  hakd recheck pi4 --table latency/pi4.parquet --choices snap/0.3/pi4.json snap/0.6/pi4.json\n"
        "  hakd recheck pi4.yaml --table pi4.parquet --group block6 block13 --steps 4\n"
        "  hakd recheck pi4 --table mine.csv --network mine.nets:small --input 3,96,96\n"
        "  hakd recheck pi4 --table pi4.parquet --json",
    )
    found.add_argument("device", metavar="DEVICE", help="the device that the table is of")
    found.add_argument("--table", required=True, metavar="TABLE", help="its latency table")
    found.add_argument("--group", nargs="+", default=[], metavar="GROUP", help="these width groups only")
    found.add_argument(
        "--steps", type=from_(1), default=2, metavar="N", help="steps of each curve (default: 2)"
    )
    found.add_argument(
        "--choices",
        nargs="+",
        default=[],
        metavar="FILE",
        help="results/{network}/snap/{level}/{device}.json of a study",
    )
    found.add_argument(
        "--processes", type=from_(3), metavar="N", help="fresh processes in a look (default: 5)"
    )
    found.add_argument(
        "--network",
        metavar="NETWORK",
        help="package.module:function, for a .csv table of a network of yours, which does not describe it",
    )
    found.add_argument(
        "--input", type=sizes, metavar="C,H,W", help="an image of that network (default: 3,224,224)"
    )
    found.add_argument("--store", metavar="DIR", help="measurement store (default: the configuration's)")
    found.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.latency_tables.files import read_latency, select
    from hakd.latency_tables.parts import spec_of_table
    from hakd.latency_tables.recheck import recheck
    from hakd.latency_tables.recheck_report import content, holds, read_choices, stale_choices, text
    from hakd.study.devices import changed, find_device
    from hakd.study.files import read_configuration

    config = read_configuration(arguments.config)
    entry = find_device(arguments.device, arguments.config)
    entry = changed(entry, {"benchmark_processes": arguments.processes})
    frame, about = read_latency(arguments.table)
    frame = select(frame, arguments.table, arguments.group)
    spec = spec_of_table(frame, about, arguments.table, config, arguments.network, arguments.input)
    store = arguments.store or config.store()
    choices = read_choices(arguments.choices)  # a file that is missing is an error before minutes of timing
    with respelling(entry):
        found = recheck(entry, frame, about, spec, arguments.table, store, arguments.steps)
    stale = stale_choices(found, choices)
    print(json.dumps(content(found, stale), indent=1) if arguments.json else text(found, stale))
    return FINE if holds(found, stale) else FINDING
