"""Files of the idx format, which MNIST made known: a header with the shape, then bytes; gzipped or not."""

import gzip
import hashlib
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hakd.records.errors import HakdError

_KINDS = {1: "labels", 3: "images"}  # by the number of axes


def header(shape: Sequence[int]) -> bytes:
    """How a file of uint8 of this shape begins."""
    return bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()


def read_idx(path: Path, shape: tuple[int, ...], md5: str, remedy: str) -> np.ndarray:
    """The content of a file that is known, uint8 of `shape`.

    Args:
        path: of the file; gzipped where it ends in `.gz`.
        shape: that it must have: (N,) of labels, (N, H, W) of images.
        md5: of the file unpacked.
        remedy: for errors.

    Raises:
        HakdError: a file that is missing, damaged, of another format or shape, or has other content.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            content = stream.read(len(header(shape)) + math.prod(shape) + 1)
        fault = _fault(content, shape, md5)
    except FileNotFoundError:
        fault = "no such file"
    except gzip.BadGzipFile as error:
        fault = f"is damaged or not a gzip file ({error})"
    except (EOFError, zlib.error) as error:
        fault = f"is truncated or damaged ({error})"
    except OSError as error:
        fault = f"cannot be read ({error.strerror})"
    if fault:
        raise HakdError(fault, where=path, key="data.root", remedy=remedy)
    return np.frombuffer(content, np.uint8, offset=len(header(shape))).reshape(shape)


def _fault(content: bytes, shape: tuple[int, ...], md5: str) -> str | None:
    """What is wrong with the content, read up to one byte more than there should be."""
    if not content:
        return "is empty"
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else None
    if axes not in _KINDS:
        return "is not an idx file of images or labels"
    if axes != len(shape):
        return f"holds {_KINDS[axes]} where {_KINDS[len(shape)]} belong"
    begin = header(shape)
    if content[: len(begin)] != begin and len(content) >= len(begin):
        found = np.frombuffer(content, ">u4", axes, 4).tolist()
        return f"holds {_times(found)} values, not {_times(shape)}"
    expected = len(begin) + math.prod(shape)
    if len(content) != expected:
        return f"is {'truncated' if len(content) < expected else 'too long'}: unpacked it must have {expected} bytes"
    found_md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return None if found_md5 == md5 else f"has other content: unpacked its md5 is {found_md5}, not {md5}"


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
