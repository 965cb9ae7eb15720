"""Text that comes from elsewhere, made fit for a terminal."""


def printable(text: str) -> str:
    """A text that came from a board or from another person, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
