"""`hakd recheck`: checks whether a latency table still holds on its device, for example after an update of the engine.

A few check points are timed again, interleaved in fresh processes: both sides of each curve's largest steps, and both
ends of its widest plateau. Ratios within a curve are compared, which clock and load of the machine do not change;
absolute latencies are not compared. Intervals hold together over all ratios and looks (Bonferroni). How layers changed
against one another: `hakd.latency_tables.layer_changes`. What is said of both: `hakd.latency_tables.recheck_report`.
"""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.boards import Board, Burst, Point, open_board
from hakd.latency_tables.layer_changes import LayerChange, Place, layer_changes
from hakd.latency_tables.parts import parts_of
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError
from hakd.staircase.curve_rows import curve_of
from hakd.staircase.estimate import CONFIDENCE, ratio
from hakd.staircase.mapping import changes
from hakd.staircase.ratio import Ratio
from hakd.study.devices import Entry
from hakd.sweeping.looks import merge
from hakd.sweeping.parts import point
from hakd.sweeping.same_board import state_of

LOOKS = 2
HOLDS, STALE, UNCLEAR = "holds", "STALE", "unclear"


@dataclass(frozen=True)
class RatioCheck:
    """Two widths of a curve and the table's ratio of their latencies (wider over narrower)."""

    curve: Place
    before: int
    after: int
    ratio: float
    eps: float
    step: bool  # else a plateau, whose ends agree

    @property
    def words(self) -> str:
        """The pair in words."""
        return f"{'step' if self.step else 'plateau'} {self.before}->{self.after}"


@dataclass(frozen=True)
class Verdict:
    """The result of a pair: the ratio now with its interval; None where it could not be timed."""

    pair: RatioCheck
    now: Ratio | None

    @property
    def state(self) -> str:
        """Stale: the whole interval is beyond the curve's tolerance. Unclear: only its middle is."""
        if self.now is None:
            return UNCLEAR
        middle, low, high = (
            math.log(value / self.pair.ratio) for value in (self.now.value, self.now.low, self.now.high)
        )
        band = math.log1p(self.pair.eps)
        if low > band or high < -band:
            return STALE
        return HOLDS if abs(middle) <= band else UNCLEAR

    @property
    def words(self) -> str:
        """The pair, then and now."""
        if self.now is None:
            return f"{self.pair.words} could not be timed"
        middle, low, high = (value - 1 for value in (self.now.value, self.now.low, self.now.high))
        then = f"{self.pair.ratio - 1:+.1%} then"
        return f"{self.pair.words}: {then}, {middle:+.1%} now ({low:+.1%} to {high:+.1%})"


def pairs_to_check(frame: pd.DataFrame, steps: int) -> list[RatioCheck]:
    """Pairs to time again: of each curve of known noise the `steps` largest changes and the widest plateau, or ends.

    Changes between adjacent widths come first: only their place is exact.
    """
    found: list[RatioCheck] = []
    blocks = frame[(frame["kind"] == "block") & frame["residual_p95"].notna()]
    for (level, group), rows in blocks.groupby(["level", "group"], sort=False, dropna=False):
        curve = curve_of(rows)
        place = (None if pd.isna(level) else float(level), str(group))
        known = dict(zip(curve.widths, curve.latency_ms, strict=True))
        largest = sorted(changes(curve), key=lambda one: (not one.exact, -abs(math.log(one.ratio))))[:steps]
        pairs = [(one.before, one.after, True) for one in largest]
        plateau = _widest_plateau(curve.widths, curve.latency_ms, curve.tolerance or curve.eps)
        if plateau is not None:
            pairs.append((*plateau, False))
        if not pairs and len(curve.widths) > 1:
            pairs = [(curve.widths[0], curve.widths[-1], True)]
        found += [RatioCheck(place, a, b, known[b] / known[a], curve.eps, step) for a, b, step in pairs]
    return found


def _widest_plateau(widths: Sequence[int], latency_ms: Sequence[float], eps: float) -> tuple[int, int] | None:
    """First and last of the longest run of timed widths within the tolerance of its first; None for single widths."""
    best: tuple[int, int] | None = None
    for i, left in enumerate(widths):
        last = i
        while last + 1 < len(widths) and abs(math.log(latency_ms[last + 1] / latency_ms[i])) <= math.log1p(
            eps
        ):
            last += 1
        if last > i and (best is None or widths[last] - left > best[1] - best[0]):
            best = (left, widths[last])
    return best


