"""What `hakd doctor` says of the other processes of this machine."""

import subprocess
import sys

import psutil

from hakd.doctor.findings import Report
from hakd.doctor.processes import busiest, look_at_processes

# Starts a process that works and is no child of this one: its parent has ended.
BUSY = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'while True: pass'], stdout=-3).pid)"


def test_a_busy_process_is_named_with_its_cpus_and_memory():
    started = subprocess.run([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True, check=True)
    process = psutil.Process(int(started.stdout))
    try:
        (found,) = [one for one in busiest() if one[1] == process.pid]
        report = Report("local", "local")
        look_at_processes(report)
    finally:
        process.kill()
    assert found[0].startswith("python") and found[2] > 0.2 and 1 < found[3] < 500
    (line,) = report.findings
    assert (line.status, line.what) == ("warn", "processes") and f"(pid {process.pid})" in line.value
    assert line.remedy.startswith("Stop them")


def test_own_children_do_not_count():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            assert child.pid not in [pid for _, pid, *_ in busiest()]
        finally:
            child.kill()
