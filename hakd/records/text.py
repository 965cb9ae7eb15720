"""Text that comes from elsewhere, made fit for a terminal and a log."""


def printable(text: object, limit: int | None = None) -> str:
    """What a board or another person said, on one line and without control characters.

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