@dataclass(frozen=True)
class Rechecked:
    """What a recheck found.

    Args:
        device: its name.
        then: engine, version and fingerprint that the table was made with; None: it does not say.
        now: those of the device now.
        points: how many points were timed.
        scale: the median of latency now / latency in the table; None: nothing could be timed.
        verdicts: of every pair of widths.
        changes: of every curve, the slowest first.
        epoch: of the device.
    """

    device: str
    then: Mapping[str, str] | None
    now: Mapping[str, str]
    points: int
    scale: float | None
    verdicts: Sequence[Verdict]
    changes: Sequence[LayerChange]
    epoch: int

    @property
    def states(self) -> dict[Place, str]:
        """The verdict of each curve: the worst of its pairs."""
        found: dict[Place, set[str]] = {}
        for verdict in self.verdicts:
            found.setdefault(verdict.pair.curve, set()).add(verdict.state)
        return {
            curve: next(state for state in (STALE, UNCLEAR, HOLDS) if state in own)
            for curve, own in found.items()
        }


def recheck(
    entry: Entry,
    frame: pd.DataFrame,
    about: Mapping[str, Any],
    spec: NetworkSpec,
    where: str,
    store: str,
    steps: int = 2,
) -> Rechecked:
    """Time the check points again: whether each curve holds, and which became slower or faster against the others.

    Args:
        entry: the device.
        frame: the latency table.
        about: its metadata; empty where it has none.
        spec: the network that it is of.
        where: the table's path, for messages.
        store: the measurement store, which keeps the bursts.
        steps: changes of each curve to look at.

    Raises:
        HakdError: no curve of known noise, a table that does not fit the network, a device that does not answer.
    """
    pairs = pairs_to_check(frame, steps)
    if not pairs:
        raise HakdError(
            "no curve whose noise is known",
            where=where,
            remedy="Sweep the network again (with `hakd sweep --again` if the store has its points)",
        )
    rows = _rows_of(frame, pairs)
    parts = parts_of(rows, spec, where)
    points = {
        _place(row): point(part.graph, f"recheck {part.group}", entry.device)
        for row, part in zip(rows.itertuples(), parts, strict=True)
    }
    with open_board(entry.device, Path(store)) as board:
        now = state_of(board)
        verdicts, bursts = _time(board, entry, pairs, points)
    curves: dict[Place, tuple[list[str], float]] = {}
    for pair in pairs:
        keys, _ = curves.setdefault(pair.curve, ([], pair.eps))
        keys += [points[(*pair.curve, width)].key for width in (pair.before, pair.after)]
    scale, changed = layer_changes(frame, bursts, curves)
    known = all(isinstance(about.get(key), str) for key in now)
    then = {key: about[key] for key in now} if known else None
    return Rechecked(entry.device.name, then, now, len(points), scale, verdicts, changed, entry.device.epoch)


def _place(row: Any) -> tuple[float | None, str, int]:
    return None if pd.isna(row.level) else float(row.level), str(row.group), int(row.width)


def _rows_of(frame: pd.DataFrame, pairs: Sequence[RatioCheck]) -> pd.DataFrame:
    """The rows of all widths of the pairs."""
    places = {(*pair.curve, width) for pair in pairs for width in (pair.before, pair.after)}
    blocks = frame[frame["kind"] == "block"]
    return blocks[[_place(row) in places for row in blocks.itertuples()]]


def _time(
    board: Board,
    entry: Entry,
    pairs: Sequence[RatioCheck],
    points: Mapping[tuple[float | None, str, int], Point],
) -> tuple[list[Verdict], dict[str, list[Burst]]]:
    """Time all points in fresh processes, and those of unclear pairs a second time; nothing comes from the store."""
    bursts: dict[str, list[Burst]] = {}
    purpose = f"recheck:{secrets.token_hex(4)}"
    confidence = 1 - (1 - CONFIDENCE) / (len(pairs) * LOOKS)
    verdicts = [Verdict(pair, None) for pair in pairs]
    for look in range(1, LOOKS + 1):
        pending = [verdict.pair for verdict in verdicts if verdict.state == UNCLEAR]
        if not pending:
            break
        asked = {(*pair.curve, width) for pair in pending for width in (pair.before, pair.after)}
        protocol = entry.measuring.end_to_end()
        merge(
            bursts,
            board.measure(
                [points[place] for place in sorted(asked, key=str)], protocol, f"{purpose}:look{look}"
            ),
        )
        verdicts = [Verdict(pair, _now(bursts, pair, points, confidence)) for pair in pairs]
    return verdicts, bursts


def _now(
    bursts: Mapping[str, Sequence[Burst]],
    pair: RatioCheck,
    points: Mapping[tuple[float | None, str, int], Point],
    confidence: float,
) -> Ratio | None:
    keys = [points[(*pair.curve, width)].key for width in (pair.after, pair.before)]
    # None: it failed on the board, which the session has logged.
    return ratio(bursts, keys[0], keys[1], confidence)
