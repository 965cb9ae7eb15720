"""How far a study is: jobs done and minutes left, in one line now and then.

A line is written when a job has ended, and at most once a minute. Nothing runs in between: while a job times this
machine no other job ends, so nothing disturbs it. Read by the rules at planning time: no heavy imports.
"""

import contextlib
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from statistics import fmean

from hakd.records.text import duration
from hakd.study.logs import seconds_by_rule

EVERY_S = 60.0
CHECKPOINTS = ("snap", "race", "fleet", "baseline_widths")  # what they decide adds jobs
_WITHOUT_LOG = ("all", "available")  # rules without work
_NAMED = 4  # rules whose jobs are counted by name


class Progress(logging.Handler):
    """Counts a run's jobs by the records that Snakemake gives its logger plugins, and says how far it is.

    Args:
        since: when the run began (seconds since the epoch).
        say: writes a line.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        since: float,
        say: Callable[[str], object] = sys.stderr.write,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._since, self._say, self._clock = since, say, clock
        self._last = since
        self._running: dict[int, tuple[str, float]] = {}  # by job: its rule, and when it began
        self._planned: Counter[str] = Counter()
        self._begun: Counter[str] = Counter()
        self._took: dict[str, list[float]] = {}  # seconds from begin to end, by rule
        self._earlier: dict[str, list[float]] = {}  # the same of earlier runs, without what a start takes

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record (`event` and its fields: snakemake-interface-logger-plugins)."""
        about, event, now = vars(record), getattr(record, "event", None), self._clock()
        if event == "run_info":
            self._planned = Counter({rule: n for rule, n in about["stats"].items() if rule != "total"})
            self._earlier = seconds_by_rule(0.0)  # a job that begins empties its log
        elif event == "job_info" and about["jobid"] not in self._running:
            self._running[about["jobid"]] = about["rule_name"], now
            self._begun[about["rule_name"]] += 1
        elif event == "job_error":
            self._running.pop(about["jobid"], None)
        elif event == "job_finished" and about["job_id"] in self._running:
            rule, began = self._running.pop(about["job_id"])
            self._took.setdefault(rule, []).append(now - began)
        elif event == "progress" and now - self._last >= EVERY_S:
            self._last = now
            with contextlib.suppress(OSError):  # a log that goes while it is read
                self._say(self._line(about["done"], about["total"], now))

    def _line(self, done: int, total: int, now: float) -> str:
        ended = Counter({rule: len(seconds) for rule, seconds in self._took.items()})
        left = dict(self._planned - ended)
        open_ = any(rule in left for rule in CHECKPOINTS)
        words = [
            f"{done} of {total}{' or more' if open_ else ''} jobs",
            f"{duration(now - self._since)} so far",
        ]
        known = self._seconds_of_a_job()
        busy = {job: (rule, now - began) for job, (rule, began) in self._running.items()}
        worked = sum(map(sum, self._took.values())) + sum(seconds for _, seconds in busy.values())
        if known and worked:
            added = [known[rule] for rule in self._begun - self._planned if rule in known]  # by a checkpoint
            others = max(0, total - done - sum(left.values())) * fmean(added or known.values())
            rest = others + sum(count * known.get(rule, 0.0) for rule, count in left.items())
            rest -= sum(min(seconds, known.get(rule, 0.0)) for rule, seconds in busy.values())
            some = open_ or any(rule not in known and rule not in _WITHOUT_LOG for rule in left)
            about = duration(max(0.0, rest) * (now - self._since) / worked)  # as many side by side as so far
            words.append(f"{about} or more left" if some else f"about {about} left")
        return f"Study: {', '.join(words)}{_named(left, known)}\n"

    def _seconds_of_a_job(self) -> dict[str, float]:
        """Mean seconds of a job by rule: of this run, else of the logs of earlier ones and what a start takes."""
        ended = [job for seconds in self._took.values() for job in seconds]
        logged = sum(map(sum, seconds_by_rule(self._since).values()))
        start = max(0.0, (sum(ended) - logged) / len(ended)) if ended else 0.0
        earlier = {rule: fmean(seconds) + start for rule, seconds in self._earlier.items()}
        return earlier | {rule: fmean(seconds) for rule, seconds in self._took.items()}


def _named(left: Mapping[str, int], known: Mapping[str, float]) -> str:
    """The planned jobs by rule, the longest rule first; before them those that have never run."""
    rules = [rule for rule in left if rule not in _WITHOUT_LOG]
    rules.sort(key=lambda rule: -left[rule] * known[rule] if rule in known else -math.inf)
    words = [f"{rule} {left[rule]}" for rule in rules[:_NAMED]] + ["..."] * (len(rules) > _NAMED)
    return f" ({', '.join(words)})" if words else ""
