"""The boards of a fleet: open at the same time where possible."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from hakd.boards import Board, Device, open_board
from hakd.search.budget import Budget
from hakd.staircase.curve import Curve
from hakd.sweeping.same_board import refuse_change
from hakd.sweeping.timing import Measuring

_ADDRESS = ("transport", "host", "port", "jump")


@dataclass(frozen=True)
class Member:
    """A device of a fleet: how it is measured, its curves at the level, its latency budget.

    `table_seen` is board and engine of its latency table, by path, as `hakd.sweeping.same_board.seen` finds them.
    """

    device: Device
    measuring: Measuring
    curves: Mapping[str, Curve]
    budget: Budget
    table_seen: Mapping[str, Mapping[str, str]]


class Boards:
    """The members' boards, all open at the same time; members on one board (its lock is exclusive) one at a time.

    Entering the context opens them, so that every board has answered before anything is timed.
    """

    def __init__(self, members: Mapping[str, Member], store: Path) -> None:
        self._members, self._store = members, store
        self._away_s = 0.0  # of boards that are closed, and of opening them
        self._open: dict[tuple[object, ...], tuple[Board, contextlib.ExitStack]] = {}

    def __enter__(self) -> "Boards":
        try:
            for name in self._members:
                self.of(name)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def clock_s(self) -> float:
        """A clock that stands still while boards are opened or a link is lost, as each board's own does."""
        return time.monotonic() - self._away_s - sum(board.away_s for board, _ in self._open.values())

    def of(self, name: str) -> Board:
        """The open board of a member.

        Raises:
            HakdError: it does not answer, or its board or engine is not that of its table.
        """
        member = self._members[name]
        place = _address(member.device)
        board, stack = self._open.get(place, (None, None))
        if board is not None and board.device.name == name:
            return board
        before_s = self.clock_s()
        if stack is not None:
            del self._open[place]
            stack.close()
        fresh = contextlib.ExitStack()
        opened = fresh.enter_context(open_board(member.device, self._store))
        self._open[place] = opened, fresh
        self._away_s += self.clock_s() - before_s
        refuse_change(opened, member.table_seen)
        return opened

    def _close(self) -> None:
        with contextlib.ExitStack() as all_of_them:
            for _, stack in self._open.values():
                all_of_them.callback(stack.close)
            self._open = {}


def _address(device: Device) -> tuple[object, ...]:
    """What distinguishes boards; every virtual device is its own board."""
    return (
        (device.name,) if device.transport == "virtual" else tuple(getattr(device, key) for key in _ADDRESS)
    )
