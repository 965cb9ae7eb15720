"""The command `hakd`: doctor, pin, sweep. Imports what a command needs when it is called, so that --help is quick."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from hakd import __version__
from hakd.records.errors import HakdError

FINE, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130
_STATUS = """exit status:
  0    fine
  1    a mistake that you can mend (one line says which), or a device that is unfit
  2    the command line was not understood
  130  ended by Ctrl-C; what was measured is kept
"""
_DEVICE = """A DEVICE is a name in the configuration, the path of a device file
(name: {transport: ssh, host: ...}), or PATH:NAME for one device of such a file.
The configuration is config/config.yaml of the working directory, else of the checkout;
--config lays further files over it."""


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
        # Whoever read the output has gone; nothing is left to say, not even at the interpreter's exit.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINDING


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="hakd",
        description="Measure on devices: examine them, trust their host keys, build latency tables.",
        epilog=f"{_DEVICE}\n\n{_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"hakd {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _add_doctor(commands)
    _add_pin(commands)
    _add_sweep(commands)
    return top


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, words: str, about: str
) -> argparse.ArgumentParser:
    found = commands.add_parser(
        name,
        help=words,
        description=about,
        epilog=f"{_DEVICE}\n\n{_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="lay this configuration over the default one, as snakemake --configfile does; again for more",
    )
    return found


# --- doctor


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    found = _command(
        commands,
        "doctor",
        "look whether devices are fit for measuring, and say what to do where they are not",
        "Look whether devices are fit for measuring: the way there, host key, Python, engine, CPUs, clock, heat,\n"
        "memory, load, and how well timings repeat. About 10 s a device; boards side by side.\n\n"
        "examples:\n"
        "  hakd doctor                  all devices of the configuration\n"
        "  hakd doctor pi4 local        two of them\n"
        "  hakd doctor boards.yaml      all devices of a device file\n"
        "  hakd doctor --json pi4       for machines",
    )
    found.add_argument("devices", nargs="*", metavar="DEVICE", help="which devices; all of the configuration")
    found.add_argument("--json", action="store_true", help="print one JSON list instead of text")
    found.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from hakd.device_file import find_devices
    from hakd.doctor import Report, examine_all

    logging.getLogger("hakd").setLevel(logging.ERROR)  # what a session warns of is among the findings
    reports: list[Report] = []
    for report in examine_all(find_devices(arguments.devices, arguments.config)):
        if not arguments.json:
            print("\n" * bool(reports) + report.text(), flush=True)
        reports.append(report)
    if arguments.json:
        print(json.dumps([report.to_dict() for report in reports], indent=1))
    return FINE if all(report.fit for report in reports) else FINDING


# --- pin


def _add_pin(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    found = _command(
        commands,
        "pin",
        "show a board's host key, ask, and write it into the project's known hosts",
        "Show a board's host key, ask, and write it into config/known_hosts (or the device's own `known_hosts`).\n"
        "The key of its jump host comes first. Nothing is run on the board.\n\n"
        "examples:\n"
        "  hakd pin pi4\n"
        "  hakd pin pi4 --fingerprint SHA256:4eGmG4ReAY0DnWbfvMdsLxCyXBxfvq38S7sXq7q3Lbk\n"
        "  hakd pin pi4 --replace       the board was set up anew",
    )
    found.add_argument("device", metavar="DEVICE", help="the board")
    found.add_argument(
        "--fingerprint",
        action="append",
        default=[],
        metavar="SHA256:...",
        help="do not ask: pin a key that has this fingerprint, and no other (again for the jump host's)",
    )
    found.add_argument("--replace", action="store_true", help="another key is known: replace it")
    found.set_defaults(run=_pin)


def _pin(arguments: argparse.Namespace) -> int:
    from hakd.device_file import find_device
    from hakd.pinning import at_the_terminal, pin

    entry = find_device(arguments.device, arguments.config)
    try:
        pin(entry.device, arguments.fingerprint, arguments.replace, ask=at_the_terminal())
    except HakdError as error:
        raise entry.respelled(error) from None
    return FINE


# --- sweep


def _add_sweep(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    found = _command(
        commands,
        "sweep",
        "build a latency table of a network on a device alone, without training or data",
        "Build a latency table of a network on a device: for each width group, latency over its width. Nothing is\n"
        "trained and no data set is read. Every burst is kept in the store: the same command goes on after a\n"
        "kill, and a study that shares the store measures nothing twice.\n\n"
        "examples:\n"
        "  hakd sweep local mobilenet --mode map --out mobilenet.parquet\n"
        "  hakd sweep pi4.yaml densenet --mode map --groups dense1 dense2 --out pi4.csv\n"
        "  hakd sweep pi4 mobilenet --mode targets --level 0.5 0.25 --out pi4.parquet",
    )
    found.add_argument("device", metavar="DEVICE", help="where to time")
    found.add_argument(
        "network",
        metavar="NETWORK",
        help="a name of the configuration's `networks`, or a family with defaults",
    )
    found.add_argument("--out", required=True, metavar="TABLE", help="where to write it: .parquet or .csv")
    found.add_argument(
        "--mode",
        choices=("map", "targets"),
        default="map",
        help="map: the whole curve, coarse first, then narrowed down where neighbours differ (the default); "
        "targets: what choosing a width near the network's own needs, as in a study",
    )
    start = found.add_mutually_exclusive_group()
    start.add_argument(
        "--level",
        nargs="+",
        type=_fraction,
        default=[1.0],
        metavar="X",
        help="fraction of the full network's MACs that the other groups' widths are scaled to, all alike "
        "(default: 1, the full network)",
    )
    start.add_argument(
        "--widths",
        nargs="+",
        default=[],
        metavar="FILE",
        help="start from widths that a study chose: results/{network}/widths/{level}.json",
    )
    found.add_argument("--groups", nargs="+", default=[], metavar="GROUP", help="these width groups only")
    found.add_argument("--store", metavar="DIR", help="measurement store (default: the configuration's)")
    found.add_argument("--min-step", type=_fraction, metavar="X", help="smallest step that matters, e.g. 0.1")
    found.add_argument("--processes", type=_from(2), metavar="N", help="fresh processes in a look, 2 or more")
    found.add_argument("--rounds", type=_from(3), metavar="N", help="rounds in a process, 3 or more")
    found.add_argument(
        "--channels", type=_from(1), metavar="N", help="of an image (default: the data set's, or 3)"
    )
    found.add_argument("--classes", type=_from(2), metavar="N", help="(default: the data set's, or 10)")
    found.set_defaults(run=_sweep)


def _sweep(arguments: argparse.Namespace) -> int:
    from hakd.device_file import changed, configuration, find_device
    from hakd.latency_table import Request, make_table

    logging.getLogger("hakd.sweeping").setLevel(logging.INFO)
    given = {key: getattr(arguments, key) for key in ("processes", "rounds", "min_step")}
    entry = changed(find_device(arguments.device, arguments.config), given)
    request = Request(
        arguments.network,
        arguments.mode,
        arguments.out,
        arguments.store,
        arguments.level,
        arguments.widths,
        arguments.groups,
        arguments.channels,
        arguments.classes,
    )
    try:
        make_table(entry, configuration(arguments.config), request)
    except HakdError as error:
        raise entry.respelled(error) from None
    return FINE


def _fraction(text: str) -> float:
    value = float(text) if text.isascii() else 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 1")
    return value


def _from(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= 10**6:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least}")
        return value

    return number
