"""Real boards for the tests: a loopback sshd, boards in namespaces with links to cut, a disk that is soon full.

A rig that lacks its part (no sshd, no right to make namespaces) raises `Unavailable` with the reason: tests skip, or
fail where HAKD_REQUIRE_SYSTEM is set. Everything a rig starts ends with it, and with the process that made it.
"""

from tests.boards.rigs.needs import Unavailable
from tests.boards.rigs.netboard import Lab, NetBoard
from tests.boards.rigs.sshd import Sshd
from tests.boards.rigs.tiny_disk import TinyDisk

__all__ = ["Lab", "NetBoard", "Sshd", "TinyDisk", "Unavailable"]
