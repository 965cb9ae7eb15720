"""The examination of a device, stage by stage; a failure ends it, and the remaining stages are reported as skipped."""

import queue
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hakd.boards import Board, open_board
from hakd.boards.device import Device
from hakd.doctor.findings import FAIL, NOTE, OK, WARN, Report
from hakd.doctor.processes import look_at_processes
from hakd.doctor.reach import look_at_way
from hakd.doctor.state import look_at_state
from hakd.records.errors import HakdError
from hakd.study.devices import Entry

LOCK_WAIT_S = 2.0  # the doctor does not wait
# Stages in order, and the stage that an error of a session belongs to, by its key.
BEFORE_HELLO = ("reach", "host key", "login", "agent", "python", "cpus", "lock", "engine")
STATE = (
    "processor", "instructions", "timed on", "cpu quota", "governor", "clock", "temperature", "throttling", "memory",
    "wall clock", "load",
)  # fmt: skip
PROBES = ("call overhead", "noise", "verdict")
STAGE_OF = {
    "host": "reach",
    "port": "reach",
    "transport": "reach",
    "known_hosts": "host key",
    "user": "login",
    "identity_file": "login",
    "python": "python",
    "cpus": "cpus",
    "threads": "cpus",
    "lock_path": "lock",
    "engine": "engine",
}


def examine_all(entries: Sequence[Entry]) -> Iterator[Report]:
    """Reports as they become ready: boards in parallel, devices of one board one after the other, this machine last.

    The threads are daemons: an interrupted program ends immediately, and what it started on boards ends with it.
    """
    groups: dict[tuple, list[Entry]] = {}
    for entry in entries:
        device = entry.device
        groups.setdefault((device.transport, device.host, device.port, device.jump), []).append(entry)
    here = [entry for key, members in groups.items() if key[0] == "local" for entry in members]
    boards = [members for key, members in groups.items() if key[0] != "local"]
    ready: queue.Queue[Report | BaseException] = queue.Queue()

    def work(members: list[Entry]) -> None:
        for entry in members:
            try:
                ready.put(examine(entry))
            except BaseException as defect:  # raised again in the main thread
                ready.put(defect)

    for members in boards:
        threading.Thread(target=work, args=(members,), daemon=True).start()
    for _ in range(sum(map(len, boards))):
        report = ready.get()
        if isinstance(report, BaseException):
            raise report
        yield report
    for entry in here:
        yield examine(entry)


def examine(entry: Entry) -> Report:
    """Check everything that a measurement on this device depends on, and measure its noise (about 10 s)."""
    device, report = entry.device, Report(entry.device.name, entry.spelled)
    if not look_at_way(report, device):
        report.skip(*_after(report, device))
        return report
    hasty = replace(device, lock_wait_s=min(device.lock_wait_s, LOCK_WAIT_S), reconnects=0)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="hakd-doctor-") as folder,
            open_board(hasty, Path(folder)) as board,
        ):
            here_s = time.time()
            report.fingerprint = board.fingerprint
            _opened(report, device)
            look_at_state(report, device, board.context, here_s)
            if device.transport == "local":
                look_at_processes(report)
            _look_at_noise(report, board, entry)
    except HakdError as error:
        _failed(report, error, device)
    return report


def _opened(report: Report, device: Device) -> None:
    """What an open session proves."""
    if device.transport == "ssh":
        report.add(OK, "login", f"as {device.user or 'the user that ssh chooses'}")
    if device.transport != "virtual":
        report.add(OK, "lock", f"{device.lock_path} was free")


def _look_at_noise(report: Report, board: Board, entry: Entry) -> None:
    from hakd.doctor import noise  # scipy: only where it is needed

    found = noise.probe(board, entry.measuring)
    threads = board.device.threads
    report.add(OK, "call overhead", f"{found.call_us:.1f} us a call")
    if board.noise:
        text = f"{board.noise} lines of its login shell on the agent's output were ignored"
        report.add(NOTE, "output", text, "Let ~/.bashrc print nothing where there is no terminal")
    report.add(OK, "noise", "; ".join(noise.summary(found)))
    if threads > 1 and found.cpu_ratio < 0.5 * threads:
        text = f"{found.cpu_ratio:.2f} CPUs busy during bursts, threads: {threads}"
        report.add(WARN, "threads", text, "This engine does not use them on small blocks")
    kind, words, remedy = noise.verdict(found, entry.measuring.min_step)
    report.add({"fit": OK, "more": WARN, "unfit": FAIL}[kind], "verdict", words, remedy)


def _failed(report: Report, error: HakdError, device: Device) -> None:
    """Report a session's error as the finding of its stage; earlier stages passed, later ones were not reached."""
    stage = STAGE_OF.get(str(error.key), "agent")
    done = {found.what for found in report.findings}
    if stage in done or "verdict" in done:
        stage = "session"
    if "load" not in done and stage != "session":
        for passed in BEFORE_HELLO[: BEFORE_HELLO.index(stage)]:
            if passed not in done and _listed(passed, device):
                report.add(OK, passed, "passed")
    place = "" if error.where in (None, f"device {device.name}") else f"{error.where}: "
    report.add(FAIL, stage, f"{place}{error.problem}", error.remedy or "")
    report.skip(*_after(report, device))


def _listed(stage: str, device: Device) -> bool:
    """Whether a stage gets a line when nothing is wrong with it: only ssh has keys, only a machine has a lock."""
    absent = {"local": ("host key", "login"), "virtual": ("host key", "login", "lock")}
    return stage not in ("agent", "cpus", *absent.get(device.transport, ()))


def _after(report: Report, device: Device) -> list[str]:
    done = {found.what for found in report.findings}
    stages = (*BEFORE_HELLO, *STATE, *PROBES)
    return [stage for stage in stages if stage not in done and _listed(stage, device)]
