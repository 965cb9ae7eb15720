"""`hakd explain`: from a file and a device to the report."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hakd.explaining.blocks import take_apart
from hakd.explaining.model import load_model
from hakd.explaining.report import findings, text, to_dict
from hakd.explaining.timing import check_engine, time_groups
from hakd.records.errors import HakdError
from hakd.study.devices import Entry
from hakd.study.files import Configuration


@dataclass(frozen=True)
class ExplainRequest:
    """What is asked.

    Args:
        model: path of the ONNX file.
        top: groups to show, those that lose most; None: all.
        store: folder of the measurements; None: the configuration's.
        image: shape of an input without its batch, where the file leaves it open.
        as_json: for machines, everything.
    """

    model: str
    top: int | None = None
    store: str | None = None
    image: Sequence[int] | None = None
    as_json: bool = False


def explain(
    entry: Entry, config: Configuration, question: ExplainRequest, say: Callable[[str], object] = print
) -> None:
    """Time the width groups of a model on a device and say which lose time.

    Raises:
        HakdError: a file that is no model or has no width to change, an engine that takes no ONNX, a device that does
            not answer. What was measured stays in the store: the same command goes on.
    """
    check_engine(entry.device)
    taken = take_apart(load_model(question.model, entry.device.batch, question.image), question.model)
    store = question.store or config.store()
    groups = [group for group in taken.groups if not group.reason]
    fixed = [group for group in taken.groups if group.reason]
    timed = time_groups(taken, groups, entry.device, entry.measuring, Path(store))
    found = findings(groups, timed)
    if all(one.latency_ms is None for one in found):
        raise HakdError(
            found[0].reason, where=f"device {entry.device.name}", remedy="Run `hakd doctor` on it"
        )
    if question.as_json:
        say(json.dumps(to_dict(question.model, found, fixed, timed), indent=1))
        return
    for line in text(question.model, found, fixed, timed, question.top):
        say(line)
