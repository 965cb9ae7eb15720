"""Processes that die or stop."""

import signal
import time

from tests.boards.cases import Case
from tests.boards.faults.registry import fault


@fault("client killed (SIGKILL)", "killed")
def client_killed(case: Case) -> None:
    client = case.sweeping()
    case.strike(client.kill)
    case.ended()


@fault(
    "client asleep (SIGSTOP) for 10 s", "error", says="heard nothing from this program for 8 s", within_s=12
)
def client_suspended(case: Case) -> None:
    client = case.sweeping()
    case.strike(client.process.send_signal, signal.SIGSTOP)
    case.released()
    time.sleep(max(0.0, case.struck_at + 10.0 - time.monotonic()))
    client.process.send_signal(signal.SIGCONT)
    case.ended()


@fault("client asleep for 3 s", "done")
def client_suspended_shortly(case: Case) -> None:
    client = case.sweeping()
    case.strike(client.process.send_signal, signal.SIGSTOP)
    time.sleep(3.0)
    client.process.send_signal(signal.SIGCONT)
    case.ended()


@fault("the client's ssh killed", "error", says="ended by SIGKILL")
def ssh_killed(case: Case) -> None:
    client = case.sweeping()
    case.strike(client.ssh().kill)
    case.ended()


@fault("sshd's process of the session killed", "error", says="the link was lost .*closed by remote host")
def session_killed(case: Case) -> None:
    case.sweeping()
    case.strike(lambda: [process.kill() for process in case.board.sessions()])
    case.ended()


@fault("sshd restarted", "done")
def sshd_restarted(case: Case) -> None:
    case.sweeping()
    case.strike(case.board.restart)
    case.ended()


@fault("agent killed", "error", says="agent went away .*killed, or out of memory")
def agent_killed(case: Case) -> None:
    case.sweeping()
    case.strike(case.board.agents()[0].kill)
    case.ended()


@fault("worker crashes (SIGSEGV)", "done")
def worker_crashes(case: Case) -> None:
    case.sweeping()
    case.strike(case.board.workers()[0].send_signal, signal.SIGSEGV)
    case.logged("signal: SIGSEGV")
    case.ended()


@fault("worker hangs (SIGSTOP), `point_timeout_s: 1`", "done")
def worker_hangs(case: Case) -> None:
    case.set_protocol(point_timeout_s=1.0)
    case.sweeping()
    case.strike(case.board.workers()[0].suspend)
    case.logged("timeout: no progress for 1 s")
    case.ended()
