"""What the commands share: exit statuses, words of the help, the shape of a sub-command. Light: --help is quick."""

import argparse
from collections.abc import Callable
from typing import TypeAlias

FINE, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130
STATUS = """exit status:
  0    fine
  1    a mistake that you can mend (one line says which), or a device that is unfit
  2    the command line was not understood
  130  ended by Ctrl-C; what was measured is kept
"""
DEVICE = """A DEVICE is a name in the configuration, the path of a device file
(name: {transport: ssh, host: ...}), or PATH:NAME for one device of such a file.
The configuration is config/config.yaml of the working directory, else of the checkout;
--config lays further files over it."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def command(
    commands: Commands, name: str, words: str, about: str, device: bool = True
) -> argparse.ArgumentParser:
    """Add a sub-command; `device`: it reads the configuration, so its help says what a DEVICE is."""
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
            help="lay this configuration over the default one, as snakemake --configfile does; again for more",
        )
    return found


def fraction(text: str) -> float:
    """An option above 0 and up to 1."""
    value = float(text) if text.isascii() else 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 1")
    return value


def from_(least: int, most: int | None = None) -> Callable[[str], int]:
    """An option that is a whole number from `least`, and up to `most` where that is given."""

    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= (10**6 if most is None else most):
            upto = "" if most is None else f" to {most}"
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least}{upto}")
        return value

    return number


def positive(text: str) -> float:
    """An option above 0."""
    value = float(text) if text.isascii() else 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def sizes(text: str) -> tuple[int, ...]:
    """An option like 3,224,224: the shape of an image."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < 10**6 for part in parts):
        raise argparse.ArgumentTypeError(f"{text} is not sizes like 3,224,224")
    return tuple(map(int, parts))
