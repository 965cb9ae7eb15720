"""`hakd hazards`: by how much pruning a few channels of a layer can slow it down."""

import argparse

from hakd.commands.common import FINE, Commands, command, share, table_argument


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "hazards",
        "show by how much pruning a few channels of a layer can slow it down, from a latency table",
        "For each curve of a latency table, show the worst slow-down that pruning up to a share of the channels\n"
        "causes: from the full width, and from whichever width is worst. Only widths that were timed count.\n"
        "Nothing is measured.\n\n"
        "examples:\n"
        "  hakd hazards pi4.parquet\n"
        "  hakd hazards pi4.parquet --share 0.25 --out hazards.csv",
        device=False,
    )
    table_argument(found)
    found.add_argument(
        "--share",
        type=share,
        metavar="X",
        help="largest fraction of the channels that is pruned (default: 0.12)",
    )
    found.add_argument("--out", metavar="FILE", help="write the table: .csv or .parquet")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.latency_tables.files import headline, read_latency
    from hakd.latency_tables.hazards import hazard_table, lines
    from hakd.records.files import check_place
    from hakd.records.tables import write_table
    from hakd.staircase.hazards import SHARE

    if arguments.out:
        check_place(arguments.out, (".csv", ".parquet"), "a table")
    frame, about = read_latency(arguments.table)
    most = arguments.share or SHARE
    rows = hazard_table([(frame, about)], most, arguments.table)
    if about:
        print(f"{about.get('device')} ({headline(about)})")
    for line in lines(rows, most, [str(about.get("mode"))]):
        print(line)
    if arguments.out:
        write_table(arguments.out, "hazards", rows, {"share": most})
        print(f"Written: {arguments.out}")
    return FINE
