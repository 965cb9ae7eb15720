"""What the doctor finds: one line each, with what to do about it; a report per device, for people and for machines."""

from dataclasses import asdict, dataclass, field
from typing import Any

from hakd.records.text import printable
from hakd.study.spelling import respelled

OK, NOTE, WARN, FAIL, SKIPPED = "ok", "note", "warn", "FAIL", "-"
STATUSES = (OK, NOTE, WARN, FAIL, SKIPPED)
NOT_EXAMINED = "not examined"


@dataclass(frozen=True)
class Finding:
    """One thing that was examined.

    Args:
        status: `ok`; `note`: worth knowing; `warn`: makes measurements worse; `FAIL`: makes the device unfit; `-`: not
            examined, because an earlier stage failed.
        what: the thing examined.
        value: what was found.
        remedy: what to do about it; empty for nothing.
    """

    status: str
    what: str
    value: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"no such status: {self.status!r}")

    def line(self) -> str:
        """As printed."""
        text = f"  {self.status:<5} {self.what:<15} {printable(self.value, 400)}"
        return f"{text}  -> {self.remedy}" if self.remedy else text


@dataclass
class Report:
    """All findings on a device, in the order of the examination.

    `spelled` is how the command line names it, `fingerprint` what its measurements are stored under; None: not reached.
    """

    device: str
    spelled: str
    findings: list[Finding] = field(default_factory=list)
    fingerprint: str | None = None

    def add(self, status: str, what: str, value: object, remedy: str = "") -> None:
        """Note a finding."""
        self.findings.append(Finding(status, what, str(value), respelled(remedy, self.device, self.spelled)))

    def skip(self, *stages: str) -> None:
        """Note what could not be examined."""
        for what in stages:
            self.add(SKIPPED, what, NOT_EXAMINED)

    @property
    def fit(self) -> bool:
        """Whether nothing makes the device unfit."""
        return not any(found.status == FAIL for found in self.findings)

    def verdict(self) -> str:
        """The last line of a report."""
        failed = [found.what for found in self.findings if found.status == FAIL]
        warnings = sum(found.status == WARN for found in self.findings)
        if failed:
            return f"{self.device} is unfit: {', '.join(failed)}"
        if warnings:
            return f"{self.device} can be used; {warnings} warning{'s' * (warnings > 1)}"
        return f"{self.device} is fit"

    def text(self) -> str:
        """For people: a line per finding, one for all that was not examined."""
        lines = [found.line() for found in self.findings if found.status != SKIPPED]
        skipped = ", ".join(found.what for found in self.findings if found.status == SKIPPED)
        lines += [f"  {SKIPPED:<5} {NOT_EXAMINED}: {skipped}"] if skipped else []
        return "\n".join([self.device, *lines, f"  {self.verdict()}"])

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        findings = [asdict(found) for found in self.findings]
        about = {"device": self.device, "fingerprint": self.fingerprint}
        return {**about, "fit": self.fit, "verdict": self.verdict(), "findings": findings}
