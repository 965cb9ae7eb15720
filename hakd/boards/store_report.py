"""What a measurement store holds, and whether all of it is sound: `hakd store ls` and `hakd store verify`.

A store is a folder per device identity, named after the identity's hash, with a journal per session
(hakd/boards/journal.py). Here they are read line by line and damage is counted; a sweep stops at the first damage.
"""

import json
import math
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hakd.boards.journal import Journal
from hakd.boards.points import Burst
from hakd.records.errors import HakdError
from hakd.records.files import digest
from hakd.records.text import printable

TYPES = ("session", "run", "burst", "graph", "memory", "energy", "warm", "check", "failure", "forget", "end")
TWICE = (
    "the first of each pair counts; two clients ran without a common lock (`lock_path`): delete the journal"
)
MEASURED_AGAIN = "delete the journal: its points are measured again"
_BURST = tuple(one.name for one in fields(Burst))
_POSITIVE = ("calls", "min_ns", "median_ns")


@dataclass(frozen=True)
class Defect:
    """Something that hakd did not write like this; a `note` does no harm."""

    where: Path
    problem: str
    remedy: str = ""
    note: bool = False

    def text(self) -> str:
        """One line."""
        remedy = f"  -> {self.remedy}" if self.remedy else ""
        return printable(f"{'note ' if self.note else 'DAMAGE'} {self.where}: {self.problem}{remedy}")


@dataclass
class Holding:
    """One device identity's folder."""

    folder: Path
    identity: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    model: str = ""
    sessions: int = 0
    points: int = 0
    bursts: int = 0
    failures: int = 0
    first: str = ""
    last: str = ""
    size_bytes: int = 0
    damaged: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        return {**vars(self), "folder": self.folder.name}


@dataclass
class _Journal:
    """What was read of one journal: its sound records, and the numbers of the broken lines."""

    path: Path
    records: list[dict[str, Any]]
    broken: list[int]
    torn: bool

    @property
    def head(self) -> dict[str, Any]:
        """The session record; empty when the journal does not begin with one."""
        first = self.records[0] if self.records and 1 not in self.broken else {}
        return first if first.get("type") == "session" else {}


def holdings(root: Path) -> list[Holding]:
    """What the store holds, by device identity, the latest first.

    Raises:
        HakdError: no such folder, or a file that cannot be read.
    """
    found = []
    for folder in _folders(root):
        holding = Holding(folder)
        points: set[str] = set()
        names: dict[str, None] = {}
        for path in sorted(folder.glob("*.jsonl")):
            journal = _read(path)
            holding.sessions += 1
            holding.size_bytes += path.stat().st_size
            holding.damaged += bool(journal.broken) or not journal.head
            if journal.head:
                holding.identity = journal.head.get("identity", {})
                names[str(journal.head.get("device", {}).get("name"))] = None
                holding.model = str(journal.head.get("context", {}).get("cpu_model") or "")
            for record in journal.records:
                kind = record.get("type")
                if kind == "burst" and not record.get("reference"):
                    holding.bursts += 1
                    points.add(str(record.get("key")))
                holding.failures += kind == "failure"
            date = _date(path)
            holding.first, holding.last = (
                min(filter(None, (holding.first, date)), default=""),
                max(holding.last, date),
            )
        holding.points, holding.names = len(points), list(names)
        if holding.sessions:
            found.append(holding)
    return sorted(found, key=lambda one: one.last, reverse=True)


def verify(root: Path) -> tuple[list[Defect], int, int]:
    """Everything in the store that hakd did not write like this; with the numbers of journals and bursts read.

    Raises:
        HakdError: no such folder, or a file that cannot be read.
    """
    findings: list[Defect] = []
    journals = bursts = 0
    known = set(_folders(root))
    for path in sorted(root.iterdir()):
        if path not in known:
            findings.append(Defect(path, "not written by hakd", "nothing reads it", note=True))
    for folder in sorted(known):
        places: set[tuple[Any, ...]] = set()
        read = []
        for path in sorted(folder.iterdir()):
            if path.suffix != ".jsonl" or path.is_dir():
                findings.append(Defect(path, "not written by hakd", "nothing reads it", note=True))
            else:
                read.append(_read(path))
        forgotten = {place for journal in read for place in _forgotten(journal)}
        for journal in read:
            path = journal.path
            findings += [*_of_file(journal), *_of_records(journal)]
            timed = [
                one for one in journal.records if one.get("type") == "burst" and not one.get("reference")
            ]
            journals, bursts = journals + 1, bursts + len(timed)
            # A journal of another folder repeats nothing here.
            at_home = _home(journal) in (None, folder.name)
            found = [_place(one) for one in timed if at_home and _process_place(one) not in forgotten]
            twice = len(found) - len(set(found) - places)
            places.update(found)
            if twice:
                words = f"{twice} bursts were measured before (same purpose, point, process slot and round)"
                findings.append(Defect(path, words, TWICE))
    return findings, journals, bursts


