"""`hakd sweep DEVICE package.module:function`: a latency table of a network that a function of the user's builds.

The network goes through `torch.onnx.export`, its groups are those of its ONNX graph (`hakd.importing.widths`). So what
is timed is what the engine would be given, one code finds the groups of models and of networks, and no further package
is needed.
"""

import contextlib
import importlib
import io
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.boards import open_board
from hakd.explaining.timing import check_engine, group_line, middle_block
from hakd.importing.groups import Group, take_apart
from hakd.importing.model import Model, load_model
from hakd.latency_tables.build import SUFFIXES, SweepRequest, check_groups, write_swept
from hakd.records.errors import HakdError
from hakd.records.files import check_place
from hakd.study.devices import Entry
from hakd.study.files import Configuration
from hakd.sweeping.following import sweep_lines
from hakd.sweeping.modes import MODES

IMAGE = (3, 224, 224)
_LEVEL = 1.0  # the network as its function builds it


@dataclass(frozen=True)
class OwnRequest(SweepRequest):
    """What to time of a network that `package.module:function` gives, called without arguments.

    Args:
        image: shape of the network's input without the batch.
    """

    image: Sequence[int] = IMAGE


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
    model = exported(request.network, request.image, entry.device.batch)
    width_groups = take_apart(model, request.network)
    groups = _chosen(width_groups.changeable, request)
    store = request.store or config.store()
    mode = MODES[request.mode]
    lines = [group_line(width_groups, group, mode, _LEVEL, group.width) for group in groups]
    with open_board(entry.device, Path(store), again=request.again) as board:
        reference = middle_block(lines, entry.device)
        rows, metadata = sweep_lines(board, request.network, lines, entry.measuring, reference)
    metadata |= {"mode": request.mode, "batch": entry.device.batch, "input": list(request.image)}
    notes = [f"  {group.name} ({group.width}) was not timed: {group.reason}" for group in width_groups.fixed]
    write_swept(request, pd.DataFrame(rows), metadata, store, notes, say)


def _chosen(groups: Sequence[Group], request: OwnRequest) -> list[Group]:
    """The groups asked for, by their own name or that of a layer that makes them."""
    spellings = {group.name: {group.name, group.name.split(" (+")[0], *group.producers} for group in groups}
    check_groups(request, spellings, request.network)
    return [group for group in groups if not request.groups or spellings[group.name] & {*request.groups}]


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
        raise HakdError(
            f"its module fails ({_words(error)})",
            where=name,
            remedy="Correct the module until Python can import it",
        ) from None
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
