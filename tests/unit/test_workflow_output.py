"""How the tests of the workflow read what its jobs do, among what these write at any moment."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workflow.plugins.snakemake_logger_plugin_jobs import MARK
from tests.workflow.study import executed, jobs

# What a job leaves on the terminal: lines, and the beginning of one that the next message follows.
SCRAPS = ["", "\n", "epoch 3: 87 %", "warning: device pi4: waiting\n", "1 of 9\r2 of 9", "[x]", MARK, "{"]


def announced(number: int, second: int) -> dict:
    return {
        "job": number, "rule": "sweep", "at": second,
        "wildcards": {"device": f"d{number}"}, "resources": {"board": "1"},
    }  # fmt: skip


def ended(number: int, second: int, well: bool) -> dict:
    return {"job": number, "at": second, "end": well}


def written(events: list[dict], scraps: list[str]) -> str:
    lines = [f"\n{MARK}{json.dumps(event)}\n" for event in events]
    return "".join(f"{line}{scrap}" for line, scrap in zip(["", *lines], scraps, strict=True))


@given(st.data(), st.lists(st.booleans(), min_size=1, max_size=6))
def test_every_end_is_read_whatever_jobs_write_in_between(data, fates):
    """All jobs start, then end."""
    count = len(fates)
    ends = data.draw(st.permutations(range(count)))
    events = [announced(number, number) for number in range(count)]
    events += [ended(number, count + place, fates[number]) for place, number in enumerate(ends)]
    scraps = data.draw(st.lists(st.sampled_from(SCRAPS), min_size=2 * count + 1, max_size=2 * count + 1))
    output = written(events, scraps)
    found = {job.wildcards["device"]: job for job in jobs(output)}
    assert set(found) == {f"d{number}" for number in range(count)}
    for number, well in enumerate(fates):
        job = found[f"d{number}"]
        assert (job.rule, job.failed, job.resources) == ("sweep", not well, {"board": "1"})
        assert (job.start, job.end) == (number, count + ends.index(number))
    assert executed(output)["sweep"] == sum(fates)


def test_of_a_job_announced_twice_the_last_counts():
    events = [announced(3, 1), announced(3, 5)]
    (job,) = jobs(written(events, ["", "", ""]))
    assert job.start == 5 and job.end is None


@pytest.mark.parametrize("text", ["", "JOB", "JOB 7: Sweep pi4", "Finished jobid: 7 (Rule: x)"])
def test_other_lines_are_no_jobs(text):
    assert jobs(text) == []
