"""From points to what travels: compressed models and reference outputs, in chunks that one process can hold."""

import base64
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hakd.boards import engines, worker
from hakd.boards.points import Point
from hakd.records.errors import HakdError

Packed = dict[str, Any]
BYTES_LIMIT = 128 << 20  # of packed points in one chunk; the agent refuses frames of four times that


def worker_source() -> str:
    """Source of the worker as the agent takes it: its two files, run one after the other in one namespace."""
    files = {path.name: path.read_text() for path in (Path(engines.__file__), Path(worker.__file__))}
    return f"for name, text in {files!r}.items():\n    exec(compile(text, name, 'exec'))\nmain(load)\n"


def pack(content: bytes) -> str:
    """Compressed base64. The fastest level: activations hardly compress, weights made for timing always do."""
    return base64.b64encode(zlib.compress(content, 1)).decode("ascii")


def board_input(shape: Sequence[int]) -> Any:
    """The float32 input that the board feeds to a model of this input shape: the same bits everywhere."""
    import numpy

    return worker.pattern(numpy, tuple(shape))


def pack_point(point: Point, check: bool = True) -> Packed:
    """A point as the agent takes it: key, input shape, model and, to `check` it, its expected output if it has one."""
    packed: Packed = {
        "key": point.key,
        "shape": list(point.input_shape),
        "model": pack(point.model()),
        "reference": None,
    }
    if check and point.reference is not None:
        import numpy

        expected = numpy.ascontiguousarray(point.reference(board_input(point.input_shape)), dtype="<f4")
        if not numpy.isfinite(expected).all():
            raise HakdError(
                "the reference output is not finite",
                where=point.label,
                remedy="Give a model whose outputs are finite",
            )
        packed["reference"] = {"shape": list(expected.shape), "data": pack(expected.tobytes())}
    return packed


def unique(points: Iterable[Point]) -> list[Point]:
    """Points without repeated keys, the first of each, in order."""
    first: dict[str, Point] = {}
    for point in points:
        first.setdefault(point.key, point)
    return list(first.values())


def chunks(points: Sequence[Point], most: int) -> Iterator[list[Point]]:
    """Split into runs of at most `most` points; neighbours of one curve stay together when they fit."""
    chunk: list[Point] = []
    for curve in _curves(points):
        if chunk and len(chunk) + len(curve) > most:
            yield chunk
            chunk = []
        while len(curve) > most:
            yield curve[:most]
            curve = curve[most:]
        chunk = chunk + curve
    if chunk:
        yield chunk


def packed_chunks(points: Sequence[Point], most: int, check: bool = True) -> Iterator[list[Packed]]:
    """`chunks`, packed; split further where they get too large for one frame and one process."""
    for chunk in chunks(points, most):
        packed: list[Packed] = []
        size = 0
        for point in chunk:
            item = pack_point(point, check)
            weight = len(item["model"]) + len(item["reference"]["data"] if item["reference"] else "")
            if packed and size + weight > BYTES_LIMIT:
                yield packed
                packed, size = [], 0
            packed.append(item)
            size += weight
        yield packed


def _curves(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Runs of neighbours with the same non-empty curve; a point without one is a run of its own."""
    run: list[Point] = []
    for point in points:
        if run and (not point.curve or point.curve != run[-1].curve):
            yield run
            run = []
        run.append(point)
    if run:
        yield run
