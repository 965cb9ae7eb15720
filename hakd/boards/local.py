"""The transport `local`: the agent as a subprocess of this machine, over the same protocol as any board."""

import sys

from hakd.boards import agent
from hakd.boards.device import Device
from hakd.records.errors import HakdError

CWD = "/"


def command(device: Device) -> list[str]:
    """Command line whose standard streams are the agent's. A constant but for the interpreter's path."""
    return [device.python or sys.executable, "-u", "-c", agent.BOOT]


def explain(device: Device, status: int, words: str, heard: bool) -> HakdError | None:
    """A subprocess has no link that could be lost: its words speak for themselves."""
    return None


def turned_away(words: str) -> bool:
    """Nothing to wait for: a second try ends as the first."""
    return False
