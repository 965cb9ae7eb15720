"""What every rule's script needs: a log, and mistakes told in one line."""

import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator

from hakd.records.errors import HakdError

logger = logging.getLogger("hakd")


@contextlib.contextmanager
def reporting(log: object, threads: int = 1) -> Iterator[None]:
    """Log to the rule's log file; end with one clear line and status 1 on a user's mistake.

    Warnings are told at the terminal too: that a board is in use and waited for should be seen while it happens.
    An unexpected error is a defect of the program: its traceback goes to the log and to the terminal.
    """
    path = str(log)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    # Of other packages only warnings: some tell every step of their work.
    logging.basicConfig(format="%(asctime)s %(message)s", handlers=[logging.FileHandler(path, mode="w")])
    logger.setLevel(logging.INFO)
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("warning: %(message)s"))
    terminal.addFilter(lambda record: record.levelno == logging.WARNING)
    logger.addHandler(terminal)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(max(1, threads))
    began = time.monotonic()
    try:
        yield
        logger.info("done in %.1f s", time.monotonic() - began)  # read by hakd.study.logs
    except HakdError as error:
        logger.error("error: %s", error)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        logger.error("%s", traceback.format_exc())
        raise
