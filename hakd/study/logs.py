"""What the logs of the rules say of a run: which jobs failed and why, and how long each took.

`hakd.study.scripting` writes these logs. Read at the end of a run and at planning time: no heavy imports.
"""

import re
from collections.abc import Iterator
from pathlib import Path

LOGS = Path("results/logs")  # a folder for each rule, a file for each job
_STAMP = r"^[\d-]+ [\d:,]+ "
_ERROR = re.compile(_STAMP + r"error: (.+)$", re.MULTILINE)
_TRACEBACK = re.compile(_STAMP + r"Traceback \(most recent call last\):$", re.MULTILINE)
_TOOK = re.compile(_STAMP + r"done in ([\d.]+) s$", re.MULTILINE)


def last_error(path: Path) -> str | None:
    """The error that a job logged last; None: it logged none. Of a traceback it is where to read it."""
    text = path.read_text(errors="replace")
    errors = _ERROR.findall(text)
    if errors:
        return errors[-1]
    return f"a defect of the program, its traceback is in {path}" if _TRACEBACK.search(text) else None


def errors_since(since: float) -> list[str]:
    """The errors of all jobs whose logs were written after `since` (seconds, as mtime), each once, first ones first."""
    errors = (last_error(path) for path in _written(since))
    return list(dict.fromkeys(error for error in errors if error is not None))


def failed_since(since: float) -> list[Path]:
    """The logs of those jobs, first ones first."""
    return [path for path in _written(since) if last_error(path) is not None]


def seconds_by_rule(since: float) -> dict[str, list[float]]:
    """Seconds of every job that succeeded after `since` (seconds, as mtime), by rule."""
    seconds: dict[str, list[float]] = {}
    for path in _written(since):
        took = _TOOK.findall(path.read_text(errors="replace"))
        if took:
            seconds.setdefault(path.relative_to(LOGS).parts[0], []).append(float(took[-1]))
    return seconds


def _written(since: float) -> Iterator[Path]:
    written = {path: path.stat().st_mtime for path in LOGS.rglob("*.log")}
    yield from (path for path in sorted(written, key=lambda path: written[path]) if written[path] >= since)