def _place(burst: Mapping[str, Any]) -> tuple[Any, ...]:
    """What no two bursts of a folder share."""
    return tuple(str(burst.get(name)) for name in ("purpose", "key", "slot", "round"))


def _process_place(burst: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(burst.get(name)) for name in ("purpose", "key", "process"))


def _forgotten(journal: _Journal) -> Iterator[tuple[str, ...]]:
    """Purpose, point and process of bursts that do not count any more."""
    for record in journal.records:
        if record.get("type") == "forget":
            for process in record.get("processes") or ():
                yield str(record.get("purpose")), str(record.get("key")), str(process)


def forget(root: Path, device: str, purpose: str) -> tuple[int, int]:
    """Leave out what was measured on a device for a purpose, so that it is measured again.

    Nothing is deleted: a new journal in each of the device's folders says what does not count.

    Args:
        root: the store.
        device: as sessions call it.
        purpose: the first word of what it was measured for (`hakd.commands.store.PURPOSES`).

    Returns:
        How many points and bursts are left out.

    Raises:
        HakdError: no such folder, a file that cannot be read or written, or nothing measured for this purpose.
    """
    points = bursts = 0
    for folder in _folders(root):
        journals = [_read(path) for path in sorted(folder.glob("*.jsonl"))]
        heads = [journal.head for journal in journals if journal.head.get("device", {}).get("name") == device]
        if not heads:
            continue
        gone: dict[tuple[str, str], Counter[str]] = {}
        forgotten = {place for journal in journals for place in _forgotten(journal)}
        for record in (record for journal in journals for record in journal.records):
            own = record.get("type") == "burst" and _is_burst(record) and not record.get("reference")
            if (
                own
                and str(record["purpose"]).split(":")[0] == purpose
                and _process_place(record) not in forgotten
            ):
                place = str(record["purpose"]), str(record["key"])
                gone.setdefault(place, Counter())[str(record["process"])] += 1
        if gone:
            name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}.jsonl"
            journal = Journal(folder / name)
            journal.append([heads[-1]])
            journal.append(
                {"type": "forget", "purpose": place[0], "key": place[1], "processes": sorted(processes)}
                for place, processes in gone.items()
            )
            journal.close()
        points += len(gone)
        bursts += sum(map(Counter.total, gone.values()))
    if not points:
        problem = f"nothing was measured on {device!r} for {purpose!r}"
        raise HakdError(problem, where=root, key="forget", remedy="See `hakd store ls`")
    return points, bursts


def _home(journal: _Journal) -> str | None:
    """The folder that a journal belongs to by its identity."""
    identity = journal.head.get("identity")
    return digest(identity, 16) if isinstance(identity, Mapping) else None


def _of_file(journal: _Journal) -> Iterator[Defect]:
    """A journal as a whole: every line, its head, and its folder."""
    path, head = journal.path, journal.head
    if journal.torn:
        words = (
            "the last line was cut off (a crash, or a session that is under way); it is left out when read"
        )
        yield Defect(path, words, note=True)
    if journal.broken:
        lines = ", ".join(map(str, journal.broken[:5])) + (", ..." if len(journal.broken) > 5 else "")
        yield Defect(path, f"{_count(len(journal.broken), 'broken line')} ({lines})", MEASURED_AGAIN)
    if not journal.records and not journal.broken:
        yield Defect(path, "is empty", "delete it", note=True)
    elif not head:
        yield Defect(path, "does not begin with a session", MEASURED_AGAIN)
    elif head.get("format") != 1:
        yield Defect(path, f"has format {head.get('format')!r}, this program reads 1", MEASURED_AGAIN)
    elif not isinstance(head.get("identity"), Mapping):
        yield Defect(path, "has no identity", MEASURED_AGAIN)
    elif (home := _home(journal)) is not None and home != path.parent.name:
        remedy = f"move it to {path.parent.parent / home}, or delete it"
        yield Defect(path, f"belongs to the identity {home}, not to that of its folder", remedy)


