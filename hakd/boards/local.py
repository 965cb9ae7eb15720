"""The transport `local`: the agent as a subprocess of this machine, over the same protocol as any board."""

import sys

from hakd.boards import agent
from hakd.boards.device import Device


def command(device: Device) -> list[str]:
    """Command line whose standard streams are the agent's. A constant but for the interpreter's path."""
    return [device.python or sys.executable, "-u", "-c", agent.BOOT]
