"""`hakd store ls` and `verify` on stores that real sessions wrote: sound ones, and every kind of damage."""

import json
import re
import shutil
from pathlib import Path

import pytest

from hakd.boards import PROTOCOL, Device, open_board
from hakd.boards.store_report import holdings, verify
from hakd.cli import FINDING, FINE, main
from tests.boards.points import QUICK, pointwise
from tests.boards.virtual_tables import MODEL

pytestmark = pytest.mark.beside

POINTS = [pointwise(width) for width in (15, 16, 17)]


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """Two identities; the first has two sessions, and a point that crashed once."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "store"
    first = Device("vdev", "virtual", cost_model={**MODEL, "faults": {"crash_every": 2}})
    for points in (POINTS[:2], POINTS):
        with open_board(first, root) as board:
            board.measure(points, QUICK, reference_point=POINTS[0], progress=False)
    second = Device("other", "virtual", cost_model={**MODEL, "tile_out": 8}, epoch=3)
    with open_board(second, root) as board:
        board.measure(POINTS[:1], QUICK, progress=False)
    return root


def journal(root: Path) -> Path:
    """The first session's journal of the first device, the one with more bursts."""
    (folder,) = {path.parent for path in root.glob("*/*.jsonl") if '"name":"vdev"' in path.read_text()}
    return max(folder.glob("*.jsonl"), key=lambda path: path.read_text().count('"reference":false'))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_ls_says_what_is_there(store, capsys):
    assert main(["store", "ls", "--store", str(store)]) == FINE
    said = capsys.readouterr().out
    assert re.search(r"^vdev: onnxruntime virtual-1, 1 thread, epoch 1, virtual-\w+-0$", said, re.MULTILINE)
    assert re.search(r"^other: onnxruntime virtual-1, 1 thread, epoch 3, ", said, re.MULTILINE)
    assert "  2 sessions, 3 points, 18 bursts, 2 failures; " in said
    assert "  1 session, 1 point, 6 bursts, 0 failures; " in said
    assert said.splitlines()[-1].startswith("2 device identities, ")
    assert main(["store", "ls", "--store", str(store), "--json"]) == FINE
    rows = {row["names"][0]: row for row in json.loads(capsys.readouterr().out)}
    sizes = sum(path.stat().st_size for path in journal(store).parent.iterdir())
    assert rows["vdev"]["size_bytes"] == sizes and rows["vdev"]["first"] <= rows["vdev"]["last"]
    assert rows["other"]["identity"]["epoch"] == 3


def test_a_sound_store_is_status_0(store, capsys):
    assert main(["store", "verify", "--store", str(store)]) == FINE
    assert capsys.readouterr().out == f"{store}: 3 journals, 24 bursts: sound\n"


def test_a_torn_last_line_and_foreign_files_do_no_harm(store, capsys):
    path = journal(store)
    path.write_bytes(path.read_bytes() + b'{"type":"burst","pur')
    (store / "notes.txt").write_text("")
    (path.parent / "old.csv").write_text("")
    assert main(["store", "verify", "--store", str(store)]) == FINE
    said = capsys.readouterr().out
    assert (
        said.count("note  ") == 3
        and "the last line was cut off" in said
        and said.count("not written by hakd") == 2
    )


def test_a_line_that_is_no_record(store, capsys):
    path = journal(store)
    found = lines(path)
    path.write_text("\n".join([*found[:5], '{"type":', "7", *found[5:]]) + "\n")
    assert main(["store", "verify", "--store", str(store)]) == FINDING
    said = capsys.readouterr().out
    assert f"DAMAGE {path}: 2 broken lines (6, 7)  -> delete the journal" in said
    assert said.splitlines()[-1].endswith("1 damaged place")
    assert main(["store", "ls", "--store", str(store)]) == FINE
    assert "1 of its journals are damaged: run `hakd store verify`" in capsys.readouterr().out


def test_bursts_that_were_measured_twice(store):
    path = journal(store)
    twin = path.with_name("29990101T000000-00000000.jsonl")
    twin.write_text(path.read_text().replace(path.stem, twin.stem))
    findings, journals, _ = verify(store)
    assert journals == 4
    (finding,) = findings
    assert finding.where == twin and "12 bursts were measured before" in finding.problem
    twin.unlink()
    burst = next(line for line in lines(path) if '"reference":false' in line)
    path.write_text(path.read_text() + burst + "\n")
    (finding,) = verify(store)[0]
    assert finding.where == path and finding.problem.startswith("1 bursts")


