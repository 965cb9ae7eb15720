"""`hakd explain`: from a file and a device to the report."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hakd.boards import open_board
from hakd.explaining.causes import causes
from hakd.explaining.report import ModelReport, report_groups, text, to_dict, with_causes
from hakd.explaining.sets import Advised, advise
from hakd.explaining.timing import time_groups
from hakd.importing.groups import take_apart
from hakd.importing.model import load_model
from hakd.study.devices import Entry
from hakd.study.files import Configuration


@dataclass(frozen=True)
class ExplainRequest:
    """Which model to explain, and in which form.

    Args:
        model: path of the ONNX file.
        top: groups to show, those that lose most; None: all.
        store: folder of the measurements; None: the configuration's.
        image: shape of an input without its batch, where the file leaves it open.
        as_json: for machines, everything.
        minutes: to stop after; None: when all is decided, or further looks are not likely to help.
    """

    model: str
    top: int | None = None
    store: str | None = None
    image: Sequence[int] | None = None
    as_json: bool = False
    minutes: float | None = None


def explain(
    entry: Entry, config: Configuration, request: ExplainRequest, say: Callable[[str], object] = print
) -> None:
    """Time the width groups of a model on a device and say which lose time.

    Raises:
        HakdError: a file that is not a model or has no width to change, a device that does not answer. What was
            measured stays in the store: the same command continues from it.
    """
    model = load_model(request.model, entry.device.batch, request.image)
    width_groups = take_apart(model, request.model)
    store = Path(request.store or config.store())
    with open_board(entry.device, store) as board:
        timed = time_groups(board, width_groups, entry.measuring, request.minutes)
        reports = report_groups(width_groups.changeable, timed)
        if timed.whole_ms is None:
            advised = Advised(reason="the whole model was not timed")
        elif board.clock_s() >= timed.end_s:
            advised = Advised(reason="the time limit was reached")
        else:
            with board.one_bar("explain, whole"):
                seconds = timed.end_s - board.clock_s()
                advised = advise(board, width_groups, timed.curves, entry.measuring, timed.whole_ms, seconds)
        if board.clock_s() < timed.end_s:
            reports = with_causes(reports, causes(board, width_groups, reports[: request.top]))
    report = ModelReport(request.model, model.remarks, reports, width_groups.fixed, timed, advised)
    say(json.dumps(to_dict(report), indent=1) if request.as_json else "\n".join(text(report, request.top)))
