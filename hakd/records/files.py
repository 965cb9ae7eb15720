"""Reading and writing files: whole or not at all, with provenance inside."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hakd.records.errors import HakdError, make_again
from hakd.records.provenance import provenance


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` on success, delete it on any failure.

    The temporary name keeps the suffix, for writers that use it.

    Raises:
        HakdError: it cannot be written, e.g. because the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_UMASK)
        os.replace(temporary, path)
    except Exception as error:
        cause = _refused(error, temporary)
        if cause is None:
            raise
        problem = f"cannot write ({cause.strerror or cause})"
        remedy = "Make room or choose another place, then run the same command again"
        raise HakdError(problem, where=path, remedy=remedy) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _refused(error: Exception, temporary: Path | None) -> OSError | None:
    """The system's reason for which a file could not be written; None: the error has another cause.

    Writers such as torch's raise their own errors, which do not say why: writing a little more shows whether it was
    the disk.
    """
    if isinstance(error, OSError) or temporary is None:
        return error if isinstance(error, OSError) else None
    try:
        with open(temporary, "ab") as stream:
            stream.write(bytes(1 << 16))
    except OSError as cause:
        return cause
    return None


_UMASK = os.umask(0)  # mkstemp makes files private; results are meant to be shared
os.umask(_UMASK)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write bytes whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | os.PathLike, kind: str, content: Mapping[str, Any], version: int = 1) -> None:
    """Write `content` as JSON with its kind, format version and provenance. NaN is refused."""
    record = {"kind": kind, "format": version, **content, "provenance": provenance()}
    text = json.dumps(record, indent=1, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: str | os.PathLike, kind: str, version: int = 1) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
        HakdError: missing file, not JSON, another kind of file or another format version.
    """
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise HakdError("no such file", where=path, remedy=make_again(path)) from None
    except OSError as error:
        raise HakdError(f"cannot read ({error.strerror})", where=path, remedy=make_again(path)) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise HakdError(f"not JSON ({error})", where=path, remedy=make_again(path)) from None
    if not isinstance(content, dict) or content.get("kind") != kind:
        found = content.get("kind") if isinstance(content, dict) else type(content).__name__
        raise HakdError(f"is {found!r}, not {kind!r}", where=path, key="kind", remedy=make_again(path))
    if content.get("format") != version:
        raise HakdError(
            f"format {content.get('format')}, this program reads {version}",
            where=path,
            key="format",
            remedy=make_again(path),
        )
    return content


def digest(content: Any, length: int = 12) -> str:
    """Short hash of anything JSON can hold, independent of key order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def file_digest(path: str | os.PathLike, length: int = 12) -> str:
    """Short hash of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:length]


def check_place(path: str, suffixes: Sequence[str], what: str) -> None:
    """Refuse a path that cannot be written to before any work is done.

    Args:
        path: where something is to be written.
        suffixes: the ones it may end in; any for none.
        what: what is written, for the message.

    Raises:
        HakdError: another suffix, a folder, a place without the right to write.
    """
    import tempfile

    found = Path(path)
    if suffixes and found.suffix not in suffixes:
        kind = found.suffix or "without suffix"
        remedy = f"Use {' or '.join(suffixes)}"
        raise HakdError(f"{what} cannot be {kind}", where=path, key="--out", remedy=remedy)
    if found.is_dir():
        raise HakdError("is a folder", where=path, key="--out", remedy="Give the path of a file")
    above = next(parent for parent in found.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        problem = f"cannot write to {above} ({error.strerror})"
        raise HakdError(problem, where=path, key="--out", remedy="Give another path") from None
