"""Levels of a study: what each is pruned from, and which one `copycat` copies. Read by the rules: no heavy imports."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from hakd.records.files import write_bytes

TEACHER = "teacher"


def level_text(level: float) -> str:
    """How a level is written in file names: 0.5 and 0.50 are one."""
    return f"{level:g}"


def pruned_from(folder: str, level: str, levels: Iterable[str]) -> str:
    """The level that a level is pruned from: the one it was pruned from before, else the nearest higher one.

    The result does not depend on it. So a level that is added above others does not prune those again.

    Args:
        folder: of the pruning's files.
        level: as written in file names, as are `levels`, those of the study.

    Returns:
        a level, or `teacher`.
    """
    path = _note(folder, level)
    with contextlib.suppress(OSError, ValueError):  # none, or damaged
        noted = path.read_text().strip()
        if noted == TEACHER:
            return noted
        if float(level) < float(noted) <= 1:
            return level_text(float(noted))
    return min((one for one in levels if float(one) > float(level)), key=float, default=TEACHER)


def source_state(folder: str, level: str, levels: Iterable[str]) -> list[str]:
    """The kept state of that level, none for the teacher."""
    source = pruned_from(folder, level, levels)
    return [] if source == TEACHER else [f"{folder}/{source}.state"]


def note_source(folder: str, level: str, source: str) -> None:
    """Keep for `pruned_from` what a level was pruned from."""
    write_bytes(_note(folder, level), f"{source}\n".encode())


def copied_level(levels: Iterable[float]) -> str:
    """The level whose profile `copycat` scales to the others: the nearest to a half, the higher of two."""
    return level_text(min(levels, key=lambda level: (round(abs(level - 0.5), 9), -level)))


def _note(folder: str, level: str) -> Path:
    return Path(folder) / f"{level}.from"
