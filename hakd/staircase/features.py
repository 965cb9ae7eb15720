"""The features of a curve, in figures and in words: the same ones in tables, plots and reports."""

from dataclasses import dataclass

from hakd.staircase.combs import comb, comb_upside_down
from hakd.staircase.curve import Curve, shape_from
from hakd.staircase.mapping import Change, changes

STEPS = "steps"


@dataclass(frozen=True)
class Features:
    """The features of a curve.

    Attributes:
        shape: `flat`, `line` or `steps`; None where it is undecided: unknown noise, or no scale in common.
        comb: the modulus whose multiples are faster than the widths next to them, if there is one.
        upside_down: the modulus whose multiples are slower than the widths next to them, if there is one.
        changes: between consecutive timed widths that differ with certainty, from narrow to wide.
    """

    shape: str | None
    comb: int | None
    upside_down: int | None
    changes: tuple[Change, ...]

    @property
    def largest(self) -> list[Change]:
        """The changes, the largest first."""
        return sorted(self.changes, key=lambda change: -abs(change.ratio - 1))

    @property
    def kind(self) -> str:
        """The kind of curve; empty for steps without a comb."""
        if self.shape is None:
            return "noise unknown"
        if self.shape != STEPS:
            return "flat" if self.shape == "flat" else "a slope without steps"
        if not self.changes:
            return "no step above the tolerance"
        if self.comb:
            return f"a comb of {self.comb}"
        return f"multiples of {self.upside_down} are slower" if self.upside_down else ""

    def words(self, listed: int = 0) -> str:
        """The kind, and the number of changes; with `listed`, at most that many of the largest instead."""
        if self.shape != STEPS or not self.changes:
            return self.kind
        what = f"{len(self.changes)} change{'s' * (len(self.changes) != 1)}"
        if listed:
            largest = sorted(self.largest[:listed], key=lambda change: change.before)
            what = ", ".join(map(_words, largest))
            what += f" and {len(self.changes) - listed} smaller" if len(self.changes) > listed else ""
        return ("; " if listed else ", ").join(filter(None, (self.kind, what)))


def _words(change: Change) -> str:
    return f"{change.before}{'->' if change.exact else '...'}{change.after} {change.ratio - 1:+.0%}"


def describe(curve: Curve) -> Features:
    """The features of a curve, as far as they are known."""
    known = curve.tolerance is not None and curve.linked
    shape = shape_from(curve) if known else None
    return Features(shape, comb(curve), comb_upside_down(curve), tuple(changes(curve)))
