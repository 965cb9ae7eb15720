"""Certificates: how much slower than before a chosen width is at most, from bursts that had no part in the choice.

A certificate compares the decision block of a group at the chosen width with the same block at the width before, all
neighbours at the widths of the network that was chosen in the end; one more compares the whole network with its twin
or budget. All certificates of a network hold together: with 95 % confidence none of them is wrong. They are
one-sided: they say what a width costs at most, not what it gains at least. `docs/certificates.md` has the statistics.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hakd.staircase.bounds import Upper, upper_ratios
from hakd.staircase.estimate import CONFIDENCE
from hakd.staircase.factors import BurstLike

NETWORK, WIDTH = "network", "width"
_DECIMALS = 1e3  # of a fraction: bounds are rounded up to 0.1 %


@dataclass(frozen=True)
class Place:
    """Where a certificate holds."""

    device: str
    engine: str
    engine_version: str
    threads: int

    def __str__(self) -> str:
        plural = "s" * (self.threads != 1)
        return f"{self.device}, {self.engine} {self.engine_version}, {self.threads} thread{plural}"


@dataclass(frozen=True)
class Claim:
    """What is to be certified.

    Attributes:
        key: of the point at the chosen widths; None: the two are the same by definition, and nothing is timed.
        other: of the point it is compared with; None: with `limit_ms`.
        group: the width group; None for the whole network.
        width_from, width_to: of the group, before and after.
        share: of the other's latency that is allowed (a budget); 1 as a rule.
        limit_ms: a budget in ms.
        tolerance: up to which fraction slower counts as equal; None: the noise of the group's curve is not known.
        than: what a network is compared with, in words.
    """

    key: str | None
    other: str | None
    group: str | None = None
    width_from: int | None = None
    width_to: int | None = None
    share: float = 1.0
    limit_ms: float | None = None
    tolerance: float | None = 0.0
    than: str = "its twin"


@dataclass(frozen=True)
class Certificate:
    """A claim with what fresh bursts say about it.

    `bound`: how much slower it is at most, as a fraction; below 0 it is faster. None: too few processes, nothing is
    certified. `shown`: the bound is within the tolerance. `together`: how many certificates hold together at
    `confidence`.
    """

    scope: str
    group: str | None
    width_from: int | None
    width_to: int | None
    free_channels: int | None
    ratio: float | None
    bound: float | None
    tolerance: float | None
    shown: bool
    confidence: float
    together: int
    processes: int
    device: str
    engine: str
    engine_version: str
    threads: int
    words: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def certify(
    bursts: Mapping[str, Sequence[BurstLike]],
    claims: Sequence[Claim],
    place: Place,
    confidence: float = CONFIDENCE,
) -> list[Certificate]:
    """A certificate for each claim about one network, all of which hold together at `confidence`.

    Args:
        bursts: by key; fresh, which means that neither the choice nor its verification saw them. Every round of every
            process holds all points.
        claims: all statements about the network, decided in advance.
        place: where it was timed.
        confidence: of all certificates together, one-sided.

    Raises:
        HakdError: a burst without a positive time.
    """
    pairs = [(claim.key, claim.other) for claim in claims if claim.key is not None]
    bounds = iter(upper_ratios(bursts, pairs, confidence))
    same = Upper(1.0, 1.0, 0)
    return [
        _certificate(claim, same if claim.key is None else next(bounds), place, confidence, len(pairs))
        for claim in claims
    ]


def _certificate(claim: Claim, found: Upper, place: Place, confidence: float, together: int) -> Certificate:
    limit = claim.share if claim.key is None or claim.other is not None else claim.limit_ms
    ratio = None if found.middle is None else found.middle / (limit or 1.0)
    bound = None if found.upper is None else found.upper / (limit or 1.0) - 1
    shown = bound is not None and claim.tolerance is not None and bound <= claim.tolerance
    free = None
    if claim.width_to is not None and claim.width_from is not None:
        free = max(claim.width_to - claim.width_from, 0) if shown else 0
    return Certificate(
        scope=NETWORK if claim.group is None else WIDTH,
        group=claim.group,
        width_from=claim.width_from,
        width_to=claim.width_to,
        free_channels=free,
        ratio=ratio,
        bound=bound,
        tolerance=claim.tolerance,
        shown=shown,
        confidence=confidence,
        together=together,
        processes=found.processes,
        **asdict(place),
        words=_words(claim, bound, free or 0, shown, found.processes, confidence, place),
    )


def _words(
    claim: Claim, bound: float | None, free: int, shown: bool, processes: int, confidence: float, place: Place
) -> str:
    """`96 is at most 1.2 % slower than 81 (95 %), 15 channels are free on pi4, onnxruntime 1.31.1, 1 thread`."""
    what = "the network" if claim.group is None else f"{claim.width_to}"
    than = claim.than if claim.group is None else f"{claim.width_from}"
    if claim.key is None:
        return f"{what} is {than}: nothing to certify"
    if bound is None:
        return f"nothing is certified: {what} and {than} share {processes} process(es), two are needed; on {place}"
    said = f"{what} {_at_most(bound)} than {than} ({100 * confidence:g} %)"
    if free:
        return f"{said}, {free} channel{'s are' if free > 1 else ' is'} free on {place}"
    if shown or claim.group is None:
        return f"{said} on {place}"
    noise = "the noise of its curve is not known"
    if claim.tolerance is not None:
        noise = f"the tolerance is {100 * claim.tolerance:.1f} %"
    return f"{said}, not shown to be free ({noise}) on {place}"


def _at_most(bound: float) -> str:
    """The bound in words, rounded to the side on which it still holds."""
    up = math.ceil(round(bound * _DECIMALS, 6)) / _DECIMALS
    if up >= 0:
        return f"is at most {100 * up:.1f} % slower"
    return f"is at least {-100 * up:.1f} % faster"
