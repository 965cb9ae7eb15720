"""All faults of tests/boards/faults, each once over a real sshd: what happened, what was lost, how soon it was seen.

    python -m benchmarks.faults                            # the table, as Markdown
    python -m benchmarks.faults --into docs/faults.md      # puts it between the two marks in that file

Needs what `make system-deps` installs, and root or the right to make user namespaces. About three minutes.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

from hakd.records.files import write_bytes
from tests.boards import faults
from tests.boards.cases import Outcome
from tests.boards.rigs import Unavailable

HEADER = ("fault", "the client", "lost", "doubled", "noticed after", "board free after", "message")
ENDED = {"done": "goes on and completes", "error": "stops with an error", "killed": "is gone"}
MARKS = "<!-- table of benchmarks.faults -->", "<!-- end of the table -->"


def main() -> int:
    """Exit status 1 when anything was lost, doubled, left running or not explained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(faults.FAULTS)} (default: all)")
    parser.add_argument("--into", type=Path, metavar="FILE", help="put the table between its marks")
    arguments = parser.parse_args()
    rows, bad = [HEADER, ("---", "---", "---:", "---:", "---:", "---:", "---")], 0
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        for name in arguments.names or faults.FAULTS:
            try:
                outcome = faults.run(name, Path(folder) / name)
            except Unavailable as lack:
                raise SystemExit(f"{name}: {lack}. On Debian, as root: make system-deps") from None
            print(f"{name}: {ENDED[outcome.ended]}", *outcome.wrong, sep="\n    ", file=sys.stderr)
            bad += bool(outcome.wrong)
            rows.append(row(faults.FAULTS[name].text, outcome, folder))
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
    if arguments.into is None:
        print(table, end="")
    else:
        head, rest = arguments.into.read_text().split(MARKS[0] + "\n")
        _, tail = rest.split(MARKS[1])
        write_bytes(arguments.into, f"{head}{MARKS[0]}\n{table}{MARKS[1]}{tail}".encode())
    return int(bad > 0)


def row(text: str, outcome: Outcome, folder: str) -> tuple[str, ...]:
    """Cells of a fault; paths of this run are shortened."""
    times = (
        "-" if s is None else f"{s:.1f} s" if s > 0.05 else "at once"
        for s in (outcome.notice_s, outcome.free_s)
    )
    message = re.sub(rf"{re.escape(folder)}[^\s:]*/", ".../", outcome.message).replace("|", "/")
    message = re.sub(r"(\d)\1{20,}", r"\1\1\1...", message)
    return text, ENDED[outcome.ended], f"{outcome.lost}", f"{outcome.doubled}", *times, message or "-"


if __name__ == "__main__":
    sys.exit(main())
