"""`hakd best`: the network of a finished study that is ready to deploy on a device."""

import argparse
import json
from pathlib import Path

from hakd.commands.common import FINE, Commands, command, fraction, positive


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "best",
        "copy the most accurate network of a study within a latency, ready to deploy",
        "Pick the configuration of a finished study with the highest validation accuracy (mean over seeds) whose\n"
        "latency on a device is within a limit, by the upper end of its 95 % interval. Copy its best seed: the ONNX\n"
        "file (and the model of another engine), card.json with all figures and what the input needs, and\n"
        "predict.py, which needs numpy and the engine. Nothing is measured. The test split is not used to choose.\n\n"
        "examples:\n"
        "  hakd best --device pi4 --max-latency-ms 5\n"
        "  hakd best --device pi4 --max-latency-ms 5 --min-accuracy 0.93 --network mobilenet\n"
        "  hakd best --device pi4 --max-latency-ms 5 --results runs/own/results --out deploy",
        device=False,
    )
    found.add_argument("--device", required=True, metavar="NAME", help="a device that the study timed")
    found.add_argument("--max-latency-ms", required=True, type=positive, metavar="X", help="the limit")
    found.add_argument(
        "--min-accuracy", type=fraction, metavar="X", help="lowest mean validation accuracy, e.g. 0.93"
    )
    found.add_argument("--network", metavar="NAME", help="this network only (default: all of the study)")
    found.add_argument(
        "--results", default="results", metavar="FOLDER", help="the study's results (default: results)"
    )
    found.add_argument("--out", metavar="FOLDER", help="where to copy it (default: best/DEVICE)")
    found.add_argument("--json", action="store_true", help="print the card, with the reasons, as JSON")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.analysis.best import choose, reasons
    from hakd.evaluation.deploying import deploy, read_timed

    device, limit_ms = arguments.device, arguments.max_latency_ms
    timed = read_timed(Path(arguments.results), device)
    choice = choose(timed.frame, device, limit_ms, arguments.min_accuracy, arguments.network)
    lines = reasons(choice, device, limit_ms)
    folder = Path(arguments.out or Path("best", device))
    asked = {"max_latency_ms": limit_ms, "min_accuracy": arguments.min_accuracy, "network": arguments.network}
    card = deploy(timed, choice.network, {"asked": asked, "why": lines}, folder)
    if arguments.json:
        print(json.dumps({"folder": str(folder), **card}, indent=1))
    else:
        print("\n".join(lines))
        print(f"Written: {folder} ({', '.join([*card['files'], 'card.json', 'predict.py'])})")
    return FINE
