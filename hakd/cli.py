"""The command `hakd`. Imports what a command needs when it is called, so that --help is quick."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from hakd import __version__
from hakd.commands import (
    best,
    clean,
    compare,
    doctor,
    explain,
    export_table,
    hazards,
    import_table,
    inspect,
    pin,
    plan,
    recheck,
    staircase,
    store,
    sweep,
)
from hakd.commands.common import DEVICE, FINDING, FINE, INTERRUPTED, STATUS, USAGE
from hakd.records.errors import HakdError
from hakd.records.text import printable

__all__ = ["FINDING", "FINE", "INTERRUPTED", "USAGE", "main", "parser"]
_TRACEBACK = "HAKD_TRACEBACK"
COMMANDS = (
    *(doctor, pin, plan, sweep, explain, best, compare, clean),
    *(staircase, hazards, export_table, import_table, recheck, store, inspect),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        return arguments.run(arguments)
    except HakdError as error:
        print(f"error: {error}", file=sys.stderr)
        return FINDING
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has gone: print nothing more, not even at the interpreter's exit.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINDING
    except Exception as error:
        if os.environ.get(_TRACEBACK):
            raise
        print(f"error: {_defect(error)}", file=sys.stderr)
        return FINDING


def _defect(error: Exception) -> str:
    """One line for a defect of hakd: what happened, and the last place in hakd where it did."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}hakd{os.sep}" in frame.filename] or frames
    place = f"{os.sep.join(ours[-1].filename.split(os.sep)[-3:])}, line {ours[-1].lineno}"
    words = printable(f"{type(error).__name__}: {error}", 300)
    return f"a defect of hakd at {place}: {words}. Please report it; {_TRACEBACK}=1 shows where it came from"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="hakd",
        description="Measure on devices: check them, trust their host keys, build latency tables and use them.",
        epilog=f"{DEVICE}\n\n{STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"hakd {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add(commands)
    return top