def _of_records(journal: _Journal) -> Iterator[Defect]:
    """The records of a journal: known kinds, whole bursts with plausible figures, of processes that were started."""
    foreign: Counter[str] = Counter()
    runs: dict[str, tuple[Any, Any]] = {}
    for record in journal.records:
        kind = record.get("type")
        process = record.get("process")
        if kind not in TYPES:
            foreign[f"of unknown type {str(kind)[:30]!r}"] += 1
        elif kind == "run":
            runs[str(process)] = (record.get("purpose"), record.get("slot"))
            if not str(process).startswith(f"{journal.path.stem}."):
                foreign["of another session"] += 1
        elif kind == "burst":
            if not _is_burst(record):
                foreign["that are not bursts (a figure is missing or impossible)"] += 1
            elif str(process) not in runs:
                foreign["of processes that the session did not start"] += 1
            elif runs[str(process)] != (record.get("purpose"), record.get("slot")):
                foreign["with the purpose or slot of another process"] += 1
    for words, number in foreign.items():
        yield Defect(journal.path, f"{number} records {words}", MEASURED_AGAIN)


def _is_burst(record: Mapping[str, Any]) -> bool:
    if any(name not in record for name in (*_BURST, "purpose", "slot", "reference")):
        return False
    numbers = [record[name] for name in _POSITIVE]
    whole = all(type(number) is int and 0 < number < 10**15 for number in numbers)
    places = all(
        type(record[name]) is int and record[name] >= 0 for name in ("round", "slot", "position", "switches")
    )
    ratio = record["cpu_ratio"]
    return whole and places and type(ratio) in (int, float) and math.isfinite(ratio) and ratio >= 0


def _folders(root: Path) -> list[Path]:
    """The folders of identities: those whose names are hashes."""
    if not root.is_dir():
        remedy = "Give --store, or measure something first"
        raise HakdError("no such store", where=root, key="--store", remedy=remedy)
    return [path for path in root.iterdir() if path.is_dir() and _is_hash(path.name)]


def _is_hash(name: str) -> bool:
    return len(name) == 16 and set(name) <= set("0123456789abcdef")


def _read(path: Path) -> _Journal:
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        problem = f"cannot read ({error.strerror})"
        raise HakdError(problem, where=path, remedy="Make it readable, or give another store") from None
    records, broken = [], []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            broken.append(number)
    return _Journal(path, records, broken, torn=bool(last))


def _date(path: Path) -> str:
    """`20261120T175819-...` as `2026-11-20 17:58` (UTC)."""
    name = path.stem
    if len(name) < 15 or not (name[:8] + name[9:15]).isdigit():
        return ""
    return f"{name[:4]}-{name[4:6]}-{name[6:8]} {name[9:11]}:{name[11:13]}"


def listing(found: list[Holding]) -> list[str]:
    """Lines of `hakd store ls`."""
    lines = []
    for one in found:
        about = one.identity
        name = ", ".join(one.names) or "unknown"
        engine = f"{about.get('engine', '?')} {about.get('engine_version', '?')}"
        threads = about.get("threads", "?")
        more = [f"{threads} thread{'s' * (threads != 1)}", f"epoch {about.get('epoch', '?')}"]
        more += [f"batch {about['batch']}"] if about.get("batch", 1) != 1 else []
        more += [f"cpus {about['cpus']}"] if about.get("cpus") else []
        lines.append(f"{name}: {engine}, {', '.join(more)}{f', {one.model}' if one.model else ''}")
        lines.append(f"  fingerprint {about.get('fingerprint', '?')}, folder {one.folder.name}")
        counts = (
            f"{_count(one.points, 'point')}, {_count(one.bursts, 'burst')}, {_count(one.failures, 'failure')}"
        )
        when = one.first if one.first == one.last else f"{one.first} to {one.last}"
        lines.append(f"  {_count(one.sessions, 'session')}, {counts}; {size_text(one.size_bytes)}; {when}")
        if one.damaged:
            lines.append(f"  {one.damaged} of its journals are damaged: run `hakd store verify`")
    total = sum(one.size_bytes for one in found)
    lines.append(f"{_count(len(found), 'device identity', 'device identities')}, {size_text(total)}")
    return [printable(line) for line in lines]


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def size_text(size_bytes: int) -> str:
    """A size for people: `1.2 MB`, `0.5 kB`."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} kB"
