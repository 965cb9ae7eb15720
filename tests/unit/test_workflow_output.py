"""How the tests of the workflow read Snakemake's output, into which jobs write whatever they like at any moment."""

import re
from datetime import datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from tests.workflow.study import Job, executed, jobs

BEGIN = datetime(2026, 11, 9, 8, 59, 58)
# What a job leaves on the terminal: lines, and the beginning of one that the next message goes on in.
SCRAPS = [
    "",
    "\n",
    "epoch 3: 87 %",
    "warning: device pi4: waiting\n",
    "1 of 9\r2 of 9",
    "[x]",
    "[Mon Nov ",
    "done. ",
]


def stamp(second: int) -> str:
    return (BEGIN + timedelta(seconds=second)).strftime("[%a %b %d %H:%M:%S %Y]").replace(" 0", "  ", 1)


def announced(number: int, second: int) -> str:
    return (
        f"{stamp(second)}\nlocalrule sweep:\n    output: results/{number}.parquet\n    jobid: {number}\n"
        f"    reason: Missing output files\n    wildcards: device=d{number}\n    resources: tmpdir=/tmp\n\n"
    )


def finished(number: int, second: int) -> str:
    return f"{stamp(second)}\nFinished jobid: {number} (Rule: sweep)\n{number} of 9 steps (20%) done\n"


def failed(number: int, second: int) -> str:
    return (
        f"{stamp(second)}\nError in rule sweep:\n    message: None\n    jobid: {number}\n    log: x.log\n\n"
    )


def read(messages: list[str], scraps: list[str]) -> list[Job]:
    return jobs("".join(f"{message}{scrap}" for message, scrap in zip(["", *messages], scraps, strict=True)))


@given(st.data(), st.lists(st.booleans(), min_size=1, max_size=6))
def test_every_end_is_read_whatever_jobs_write_in_between(data, fates):
    """All jobs start, then end: each message with something torn in front of it."""
    count = len(fates)
    messages = [announced(number, number) for number in range(count)]
    ends = data.draw(st.permutations(range(count)))
    messages += [
        (finished if fates[number] else failed)(number, count + place) for place, number in enumerate(ends)
    ]
    scraps = data.draw(
        st.lists(st.sampled_from(SCRAPS), min_size=len(messages) + 1, max_size=len(messages) + 1)
    )
    found = {job.wildcards["device"]: job for job in read(messages, scraps)}
    assert set(found) == {f"d{number}" for number in range(count)}
    for number, fate in enumerate(fates):
        job, begin = found[f"d{number}"], BEGIN.timestamp()
        assert (job.rule, job.failed) == ("sweep", not fate)
        assert (job.start, job.end) == (begin + number, begin + count + ends.index(number))


def test_two_ends_of_which_the_second_lost_its_stamp_are_two():
    """As seen once: without a stamp of its own the message hung on the one before, and a job seemed not to have run."""
    stamped, rest = finished(2, 5).split("\n", 1)
    torn = f"97 %{stamped[:9]}\n{rest}"
    output = announced(1, 0) + announced(2, 1) + finished(1, 4) + torn
    assert [job.end is not None for job in jobs(output)] == [True, True]
    assert executed(output) == {"sweep": 2}


@given(st.text(alphabet="[]MonNv 0192:\n(Rule)Finshedjbo=,", max_size=200))
@example("[foo bar 12]\nFinished jobid: 7 (Rule: x)\n")
def test_no_text_breaks_it(text):
    assert all(re.fullmatch(r"\w+", job.rule) for job in jobs(text))
