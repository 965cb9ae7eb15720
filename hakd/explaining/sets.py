"""One set of widths for a whole model, none narrower than now: chosen among whole models that were timed beside it.

Blocks overlap, and an engine runs a layer as its neighbours let it: widths that are good one by one need not be good
together. So whole models are timed, interleaved: all widths rounded up, each block's fastest widths, and mixtures. The
fastest is timed again in other processes, beside the present widths and plain rounding, and these timings are reported.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hakd.boards import Board, Burst, Point
from hakd.explaining.blocks import whole_point
from hakd.explaining.plan import SETS_S, macs_of, set_s
from hakd.importing.groups import Group, WidthGroups
from hakd.staircase.curve import Curve
from hakd.staircase.estimate import CONFIDENCE, estimate, ratio
from hakd.staircase.ratio import Ratio
from hakd.study.measuring import Measuring

MODULI = (4, 8, 16, 32)
PLAIN = 8  # what people round up to
_BYTES = 512 << 20  # of the whole models that one process holds
_MIXED = 6  # groups, by MACs, whose width is varied in the best set
_SHARE = 0.4  # of it for a step
_GAIN = 0.005  # by which a variation has to be faster to be taken
log = logging.getLogger(__name__)

Widths = dict[str, int]  # by group name


@dataclass(frozen=True)
class WidthSet:
    """Widths that were timed as a whole model.

    Attributes:
        widths: of the groups that differ from the model, by name.
        ratio: its latency over that of the present widths; None where that is undecided.
        latency_ms: of the whole.
    """

    widths: Widths
    ratio: Ratio | None
    latency_ms: float


@dataclass(frozen=True)
class Advised:
    """What is advised for the whole model.

    Attributes:
        best: the fastest set that was found.
        rounded: all widths rounded up to multiples of 8; None where they are multiples already.
        reason: why there is no set; None where there is one.
        now_ms: latency of the present widths, in the same processes; None where they were not timed again.
    """

    best: WidthSet | None = None
    rounded: WidthSet | None = None
    reason: str | None = None
    now_ms: float | None = None


def candidate_sets(groups: Sequence[Group], curves: Mapping[str, Curve]) -> list[Widths]:
    """Sets to time: all widths rounded up to each modulus, and each block's fastest width that is no narrower."""
    found = [{group.name: -(-group.width // modulus) * modulus for group in groups} for modulus in MODULI]
    found.append({group.name: _fastest(group.width, curves.get(group.name)) for group in groups})
    widths = {group.name: group.width for group in groups}
    changes = [{name: width for name, width in one.items() if width != widths[name]} for one in found]
    return [one for i, one in enumerate(changes) if one and one not in changes[:i]]


def _fastest(width: int, curve: Curve | None) -> int:
    """The narrowest of the widths from the present one on that are as fast as the fastest, within the tolerance."""
    if curve is None or width not in curve.widths:
        return width
    wider = [(w, ms) for w, ms in zip(curve.widths, curve.latency_ms, strict=True) if w >= width]
    least = min(ms for _, ms in wider)
    return min(w for w, ms in wider if ms <= least * (1 + min(curve.eps, 0.05)))


def advise(
    board: Board,
    width_groups: WidthGroups,
    curves: Mapping[str, Curve],
    measuring: Measuring,
    whole_ms: float,
    seconds: float,
) -> Advised:
    """Time whole models and choose.

    Args:
        board: open.
        width_groups: of the model.
        curves: what was timed of them, by group name.
        measuring: how.
        whole_ms: latency of the whole, which says how many of them can be timed.
        seconds: that it may take; it never takes much more than some minutes.

    Raises:
        HakdError: a device that went away. What was measured stays in the store.
    """
    return _Search(board, width_groups, measuring, whole_ms, min(seconds, SETS_S)).run(curves)


class _Search:
    def __init__(
        self, board: Board, width_groups: WidthGroups, measuring: Measuring, whole_ms: float, seconds: float
    ) -> None:
        self.board, self.width_groups, self.measuring = board, width_groups, measuring
        self.groups = {group.name: group for group in width_groups.changeable}
        size = sum(value.nbytes for value in width_groups.model.constants.values())
        fit = int(_SHARE * seconds / set_s(measuring, whole_ms / 1e3))
        self.room = min(_BYTES // max(size, 1), fit)

    def run(self, curves: Mapping[str, Curve]) -> Advised:
        """The best set, timed again."""
        candidates = candidate_sets(list(self.groups.values()), curves)
        if not candidates:
            return Advised(reason=f"all widths are multiples of {MODULI[-1]} and the fastest of their blocks")
        if self.room < 3:
            return Advised(
                reason="the model is too large, or too slow for the time, to be timed with other widths"
            )
        best = self._fastest_of([{}, *candidates][: self.room], "roundings")
        if best is None:
            return Advised(reason="the whole model cannot be timed")
        best = self._mixed(best)
        if not best:
            return Advised(reason="no set of wider widths that was tried is faster")
        rounded = {name: -(-group.width // PLAIN) * PLAIN for name, group in self.groups.items()}
        rounded = {name: width for name, width in rounded.items() if width != self.groups[name].width}
        return self._reported(best, rounded)

    def _point(self, widths: Widths) -> Point:
        changed = {self.groups[name]: width for name, width in widths.items()}
        return replace(
            whole_point(self.width_groups, changed, "the whole model", self.board.device), curve="whole"
        )

    def _timed(self, sets: Sequence[Widths], purpose: str) -> tuple[list[Point], Mapping[str, list[Burst]]]:
        points = [self._point(widths) for widths in sets]
        protocol = self.measuring.end_to_end()
        return points, self.board.measure(points, protocol, f"explain:{purpose}:{self.measuring.visits}")

    def _latencies(self, sets: Sequence[Widths], purpose: str) -> list[float | None]:
        """Milliseconds of whole models, comparable among themselves."""
        points, bursts = self._timed(sets, purpose)
        if not any(bursts.values()):
            return [None] * len(sets)
        found = estimate(bursts).by_key
        return [found[point.key].latency_ms if point.key in found else None for point in points]

    def _fastest_of(self, sets: Sequence[Widths], purpose: str) -> Widths | None:
        timed = self._latencies(sets, purpose)
        known = [(ms, i) for i, ms in enumerate(timed) if ms is not None]
        return sets[min(known)[1]] if known else None

    def _mixed(self, best: Widths) -> Widths:
        """The best set with the widths of its largest layers varied one by one; what gains is taken together."""
        variations: list[tuple[str, int]] = []
        for name in self._largest():
            now = self.groups[name].width
            tried = {now, *(-(-now // modulus) * modulus for modulus in MODULI)} - {best.get(name, now)}
            variations += [(name, width) for width in sorted(tried)]
        variations = variations[: max(0, self.room - 1)]
        if not variations:
            return best
        sets = [best, *(self._changed(best, {name: width}) for name, width in variations)]
        base, *timed = self._latencies(sets, "mixtures")
        gains: dict[str, tuple[float, int]] = {}
        for (name, width), ms in zip(variations, timed, strict=True):
            if base is not None and ms is not None and ms < base * (1 - _GAIN):
                gains[name] = min(gains.get(name, (ms, width)), (ms, width))
        if not gains:
            return best
        together = self._changed(best, {name: width for name, (_, width) in gains.items()})
        name, (_, width) = min(gains.items(), key=lambda item: item[1])
        found = self._fastest_of([best, self._changed(best, {name: width}), together], "together")
        return best if found is None else found

    def _changed(self, widths: Widths, changes: Widths) -> Widths:
        found = {**widths, **changes}
        return {name: width for name, width in found.items() if width != self.groups[name].width}

    def _largest(self) -> list[str]:
        def macs(group: Group) -> int:
            return macs_of(self.width_groups.model, group.section.nodes if group.section else ())

        ordered = sorted(self.groups.values(), key=macs, reverse=True)
        return [group.name for group in ordered[:_MIXED]]

    def _reported(self, best: Widths, rounded: Widths) -> Advised:
        """Both sets beside the present widths, in separate processes."""
        sets = [{}, best, *([rounded] if rounded and rounded != best else [])]
        points, bursts = self._timed(sets, "report")
        if not all(bursts.get(point.key) for point in points):
            return Advised(reason="the whole model cannot be timed with other widths")
        found = estimate(bursts, absolute=True).by_key

        def timed(i: int) -> WidthSet:
            beside = ratio(bursts, points[i].key, points[0].key, CONFIDENCE)
            return WidthSet(sets[i], beside, found[points[i].key].latency_ms)

        advised, now_ms = timed(1), found[points[0].key].latency_ms
        plain = timed(2) if len(sets) > 2 else advised if rounded else None
        if advised.ratio is None or advised.ratio.high >= 1:
            said = "" if advised.ratio is None else f" (the fastest, timed again: {advised.ratio})"
            return Advised(None, plain, f"no set of wider widths is certainly faster{said}", now_ms)
        return Advised(advised, plain, now_ms=now_ms)
