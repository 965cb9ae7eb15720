"""Append-only journals: the results of a session, one JSON object a line, on disk before they are used."""

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hakd.records.errors import HakdError

SYNC_S = 1.0  # the kernel has every line immediately; a power cut loses at most this much


class Journal:
    """One session's journal. The file appears with the first record.

    Raises:
        HakdError: the disk is full or the folder is not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._synced_at = 0.0

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write records in one piece; flush them to disk unless that was done a moment ago."""
        text = "".join(
            json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n" for record in records
        )
        try:
            if self._fd is None:
                self._fd = self._create()
            self._write(text.encode())
            if time.monotonic() - self._synced_at > SYNC_S:
                self.sync()
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> HakdError:
        remedy = "Make room or give another folder; the same command continues where it stopped"
        return HakdError(f"cannot write ({error.strerror})", where=self.path, remedy=remedy)

    def _write(self, data: bytes) -> None:
        """Write all or nothing: a record cut off by a full disk must not precede later ones."""
        assert self._fd is not None
        start = os.fstat(self._fd).st_size
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, start)
            raise

    def _create(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return fd

    def sync(self) -> None:
        """Flush to disk.

        Raises:
            HakdError: the disk is full or broken.
        """
        try:
            if self._fd is not None:
                os.fsync(self._fd)
        except OSError as error:
            raise self._refused(error) from None
        self._synced_at = time.monotonic()

    def close(self) -> None:
        """Flush and close; more records may not follow."""
        if self._fd is not None:
            try:
                self.sync()
            finally:
                os.close(self._fd)
                self._fd = None


def read(path: Path) -> list[dict[str, Any]]:
    """Records of a journal, without a last line that a crash cut off.

    Raises:
        HakdError: damage anywhere else, or a file that cannot be read.
    """
    try:
        *lines, _torn = path.read_bytes().split(b"\n")
    except OSError as error:
        remedy = "Make it readable, or give another store"
        raise HakdError(f"cannot read ({error.strerror})", where=path, remedy=remedy) from None
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise HakdError(
            f"damaged journal ({error})", where=path, remedy="Delete it; its points are measured again"
        ) from None


def head(path: Path) -> dict[str, Any]:
    """The first record of a journal, that of its session; empty where there is none yet or it is damaged."""
    try:
        with path.open("rb") as stream:
            record = json.loads(stream.readline())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
