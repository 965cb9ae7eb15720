"""Words of messages: text that comes from elsewhere made fit for a terminal, and what a name may have meant."""

import difflib
from collections.abc import Iterable

_FEW = 8  # names that are listed beside a suggestion
_SHOWN = 24  # names in a message


def printable(text: object, limit: int | None = None) -> str:
    """Text from a board or another person, on one line and without control characters.

    Args:
        text: anything with a text.
        limit: characters at most, of which the last is an ellipsis where something was cut off. None: no limit.

    Returns:
        The text with a space for each line break or tab, and `?` for anything else that cannot be printed.
    """
    words = str(text)
    if limit is not None and len(words) > limit:
        words = f"{words[: limit - 1]}…"
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in words)


def counted(number: int, noun: str) -> str:
    """A number and what it counts: `1 width`, `2 widths`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `40 s`, `12 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """The remedy for an unknown name: the one with nearly the same spelling, and some known ones."""
    names = list(dict.fromkeys(map(str, known)))
    near = difflib.get_close_matches(str(name), names, 1)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    listed = f"Known: {', '.join(names[:_SHOWN]) or 'none'}{more}"
    if not near:
        return listed
    question = f"Did you mean {near[0]!r}?"
    return question if len(names) > _FEW else f"{question} {listed}"
