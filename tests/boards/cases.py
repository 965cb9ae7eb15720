"""One case of a fault: a board, a store, clients in processes of their own, and what was seen of it.

Tests and benchmarks share it. After a fault `Case.outcome` asks of every case the same: each (point, slot, round) in
the journals exactly once, nothing left running on the board, an error that names the cause, a rerun that completes.
"""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from hakd.boards import Protocol
from hakd.boards.journal import read
from tests.boards.points import pointwise
from tests.boards.rigs import Sshd
from tests.boards.rigs.needs import wait_until

CLIENT = Path(__file__).with_name("client.py")
WIDTHS = (8, 16, 24)
# Bursts long enough for a fault to fall among them, and a process of about half a second.
PROTOCOL = Protocol(processes=2, rounds=20, burst_ms=8, max_calls=100_000, warmup_ms=0.5, point_timeout_s=20)
LEFT_S = 10.0  # the lease is 8 s
Place = tuple[str, int, int]


class Client:
    """A running client.

    Args:
        job: what tests/boards/client.py takes.
        folder: for what it says.
        enter: words before its command line.
    """

    def __init__(self, job: dict[str, Any], folder: Path, enter: Sequence[str] = ()) -> None:
        self.job = job
        number = len(list(folder.glob("client*.out")))
        self._out, self._log = folder / f"client{number}.out", folder / f"client{number}.log"
        argv = [*enter, sys.executable, str(CLIENT), json.dumps(job)]
        with open(self._out, "wb") as out, open(self._log, "wb") as log:
            nothing = subprocess.DEVNULL
            self.process = subprocess.Popen(
                argv, stdin=nothing, stdout=out, stderr=log, start_new_session=True
            )
        self.started_at = time.monotonic()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it said so far."""
        return [json.loads(line) for line in self._out.read_text().split("\n")[:-1]]

    @property
    def log(self) -> str:
        """What it logged so far."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def ssh(self) -> psutil.Process:
        """Its ssh."""
        (child,) = [p for p in psutil.Process(self.process.pid).children() if p.name() == "ssh"]
        return child

    def result(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Its last word, or `killed`.

        Raises:
            AssertionError: it is stuck, or it ended otherwise than it should.
        """
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the client is stuck: {self.events} {self.log}") from None
        if self.process.returncode < 0:
            return {"event": "killed"}
        last = self.events[-1] if self.events else {"event": "nothing"}
        assert (last["event"], self.process.returncode) in {("done", 0), ("error", 1)}, f"{last} {self.log}"
        assert "Traceback" not in self.log, self.log
        return last


@dataclass
class Outcome:
    """What a fault did.

    `notice_s` is from the fault until the client said so; None where there was nothing to say. `free_s` is from the
    fault until nothing of the client was left on the board; None where it went on.
    """

    name: str
    ended: str
    message: str
    notice_s: float | None
    free_s: float | None
    expected: int
    lost: int
    doubled: int
    wrong: list[str] = field(default_factory=list)


class Case:
    """A board and a store in which one fault happens.

    Args:
        board: a running board.
        folder: of this case alone.
        enter: words before the clients' command lines.
        widths: of the points.

    Attributes:
        store: where the clients keep measurements.
        seen: the same folder as this program sees it.
        device: changes of the device for all clients to come.
        last: the last word of the client that was waited for last.
        notes: what is not as it should be.
    """

    def __init__(
        self, board: Sshd, folder: Path, enter: Sequence[str] = (), widths: Sequence[int] = WIDTHS
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.board, self.folder, self.enter, self.widths = board, folder, tuple(enter), tuple(widths)
        self.store = self.seen = folder / "store"
        self.protocol, self.device = PROTOCOL, {}  # type: tuple[Protocol, dict[str, Any]]
        self.struck_at = self.noticed_at = self.free_at = None  # type: float | None
        self.at_strike: set[tuple[Place, str]] = set()
        self.last: dict[str, Any] = {}
        self.clients: list[Client] = []
        self.notes: list[str] = []
        self._after = contextlib.ExitStack()

    def set_protocol(self, **changes: Any) -> None:
        """Time points otherwise than PROTOCOL says."""
        self.protocol = replace(self.protocol, **changes)

    def closing(self, action: Callable[[], object]) -> None:
        """Do this when all has been looked at."""
        self._after.callback(action)

    def close(self) -> None:
        """End what the case started."""
        for client in self.clients:
            if client.process.poll() is None:
                client.kill()
                client.process.wait()
        self._after.close()

    # --- clients

    def start(self, widths: Sequence[int] | None = None, bulky: Sequence[int] = (), **changes: Any) -> Client:
        """A client that measures all points of the case; `changes` are of the device."""
        job = {
            "name": "board",
            "device": self.board.device(**{**self.device, **changes}),
            "store": str(self.store),
            "widths": list(widths or self.widths),
            "bulky": list(bulky),
            "protocol": asdict(self.protocol),
            "purpose": "sweep",
        }
        self.clients.append(Client(job, self.folder, self.enter))
        return self.clients[-1]

    def sweeping(self, bursts: int = 8, **changes: Any) -> Client:
        """A client in the middle of its work: so many bursts have come in."""
        client, before = self.start(**changes), len(self.bursts())
        self._wait(client, lambda: len(self.bursts()) >= before + bursts, "bursts")
        return client

    def _wait(self, client: Client, condition: Callable[[], object], what: str) -> None:
        def held() -> bool:
            over = client.process.poll() is not None
            if condition():
                return True
            assert not over, f"the client ended without {what}: {client.events} {client.log}"
            return False

        wait_until(held, what, 30.0)

    def strike(self, blow: Callable[..., object], *args: object) -> None:
        """Let the fault happen, and note when and what had been measured until then."""
        self.at_strike = {(place, burst["process"]) for place, burst in self.places()}
        self.struck_at = time.monotonic()
        blow(*args)

    def ended(self, client: Client | None = None, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait for the last word of a client, the latest one if not told."""
        self.last = (client or self.clients[-1]).result(timeout_s)
        return self.last

    # --- what is in the journals

    def records(self) -> list[dict[str, Any]]:
        """All records, of all journals, with the folder each is in: the identity of what was measured."""
        paths = sorted(self.seen.glob("*/*.jsonl"))
        return [{**record, "folder": path.parent.name} for path in paths for record in read(path)]

    def bursts(self) -> list[dict[str, Any]]:
        """Bursts, visits to a reference point apart."""
        return [record for record in self.records() if record["type"] == "burst" and not record["reference"]]

    def places(self) -> list[tuple[Place, dict[str, Any]]]:
        """Which (point, slot, round) each burst is."""
        return [((r["key"], r["slot"], r["round"]), r) for r in self.bursts()]

    def expected(self) -> set[Place]:
        """All (point, slot, round) of the case."""
        return {(pointwise(w).key, *place) for w in self.widths for place in self.protocol.slots()}

    # --- afterwards

    def settle(self) -> float:
        """Seconds until nothing of it runs, on the board or on the way to it."""
        try:
            seconds = wait_until(lambda: not self.left(), "nothing is left on the board", LEFT_S)
        except AssertionError:
            self.notes.append(f"left on the board: {[str(process) for process in self.left()]}")
            seconds = LEFT_S
        self.free_at = self.free_at or time.monotonic()
        return seconds

    def released(self) -> None:
        """Wait until no agent and no worker is there, while what became of the client is still open."""
        board = self.board
        wait_until(lambda: not board.agents() + board.workers(), "the agent leaves by its lease", LEFT_S)
        self.free_at = time.monotonic()

    def logged(self, pattern: str) -> None:
        """Wait until the client has logged this about a point, which it then knows; the journal has to know it, too."""
        self.warned(rf"pointwise-\S+: {pattern}")
        failures = [r for r in self.records() if r["type"] == "failure" and r["key"]]
        if not any(re.search(pattern, r["reason"]) for r in failures):
            self.notes.append(f"not in the journal: {pattern}")

    def warned(self, pattern: str) -> None:
        """Wait until the client has warned of this in its log, naming the board: it noticed, and goes on."""
        client = self.clients[-1]

        def held() -> bool:
            return bool(re.search(rf"WARNING device board: {pattern}", client.log))

        wait_until(lambda: held() or client.process.poll() is not None, "a word in the log", 30.0)
        self.noticed_at = time.monotonic() if held() else None
        if not held():
            self.notes.append(f"not in the log: {pattern}")

    def goes_on(self, lost: str) -> None:
        """The client warns of a lost link, connects again by itself, and completes in new sessions."""
        client, before = self.clients[-1], len(self.sessions())
        self.warned(rf"host: the link was lost \(.*{lost}.*; connecting again in 1 s \(try 1 of 3\)")
        self.ended(client)
        if "WARNING device board: connected again after" not in client.log:
            self.notes.append("the client does not say that it is connected again")
        if len(self.sessions()) <= before:
            self.notes.append("the sessions are not on record")

    def sessions(self) -> list[dict[str, Any]]:
        """First records of all journals, in order of time."""
        return [record for record in self.records() if record["type"] == "session"]

    def left(self) -> list[psutil.Process]:
        """What runs on the board, and what is about to: an ssh whose client is gone may just be logging in."""
        return self.board.logins() or self.board.processes()

    def rerun(self) -> None:
        """The same command again, which has to complete and to take nothing away."""
        before = len(self.bursts())
        last = self.start().result()
        if last["event"] != "done" or last["failures"]:
            self.notes.append(f"the rerun does not complete: {last}")
        if len(self.bursts()) < before:
            self.notes.append("the rerun removed measurements")
        self.settle()

    def outcome(self, name: str, says: str | None) -> Outcome:
        """Settle, run again, count; `wrong` holds all that is not as it should be."""
        last, notice_s, free_s, released = self.last, None, None, self.free_at is not None
        if last["event"] == "error":
            self.noticed_at = last["at"]
        if self.noticed_at is not None and self.struck_at is not None:
            notice_s = self.noticed_at - self.struck_at
        self.settle()
        if (last["event"] != "done" or released) and self.struck_at is not None:
            free_s = self.free_at - self.struck_at
        message = last.get("message", "")
        if says is not None:
            check_message(self.notes, message, says)
        if last["event"] != "done":
            self.rerun()
        lost, doubled = self.count()
        sums = len(self.expected()), lost, doubled
        return Outcome(name, last["event"], message, notice_s, free_s, *sums, self.notes)

    def count(self) -> tuple[int, int]:
        """How many (point, slot, round) are missing, or gone since the fault; how many there are too many."""
        final = self.places()
        newest = max((r["folder"] for r in self.records()), key=self._age)
        count = Counter((r["folder"], place) for place, r in final)
        there = {place for place, r in final if r["folder"] == newest}
        kept = {(place, r["process"]) for place, r in final}
        lost = len(self.expected() - there) + len(self.at_strike - kept)
        doubled = sum(times - 1 for times in count.values())
        surplus = there - self.expected()
        if lost or doubled or surplus:
            self.notes.append(f"{lost} lost, {doubled} doubled, {len(surplus)} that nobody asked for")
        return lost, doubled

    def _age(self, identity: str) -> float:
        return max(path.stat().st_mtime for path in (self.seen / identity).glob("*.jsonl"))


def check_message(notes: list[str], message: str, says: str) -> None:
    """One line, printable, that names the cause."""
    if not re.search(says, message):
        notes.append(f"the message does not name the cause: {message!r}")
    if not message.isprintable() or len(message) > 1000:
        notes.append(f"the message is not fit for a log: {message!r}")
