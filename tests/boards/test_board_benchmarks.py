"""The benchmarks of boards run, go on where they stopped, and write what docs/faults.md shows."""

import json
import sys

import pytest

from benchmarks import faults, soak_boards, ssh_overhead
from tests.boards.skipping import system_part

pytestmark = pytest.mark.beside


def test_a_soak_counts_its_kills_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(soak_boards, "ROUNDS", 8)
    monkeypatch.setattr(soak_boards, "LATEST_S", 0.8)
    for kills in (1, 3):
        with system_part():
            soak = soak_boards.Soak(tmp_path / "soak", kills, seed=1)
            soak.run()
        assert len(soak.of("kill")) == kills
        assert soak.sums() == "0 lost, 0 doubled, 0 left, 0 broken"
    assert f"3 of 3 kills: {soak.sums()}" in capsys.readouterr().err
    assert {line["bursts"] for line in soak.of("sweep")} == {12 * 8 * 2}
    names = [line["blow"] for line in soak.of("kill")]
    rows = [row for row in soak.table().splitlines() if row.split(" | ")[1] != "0"][2:]
    assert {row.split(" | ")[0] for row in rows} == {f"| {name}" for name in names}
    with open(soak.path, "a") as stream:
        stream.write(json.dumps({"line": "sweep", "bursts": 192, "lost": 2, "doubled": 1}) + "\n")
    assert soak_boards.Soak(tmp_path / "soak", 3, 1).sums() == "2 lost, 1 doubled, 0 left, 0 broken"


def test_the_table_of_faults_lands_between_its_marks(tmp_path, monkeypatch):
    path = tmp_path / "page.md"
    path.write_text(f"before\n{faults.MARKS[0]}\nold\n{faults.MARKS[1]}\nafter\n")
    monkeypatch.setattr(sys, "argv", ["faults", "wrong_user", "--into", str(path)])
    with system_part():
        assert faults.main() == 0
    head, _, row, *tail = path.read_text().removeprefix(f"before\n{faults.MARKS[0]}\n").splitlines()
    assert head.startswith("| fault | the client |") and tail == [faults.MARKS[1], "after"]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:4] == ["wrong user", "stops with an error", "0", "0"] and "log-in refused" in cells[-1]


def test_the_page_of_faults_has_all_of_them(root):
    page = (root / "docs" / "faults.md").read_text()
    assert [fault.text for fault in faults.faults.FAULTS.values() if f"\n| {fault.text} |" not in page] == []


def test_the_interval_of_a_ratio_is_that_of_its_logarithms():
    mean, low, high = ssh_overhead.interval([0.5, 2.0])
    assert mean == pytest.approx(1.0) and low == pytest.approx(1 / high)
    assert high == pytest.approx(2.0**12.706, rel=1e-3)  # t of one degree of freedom
