"""`hakd explain`: a user's own model."""

import argparse
import logging

from hakd.commands.common import (
    FINE,
    Commands,
    command,
    find_entry,
    from_,
    measuring_options,
    positive,
    respelling,
    sizes,
)


def add(commands: Commands) -> None:
    """The options."""
    parser = command(
        commands,
        "explain",
        "show which widths of your own ONNX model lose time on a device, and which widths near them do not",
        "Rank the width groups of an ONNX model by the time they lose on a device, with the next widths that are\n"
        "free or faster: the answer to `I pruned it and it got slower, why?`. Each group's decision block is cut\n"
        "out of the model and timed around its present width. The output begins with one set of wider widths for\n"
        "the whole model, timed as a whole. For litert and ncnn each block is written in the engine's own form.\n\n"
        "examples:\n"
        "  hakd explain pruned.onnx --device local\n"
        "  hakd explain pruned.onnx --device pi4.yaml --top 20\n"
        "  hakd explain pruned.onnx --device pi4 --input 3,224,224 --minutes 5 --json",
    )
    parser.add_argument("model", metavar="MODEL", help="the ONNX file, with one input")
    parser.add_argument("--device", required=True, metavar="DEVICE", help="where to time")
    parser.add_argument("--top", type=from_(1), default=10, metavar="N", help="groups to show (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object with everything")
    parser.add_argument(
        "--input", type=sizes, metavar="C,H,W", help="shape of an image, where the file leaves sizes open"
    )
    parser.add_argument(
        "--minutes", type=positive, metavar="N", help="stop after N minutes; the likeliest losses come first"
    )
    measuring_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.explaining.explain import ExplainRequest, explain
    from hakd.study.files import read_configuration

    for room in ("hakd.sweeping", "hakd.explaining"):
        logging.getLogger(room).setLevel(logging.INFO)
    entry = find_entry(arguments)
    request = ExplainRequest(
        arguments.model,
        arguments.top,
        arguments.store,
        arguments.input,
        arguments.json,
        arguments.minutes,
    )
    with respelling(entry):
        explain(entry, read_configuration(arguments.config), request)
    return FINE
