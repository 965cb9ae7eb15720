"""Who works on a study: Snakemake's lock of a run that was killed goes, and so do the jobs that it left behind.

Snakemake's own lock outlives it when it is killed. So each Snakemake of a study and each of its jobs holds a shared
lock of the operating system, which ends with its process. Where no process holds one, Snakemake's lock is stale.
"""

import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

LOCK = Path(".snakemake", "hakd.lock")
SNAKEMAKES_LOCKS = Path(".snakemake", "locks")
OWNER = "HAKD_STUDY_OWNER"  # in the environment of jobs: the machine and the process of their Snakemake
WAIT_S = 15.0  # for jobs of a killed run, which notice within a moment
GRACE_S = 10.0  # to write what is under way, before a job is killed
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES = Path("/proc/self/ns/pid")


def own_study() -> None:
    """Take part in the study of the working directory as its Snakemake; remove the lock of a run that was killed.

    A lock whose owner lives stays: Snakemake then refuses to start, as ever. Without locks of the operating system
    (a file system that has none) nothing is removed.
    """
    os.environ[OWNER] = f"{_machine()}:{os.getpid()}"
    descriptor = _open()
    if descriptor is None:
        return
    deadline = time.monotonic() + WAIT_S
    while any(SNAKEMAKES_LOCKS.glob("*.lock")):
        if _try(descriptor, fcntl.LOCK_EX):
            for path in SNAKEMAKES_LOCKS.glob("*.lock"):
                path.unlink(missing_ok=True)
            sys.stderr.write(
                "The last run of this study was killed. Its lock is removed, and the study continues.\n"
            )
            break
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    _try(descriptor, fcntl.LOCK_SH)  # held until this process ends


def join_study() -> None:
    """Take part as a job: end when the Snakemake that started it on this machine has gone, however it went.

    SIGTERM, which a scheduler sends too, ends it as Ctrl-C does: what is under way is written or taken back.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    descriptor = _open()
    if descriptor is not None:
        _try(descriptor, fcntl.LOCK_SH)
    machine, _, number = os.environ.get(OWNER, "").rpartition(":")
    if machine != _machine() or not number.isdigit():
        return  # a job of a cluster: its scheduler decides how long it lives
    import psutil  # once a job: the rules read this module too

    try:
        owner = psutil.Process(int(number))
    except psutil.NoSuchProcess:  # it was killed while this job loaded its packages
        owner = None
    threading.Thread(target=_end_with, args=(owner,), daemon=True).start()


def _end_with(owner: "psutil.Process | None") -> None:
    """Wait for the end of a process, then end this one as Ctrl-C would; for good where that takes too long."""
    if owner is not None:
        owner.wait()
    sys.stderr.write("Snakemake has ended, so this job stops. Run the same command again to continue it.\n")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _machine() -> str:
    """An identifier of this machine since it was started, and of the processes that can be seen from here.

    A process of another namespace (of a container) cannot be watched.
    """
    try:
        return f"{_BOOT.read_text().strip()}:{os.readlink(_PROCESSES)}"
    except OSError:
        return ""


def _open() -> int | None:
    try:
        LOCK.parent.mkdir(exist_ok=True)
        return os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return None


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
