"""What the commands share: exit statuses, help texts, the form of a sub-command. Light: --help is quick."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from hakd.records.errors import HakdError

if TYPE_CHECKING:
    from hakd.study.devices import Entry

FINE, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130
STATUS = """exit status:
  0    success
  1    an error that you can fix (one line says which), an unfit device, a stale or
       unclear curve (recheck), or damage (store verify)
  2    the command line was not understood
  130  ended by Ctrl-C; what was measured is kept
"""
DEVICE = """A DEVICE is a name in the configuration, the path of a device file
(name: {transport: ssh, host: ...}), or PATH:NAME for one device of such a file.
The configuration is config/config.yaml of the working directory, else of the checkout;
--config merges further files into it."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def command(
    commands: Commands, name: str, words: str, about: str, device: bool = True
) -> argparse.ArgumentParser:
    """Add a sub-command; `device`: it reads the configuration, so its help explains what a DEVICE is."""
    found = commands.add_parser(
        name,
        help=words,
        description=about,
        epilog=f"{DEVICE}\n\n{STATUS}" if device else STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if device:
        found.add_argument(
            "--config",
            action="append",
            default=[],
            metavar="FILE",
            help="merge this configuration into the default one, as snakemake --configfile does; may be repeated",
        )
    return found


def table_argument(parser: argparse.ArgumentParser) -> None:
    """The latency table that a command reads."""
    parser.add_argument(
        "table", metavar="TABLE", help="a latency table: .parquet, .csv, or .json of export-table"
    )


def measuring_options(parser: argparse.ArgumentParser) -> None:
    """Options of a command that times curves: how, and where bursts are kept."""
    parser.add_argument("--store", metavar="DIR", help="measurement store (default: the configuration's)")
    parser.add_argument("--min-step", type=fraction, metavar="X", help="smallest step that matters, e.g. 0.1")
    parser.add_argument(
        "--processes", type=from_(2), metavar="N", help="fresh processes in each look, 2 or more"
    )
    parser.add_argument("--rounds", type=from_(3), metavar="N", help="rounds in each process, 3 or more")


def find_entry(arguments: argparse.Namespace) -> "Entry":
    """The named device, with the settings that `measuring_options` change.

    Raises:
        HakdError: no such device, or settings that do not fit together.
    """
    from hakd.study.devices import changed, find_device

    given = {key: getattr(arguments, key) for key in ("processes", "rounds", "min_step")}
    return changed(find_device(arguments.device, arguments.config), given)


@contextmanager
def respelling(entry: "Entry | None") -> Iterator[None]:
    """Errors name the device as the command line does."""
    try:
        yield
    except HakdError as error:
        raise (entry.respelled(error) if entry else error) from None


def _within(words: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """An option that is a number of some range."""

    def number(text: str) -> float:
        value = float(text) if text.isascii() else 0.0
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text} is not {words}")
        return value

    return number


fraction = _within("above 0 and up to 1", lambda value: 0 < value <= 1)
share = _within("above 0 and below 1", lambda value: 0 < value < 1)
positive = _within("a number above 0", lambda value: 0 < value < 1e9)


def from_(least: int, most: int | None = None) -> Callable[[str], int]:
    """An option that is a whole number from `least`, and up to `most` where that is given."""

    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= (10**6 if most is None else most):
            upto = "" if most is None else f" to {most}"
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least}{upto}")
        return value

    return number


def sizes(text: str) -> tuple[int, ...]:
    """An option like 3,224,224: the shape of an image."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < 10**6 for part in parts):
        raise argparse.ArgumentTypeError(f"{text} is not sizes like 3,224,224")
    return tuple(map(int, parts))
