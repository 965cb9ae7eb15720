"""Processes that die or stop."""

import signal
import time

from tests.boards.cases import Case
from tests.boards.faults.registry import fault
from tests.boards.rigs.needs import wait_until


@fault("client killed (SIGKILL)", "killed")
def client_killed(case: Case) -> None:
    client = case.sweeping()
    case.strike(client.kill)
    case.ended()


@fault("client asleep (SIGSTOP) for 10 s", "done", within_s=12)
def client_suspended(case: Case) -> None:
    client = case.sweeping()
    case.strike(client.process.send_signal, signal.SIGSTOP)
    case.released()
    time.sleep(max(0.0, case.struck_at + 10.0 - time.monotonic()))
    client.process.send_signal(signal.SIGCONT)
    case.warned("the agent went away .*heard nothing from this program for 8 s.*; connecting again in 1 s")
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


@fault("sshd's process of the session killed", "done")
def session_killed(case: Case) -> None:
    case.sweeping()
    case.strike(_kill_sessions, case)
    case.goes_on("closed by remote host")


@fault(
    "the same, `reconnects: 0`",
    "error",
    says=r"host: the link was lost \([^;]*closed by remote host[^;]*\)\. Check power",
)
def session_killed_for_good(case: Case) -> None:
    case.sweeping(reconnects=0)
    case.strike(_kill_sessions, case)
    case.ended()


@fault("the same, while another client waits for the board", "done")
def session_killed_with_another_waiting(case: Case) -> None:
    """The other one gets the board and measures the rest; the first one finds it measured."""
    case.set_protocol(rounds=80)  # long enough for a second client to start meanwhile
    first = case.sweeping()
    second = case.start()
    wait_until(lambda: "waiting for the board" in second.log, "the second client waits", 20.0)
    oldest = min(case.board.agents(), key=lambda process: process.create_time())
    case.strike(oldest.parent().kill)
    case.clients = [second, first]  # the last one is looked at
    case.warned(
        "host: the link was lost .*(closed by remote host|Broken pipe|send disconnect).*; connecting again"
    )
    assert case.ended(second)["event"] == "done", case.last
    case.ended(first)


def _kill_sessions(case: Case) -> None:
    for process in case.board.sessions():
        process.kill()


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
