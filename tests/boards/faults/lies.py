"""Boards that are noisy or lie."""

import sys

from tests.boards.cases import Case
from tests.boards.faults.registry import START_S, fault
from tests.boards.rigs import Sshd


def tampered(board: Sshd, code: str) -> str:
    """A Python on the board that changes what the agent says: `code` runs beside its functions and `LineWriter`."""
    text = (
        "import sys, os\n"
        "stream = sys.stdin.buffer\n"
        "source = stream.read(int(stream.readline())).decode()\n"
        "end = 'if __name__ == \"__main__\":'\n"
        "assert source.count(end) == 1\n"
        f"source = source.replace(end, {code!r} + '\\n' + end)\n"
        "exec(compile(source, 'agent', 'exec'))\n"
    )
    return board.wrapper(text, f"{sys.executable} -u")


def _lie(change: str) -> str:
    """Code that changes the eighth burst."""
    return f"""
import itertools
_say, _dumps, _count = LineWriter.say, json.dumps, itertools.count(1)
json.dumps = lambda *args, **kwargs: _dumps(*args, **dict(kwargs, allow_nan=True))
def say(self, kind, **fields):
    if kind == "burst" and next(_count) == 8:
        {change}
    _say(self, kind, **fields)
LineWriter.say = say
"""


def _told(case: Case, code: str) -> None:
    case.strike(lambda: None)
    case.start(python=tampered(case.board, code))
    case.ended()


@fault("the board answers NaN", "done")
def answers_nan(case: Case) -> None:
    """Not JSON, so noise: the burst is missing, and measured by the next worker."""
    _told(case, _lie('fields["median_ns"] = float("nan")'))


@fault("the board answers a negative time", "error", says="a burst whose median_ns is -5", within_s=START_S)
def answers_negative(case: Case) -> None:
    _told(case, _lie('fields["median_ns"] = -5'))


@fault(
    "the board answers an absurdly large time",
    "error",
    says="a burst whose median_ns is 10{10}",
    within_s=START_S,
)
def answers_huge(case: Case) -> None:
    _told(case, _lie('fields["median_ns"] = 10 ** 300'))


@fault(
    "the board answers a point that was not requested",
    "error",
    says="point that was not requested",
    within_s=START_S,
)
def answers_unrequested(case: Case) -> None:
    _told(case, _lie('fields["key"] = "/etc/passwd"'))


@fault("garbage and forged lines on the board's output", "done")
def garbage(case: Case) -> None:
    """A banner, noise between and within the lines, a wrong tag, a wrong checksum, a line told twice."""
    code = r"""
os.write(1, b'Welcome!\n@0123 00000000 {"t":"hello"}\n\xff\xfe\x00 no end of line')
_write = write_all
def write_all(fd, data):
    forged = data[: data.find(b" ")] + b' 00000000 {"t":"burst"}\n' if data[1:2] == b"@" else b""
    _write(fd, b"\x1b[2J" + data + data + forged + b"\nunfinished @")
"""
    _told(case, code)
    if case.last["event"] == "done" and case.last["noise"] < 100:
        case.notes.append(f"only {case.last['noise']} foreign lines were counted")
