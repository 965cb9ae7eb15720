"""Finding the processes of a board by a mark that its sshd puts into the environment of every session."""

import contextlib
import os

import psutil

MARK = "HAKD_TEST_MARK"  # of a test: on all it starts here and on its boards
BOARD_MARK = "HAKD_TEST_BOARD"  # of one board: only on what runs there


def marked(value: str, name: str = MARK) -> list[psutil.Process]:
    """Processes with this mark, orphans too, this one apart."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(name) == value:
                found.append(process)
    return found


def agents_and_workers(board: str) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Agents that run on a board, and their workers: the same interpreter with the same constant, parent and child."""
    found = []
    for process in marked(board, BOARD_MARK):
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()  # none for a zombie
            if len(words) >= 4 and "sys.stdin.buffer" in words[-1]:
                found.append((process, process.ppid()))
    pids = {process.pid for process, _ in found}
    agents = [process for process, parent in found if parent not in pids]
    return agents, [process for process, parent in found if parent in pids]


def workers_of(agent_pid: int) -> list[psutil.Process]:
    """The agent's worker processes."""
    try:
        return psutil.Process(agent_pid).children()
    except psutil.NoSuchProcess:
        return []
