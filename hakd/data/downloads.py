"""Data sets that torchvision downloads: read from their files, which are fetched where one is missing or damaged."""

import contextlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hakd.records.errors import HakdError

logger = logging.getLogger(__name__)

T = TypeVar("T")


def read_or_download(
    read: Callable[[], T], fetch: Callable[[], object], root: Path, title: str, download: bool
) -> T:
    """What `read` returns; where it finds a fault, once more after a download.

    Args:
        read: reads the files. Of a file that is missing or damaged, its HakdError has as `remedy` a clause in small
            letters that says what to put where.
        fetch: downloads them with torchvision, which checks their checksums.
        root: the folder that it downloads to.
        title: of the set, with its size.
        download: whether to.

    Raises:
        HakdError: files missing or damaged (and not downloaded), or a download that failed.
    """

    def refused(fault: HakdError, way: str, more: str = "") -> HakdError:
        remedy = f"{way}, or {fault.remedy}"
        return HakdError(fault.problem + more, where=fault.where, key=fault.key, remedy=remedy)

    missing = "Set data.download: true where there is a network"
    try:
        return read()
    except HakdError as error:
        if not download:
            raise refused(error, missing) from None
        fault = error
    logger.info("%s %s: downloading %s to %s", fault.where, fault.problem, title, root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            fetch()
    except Exception as error:  # urllib, sockets, tarfile and torchvision each raise their own
        raise refused(fault, missing, f", and {title} cannot be downloaded ({error})") from None
    try:
        return read()
    except HakdError as error:
        raise refused(error, "Delete it and run again") from None
