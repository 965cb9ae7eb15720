"""`hakd explain`: a user's own model."""

import argparse
import logging

from hakd.commands.common import FINE, Commands, command, fraction, from_, sizes
from hakd.records.errors import HakdError


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "explain",
        "say which widths of your own ONNX model lose time on a device, and which beside them do not",
        "Rank the width groups of an ONNX model by the time they lose on a device, with the next widths that are\n"
        "free or faster: the answer to `I pruned it and it got slower, why?`. Each group's decision block is cut\n"
        "out of the model and timed around its present width. The engine has to take ONNX: onnxruntime, openvino,\n"
        "or a virtual device.\n\n"
        "examples:\n"
        "  hakd explain pruned.onnx --device local\n"
        "  hakd explain pruned.onnx --device pi4.yaml --top 20\n"
        "  hakd explain pruned.onnx --device pi4 --input 3,224,224 --json",
    )
    found.add_argument("model", metavar="MODEL", help="the ONNX file: one float32 input, image by image")
    found.add_argument("--device", required=True, metavar="DEVICE", help="where to time")
    found.add_argument("--top", type=from_(1), default=10, metavar="N", help="groups to show (default: 10)")
    found.add_argument("--json", action="store_true", help="print one JSON object with everything")
    found.add_argument(
        "--input", type=sizes, metavar="C,H,W", help="of an image, where the file leaves sizes open"
    )
    found.add_argument("--store", metavar="DIR", help="measurement store (default: the configuration's)")
    found.add_argument("--min-step", type=fraction, metavar="X", help="smallest step that matters, e.g. 0.1")
    found.add_argument("--processes", type=from_(2), metavar="N", help="fresh processes in a look, 2 or more")
    found.add_argument("--rounds", type=from_(3), metavar="N", help="rounds in a process, 3 or more")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.explaining.explain import ExplainRequest, explain
    from hakd.study.devices import changed, find_device
    from hakd.study.files import read_configuration

    logging.getLogger("hakd.sweeping").setLevel(logging.INFO)
    given = {key: getattr(arguments, key) for key in ("processes", "rounds", "min_step")}
    entry = changed(find_device(arguments.device, arguments.config), given)
    question = ExplainRequest(
        arguments.model, arguments.top, arguments.store, arguments.input, arguments.json
    )
    try:
        explain(entry, read_configuration(arguments.config), question)
    except HakdError as error:
        raise entry.respelled(error) from None
    return FINE
