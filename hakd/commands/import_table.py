"""`hakd import-table`: check and use a latency table that was made elsewhere."""

import argparse

from hakd.commands.common import FINE, Commands, command, respelling
from hakd.records.errors import HakdError


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "import-table",
        "check a latency table that was made elsewhere and write it for use as a virtual device",
        "Check a latency table that was made elsewhere, and write it where a device of `transport: virtual` answers\n"
        "from it. Format, columns, timing protocol and the shapes of all parts are always checked. The origin is\n"
        "checked against a fingerprint (`hakd store ls` shows it) or against a device, which the command connects\n"
        "to. Nothing is timed.\n\n"
        "examples:\n"
        "  hakd import-table theirs.parquet --device pi4\n"
        "  hakd import-table theirs.json --fingerprint 6e6a7a7cb1a2d3e4 --out tables/pi4.parquet\n"
        "  hakd import-table rows.csv --unchecked",
    )
    found.add_argument("table", metavar="FILE", help=".parquet, .json of export-table, or .csv")
    origin = found.add_mutually_exclusive_group(required=True)
    origin.add_argument(
        "--fingerprint", metavar="HASH", help="expected fingerprint of board, engine version and threads"
    )
    origin.add_argument("--device", metavar="DEVICE", help="device that the table must be of")
    origin.add_argument("--unchecked", action="store_true", help="do not check the origin")
    found.add_argument(
        "--same-model",
        action="store_true",
        help="with --device: accept another board of the same model (everything but the serial number is equal)",
    )
    found.add_argument(
        "--out", metavar="TABLE", help="where to write it, .parquet (default: tables/DEVICE-NETWORK.parquet)"
    )
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.latency_tables.imports import ExpectedOrigin, import_table
    from hakd.study.devices import find_device

    if arguments.same_model and not arguments.device:
        raise HakdError("needs a device", where="import-table", key="--same-model", remedy="Give --device")
    entry = find_device(arguments.device, arguments.config) if arguments.device else None
    expected = ExpectedOrigin(arguments.fingerprint, entry, arguments.unchecked, arguments.same_model)
    with respelling(entry):
        import_table(arguments.table, expected, arguments.out)
    return FINE
