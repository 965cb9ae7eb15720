"""`hakd export-table`: a latency table for other programs."""

import argparse
from collections.abc import Mapping
from typing import Any

from hakd.commands.common import FINE, Commands, command, table_argument
from hakd.records.text import counted


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "export-table",
        "write a latency table as CSV or JSON, or in the format that HALP, Once-for-all or NetAdapt read",
        "Write a latency table for other programs.\n\n"
        "  csv       the rows, for spreadsheets\n"
        "  json      rows and description, which `hakd import-table` reads\n"
        "  halp      {batch_cin_cout_size_kernel_stride_groups: ms}\n"
        "  ofa       Once-for-all's latency table (YAML), a key per block\n"
        "  netadapt  {layer: {latency: {'cin,cout': seconds}}}\n\n"
        "HALP and NetAdapt read pickles; docs/commands.md has the line that makes one of the JSON. The last three\n"
        "formats hold trusted rows only; the command names the rows that do not fit into them.\n\n"
        "examples:\n"
        "  hakd export-table pi4.parquet --format json --out pi4.json\n"
        "  hakd export-table pi4.parquet --format ofa --out pi4.yaml\n"
        "  hakd export-table densenet.parquet --format halp --of block --out halp.json",
    )
    table_argument(found)
    found.add_argument(
        "--format", required=True, choices=("csv", "json", "halp", "ofa", "netadapt"), help="output format"
    )
    found.add_argument("--out", required=True, metavar="FILE", help=".csv, .json, or .yaml (ofa)")
    found.add_argument(
        "--of",
        choices=("tile", "block"),
        default="tile",
        help="halp, netadapt: write tiles, which add up to the network (the default), or decision blocks, which "
        "overlap but were timed over all widths",
    )
    found.add_argument(
        "--untrusted", action="store_true", help="halp, ofa, netadapt: write untrusted rows as well"
    )
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.latency_tables.exports import SUFFIX
    from hakd.latency_tables.files import read_latency, write_latency_json
    from hakd.records.files import check_place

    check_place(arguments.out, (SUFFIX[arguments.format],), f"the format {arguments.format}")
    frame, about = read_latency(arguments.table)
    if arguments.format == "csv":
        from hakd.records.tables import write_table

        write_table(arguments.out, "latency", frame)
        print(f"Written: {arguments.out} ({counted(len(frame), 'row')}; CSV cannot hold device and engine).")
    elif arguments.format == "json":
        write_latency_json(arguments.out, frame, about)
        print(f"Written: {arguments.out} ({counted(len(frame), 'row')}).")
    else:
        _foreign(arguments, frame, about)
    return FINE


def _foreign(arguments: argparse.Namespace, frame: Any, about: Mapping[str, Any]) -> None:
    """Write one of the other tools' formats, and say what is not in it."""
    from hakd.latency_tables.exports import FORMATS, write_export
    from hakd.latency_tables.parts import parts_of, spec_of_table
    from hakd.study.files import read_configuration

    kind = "tile" if arguments.format == "ofa" else arguments.of
    spec = spec_of_table(frame, about, arguments.table, read_configuration(arguments.config))
    rows = frame[frame["kind"] == kind]
    trusted = rows if arguments.untrusted else rows[rows["trusted"]]
    batch = about.get("batch", 1)
    made = FORMATS[arguments.format](list(parts_of(trusted, spec, arguments.table)), batch)
    write_export(arguments.out, made.content)
    print(
        f"Written: {arguments.out} ({counted(len(made.content), 'key')}, of {counted(len(trusted), kind)})."
    )
    if "batch" not in about and arguments.format != "ofa":
        print("  The table does not say for which batch it was timed: batch 1 is written.")
    if len(rows) > len(trusted):
        print(f"  Left out: {len(rows) - len(trusted)} untrusted {kind}s (--untrusted includes them).")
    other = len(frame) - len(rows)
    if other:
        print(f"  Left out: {other} rows that are not {kind}s.")
    for why, names in made.left_out.items():
        print(f"  Left out: {', '.join(dict.fromkeys(names))} ({why}).")
    for words in made.notes:
        print(f"  Note: {words}.")