def test_a_journal_in_the_wrong_folder(store):
    path = journal(store)
    (other,) = {one.parent for one in store.glob("*/*.jsonl")} - {path.parent}
    moved = other / path.name
    shutil.move(path, moved)
    (finding,) = verify(store)[0]
    assert finding.where == moved and f"belongs to the identity {path.parent.name}" in finding.problem
    assert str(path.parent) in finding.remedy
    found = {one.folder.name: one for one in holdings(store)}
    assert found[path.parent.name].sessions == 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"type":"check"', '"type":"hot"', "records of unknown type 'hot'"),
        ('"median_ns":', '"median_ns":-', "that are not bursts"),
        ('"median_ns":', '"middle_ns":', "that are not bursts"),
        ('"type":"session"', '"type":"sitting"', "does not begin with a session"),
        ('"format":1', '"format":2', "has format 2, this program reads 1"),
        ('"epoch":1,"python"', '"epoch":1,"python"', ""),
        (f'"protocol":{PROTOCOL},"epoch":1', f'"protocol":{PROTOCOL},"epoch":2', "belongs to the identity"),
        ('"type":"run"', '"type":"check"', "of processes that the session did not start"),
        ('"purpose":"sweep","slot":1,"reference"', '"purpose":"sweep","slot":0,"reference"', "of another process"),
    ],
)  # fmt: skip
def test_records_that_are_not_as_hakd_wrote_them(store, old, new, problem):
    path = journal(store)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    damage = [finding.problem for finding in verify(store)[0] if not finding.note]
    assert bool(damage) == bool(problem) and any(problem in one for one in damage) == bool(problem)


def test_a_store_that_is_not_there(tmp_path, capsys):
    for what in ("ls", "verify"):
        assert main(["store", what, "--store", str(tmp_path / "no")]) == FINDING
        assert re.search(r"no: --store: no such store\. Give --store", capsys.readouterr().err)


def test_what_was_measured_anew_leaves_a_sound_store(store):
    first = Device("vdev", "virtual", cost_model={**MODEL, "faults": {"crash_every": 2}})
    with open_board(first, store) as board:
        old = board.measure(POINTS, QUICK, reference_point=POINTS[0], progress=False)
        assert board.timed == 0
    with open_board(first, store, again=True) as board:
        new = board.measure(POINTS, QUICK, reference_point=POINTS[0], progress=False)
        timed = board.timed
        assert timed > 0 and board.measure(POINTS, QUICK, reference_point=POINTS[0], progress=False) == new
        assert board.timed == timed  # once in a session
    with open_board(first, store) as board:
        assert (
            board.measure(POINTS, QUICK, reference_point=POINTS[0], progress=False) == new
            and board.timed == 0
        )
    for point in POINTS[1:]:  # the first one is the reference, too
        places = [[(burst.process, burst.round) for burst in found[point.key]] for found in (old, new)]
        assert len(places[0]) == len(places[1]) and not set(places[0]) & set(places[1])
    assert not {b.process for b in old[POINTS[0].key]} & {b.process for b in new[POINTS[0].key]}
    kinds = [json.loads(line)["type"] for path in store.glob("*/*.jsonl") for line in lines(path)]
    assert kinds.count("forget") == len(POINTS)
    assert [finding.text() for finding in verify(store)[0] if not finding.note] == []
    assert main(["store", "verify", "--store", str(store)]) == FINE


def test_forget_leaves_out_what_a_device_measured_for_a_purpose(store, capsys):
    first = Device("vdev", "virtual", cost_model={**MODEL, "faults": {"crash_every": 2}})
    with open_board(first, store) as board:
        old = board.measure(POINTS, QUICK, reference_point=POINTS[0], progress=False)
        other = board.measure(POINTS[:1], QUICK, purpose="verify:x", progress=False)
    assert main(["store", "forget", "--store", str(store), "--device", "vdev", "--purpose", "sweep"]) == FINE
    assert "bursts of 3 points left out, to be measured again" in capsys.readouterr().out
    assert main(["store", "verify", "--store", str(store)]) == FINE
    with open_board(first, store) as board:
        new = board.measure(POINTS, QUICK, reference_point=POINTS[0], progress=False)
        assert board.timed > 0
        timed = board.timed
        assert board.measure(POINTS[:1], QUICK, purpose="verify:x", progress=False) == other
        assert board.timed == timed
    for point in POINTS:
        assert not {b.process for b in old[point.key]} & {b.process for b in new[point.key]}
    assert main(["store", "verify", "--store", str(store)]) == FINE
    capsys.readouterr()
    assert main(["store", "forget", "--store", str(store), "--device", "no", "--purpose", "sweep"]) == FINDING
    assert "nothing was measured on 'no' for 'sweep'" in capsys.readouterr().err
    assert main(["store", "forget", "--store", str(store), "--device", "vdev"]) == FINDING
    assert "--device, --purpose: missing. Give both" in capsys.readouterr().err
