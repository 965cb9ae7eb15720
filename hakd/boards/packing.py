"""From points to frames: compressed models and reference outputs, in chunks that one process can hold."""

import base64
import zlib
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hakd.boards import agent, energy, engines, kernels, opencl, prepared, worker
from hakd.boards.points import Point, Unmeasurable
from hakd.records.errors import HakdError

Packed = dict[str, Any]
T = TypeVar("T")
WORKER = (prepared, kernels, opencl, engines, energy, worker)  # each after those that it imports
FRAME_BYTES = 128 << 20  # of packed points in one chunk; the agent refuses frames above four times that
# Of the models of one process, unpacked. Engines keep packed copies of the weights: they need two to three times that.
PROCESS_BYTES = 256 << 20


def worker_source() -> str:
    """Source of the worker as the agent takes it: its modules, which find each other by their names in the package."""
    files = {module.__name__: Path(module.__file__ or "").read_text() for module in WORKER}
    return f"""import sys, types
for name, text in {files!r}.items():
    module = sys.modules[name] = types.ModuleType(name)
    module.SOURCES = {kernels.SOURCES!r}
    exec(compile(text, name, "exec"), module.__dict__)
sys.modules[{worker.__name__!r}].main(
    sys.modules[{engines.__name__!r}].load, sys.modules[{energy.__name__!r}].measure_energy
)
"""


def pack(content: bytes) -> str:
    """Compressed base64, at the fastest level: activations hardly compress, weights made for timing always do."""
    return base64.b64encode(zlib.compress(content, 1)).decode("ascii")


def board_input(shape: Sequence[int]) -> Any:
    """The float32 input that the board feeds to a model of this input shape: the same bits everywhere."""
    import numpy

    return worker.pattern(numpy, tuple(shape))


def pack_point(point: Point, check: bool = True) -> Packed:
    """A point as the agent takes it: key, input shape, model and, to `check` it, its expected output if it has one.

    Raises:
        Unmeasurable: it has no model or no finite output to compare with.
    """
    model = point.model()
    packed: Packed = {
        "key": point.key,
        "shape": list(point.input_shape),
        "model": pack(model),
        "model_bytes": len(model),
        "reference": None,
    }
    if check and point.reference is not None:
        import numpy

        expected = numpy.ascontiguousarray(point.reference(board_input(point.input_shape)), dtype="<f4")
        if not numpy.isfinite(expected).all():
            raise Unmeasurable("the reference output is not finite")
        packed["reference"] = {
            "shape": list(expected.shape),
            "data": pack(expected.tobytes()),
            "tolerance": point.tolerance,
            "largest": point.largest,
        }
    return packed


def unique(points: Iterable[Point]) -> list[Point]:
    """Points without repeated keys, the first of each, in order."""
    first: dict[str, Point] = {}
    for point in points:
        first.setdefault(point.key, point)
    return list(first.values())


def chunks(points: Sequence[Point], most: int) -> Iterator[list[Point]]:
    """Split into runs of at most `most` points; neighbours of one curve stay together when they fit."""
    return _split(((point.curve, point, (1,)) for point in points), (most,))


def packed_chunks(
    points: Sequence[Point],
    most: int,
    failures: MutableMapping[str, str],
    check: bool = True,
    tie: Packed | None = None,
) -> Iterator[list[Packed]]:
    """`chunks`, packed, within what one frame and one process can hold; a larger model goes alone.

    Args:
        points: each is packed when its chunk is due.
        most: points in a chunk.
        failures: takes the reason, by key, of a point that is left out because it cannot be packed.
        check: the outputs.
        tie: is in every chunk and ties their processes together. Without it a curve's models share a process
            whatever their size, since nothing else makes them comparable.

    Raises:
        HakdError: a model that does not fit a frame.
    """
    room = PROCESS_BYTES - (tie["model_bytes"] if tie else 0)
    return _split(
        (
            (point.curve, item, (1, _frame_bytes(item, point), item["model_bytes"]))
            for point, item in _packed(points, check, failures)
        ),
        (most, FRAME_BYTES, room),
        breakable=2 + (tie is not None),
    )


def _packed(
    points: Iterable[Point], check: bool, failures: MutableMapping[str, str]
) -> Iterator[tuple[Point, Packed]]:
    for point in points:
        try:
            packed = pack_point(point, check)
        except Unmeasurable as problem:
            failures[point.key] = str(problem)
        else:
            yield point, packed


def _frame_bytes(item: Packed, point: Point) -> int:
    size = len(item["model"]) + len(item["reference"]["data"] if item["reference"] else "")
    if size > agent.FRAME_LIMIT - (1 << 20):
        raise HakdError(
            f"its model of {item['model_bytes'] >> 20} MiB is too large to send to a device",
            where=point.label,
            remedy="Time a smaller network, or its tiles",
        )
    return size


def _split(
    items: Iterable[tuple[str, T, Sequence[int]]], limits: Sequence[int], breakable: int | None = None
) -> Iterator[list[T]]:
    """Runs of items whose sizes add up to at most `limits`; a run of more than one item never exceeds them.

    Args:
        items: (curve, item, its sizes), read one by one.
        limits: of a run, for each size.
        breakable: the number of limits, from the first, at which a curve is split; it may exceed the others.
    """

    def exceed(run: Sequence[tuple[T, Sequence[int]]], count: int | None = None) -> bool:
        totals = (sum(sizes) for sizes in zip(*(sizes for _, sizes in run), strict=True))
        return any(total > limit for total, limit in list(zip(totals, limits, strict=True))[:count])

    whole: list[tuple[T, Sequence[int]]] = []  # of curves that have ended
    curve: list[tuple[T, Sequence[int]]] = []  # of the one under way, `name`
    name = ""
    for its_curve, item, sizes in items:
        if not its_curve or its_curve != name:
            whole, curve, name = whole + curve, [], its_curve
        if whole and exceed([*whole, *curve, (item, sizes)]):
            yield [one for one, _ in whole]
            whole = []
        if curve and exceed([*curve, (item, sizes)], breakable):
            yield [one for one, _ in curve]
            curve = []
        curve.append((item, sizes))
    if whole or curve:
        yield [one for one, _ in whole + curve]
