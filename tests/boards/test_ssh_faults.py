"""Every fault of tests/boards/faults over a real sshd: noticed, named, and nothing lost, doubled or left behind."""

from pathlib import Path
from typing import Any

import pytest

from tests.boards import faults
from tests.boards.skipping import system_part

pytestmark = pytest.mark.beside


@pytest.mark.parametrize("name", faults.FAULTS)
def test_a_fault_is_survived(name: str, tmp_path: Path, record_property: Any):
    with system_part():
        outcome = faults.run(name, tmp_path)
    record_property("seconds_to_notice", outcome.notice_s)
    assert not outcome.wrong
    assert outcome.expected and not outcome.lost and not outcome.doubled


def test_what_is_lost_or_doubled_is_seen(tmp_path: Path):
    """The counting itself: a burst taken out of a journal or copied in it, and a journal that is gone, are reported."""
    with system_part(), faults.case("sshd_restarted", tmp_path) as case:
        case.start()
        assert case.ended()["event"] == "done"
        (path,) = case.store.glob("*/*.jsonl")
        lines = path.read_text().splitlines(keepends=True)
        at = [number for number, line in enumerate(lines) if '"type":"burst"' in line]
        path.write_text("".join(line for number, line in enumerate(lines) if number != at[3]))
        assert case.outcome("one burst short", None).lost == 1
        path.write_text("".join([*lines, lines[at[5]]]))
        assert case.outcome("one burst twice", None).doubled == 1
        path.write_text("".join(lines))
        case.strike(path.unlink)
        case.last = {"event": "killed"}
        outcome = case.outcome("a journal gone", None)
        assert outcome.lost == outcome.expected == 120  # measured again, which is no excuse
        assert "120 lost" in outcome.wrong[-1]
