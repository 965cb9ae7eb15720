"""`hakd pin`: trust a board's host key."""

import argparse

from hakd.commands.common import FINE, Commands, command, respelling


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "pin",
        "show a board's host key, ask, and write it into the project's known hosts",
        "Show a board's host key, ask, and write it into config/known_hosts (or the device's own `known_hosts`).\n"
        "The key of its jump host comes first. No command runs on the board.\n\n"
        "examples:\n"
        "  hakd pin pi4\n"
        "  hakd pin pi4 --fingerprint SHA256:4eGmG4ReAY0DnWbfvMdsLxCyXBxfvq38S7sXq7q3Lbk\n"
        "  hakd pin pi4 --replace       the board was set up again",
    )
    found.add_argument("device", metavar="DEVICE", help="the board")
    found.add_argument(
        "--fingerprint",
        action="append",
        default=[],
        metavar="SHA256:...",
        help="do not ask: pin only a key that has this fingerprint (repeat it for the jump host's key)",
    )
    found.add_argument("--replace", action="store_true", help="replace a known key by another one")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.boards.pinning import at_the_terminal, pin
    from hakd.study.devices import find_device

    entry = find_device(arguments.device, arguments.config, reach_only=True)
    with respelling(entry):
        pin(entry.device, arguments.fingerprint, arguments.replace, ask=at_the_terminal())
    return FINE
