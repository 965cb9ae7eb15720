"""`hakd explain`: from a file and a device to the report."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hakd.explaining.report import report_groups, text, to_dict
from hakd.explaining.timing import check_engine, time_groups
from hakd.importing.groups import take_apart
from hakd.importing.model import load_model
from hakd.records.errors import HakdError
from hakd.study.devices import Entry
from hakd.study.files import Configuration


@dataclass(frozen=True)
class ExplainRequest:
    """Which model to explain, and how to say it.

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
    entry: Entry, config: Configuration, request: ExplainRequest, say: Callable[[str], object] = print
) -> None:
    """Time the width groups of a model on a device and say which lose time.

    Raises:
        HakdError: a file that is no model or has no width to change, an engine that takes no ONNX, a device that does
            not answer. What was measured stays in the store: the same command goes on.
    """
    check_engine(entry.device)
    model = load_model(request.model, entry.device.batch, request.image)
    width_groups = take_apart(model, request.model)
    timed = time_groups(width_groups, entry.device, entry.measuring, Path(request.store or config.store()))
    reports = report_groups(width_groups.changeable, timed)
    if all(report.latency_ms is None for report in reports):
        where = f"device {entry.device.name}"
        raise HakdError(reports[0].reason, where=where, remedy="Run `hakd doctor` on it")
    if request.as_json:
        say(json.dumps(to_dict(request.model, reports, width_groups.fixed, timed), indent=1))
    else:
        say("\n".join(text(request.model, reports, width_groups.fixed, timed, request.top)))
