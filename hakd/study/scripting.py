"""What every rule's script needs: a log, and mistakes reported in one line."""

import contextlib
import errno
import gc
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator

from hakd.records.errors import HakdError
from hakd.study.memory import keep_freed_memory
from hakd.study.ownership import join_study
from hakd.study.spelling import respell_in_study

logger = logging.getLogger("hakd")


@contextlib.contextmanager
def reporting(log: object, threads: int = 1) -> Iterator[None]:
    """Log to the rule's log file; end with one clear line and status 1 on a user's mistake.

    Warnings go to the terminal too: the user should see that a job waits for a board in use while it happens.
    An unexpected error is a defect of the program: its traceback goes to the log and to the terminal. Ctrl-C and a full
    disk are not defects.
    """
    logging.raiseExceptions = (
        False  # a log that cannot be written, e.g. on a full disk, is not worth a traceback a line
    )
    path = str(log)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    # Of other packages only warnings: some log every step of their work.
    logging.basicConfig(format="%(asctime)s %(message)s", handlers=[logging.FileHandler(path, mode="w")])
    logger.setLevel(logging.INFO)
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("warning: %(message)s"))
    terminal.addFilter(lambda record: record.levelno == logging.WARNING)
    logger.addHandler(terminal)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(max(1, threads))
        keep_freed_memory()
    gc.freeze()  # imports last as long as the job: nothing in them is looked for again, at its end least of all
    began = time.monotonic()
    try:
        join_study()  # which ends the job at once where its Snakemake is gone
        yield
        logger.info("done in %.1f s", time.monotonic() - began)  # read by hakd.study.logs
    except KeyboardInterrupt:
        logger.info("interrupted")
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        words = _mistake(error)
        if words is None:
            logger.error("%s", traceback.format_exc())
            raise
        logger.error("error: %s", words)
        print(f"error: {words}", file=sys.stderr)
        sys.exit(1)


def _mistake(error: Exception) -> HakdError | None:
    """The error as it is to be shown: with the full path of its file, as `--directory` may name another folder than
    the user's. None: a defect of the program.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "Make room, then run the same command again"
        error = HakdError(f"cannot write ({error.strerror})", where=error.filename, remedy=remedy)
    if not isinstance(error, HakdError):
        return None
    where = error.where
    if isinstance(where, os.PathLike) or str(where).startswith("results/") or os.path.isfile(str(where)):
        where = os.path.abspath(str(where))
    return respell_in_study(HakdError(error.problem, where=where, key=error.key, remedy=error.remedy))
