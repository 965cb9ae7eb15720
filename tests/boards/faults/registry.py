"""What a fault is, the list of all, and how one is run."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.boards.cases import Case, Outcome
from tests.boards.rigs import Lab, Sshd

LOOPBACK, NETWORK = "loopback", "network"
START_S = 10.0  # for what is wrong from the start: includes the start of the client, log-in and the probe of the engine


@dataclass(frozen=True)
class Fault:
    """A fault.

    Args:
        text: what happens, for the table.
        act: makes it happen.
        ends: how the client may end: `done`, `error`, `killed`.
        says: what its message has to match when it ends with an error.
        within_s: how soon it has to notice.
        board: on which kind of board.
    """

    text: str
    act: Callable[[Case], None]
    ends: tuple[str, ...]
    says: str
    within_s: float
    board: str


FAULTS: dict[str, Fault] = {}


def fault(
    text: str, *ends: str, says: str = "", within_s: float = 3.0, board: str = LOOPBACK
) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Enter a function into `FAULTS` under its name."""

    def enter(act: Callable[[Case], None]) -> Callable[[Case], None]:
        FAULTS[act.__name__] = Fault(text, act, ends, says, within_s, board)
        return act

    return enter


@contextlib.contextmanager
def case(name: str, folder: Path) -> Iterator[Case]:
    """The board of a fault and a case on it.

    Raises:
        Unavailable: the machine lacks something that it needs.
    """
    with contextlib.ExitStack() as stack:
        if FAULTS[name].board == NETWORK:
            lab = stack.enter_context(Lab(folder / "lab"))
            one = Case(lab.board(), folder / "case", lab.enter)
        else:
            one = Case(stack.enter_context(Sshd(folder / "board")), folder / "case")
        stack.callback(one.close)
        yield one


def run(name: str, folder: Path) -> Outcome:
    """Let one fault happen on a board of its own, and look at what it did.

    Raises:
        Unavailable: the machine lacks something that it needs.
    """
    found = FAULTS[name]
    with case(name, folder) as one:
        found.act(one)
        outcome = one.outcome(name, found.says if one.last["event"] == "error" else None)
    if outcome.ended not in found.ends:
        outcome.wrong.append(f"the client ended with {outcome.ended}: {outcome.message}")
    if outcome.notice_s is not None and outcome.notice_s > found.within_s:
        outcome.wrong.append(f"noticed after {outcome.notice_s:.1f} s")
    return outcome
