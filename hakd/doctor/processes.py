"""The processes of this machine that use CPU time beside a measurement. Boards report their load only."""

import os
import time

import psutil

from hakd.doctor.findings import OK, WARN, Report

WATCHED_S = 0.5
BUSY_CPUS = 0.1  # what disturbs a measurement
_SHOWN = 3


def look_at_processes(report: Report) -> None:
    """Report the busiest other processes of this machine, over half a second."""
    busy = busiest()
    if not busy:
        report.add(OK, "processes", f"no other process uses more than {BUSY_CPUS:g} CPUs")
        return
    shown = [f"{name} (pid {pid}) {cpus:.2f} CPUs, {mib:.0f} MiB" for name, pid, cpus, mib in busy[:_SHOWN]]
    more = f", and {len(busy) - _SHOWN} more" if len(busy) > _SHOWN else ""
    report.add(WARN, "processes", f"{'; '.join(shown)}{more}", "Stop them, or measure when they have ended")


def busiest(seconds: float = WATCHED_S) -> list[tuple[str, int, float, float]]:
    """(name, pid, CPUs in use, resident memory in MiB) of other processes above `BUSY_CPUS`, busiest first.

    This process, its parents and its children do not count.
    """
    me = psutil.Process(os.getpid())
    own = {me.pid, *(one.pid for one in (*me.parents(), *me.children(recursive=True)))}
    others = [one for one in psutil.process_iter() if one.pid not in own]
    before = {one: _cpu_s(one) for one in others}
    started = time.monotonic()
    time.sleep(seconds)
    found = []
    for process, earlier in before.items():
        now, elapsed = _cpu_s(process), time.monotonic() - started
        if earlier is None or now is None or now - earlier < BUSY_CPUS * elapsed:
            continue
        try:
            memory = process.memory_info().rss / 2**20
            found.append((process.name(), process.pid, (now - earlier) / elapsed, memory))
        except psutil.Error:
            continue  # it has ended
    return sorted(found, key=lambda one: -one[2])


def _cpu_s(process: psutil.Process) -> float | None:
    """CPU time of a process; None where it has ended or must not be read."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
