"""A disk of a few kilobytes, seen by the programs of one namespace only: for stores that run full."""

from pathlib import Path

from tests.boards.rigs.namespaces import Holder, entrance, user_namespace
from tests.boards.rigs.needs import program, succeed


class TinyDisk:
    """A file system in memory at `folder`.

    Attributes:
        enter: words before a command that is to see it.
        path: the same folder seen from outside.

    Raises:
        Unavailable: no right to mount it.
    """

    def __init__(self, folder: Path, size_kb: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        mount = f"mount -t tmpfs -o size={size_kb}k,mode=755 none '{folder}'"
        self._holder = Holder([*user_namespace(), "--mount"], mount, folder.with_suffix(".log"))
        self.enter = entrance(self._holder.pid, "mount")
        self.path = Path(f"/proc/{self._holder.pid}/root{folder}")

    def resize(self, size_kb: int) -> None:
        """Make room."""
        succeed([*self.enter, program("mount"), "-o", f"remount,size={size_kb}k", str(self.folder)])

    def close(self) -> None:
        """Nobody sees it any more."""
        self._holder.close()
