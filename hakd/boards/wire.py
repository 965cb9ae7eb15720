"""The client's end of the wire: frames out, tagged lines in. For the format see docs/protocol.md.

The board is not trusted, and banners, libraries and other programs print to the same output: only lines with this
session's tag, a correct checksum and a rising number count. Everything else is noise, which is counted and dropped.
"""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

LINE_LIMIT = 1 << 20


def frame(content: Mapping[str, Any]) -> bytes:
    """A JSON frame with its length in front."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    return b"%d\n%s" % (len(body), body)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


class LineReader:
    """Picks a session's lines out of a stream of bytes.

    Attributes:
        noise: lines that are not the agent's: untagged, damaged, repeated or too long.
        noise_bytes: their length.
    """

    def __init__(self, tag: str, limit: int = LINE_LIMIT) -> None:
        self._pattern = re.compile(rb"@%s ([0-9a-f]{8}) (.+)" % re.escape(tag.encode()))
        self._limit = limit
        self._rest = bytearray()
        self._skipping = False
        self._last = 0
        self.noise = 0
        self.noise_bytes = 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take the bytes that arrived; return the messages that they complete."""
        *ends, rest = data.split(b"\n")
        messages = []
        for end in ends:
            line, skipped = bytes(self._rest + end), self._skipping
            self._rest.clear()
            self._skipping = False
            message = None if skipped or len(line) > self._limit else self._parse(line)
            if message is not None:
                messages.append(message)
            elif line or skipped:
                self.noise += 1
                self.noise_bytes += len(line)
        if self._skipping or len(self._rest) + len(rest) > self._limit:
            self.noise_bytes += len(self._rest) + len(rest)
            self._rest.clear()
            self._skipping = True
        else:
            self._rest += rest
        return messages

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        """The message in a line; None when it is not the agent's or has come before."""
        match = self._pattern.fullmatch(line)
        if match is None or int(match[1], 16) != zlib.crc32(match[2]):
            return None
        try:
            message = json.loads(match[2], parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return None
        if not isinstance(message, dict) or not isinstance(message.get("t"), str):
            return None
        number = message.pop("n", None)
        if type(number) is not int or number <= self._last:
            return None
        self._last = number
        return message
