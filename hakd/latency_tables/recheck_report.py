"""What `hakd recheck` says: curves, layers that became slower or faster, choices that rest on them, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from hakd.choosing.snap import READINGS
from hakd.latency_tables.layer_changes import FASTER, SLOWER, UNCHANGED, UNDECIDED, LayerChange, Place
from hakd.latency_tables.recheck import HOLDS, STALE, UNCLEAR, Rechecked, Verdict
from hakd.records.errors import run_again
from hakd.records.files import read_json
from hakd.records.text import counted
from hakd.staircase.ratio import plain
from hakd.sweeping.same_board import in_words


@dataclass(frozen=True)
class StaleChoice:
    """A choice of a study that rests on a curve that is stale, or on layers that changed against one another."""

    file: str
    method: str
    level: float
    group: str
    width_from: int
    width_to: int
    because: str  # STALE, SLOWER or FASTER

    @property
    def words(self) -> str:
        """The choice in a line."""
        move = f"{self.group} {self.width_from} -> {self.width_to}"
        why = "" if self.because == STALE else f" (the layer is {self.because})"
        return f"stale choice: {self.method} at level {self.level:g}: {move}{why}"


def read_choices(paths: Sequence[str]) -> list[dict[str, Any]]:
    """All choices of the `results/{network}/snap/{level}/{device}.json` of a study, each with its `file`.

    `method` includes the budget where a method has several.

    Raises:
        HakdError: a file that is missing, damaged or of another kind.
    """
    return [
        {**choice, "method": key, "file": path}
        for path in paths
        for key, entry in read_json(path, "snap").get("methods", {}).items()
        for choice in entry.get("choices", ())
    ]


def stale_choices(found: Rechecked, choices: Sequence[Mapping[str, Any]]) -> list[StaleChoice]:
    """The choices to renew.

    A width that moved rests on its curve. A method that chooses all widths together also rests on what layers cost
    against one another: there every width is named whose layer became slower or faster, moved or not.
    """
    changed = {one.curve: one.state for one in found.changes if one.state in (SLOWER, FASTER)}
    stale = []
    for choice in choices:
        place = choice["level"], choice["group"]
        moved = choice["width_from"] != choice["width_to"]
        because = STALE if moved and found.states.get(place) == STALE else None
        if because is None and choice["method"] not in READINGS:
            because = changed.get(place)
        if because:
            about = {field.name: choice[field.name] for field in fields(StaleChoice)[:-1]}
            stale.append(StaleChoice(**about, because=because))
    return stale


def holds(found: Rechecked, stale: Sequence[StaleChoice]) -> bool:
    """Whether nothing has to be measured or chosen again."""
    return set(found.states.values()) == {HOLDS} and not stale


def renewal(found: Rechecked) -> str:
    """What renews curves and choices in a study: the store has no bursts of another engine or board."""
    if found.then is not None and dict(found.then) != dict(found.now):
        return run_again("sweep")
    return (
        f"Set `epoch: {found.epoch + 1}` for {found.device} in the configuration and run the study's command: "
        f"everything on {found.device} is measured again"
    )


def text(found: Rechecked, stale: Sequence[StaleChoice]) -> str:
    """The report for people."""
    return "\n".join([*_heading(found), *_curves(found), *_changes(found), *_verdict(found, stale)])


def content(found: Rechecked, stale: Sequence[StaleChoice]) -> dict[str, Any]:
    """The report for programs, as JSON holds it."""
    changes = {one.curve: one for one in found.changes}
    return {
        "device": found.device,
        "then": found.then,
        "now": dict(found.now),
        "points": found.points,
        "scale": found.scale,
        "holds": holds(found, stale),
        "curves": [
            {
                "level": curve[0],
                "group": curve[1],
                "state": found.states[curve],
                "change": change.state,
                **(
                    change.ratio.to_dict()
                    if change.ratio
                    else dict.fromkeys(("ratio", "ratio_low", "ratio_high"))
                ),
                "lowest": change.lowest,
                "highest": change.highest,
                "tolerance": change.eps,
                "checks": [_check(one) for one in found.verdicts if one.pair.curve == curve],
            }
            for curve, change in changes.items()
        ],
        "stale_choices": [plain(one) for one in stale],
        "renew": None if holds(found, stale) else renewal(found),
    }


def _check(verdict: Verdict) -> dict[str, Any]:
    now = verdict.now.to_dict() if verdict.now else dict.fromkeys(("ratio", "ratio_low", "ratio_high"))
    pair = verdict.pair
    return {
        "kind": "step" if pair.step else "plateau",
        "before": pair.before,
        "after": pair.after,
        "state": verdict.state,
        "ratio_then": pair.ratio,
        **now,
    }


def _heading(found: Rechecked) -> Iterator[str]:
    now = in_words(found.now)
    if found.then is None:
        yield f"{found.device}: {now} now; the table does not say what it was made with"
    elif in_words(found.then) == now:
        yield f"{found.device}: {now}, as when the table was made"
    else:
        yield f"{found.device}: {in_words(found.then)} when the table was made, {now} now"
    scale = "none could be timed"
    if found.scale is not None:
        scale = f"the median latency is {found.scale:.2f} times the table's"
    yield f"{counted(found.points, 'point')}, {counted(len(found.verdicts), 'ratio')}, {scale}"


def _curves(found: Rechecked) -> Iterator[str]:
    wide = max(len(group) for _, group in found.states)
    for curve, state in found.states.items():
        own = [one for one in found.verdicts if one.pair.curve == curve]
        words = ", ".join(one.pair.words for one in own)
        if state != HOLDS:
            words = "; ".join(one.words for one in own if one.state != HOLDS)
        yield f"  {_name(curve, wide)}  {state:<7}  {words}"


def _changes(found: Rechecked) -> Iterator[str]:
    """Each layer that became slower or faster, or may have."""
    by_state: dict[str, list[LayerChange]] = {}
    for one in found.changes:
        by_state.setdefault(one.state, []).append(one)
    counts = ", ".join(
        f"{len(by_state[state])} {state}"
        for state in (SLOWER, FASTER, UNCHANGED, UNDECIDED)
        if state in by_state
    )
    yield f"Layers now against the table, relative to the median point: {counts}"
    wide = max(len(group) for _, group in found.states)
    for one in found.changes:
        if one.state != UNCHANGED:
            yield f"  {_name(one.curve, wide)}  {one.state:<9}  {_change(one)}"


def _change(one: LayerChange) -> str:
    """The change with its interval, and the range of its points: a layer may be slower at some widths only."""
    if one.ratio is None or one.lowest is None or one.highest is None:
        return "could not be timed, or the table has no intervals"
    return f"{one.ratio}; its {counted(one.points, 'point')} {one.lowest - 1:+.1%} to {one.highest - 1:+.1%}"


def _name(curve: Place, wide: int) -> str:
    level, group = curve
    return f"{'' if level is None else f'level {level:g} '}{group:<{wide}}"


def _verdict(found: Rechecked, stale: Sequence[StaleChoice]) -> Iterator[str]:
    yield from (f"  {one.words}" for one in stale)
    states = list(found.states.values())
    numbers: Mapping[str, int] = {state: states.count(state) for state in (STALE, UNCLEAR)}
    words = [f"{numbers[STALE]} of {len(states)} curves are stale"] if numbers[STALE] else []
    if numbers[UNCLEAR]:
        words.append(f"{numbers[UNCLEAR]} unclear (raise `benchmark_processes` or `rounds` of the device)")
    if words:
        yield f"{', '.join(words)}."
    else:
        yield "The only curve holds." if len(states) == 1 else f"All {len(states)} curves hold."
    if numbers[STALE] or stale:
        how = renewal(found)
        how = f"in a study, {how[0].lower()}{how[1:]}; otherwise give the command of `hakd sweep` again with `--again`"
        yield f"To renew them: {how}."
