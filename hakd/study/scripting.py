"""What every rule's script needs: a log, and mistakes told in one line."""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator

from hakd.records.errors import HakdError
from hakd.study.ownership import join_study
from hakd.study.spelling import respell_in_study

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
    join_study()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(max(1, threads))
    try:
        yield
    except HakdError as error:
        text = f"error: {respell_in_study(error)}"
        logger.error("%s", text)
        print(text, file=sys.stderr)
        sys.exit(1)
    except Exception:
        logger.error("%s", traceback.format_exc())
        raise
