"""One worker process seen from the client: what was requested, and the records made from its messages."""

from dataclasses import asdict, dataclass, field
from typing import Any

from hakd.boards.points import Burst, Protocol
from hakd.boards.schema import check, refuse

Record = dict[str, Any]
KINDS = frozenset(
    {"burst", "ready", "failed", "graph", "energy", "memory", "missing", "warm", "done", "beat"}
)


@dataclass
class Run:
    """A job under way.

    `results` counts bursts and memory figures that were requested. `wanted` holds the (key, round, is reference)
    triples of a timing run. Each is removed as it arrives: a burst that was not requested, or comes again, is refused.
    `failed` collects reasons by key, `trouble` is a reason that concerns no single point. A message that may come once
    is refused when it comes again, so that a job leaves a bounded number of records. `sensorless`: a job of energy
    found no sensor, or one with this problem.
    """

    where: str
    job: int
    process: str
    kind: str
    purpose: str
    slot: int
    keys: frozenset[str]
    wanted: set[tuple[str, int, bool]]
    protocol: Protocol
    failed: dict[str, str] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    warm: bool = False
    results: int = 0
    trouble: str = ""
    sensorless: str | None = None
    ended: Record | None = None

    def take(self, message: dict[str, Any]) -> Record | None:
        """Check a message and turn it into a journal record; None for those that are not recorded.

        Raises:
            HakdError: it breaks the protocol.
        """
        message = check(message, KINDS, self.where)
        kind = message.pop("t")
        if kind == "beat":
            return None
        if message.pop("job") != self.job:
            refuse(self.where, f"a {kind} of another job")
        key = message.get("key")
        if key is not None and key not in self.keys:
            refuse(self.where, f"a {kind} of a point that was not requested")
        if kind == "burst":
            return self._burst(message)
        if kind in ("energy", "graph", "memory"):
            if self.kind != kind or self.results:
                refuse(self.where, f"a {kind} figure that was not requested")
            self.results += 1
            if kind == "energy":
                self.sensorless = None if message["sensor"] else message["problem"] or ""
                message = {"purpose": self.purpose, **message}
            return {"type": kind, "process": self.process, **message}
        if kind == "warm":
            self._once(kind, self.warm)
            self.warm = True
            return {"type": "warm", "process": self.process, **message}
        if kind == "ready":
            self._once(kind, message["key"] in self.checked)
            self.checked.add(message["key"])
            return {"type": "check", "process": self.process, **message}
        if kind == "failed":
            self._once(kind, message["key"] in self.failed)
            self.failed[message["key"]] = message["reason"]
            return self._failure(message["key"], message["reason"])
        return self._end(kind, message)

    def _once(self, kind: str, already: bool) -> None:
        if already:
            refuse(self.where, f"a second {kind} where one is expected")

    def _burst(self, message: dict[str, Any]) -> Record:
        place = (message["key"], message["round"], message["reference"])
        if self.kind != "time" or place not in self.wanted:
            refuse(self.where, "a burst that was not requested")
        if not self.protocol.min_calls <= message["calls"] <= self.protocol.max_calls:
            refuse(self.where, "a burst with a wrong number of calls")
        self.wanted.discard(place)
        self.results += not message["reference"]
        at_ns, reference = message.pop("at_ns"), message.pop("reference")
        burst = Burst(process=self.process, **message)
        extra = {"purpose": self.purpose, "slot": self.slot, "reference": reference, "at_ns": at_ns}
        return {"type": "burst", **extra, **asdict(burst)}

    def _failure(self, key: str | None, reason: str) -> Record:
        return {"type": "failure", "process": self.process, "key": key, "reason": reason}

    def _end(self, kind: str, message: dict[str, Any]) -> Record | None:
        """The worker is gone; a crash counts against the point under way, which the agent names."""
        if kind == "missing":
            self._once(kind, bool(self.trouble))
            reason = f"the engine cannot be used: {message['detail']}"
            self.trouble = reason
            return self._failure(None, reason)
        self.ended = message
        if message["outcome"] == "ok":
            return None
        reason = f"{message['outcome']}: {message['detail']}"
        if message["key"] is not None:
            self.failed[message["key"]] = reason
        return self._failure(message["key"], reason)
