"""The transport `local`: the agent as a subprocess of this machine, over the same protocol as any board."""

import sys

from hakd.boards import agent
from hakd.boards.device import Device
from hakd.records.errors import HakdError

CWD = "/"


def command(device: Device) -> list[str]:
    """Command line whose standard streams are the agent's. Only the interpreter's path varies."""
    return [device.python or sys.executable, "-u", "-c", agent.BOOT]


def explain(device: Device, status: int, words: str, heard: bool) -> HakdError | None:
    """A subprocess has no link to lose: its stderr needs no explanation."""
    return None


def turned_away(words: str) -> bool:
    """Never: a second try would end as the first."""
    return False
