"""`hakd sweep`: a real table of a small network, alone, resumable, over ssh too."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hakd.boards.journal import read
from hakd.records.code import CHECKOUT
from hakd.records.tables import read_table
from hakd.staircase.curve_rows import curves_from_table
from hakd.staircase.mapping import budget
from tests.boards.rigs.needs import wait_for_bursts

NETWORKS = {
    "small": {"family": "mobilenet", "multiplier": 0.0625, "input_size": 8},
    "dense": {"family": "densenet", "depth": 10, "growth": 9, "input_size": 8},
}
QUICK = ("--rounds", "3", "--min-step", "1")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A working directory with a device file and a network, and no study."""
    (tmp_path / "config").mkdir()
    config = {"networks": NETWORKS, "data": {"name": "digits"}, "store": "bursts"}
    (tmp_path / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    device = {"lock_path": str(tmp_path / "lock"), "burst_ms": 0.3}
    (tmp_path / "here.yaml").write_text(yaml.safe_dump({"here": device}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    return tmp_path


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "hakd", "sweep", *words]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*words), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert "Traceback" not in done.stderr
    return done


def bursts(store: Path) -> list[tuple]:
    """(purpose, point, slot, round) of every burst that counts."""
    found = [record for path in sorted(store.glob("*/*.jsonl")) for record in read(path)]
    return [
        (one["purpose"], one["key"], one["slot"], one["round"])
        for one in found
        if one["type"] == "burst" and not one["reference"]
    ]


def test_a_map_of_a_whole_network(project):
    done = run("here.yaml", "dense", "--out", "table.parquet", *QUICK)
    assert done.returncode == 0, done.stderr
    table, about = read_table("table.parquet", "latency")
    assert (about["mode"], about["device"], about["engine"]) == ("map", "here", "onnxruntime")
    assert set(table["level"]) == {1.0} and set(table["kind"]) == {"block", "tile"}
    curves = curves_from_table(table, 1.0)
    assert len(curves) == 3
    for curve in curves.values():
        assert (curve.widths[0], curve.widths[-1]) == (1, 36)
        assert 3 < len(curve.widths) <= budget(36)
    said = done.stdout.splitlines()
    assert said[0].startswith("dense on here (onnxruntime ") and "of 3 curves decided" in said[0]
    assert [line.split()[0] for line in said[2:5]] == list(curves)
    assert said[-1] == f"Written: table.parquet ({len(table)} rows). Every burst is in bursts."

    # Again, as CSV: nothing is timed twice, so the table is the same.
    before = bursts(project / "bursts")
    assert len(set(before)) == len(before)
    assert run("here.yaml", "dense", "--out", "table.csv", *QUICK).returncode == 0
    assert bursts(project / "bursts") == before
    again = read_table("table.csv", "latency")[0]
    assert again["shape"].tolist() == table["shape"].tolist()
    assert again["latency_ms"].tolist() == pytest.approx(table["latency_ms"].tolist())


def test_some_groups_at_a_level_and_the_targets_of_a_study(project):
    words = ("here.yaml", "small", "--mode", "targets", "--groups", "block6", "--level", "1", "0.5")
    done = run(*words, "--out", "table.csv", *QUICK, "--store", "other")
    assert done.returncode == 0, done.stderr
    table = read_table("table.csv", "latency")[0]
    assert set(table["kind"]) == {"block"} and set(table["group"]) == {"block6"}
    assert set(table["level"]) == {1.0, 0.5} and (project / "other").is_dir()
    full, half = (curves_from_table(table, level)["block6"] for level in (1.0, 0.5))
    assert full.widths == (32,)  # nothing was pruned, nothing is to be decided
    assert half.widths[-1] == 32 and len(half.widths) > 2
    assert half.neighbour_widths["block5"] < full.neighbour_widths["block5"] == 16


def test_a_killed_sweep_goes_on(project):
    words = ("here.yaml", "small", "--groups", "block6", "block13", "--out", "table.csv", *QUICK)
    process = subprocess.Popen(
        command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for_bursts(project / "bursts", 40)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (project / "table.csv").exists()
    before = bursts(project / "bursts")
    done = run(*words)
    assert done.returncode == 0, done.stderr
    after = bursts(project / "bursts")
    assert set(before) <= set(after) and len(set(after)) == len(after) > len(before)
    assert read_table("table.csv", "latency")[0]["group"].nunique() == 2


def test_ctrl_c_is_one_line(project):
    words = ("here.yaml", "small", "--groups", "block13", "--out", "table.csv", "--rounds", "400")
    process = subprocess.Popen(
        command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_bursts(project / "bursts", 10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == ""
    assert err.splitlines()[-1] == "interrupted" and "Traceback" not in err
    assert not (project / "table.csv").exists()


def test_over_ssh(project, sshd):
    Path("board.yaml").write_text(yaml.safe_dump({"board": sshd.device(burst_ms=0.3)}))
    done = run("board.yaml", "small", "--groups", "block6", "--out", "table.csv", *QUICK)
    assert done.returncode == 0, done.stderr
    assert read_table("table.csv", "latency")[0]["width"].max() == 32


def test_a_board_that_is_away_is_one_line(project, sshd):
    sshd.known_hosts.write_text("")
    Path("board.yaml").write_text(yaml.safe_dump({"board": sshd.device()}))
    done = run("board.yaml", "small", "--out", "table.csv")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "its host key is unknown" in done.stderr and "`hakd pin board.yaml`" in done.stderr
    assert os.listdir(project).count("table.csv") == 0
