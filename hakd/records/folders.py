"""Writing folders: whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Container, Iterator
from pathlib import Path

from hakd.records.errors import HakdError


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, own: Container[str]) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; rename it to `path` on success, delete it on any failure.

    A folder that is there already is replaced, if all it holds are files that the writer may have written before.

    Args:
        path: of the folder.
        own: names of the files that may be replaced.

    Raises:
        HakdError: it cannot be written, or something else is there.
    """
    path = Path(os.path.abspath(path))
    _refuse_others(path, own)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        made, before = temporary / "made", temporary / "before"
        made.mkdir()
        yield made
        if path.exists():
            os.rename(path, before)
        try:
            os.rename(made, path)
        except OSError:
            if before.exists():
                os.rename(before, path)
            raise
    except HakdError as error:  # of a writer that wrote into the temporary folder
        if temporary is None or not str(error.where).startswith(str(temporary)):
            raise
        raise HakdError(error.problem, where=path, key=error.key, remedy=error.remedy) from None
    except OSError as error:
        problem = f"cannot write ({error.strerror or error})"
        raise HakdError(problem, where=path, remedy="Make room or choose another place") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _refuse_others(path: Path, own: Container[str]) -> None:
    """Refuse a file in the folder's place, and a folder with files of the user's."""
    if not path.exists():
        return
    if not path.is_dir():
        raise HakdError("is a file", where=path, remedy="Give the path of a folder")
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in own)
    if others:
        problem = f"holds {others[0]}, which would be lost"
        raise HakdError(problem, where=path, remedy="Move it away, or give another folder")
