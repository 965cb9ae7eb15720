"""Kills at random moments while a board behind a loopback sshd is measured: is anything lost or doubled?

Sweeps follow one another. In each, a random one of the processes that take part is killed, or stopped for a while, at a
random moment (while logging in, too); then the same command runs again, until all is measured. After each client the
board has to be free of its processes, after each sweep each (point, slot, round) has to be in the journals once.

    python -m benchmarks.soak_boards OUT [--kills 200] [--seed 0]

OUT is a folder: the same command goes on where it stopped. About seven seconds a kill. OUT/soak.jsonl has a line for
each kill and each finished sweep; a table comes at the end.
"""

import argparse
import contextlib
import json
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.boards.cases import Case, Client
from tests.boards.rigs import Sshd, Unavailable

WIDTHS = tuple(range(4, 52, 4))
ROUNDS = 40  # with 12 points and bursts of 8 ms: about four seconds for each of the two processes
LATEST_S = 3.0
HEADER = ("what happened", "times", "went on", "stopped with an error", "noticed after", "board free after")


class NotThere(Exception):
    """Nothing to kill at this moment."""


def _kill(processes: list[psutil.Process], number: signal.Signals = signal.SIGKILL) -> None:
    if not processes:
        raise NotThere
    for process in processes:
        process.send_signal(number)


def _pause(client: Client, seconds: float) -> None:
    client.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    client.process.send_signal(signal.SIGCONT)


# What happens, and how often beside the others.
BLOWS: dict[str, tuple[Callable[[Sshd, Client], None], int]] = {
    "client SIGKILL": (lambda board, client: client.kill(), 6),
    "ssh SIGKILL": (lambda board, client: _kill(board.logins()), 6),
    "sshd session SIGKILL": (lambda board, client: _kill(board.sessions()), 6),
    "agent SIGKILL": (lambda board, client: _kill(board.agents()), 6),
    "worker SIGKILL": (lambda board, client: _kill(board.workers()), 4),
    "worker SIGSEGV": (lambda board, client: _kill(board.workers(), signal.SIGSEGV), 4),
    "sshd restarted": (lambda board, client: board.restart(), 3),
    "client stopped for 2 s": (lambda board, client: _pause(client, 2.0), 3),
    "client stopped for 9.5 s, longer than the lease": (lambda board, client: _pause(client, 9.5), 1),
}


class Soak:
    """What was done so far, on file."""

    def __init__(self, folder: Path, kills: int, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.kills, self.path = folder, kills, folder / "soak.jsonl"
        text = self.path.read_text() if self.path.exists() else ""
        self.lines = [json.loads(line) for line in text.splitlines()]
        self.random = random.Random(seed + len(self.lines))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Lines of a kind: `kill` or `sweep`."""
        return [line for line in self.lines if line["line"] == kind]

    def total(self, name: str) -> int:
        """Sum of a number over all lines."""
        return sum(line.get(name, 0) for line in self.lines)

    def note(self, **line: Any) -> None:
        """Append a line, and say how far it is."""
        self.lines.append(line)
        with open(self.path, "a") as stream:
            stream.write(json.dumps(line) + "\n")
        if line["line"] == "kill":
            print(f"{len(self.of('kill'))} of {self.kills} kills: {self.sums()}", file=sys.stderr, flush=True)

    def sums(self) -> str:
        """The figures that have to be 0."""
        return ", ".join(f"{self.total(name)} {name}" for name in ("lost", "doubled", "left", "broken"))

    def run(self) -> None:
        """Sweep after sweep until the kills are spent; the last sweep is finished, too."""
        with Sshd(self.folder / "board") as board:
            while len(self.of("kill")) < self.kills:
                self.sweep(board, len(self.of("sweep")))

    def sweep(self, board: Sshd, number: int) -> None:
        """One sweep, with one kill for each client; a sweep that an earlier run of this program began goes on."""
        case = Case(board, self.folder / f"sweep{number}", widths=WIDTHS)
        case.set_protocol(rounds=ROUNDS)
        with contextlib.closing(case):
            seen, done = set(), False
            while not done:
                client = case.start()
                blow = self.strike(case, client) if len(self.of("kill")) < self.kills else None
                seen |= case.at_strike
                last, broken = self.ended(case, client)
                done = last["event"] == "done" and not last["failures"]
                free_s = case.settle()
                if blow is not None:
                    notice_s = last["at"] - case.struck_at if last["event"] == "error" else None
                    about = {"ended": last["event"], "message": last.get("message"), "notice_s": notice_s}
                    left = len(case.notes)
                    self.note(line="kill", blow=blow, **about, free_s=free_s, left=left, broken=broken)
                case.notes.clear()
            case.at_strike = seen
            found = case.outcome("sweep", None)
        self.note(line="sweep", bursts=found.expected, lost=found.lost, doubled=found.doubled)
        shutil.rmtree(case.folder)

    def strike(self, case: Case, client: Client) -> str | None:
        """Wait a random time, then strike; None when the client was faster."""
        time.sleep(self.random.uniform(0.05, LATEST_S))
        while client.process.poll() is None:
            (name,) = self.random.choices(list(BLOWS), [weight for _, weight in BLOWS.values()])
            try:
                case.strike(BLOWS[name][0], case.board, client)
            except (NotThere, psutil.NoSuchProcess):
                time.sleep(0.01)  # it is just logging in, or just ending
                continue
            if "stopped" in name:
                case.struck_at = time.monotonic()  # before, it could notice nothing
            return name
        return None

    def ended(self, case: Case, client: Client) -> tuple[dict[str, Any], int]:
        """A client's last word, and 1 when it was stuck or ended with a traceback."""
        try:
            return case.ended(client, 90.0), 0
        except AssertionError as problem:
            return {"event": "broken", "message": str(problem)}, 1

    def table(self) -> str:
        """A row for each kind of kill, as Markdown."""
        rows = [HEADER, ("---", *["---:"] * 5)]
        for name in BLOWS:
            hit = [line for line in self.of("kill") if line["blow"] == name]
            ended = [line["ended"] for line in hit]
            notice = max((line["notice_s"] for line in hit if line["notice_s"] is not None), default=None)
            free = max((line["free_s"] for line in hit), default=None)
            counts = (len(hit), ended.count("done"), ended.count("error"))
            times = ("-" if value is None else f"{value:.1f} s at most" for value in (notice, free))
            rows.append((name, *map(str, counts), *times))
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> int:
    """Exit status 1 when anything was lost, doubled, left behind or not explained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for what is measured and counted")
    parser.add_argument("--kills", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of kinds and moments (default: %(default)s)")
    arguments = parser.parse_args()
    soak = Soak(arguments.out.resolve(), arguments.kills, arguments.seed)
    try:
        soak.run()
    except Unavailable as lack:
        raise SystemExit(f"{lack}. On Debian, as root: make system-deps") from None
    sweeps = soak.of("sweep")
    print(soak.table())
    bursts = sum(line["bursts"] for line in sweeps)
    print(f"{len(soak.of('kill'))} kills in {len(sweeps)} sweeps of {bursts} bursts in all: {soak.sums()}")
    return int(any(soak.total(name) for name in ("lost", "doubled", "left", "broken")))


if __name__ == "__main__":
    sys.exit(main())
