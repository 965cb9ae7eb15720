"""`hakd recheck`: does a latency table still hold?"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hakd.commands.common import FINDING, FINE, Commands, command, from_, respelling, sizes
from hakd.records.errors import HakdError

if TYPE_CHECKING:
    import pandas as pd

    from hakd.latency_tables.recheck import PointsOf
    from hakd.study.files import Configuration


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "recheck",
        "after an update of the engine: re-time a few tell-tale points, and name the groups and choices that are stale",
        "Re-time a few tell-tale points of a latency table in fresh processes: both sides of each curve's largest\n"
        "steps and both ends of its widest tread. Where a ratio is no longer what the table says, beyond the curve's\n"
        "tolerance, the curve is stale. Status 1 unless all hold.\n\n"
        "examples:\n"
        "  hakd recheck pi4 --table pi4.parquet\n"
        "  hakd recheck pi4 --table latency/pi4.parquet --choices snap/0.3/pi4.json snap/0.6/pi4.json\n"
        "  hakd recheck pi4.yaml --table pi4.parquet --group block6 block13 --steps 4\n"
        "  hakd recheck pi4 --table mine.parquet --network mine.nets:small",
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
        help="package.module:function, for the table of a network of yours: it is built again",
    )
    found.add_argument(
        "--input", type=sizes, metavar="C,H,W", help="an image of that network (default: as the table says)"
    )
    found.add_argument("--store", metavar="DIR", help="measurement store (default: the configuration's)")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.latency_tables.files import read_latency, select
    from hakd.latency_tables.recheck import recheck
    from hakd.study.devices import changed, find_device
    from hakd.study.files import read_configuration

    config = read_configuration(arguments.config)
    entry = find_device(arguments.device, arguments.config)
    entry = changed(entry, {"benchmark_processes": arguments.processes})
    frame, about = read_latency(arguments.table)
    frame = select(frame, arguments.table, arguments.group)
    points_of = _points_of(arguments, frame, about, config)
    store = arguments.store or config.store()
    with respelling(entry):
        fine = recheck(
            entry, frame, about, points_of, arguments.table, store, arguments.steps, arguments.choices
        )
    return FINE if fine else FINDING


def _points_of(
    arguments: argparse.Namespace, frame: "pd.DataFrame", about: Mapping[str, Any], config: "Configuration"
) -> "PointsOf":
    """How the table's rows become points: a network of hakd's, or one that a function of the user's builds."""
    from hakd.explaining.own_rows import OwnNetwork, own_name
    from hakd.latency_tables.parts import spec_from
    from hakd.latency_tables.recheck import known_points
    from hakd.study.networks import network_of

    table, own = arguments.table, own_name(frame)
    if own is None:
        for key, given in (("--network", arguments.network), ("--input", arguments.input)):
            if given is not None:
                remedy = "Leave it out: it belongs to the table of a network of your own"
                raise HakdError(
                    f"the table is of {frame['network'].iloc[0]}", where=table, key=key, remedy=remedy
                )
        spec = spec_from(about, table) or network_of(config, str(frame["network"].iloc[0]))
        return known_points(spec, table)
    if arguments.network is None:
        problem = f"the table is of {own}, which has to be built again, and a table calls no code by itself"
        raise HakdError(problem, where=table, key="--network", remedy=f"Give --network {own}")
    return OwnNetwork(arguments.network, arguments.input, about, table).points
