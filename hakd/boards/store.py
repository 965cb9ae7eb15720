"""The store: all journals of one device identity, merged; knows what is complete and what is missing.

A point is addressed by its content key and purpose inside a folder named after the device identity. It is complete
under a protocol when every (process slot, round) of that protocol has its burst.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from hakd.boards import journal
from hakd.boards.device import FLOAT32, Device
from hakd.boards.points import PROTOCOL, Burst, Protocol
from hakd.records.errors import HakdError
from hakd.records.files import digest

_BURST = tuple(Burst.__dataclass_fields__)


def fingerprint(
    hardware: Mapping[str, Any], engine_version: str, threads: int, precision: str = FLOAT32
) -> str:
    """Short hash of hardware, engine version, threads and precision; as before there was any where it is float32."""
    more = [] if precision == FLOAT32 else [precision]
    return digest([dict(hardware), engine_version, threads, *more], 16)


def identity(device: Device, print_: str, engine_version: str) -> dict[str, Any]:
    """Everything that a measurement depends on, except the point itself."""
    return {
        "fingerprint": print_,
        "engine": device.engine,
        "engine_version": engine_version,
        "threads": device.threads,
        "cpus": device.cpus,
        "batch": device.batch,
        "precision": device.precision,
        "protocol": PROTOCOL,
        "epoch": device.epoch,
        **({"density": device.density} if device.density != 1 else {}),
    }


class Store:
    """Measurements of one device identity, read from `root`/<hash of the identity>/*.jsonl."""

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        self.folder = root / digest(dict(identity), 16)
        self._bursts: dict[tuple[str, str], dict[tuple[int, int], Burst]] = {}
        self._later: dict[tuple[str, str], list[tuple[tuple[int, int], Burst]]] = {}  # whose place was taken
        self._reference: dict[str, list[Burst]] = {}
        self._memory: dict[str, int] = {}
        self._graphs: dict[str, dict[str, int]] = {}
        self._energy: dict[tuple[str, str], list[dict[str, Any]]] = {}  # by purpose and key
        self._forgotten: set[tuple[str, str, str]] = set()  # purpose, key, process
        for path in sorted(self.folder.glob("*.jsonl")):
            try:
                self.add(journal.read(path))
            except (KeyError, TypeError, AttributeError) as error:
                remedy = "Delete it; its points are measured again"
                raise HakdError(
                    f"not a journal of this version ({error!r})", where=path, remedy=remedy
                ) from None

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Add records; of two bursts for the same slot and round the first one stays.

        What a `forget` record names does not count, whichever comes first.
        """
        for record in records:
            if record["type"] == "burst":
                burst = Burst(*(record[name] for name in _BURST))
                if record["reference"]:
                    self._reference.setdefault(burst.process, []).append(burst)
                elif (record["purpose"], burst.key, burst.process) not in self._forgotten:
                    point, place = (record["purpose"], burst.key), (record["slot"], burst.round)
                    if self._bursts.setdefault(point, {}).setdefault(place, burst) is not burst:
                        self._later.setdefault(point, []).append((place, burst))
            elif record["type"] == "forget":
                purpose, key, gone = record["purpose"], record["key"], record["processes"]
                self._forgotten |= {(purpose, key, process) for process in gone}
                places = [*self._bursts.pop((purpose, key), {}).items(), *self._later.pop((purpose, key), [])]
                for place, burst in places:
                    if burst.process not in gone:
                        self._bursts.setdefault((purpose, key), {}).setdefault(place, burst)
            elif record["type"] == "memory":
                self._memory.setdefault(record["key"], record["bytes"])
            elif record["type"] == "energy" and record["sensor"] is not None:
                self._energy.setdefault((record["purpose"], record["key"]), record["bursts"])
            elif record["type"] == "graph":
                self._graphs.setdefault(record["key"], record["ops"])

    def missing(self, purpose: str, key: str, protocol: Protocol) -> set[tuple[int, int]]:
        """(process slot, round) pairs that have no burst yet."""
        return protocol.slots() - self._bursts.get((purpose, key), {}).keys()

    def bursts(self, purpose: str, key: str, protocol: Protocol) -> list[Burst]:
        """Bursts of a point in order of slot and round; those beyond the given protocol are left out."""
        found = self._bursts.get((purpose, key), {})
        return [found[place] for place in sorted(protocol.slots() & found.keys())]

    def forgetting(self, word: str, keys: Collection[str]) -> list[dict[str, Any]]:
        """Records that make these points be measured again, for all purposes with that first word."""
        found = []
        for (purpose, key), bursts in self._bursts.items():
            if key in keys and purpose.split(":")[0] == word and bursts:
                later = (burst for _, burst in self._later.get((purpose, key), ()))
                gone = sorted({burst.process for burst in (*bursts.values(), *later)})
                found.append({"type": "forget", "purpose": purpose, "key": key, "processes": gone})
        return found

    def reference(self, key: str, processes: Iterable[str]) -> list[Burst]:
        """Bursts of the reference point `key` in the named processes."""
        return [
            burst for name in sorted(processes) for burst in self._reference.get(name, ()) if burst.key == key
        ]

    def graph(self, key: str) -> dict[str, int] | None:
        """How many ops of each kind the engine runs for a point; None when that was not recorded."""
        return self._graphs.get(key)

    def energy(self, purpose: str, key: str) -> list[dict[str, Any]] | None:
        """Bursts that an energy sensor saw; None when there are none. That there was no sensor is not remembered."""
        return self._energy.get((purpose, key))

    def memory(self, key: str) -> int | None:
        """Peak resident set in bytes beyond the empty engine; None when it was not measured."""
        return self._memory.get(key)
