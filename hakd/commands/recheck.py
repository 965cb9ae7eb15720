"""`hakd recheck`: checks whether a latency table still holds."""

import argparse

from hakd.commands.common import FINDING, FINE, Commands, command, from_, respelling, sizes


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "recheck",
        "after an update of the engine: time a few check points again, and name the stale groups and choices",
        "Time a few check points of a latency table again, in fresh processes: both sides of each curve's largest\n"
        "steps and both ends of its widest plateau. A curve is stale where a ratio differs from the table's by more\n"
        "than the curve's tolerance. The exit status is 1 unless all curves hold.\n\n"
        "examples:\n"
        "  hakd recheck pi4 --table pi4.parquet\n"
        "  hakd recheck pi4 --table latency/pi4.parquet --choices snap/0.3/pi4.json snap/0.6/pi4.json\n"
        "  hakd recheck pi4.yaml --table pi4.parquet --group block6 block13 --steps 4\n"
        "  hakd recheck pi4 --table mine.csv --network mine.nets:small --input 3,96,96",
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
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.latency_tables.files import read_latency, select
    from hakd.latency_tables.parts import spec_of_table
    from hakd.latency_tables.recheck import recheck
    from hakd.study.devices import changed, find_device
    from hakd.study.files import read_configuration

    config = read_configuration(arguments.config)
    entry = find_device(arguments.device, arguments.config)
    entry = changed(entry, {"benchmark_processes": arguments.processes})
    frame, about = read_latency(arguments.table)
    frame = select(frame, arguments.table, arguments.group)
    spec = spec_of_table(frame, about, arguments.table, config, arguments.network, arguments.input)
    store = arguments.store or config.store()
    with respelling(entry):
        fine = recheck(entry, frame, about, spec, arguments.table, store, arguments.steps, arguments.choices)
    return FINE if fine else FINDING
