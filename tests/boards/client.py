"""A client in a process of its own, for faults that befall it: measures points and says in JSON lines what came of it.

    python tests/boards/client.py JSON       # what `Case.start` of tests/boards/cases.py writes

Each line has `event` (`open`, `done`, `error`) and `at`, the machine's monotonic clock. The log goes to stderr.
"""

import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import onnx

from hakd.boards import Device, Point, Protocol, open_board
from hakd.records.errors import HakdError
from tests.boards.points import pointwise


def bulky(width: int) -> Point:
    """A 1 x 1 convolution of so many channels with weights that do not compress: 4 * width^2 bytes to send."""
    plain = pointwise(width, inputs=width, size=1)

    def model() -> bytes:
        content = onnx.load_from_string(plain.model())
        weights = np.random.default_rng(width).standard_normal((width, width, 1, 1), dtype=np.float32)
        content.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
        return content.SerializeToString()

    return replace(plain, key=f"bulky-{width}", label="bulky", model=model, reference=None)


def say(event: str, **about: Any) -> None:
    """One line for the test."""
    print(json.dumps({"event": event, "at": time.monotonic(), **about}), flush=True)


def main() -> int:
    """Exit status 0 when all is measured, 1 after an error that the board layer explains."""
    job = json.loads(sys.argv[1])
    logging.basicConfig(format="%(levelname)s %(message)s")
    points = [pointwise(width) for width in job["widths"]] + [bulky(width) for width in job["bulky"]]
    try:
        device = Device.from_config(job["name"], job["device"])
        with open_board(device, Path(job["store"])) as board:
            say("open", context=board.context, fingerprint=board.fingerprint)
            found = board.measure(points, Protocol(**job["protocol"]), job["purpose"], progress=False)
            failures, noise = board.failures, board.noise
        say("done", found={key: len(bursts) for key, bursts in found.items()}, failures=failures, noise=noise)
    except HakdError as error:
        say("error", message=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
