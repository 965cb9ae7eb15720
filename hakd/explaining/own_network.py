"""`hakd sweep DEVICE package.module:function`: a latency table of a network that a function of the user's builds.

The network goes through `torch.onnx.export`, its groups are those of its ONNX graph (`hakd.explaining.widths`). So what
is timed is what the engine would be given, one code finds the groups of models and of networks, and no further package
is needed.
"""

import contextlib
import importlib
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.boards import PROTOCOL, Board, Device, Point, open_board
from hakd.explaining.blocks import Group, WidthGroups, take_apart
from hakd.explaining.model import Model, load_model
from hakd.explaining.timing import check_engine
from hakd.latency_tables.build import SUFFIXES
from hakd.latency_tables.summary import summary
from hakd.records.errors import HakdError
from hakd.records.files import check_place
from hakd.records.tables import write_table
from hakd.staircase.curve_rows import curve_rows
from hakd.study.devices import Entry
from hakd.study.files import Configuration
from hakd.sweeping.following import Line, follow
from hakd.sweeping.modes import MODES

IMAGE = (3, 224, 224)
_LEVEL = 1.0  # the network as its function builds it


@dataclass(frozen=True)
class OwnRequest:
    """What to time.

    Args:
        network: `package.module:function`; called without arguments, it gives a `torch.nn.Module`.
        image: shape of its input without the batch.
        mode: `map` or `exhaustive`.
        out: the table, .parquet or .csv.
        store: folder of the measurements; None: the configuration's.
        groups: names of width groups to time; empty: all.
    """

    network: str
    image: Sequence[int]
    mode: str
    out: str
    store: str | None = None
    groups: Collection[str] = ()
    again: bool = False


def own_table(
    entry: Entry, config: Configuration, request: OwnRequest, say: Callable[[str], object] = print
) -> None:
    """Time, write the table, print what was found and what cannot be timed.

    Raises:
        HakdError: no such function, a network that cannot be exported or has no width to change, an unknown group, a
            table that could not be written, a device that does not answer. What was measured stays in the store.
    """
    check_place(request.out, SUFFIXES, "a table")
    check_engine(entry.device)
    taken = take_apart(exported(request.network, request.image, entry.device.batch), request.network)
    chosen = _chosen(taken, request)
    store = request.store or config.store()
    frame, metadata = _sweep(entry, taken, chosen, request, Path(store))
    if frame.empty:
        reason = next(iter(metadata["failures"].values()), "nothing was timed")
        raise HakdError(reason, where=f"device {entry.device.name}", remedy="Run `hakd doctor` on it")
    try:
        write_table(request.out, "latency", frame, metadata)
    except OSError as error:
        problem = f"cannot write ({error.strerror})"
        remedy = "Make room or give another path, and run it again: what was measured is kept"
        raise HakdError(problem, where=request.out, key="--out", remedy=remedy) from None
    for line in summary(frame, metadata):
        say(line)
    for group in taken.groups:
        if group.reason:
            say(f"  {group.name} ({group.width}) was not timed: {group.reason}")
    say(f"Written: {request.out} ({len(frame)} rows). Every burst is in {store}.")


def _chosen(taken: WidthGroups, request: OwnRequest) -> list[Group]:
    """The groups asked for, by their own name or that of a layer that makes them."""
    known = [group for group in taken.groups if not group.reason]
    names = {group.name: {group.name, group.name.split(" (+")[0], *group.producers} for group in known}
    for asked in request.groups:
        if not any(asked in spelled for spelled in names.values()):
            remedy = f"Known: {', '.join(names)}"
            raise HakdError(
                f"no such width group: {asked!r}", where=request.network, key="groups", remedy=remedy
            )
    return [group for group in known if not request.groups or names[group.name] & {*request.groups}]


# --- from a name to a model


def exported(name: str, image: Sequence[int], batch: int = 1) -> Model:
    """The network that a function builds, as ONNX.

    Raises:
        HakdError: no such module or function, a function that fails or gives no `torch.nn.Module`, a network that
            cannot be exported or does not take such an image.
    """
    import torch

    network = _built(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        shape = ",".join(map(str, image))
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
                warnings.simplefilter("ignore")
                # The other exporter needs a further package, and gives nodes names of its own.
                torch.onnx.export(network.eval(), (torch.zeros(1, *image),), str(path), dynamo=False)
        except Exception as error:  # whatever the user's own code raises
            remedy = "Give the shape of an image by --input, or see torch.onnx.export"
            raise HakdError(
                f"cannot be exported for an input of {shape} ({_words(error)})", where=name, remedy=remedy
            ) from None
        return load_model(path, batch)


def _built(name: str) -> Any:
    import torch

    module, _, function = name.partition(":")
    known = "Write package.module:function, as Python would import it from here"
    if "" not in sys.path:
        sys.path.insert(0, "")  # the working directory, as with python -m
    try:
        build = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise HakdError(f"no such function ({_words(error)})", where=name, remedy=known) from None
    except Exception as error:
        raise HakdError(f"its module fails ({_words(error)})", where=name, remedy="Mend it") from None
    try:
        network = build()
    except Exception as error:
        remedy = "It is called without arguments: give one that needs none"
        raise HakdError(f"it fails ({_words(error)})", where=name, remedy=remedy) from None
    if not isinstance(network, torch.nn.Module):
        remedy = "Return the network from it"
        raise HakdError(f"gives {type(network).__name__}, no torch.nn.Module", where=name, remedy=remedy)
    return network


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


# --- timing


@dataclass
class _Line(Line):
    """A group from one channel to the width that its network has."""

    taken: WidthGroups = field(kw_only=True)
    part: Group = field(kw_only=True)

    @property
    def width(self) -> int:
        return self.part.width

    @property
    def full(self) -> int:
        return self.part.width

    @cached_property
    def around(self) -> Mapping[str, int]:
        return self.taken.neighbours(self.part)

    def point(self, channels: int, device: Device) -> Point:
        return self.taken.point(self.part, channels, device, curve=self.group)


def _sweep(
    entry: Entry, taken: WidthGroups, groups: Sequence[Group], request: OwnRequest, store: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    lines = [_Line(_LEVEL, group.name, MODES[request.mode], taken=taken, part=group) for group in groups]
    middle = lines[len(lines) // 2]
    start = time.monotonic()
    with open_board(entry.device, store, again=request.again) as board:
        found = follow(board, lines, entry.measuring, middle.point(middle.width, entry.device))
        metadata = _metadata(board, entry, lines)
    metadata |= {"mode": request.mode, "seconds": time.monotonic() - start, "input": list(request.image)}
    return pd.DataFrame(
        [
            row
            for line in lines
            if line.curve is not None
            for row in curve_rows(line.curve, request.network, line.keys, found)
        ]
    ), metadata


def _metadata(board: Board, entry: Entry, lines: Sequence[Line]) -> dict[str, Any]:
    return {
        "device": entry.device.name,
        "fingerprint": board.fingerprint,
        "engine": entry.device.engine,
        "engine_version": board.engine_version,
        "protocol": PROTOCOL,
        "measuring": entry.measuring.__dict__,
        "batch": entry.device.batch,
        "context": board.context,
        "failures": board.failures,
        "curves": len(lines),
        "curves_decided": sum(line.told for line in lines),
        "looks": {line.group: line.look for line in lines if line.look > 1},
    }
