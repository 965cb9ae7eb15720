"""A session with a board: open it, time points, measure their memory; everything goes through the journal."""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from hakd.boards import agent, packing, schema
from hakd.boards.alike import check_alike, known_as
from hakd.boards.bars import Tick, bar
from hakd.boards.connecting import Argv, connect, connect_again
from hakd.boards.device import Device
from hakd.boards.journal import Journal
from hakd.boards.lost import LinkLost
from hakd.boards.points import Burst, Point, Protocol, Unmeasurable
from hakd.boards.run import Run
from hakd.boards.sharing import shared_cores, short_quota
from hakd.boards.store import Store, fingerprint, identity
from hakd.records.errors import HakdError
from hakd.records.files import digest
from hakd.records.provenance import commit

log = logging.getLogger(__name__)
BYE_S = 30.0
ATTEMPTS = 2  # a point that fails this often is left out
ENERGY_BURST_S = 0.5
_ONCE = Protocol(processes=1, rounds=1)
T = TypeVar("T")


class Board:
    """An open session; made by `open_board`.

    A link that is lost during a measurement is made again, `device.reconnects` times at most before the next result;
    then the rest is measured, in fresh processes, as after a rerun.

    Attributes:
        device: what was opened.
        fingerprint: short hash of hardware, engine version, threads and precision.
        engine_version: of the engine on the device.
        context: host, CPU, clock, temperature, load and more before the session; None where the board reports nothing.
        failures: reason by key of points that failed twice in this session and are left out of its results.
        timed: bursts and memory figures that came from the device, not from the store, so far.
        away_s: seconds that lost links took, from when they were noticed until the board could be used again.
    """

    def __init__(self, device: Device, root: Path, argv: Argv | None = None, again: bool = False) -> None:
        self.device, self._root, self._argv, self._again = device, root, argv, again
        self._where = f"device {device.name}"
        self._checks = device.transport != "virtual"  # which computes times, not outputs
        self.failures: dict[str, str] = {}
        self.away_s = 0.0
        self.timed = 0
        self._begun: set[tuple[str, str]] = set()
        self._attempts: dict[str | None, int] = {}
        self._jobs = self._tries = self._past_noise = 0
        self._shared: Tick | None = None
        self._sensorless: str | None = None
        self._link, hello = connect(device, argv)
        try:
            self.engine_version: str = hello["engine_version"]
            self.fingerprint = fingerprint(
                hello["hardware"], self.engine_version, device.threads, device.precision
            )
            self.context = self._begin(hello)
        except BaseException:
            self._link.close()
            raise

    def _begin(self, hello: dict[str, Any]) -> dict[str, Any]:
        """Begin a session in the store, of the board that sent this hello; return its context."""
        device = self.device
        context = {
            **hello["context"],
            **hello["hardware"],
            "engine": device.engine,
            "engine_version": self.engine_version,
            "numpy_version": hello["numpy_version"],
            "threads": device.threads,
            "precision": device.precision,
        }
        self._session = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + secrets.token_hex(4)
        key = identity(device, self.fingerprint, self.engine_version)
        # Read only now: until the lock was ours another client may have been writing.
        self._store = Store(self._root, key)
        self._journal = Journal(self._store.folder / f"{self._session}.jsonl")
        self._head: dict[str, Any] | None = {
            "type": "session",
            "format": 1,
            "device": device.settings(),
            "identity": key,
            "context": context,
            "known_as": known_as(device),
            "commit": commit(),
        }
        check_alike(self._store.folder, self._head)
        for words in (short_quota(context, device.threads), shared_cores(context, device.threads)):
            if words is not None:
                log.warning("%s: %s; `hakd doctor %s` says what to do", self._where, words, device.name)
        return context

    def close(self) -> None:
        """Hang up and close the journal."""
        try:
            self._link.close()
        finally:
            self._journal.close()

    def clock_s(self) -> float:
        """A clock that stands still while the link is lost: the time that measuring takes."""
        return time.monotonic() - self.away_s

    @property
    def noise(self) -> int:
        """Lines on the agent's output that the agent did not write, so far."""
        return self._past_noise + self._link.reader.noise

    def measure(
        self,
        points: Sequence[Point],
        protocol: Protocol,
        purpose: str = "sweep",
        reference_point: Point | None = None,
        progress: bool = True,
    ) -> dict[str, list[Burst]]:
        """Time what the store does not have yet; return the bursts of all points that did not fail.

        Args:
            points: neighbours in this order are interleaved: a process has at most `protocol.chunk_points` of them, and
                no more than it can hold (`packing.packed_chunks`).
            protocol: how.
            purpose: measurements with different purposes share no burst and no process.
            reference_point: visited in every round of every process and returned under its key, so that processes
                can be tied together. None: no such visits.
            progress: show a bar with the time left on stderr.

        Raises:
            HakdError: the device or its engine went away or broke the protocol. What was measured stays in the store.
        """
        points = packing.unique(points)
        self._forget(points, purpose)
        todo = [point for point in points if self._missing(point.key, purpose, protocol)]
        total = sum(len(self._store.missing(purpose, point.key, protocol)) for point in todo)
        with self._bar(purpose, total, progress) as tick:
            tie = self._packed_tie(reference_point) if reference_point and todo else None
            chunks = packing.packed_chunks(todo, protocol.chunk_points, self.failures, self._checks, tie)
            for packed in chunks:
                self._through(partial(self._measure_chunk, packed, protocol, purpose, tie, tick))
        self._journal.sync()
        found = {
            point.key: self._store.bursts(purpose, point.key, protocol)
            for point in points
            if point.key not in self.failures
        }
        self._check_ratio(found)
        if reference_point is not None:
            processes = {burst.process for bursts in found.values() for burst in bursts}
            seen = self._store.reference(reference_point.key, processes)
            found[reference_point.key] = found.get(reference_point.key, []) + seen
        return found

    def memory(self, points: Sequence[Point], progress: bool = True) -> dict[str, int]:
        """Peak resident set in bytes of a fresh process that loads and runs each point, beyond the empty engine."""
        return self._alone("memory", points, lambda key: self._store.memory(key), progress)

    def energy(self, points: Sequence[Point], settings: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """Bursts of each point that an energy sensor of the board saw (`hakd.boards.energy`), by key.

        Args:
            points: to measure.
            settings: the device's `energy`: `command`, `unit`, `burst_s`, each optional.

        Returns:
            `calls`, `wall_ns`, `joules` and `idle_w` of each burst. Empty where the board has no sensor that its login
            may read, and of a virtual device.

        Raises:
            HakdError: the command of the settings fails.
        """
        if self.device.transport == "virtual":
            return {}
        asked = {"command": None, "unit": "J", "burst_s": ENERGY_BURST_S, **settings}
        purpose = f"energy:{digest(asked)}"
        self._sensorless = None

        def known(key: str) -> list[dict[str, Any]] | None:
            return [] if self._sensorless is not None else self._store.energy(purpose, key)

        found = self._alone("energy", points, known, True, purpose, asked)
        if self._sensorless is not None and asked["command"]:
            problem = f"its command gives no energy ({self._sensorless})"
            remedy = "Run it on the device by hand: it has to print a number of joules or watts"
            raise HakdError(problem, where=self._where, key="energy.command", remedy=remedy)
        return {key: bursts for key, bursts in found.items() if bursts}

    def _alone(
        self,
        kind: str,
        points: Sequence[Point],
        known: Callable[[str], T | None],
        progress: bool,
        purpose: str = "",
        energy: Mapping[str, Any] | None = None,
    ) -> dict[str, T]:
        """Measure one figure of each point that the store does not have, each in a separate process."""
        points = packing.unique(points)
        todo = [p for p in points if p.key not in self.failures and known(p.key) is None]
        with self._bar(kind, len(todo), progress) as tick:
            chunks = packing.packed_chunks(todo, _ONCE.chunk_points, self.failures, self._checks)
            for packed in chunks:
                self._through(partial(self._alone_chunk, kind, packed, known, tick, purpose or kind, energy))
        self._journal.sync()
        found = {point.key: known(point.key) for point in points}
        return {key: figure for key, figure in found.items() if figure is not None}

    def graphs(self, points: Sequence[Point]) -> dict[str, dict[str, int]]:
        """How many ops of each kind the engine runs for each point, once optimised; only onnxruntime reports them."""
        return self._alone("graph", points, lambda key: self._store.graph(key), True)

    @contextlib.contextmanager
    def one_bar(self, label: str) -> Iterator[None]:
        """One progress bar for all that is measured in the block; its total grows with each request."""
        with bar(f"{self.device.name}: {label}", 0, True) as tick:
            self._shared = tick
            try:
                yield
            finally:
                self._shared = None

    @contextlib.contextmanager
    def _bar(self, purpose: str, total: int, wanted: bool) -> Iterator[Tick]:
        if self._shared is not None:
            self._shared(total, more=True)
            yield self._shared
            return
        with bar(f"{self.device.name}: {purpose}", total, wanted and total > 0) as tick:
            yield tick

    def _packed_tie(self, point: Point) -> packing.Packed | None:
        """The reference point, packed; None where it cannot be timed."""
        try:
            return packing.pack_point(point, self._checks)
        except Unmeasurable as problem:
            self.failures[point.key] = str(problem)
            return None

    def _forget(self, points: Sequence[Point], purpose: str) -> None:
        """If `again`: leave out what earlier sessions measured of these points for this purpose's first word."""
        word = purpose.split(":")[0]
        keys = {point.key for point in points if (word, point.key) not in self._begun}
        self._begun |= {(word, key) for key in keys}
        if self._again:
            self._record(self._store.forgetting(word, keys))

    def _through(self, work: Callable[[], None]) -> None:
        """Finish a piece of work; where the link is lost, connect again and do the rest of it."""
        while True:
            try:
                return work()
            except LinkLost as lost:
                self._connect_again(lost)

    def _connect_again(self, lost: LinkLost) -> None:
        """Go on with a new session on the same board.

        Raises:
            HakdError: the board does not come back, is another one, or has another engine.
        """
        since = time.monotonic()
        self._past_noise += self._link.reader.noise
        self.close()
        link, hello, self._tries = connect_again(self.device, lost, self._tries, self._argv)
        self._link = link
        version = hello["engine_version"]
        seen = fingerprint(hello["hardware"], version, self.device.threads, self.device.precision)
        if (seen, version) != (self.fingerprint, self.engine_version):
            engine = self.device.engine
            problem = (
                f"another board or engine than before the link was lost: {engine} {self.engine_version}"
                f" (fingerprint {self.fingerprint}) then, {engine} {version} (fingerprint {seen}) now"
            )
            remedy = "Check the board, then run again: what was measured is kept"
            raise HakdError(problem, where=self._where, key="engine", remedy=remedy)
        self._begin(hello)
        away_s = time.monotonic() - since
        self.away_s += away_s
        log.warning("%s: connected again after %.0f s; continuing", self._where, away_s)

    def _missing(self, key: str, purpose: str, protocol: Protocol, slot: int | None = None) -> list[int]:
        """Rounds still to be measured, in one process slot or in any."""
        if key in self.failures:
            return []
        missing = self._store.missing(purpose, key, protocol)
        return sorted(turn for at, turn in missing if slot is None or at == slot)

    def _measure_chunk(
        self,
        chunk: list[packing.Packed],
        protocol: Protocol,
        purpose: str,
        reference: packing.Packed | None,
        tick: Tick,
    ) -> None:
        """Fill every process slot of these points, each with a fresh process, again while points fail."""
        keys = [point["key"] for point in chunk]
        self._load([*chunk, reference] if reference and reference["key"] not in keys else chunk)
        checked: set[str] = set()
        for slot in range(protocol.processes):
            while True:
                rounds = {key: self._missing(key, purpose, protocol, slot) for key in keys}
                rounds = {key: turns for key, turns in rounds.items() if turns}
                if not rounds:
                    break
                tie = reference["key"] if reference and reference["key"] not in self.failures else None
                unchecked = ({*rounds, tie} if tie else rounds.keys()) - checked
                run = self._run("time", purpose, slot, rounds, protocol, tie, unchecked, tick)
                checked |= run.checked

    def _alone_chunk(
        self,
        kind: str,
        chunk: list[packing.Packed],
        known: Callable[[str], Any],
        tick: Tick,
        purpose: str,
        energy: Mapping[str, Any] | None,
    ) -> None:
        """A process for each point, again while it fails."""
        self._load(chunk)
        for key in (point["key"] for point in chunk):
            while known(key) is None and key not in self.failures:
                run = self._run(kind, purpose, 0, {key: []}, _ONCE, None, (), energy=energy)
                self._sensorless = run.sensorless
                tick(run.results)

    def _load(self, packed: list[packing.Packed]) -> None:
        """Send the agent the models of the next jobs; they replace the ones before."""
        self._link.send({"do": "load", "points": packed})

    def _run(
        self,
        kind: str,
        purpose: str,
        slot: int,
        rounds: dict[str, list[int]],
        protocol: Protocol,
        reference_key: str | None,
        check: Collection[str],
        tick: Tick = lambda count: None,
        energy: Mapping[str, Any] | None = None,
    ) -> Run:
        """One worker process from start to end; its bursts reach the journal as they come."""
        self._jobs += 1
        keys = list(rounds) + ([reference_key] if reference_key and reference_key not in rounds else [])
        wanted = {(key, turn, False) for key, turns in rounds.items() for turn in turns}
        if reference_key:
            wanted |= {(reference_key, turn, True) for turns in rounds.values() for turn in turns}
        process = f"{self._session}.{self._jobs}"
        run = Run(self._where, self._jobs, process, kind, purpose, slot, frozenset(keys), wanted, protocol)
        seed = secrets.randbits(32)
        settings = asdict(protocol)
        about: dict[str, Any] = {
            "kind": kind,
            "seed": seed,
            "reference_key": reference_key,
            "protocol": settings,
        }
        about |= {} if energy is None else {"energy": dict(energy)}
        self._record([{"type": "run", "process": process, "purpose": purpose, "slot": slot, **about}])
        self._link.send(
            {"do": "run", "job": run.job, "keys": keys, "rounds": rounds, "check": sorted(check), **about}
        )
        self._follow(run, tick)
        self.timed += run.results
        for key, reason in run.failed.items():
            self._count_failure(key, reason)
        assert run.ended is not None
        if run.trouble:
            remedy = "Check the engine on the device, then run again: what was measured is kept"
            raise HakdError(run.trouble, where=self._where, key="engine", remedy=remedy)
        if run.ended["outcome"] != "ok" and run.ended["key"] is None:
            self._count_failure(None, f"{run.ended['outcome']}: {run.ended['detail']}")
        elif not run.failed and not run.results:
            self._count_failure(None, "a worker ended without a result")
        return run

    def _follow(self, run: Run, tick: Tick) -> None:
        """Record a run's messages until it is done, or until only heartbeats have come for too long."""
        patience_s = agent.ENGINE_START_S + 2 * run.protocol.point_timeout_s
        heard_at = time.monotonic()
        while run.ended is None:
            before, records = run.results, []
            try:
                for message in self._link.receive(patience_s):
                    if message["t"] != "beat":
                        heard_at = time.monotonic()
                    record = run.take(message)
                    if record is not None:
                        records.append(record)
            finally:
                self._record(records)
                tick(run.results - before)
                if run.results > before:
                    self._tries = 0
            if time.monotonic() - heard_at > patience_s:
                raise self._link.gone(f"no result for {patience_s:g} s")

    def _record(self, records: list[dict[str, Any]]) -> None:
        """On disk first, then in memory."""
        if not records:
            return
        if self._head is not None:
            # Check again: a board with the same identity may have begun in the meantime.
            check_alike(self._store.folder, self._head)
            records, self._head = [self._head, *records], None
        self._journal.append(records)
        self._store.add(records)

    def _count_failure(self, key: str | None, reason: str) -> None:
        """Leave a point out at its last attempt; where no point is the cause, give up on the device."""
        self._attempts[key] = self._attempts.get(key, 0) + 1
        log.warning("%s: %s: %s", self._where, key or "worker", reason)
        if self._attempts[key] < ATTEMPTS:
            return
        if key is None:
            raise HakdError(
                f"workers fail: {reason}", where=self._where, remedy="Check the engine on the device"
            )
        self.failures[key] = reason

    def _check_ratio(self, found: dict[str, list[Burst]]) -> None:
        """Warn when the engine did not use the threads it was given: the figures are then not those of the setting."""
        ratios = [burst.cpu_ratio for bursts in found.values() for burst in bursts]
        if not ratios:
            return
        ratio, threads = median(ratios), self.device.threads
        if ratio > 1.1 * threads or (threads == 1 and ratio < 0.9):
            log.warning("%s: %.2f CPUs busy during bursts, threads: %d", self._where, ratio, threads)

    def _bye(self) -> None:
        """Get the context after the session; without it, log a line and keep the results."""
        try:
            self._link.send({"do": "bye"})
            after, asked_at = None, time.monotonic()
            while after is None:
                if time.monotonic() - asked_at > BYE_S:
                    raise self._link.gone(f"no goodbye message within {BYE_S:g} s")
                for message in self._link.receive(BYE_S):
                    message = schema.check(message, ("bye", "beat"), self._where)
                    after = message.get("context", after)
        except HakdError as error:
            log.warning("%s", error)
            return
        if self._head is None:
            self._record([{"type": "end", "context": after, "noise": self.noise}])
        if self.noise:
            log.warning("%s: %d foreign lines on the agent's output were ignored", self._where, self.noise)


@contextlib.contextmanager
def open_board(
    device: Device, store: Path, transport: Argv | None = None, again: bool = False
) -> Iterator[Board]:
    """Start the agent of a device, wait for the board's lock, and end both with the block.

    Args:
        device: the board.
        store: folder of the measurements of all devices.
        transport: command line that reaches the agent, when not as `device.transport` says.
        again: measure everything again; what the store has of it does not count any more.

    Raises:
        HakdError: no connection to the board, no such Python, no agent, no engine, a held lock, too few CPUs,
            measurements of another board with the same machine-id.
    """
    board = Board(device, Path(store), transport, again)
    try:
        yield board
        board._bye()
    finally:
        board.close()
