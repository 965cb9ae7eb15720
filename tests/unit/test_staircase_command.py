"""`hakd staircase`: what of a table is drawn, that steps are marked, and to which files."""

import re

import matplotlib.image
import numpy as np
import pandas as pd
import pypdfium2
import pytest

from hakd.cli import FINDING, FINE, main
from hakd.latency_tables.files import read_latency, write_latency_json
from hakd.plots.steps import mark_steps, step_handles
from hakd.plots.style import page, styled
from hakd.records.tables import read_table, write_table
from tests.unit.shapes import comb, flat, slope, staircase
from tests.unit.table_rows import rows

ABOUT = {
    "device": "pi4",
    "engine": "onnxruntime",
    "engine_version": "1.31.1",
    "context": {"threads": 4, "cpu_model": "Cortex-A72"},
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of four curves at two levels, with a tile."""
    monkeypatch.chdir(tmp_path)
    curves = {"a": staircase(16), "b": comb(4), "c": slope(0.02, 1.0), "d": flat()}
    found = [row for group, cost in curves.items() for row in rows(group, cost, 64)]
    found += [{**row, "level": 0.5} for row in found if row["group"] == "a"]
    found.append({**found[0], "kind": "tile", "group": "tile1", "width": None})
    frame = pd.DataFrame(found)
    write_table("t.parquet", "latency", frame, ABOUT)
    return frame


def texts(path) -> list[str]:
    document = pypdfium2.PdfDocument(path)
    found = [re.sub(r"\s+", " ", one.get_textpage().get_text_range()) for one in document]
    document.close()
    return found


def test_a_page_per_level_with_steps_neighbours_and_kinds(table, tmp_path, capsys):
    assert main(["staircase", "t.parquet"]) == FINE
    half, full = texts(tmp_path / "t.pdf")
    assert "mobilenet, level 0.5 on pi4" in half and "mobilenet, level 1 on pi4" in full
    assert "onnxruntime 1.31.1, 4 threads, Cortex-A72" in full
    assert "stem 8" in full and "comb of 4" in full and "slope without steps" in full and "flat" in full
    assert "16→17 +29%" in half and "48→49 +18%" in half and "step: wider is slower" in half
    assert "cliff" in full and "cliff" not in half
    assert capsys.readouterr().out.splitlines()[-1] == "Written: t.pdf"


def test_groups_level_and_pictures(table, tmp_path):
    assert main(["staircase", "t.parquet", "--group", "a", "d", "--level", "1", "--out", "one.pdf"]) == FINE
    (text,) = texts(tmp_path / "one.pdf")
    assert "comb" not in text and "flat" in text
    assert main(["staircase", "t.parquet", "--group", "a", "--out", "p.png"]) == FINE
    first, second = (matplotlib.image.imread(tmp_path / name) for name in ("p.png", "p-2.png"))
    assert first.shape == second.shape and min(first.shape[:2]) > 1000 and not np.array_equal(first, second)


def test_csv_and_json_are_drawn_too(table, tmp_path):
    frame, about = read_table("t.parquet", "latency")
    write_table("rows.csv", "latency", frame)
    write_latency_json("all.json", frame, about)
    for name, head in (("rows.csv", "on rows"), ("all.json", "on pi4")):
        assert main(["staircase", name, "--level", "0.5", "--out", f"{name}.pdf"]) == FINE
        assert head in texts(tmp_path / f"{name}.pdf")[0]
    again, told = read_latency("all.json")
    pd.testing.assert_frame_equal(again, frame)
    assert told["context"] == ABOUT["context"]


def test_an_open_change_is_told_from_an_exact_one(table):
    frame = table[(table["group"] == "a") & (table["level"] == 1)]
    with styled():
        axes = page().add_subplot()
        axes.set_xlim(0, 65)
        assert mark_steps(axes, frame, 1e3, 1) == {"rise"}
        ends = [tuple(line.get_xdata()) for line in axes.lines]
        assert sorted(ends) == [(16, 17), (32, 33), (48, 49)]
        coarse = frame[frame["width"].isin([1, 16, 32, 48, 64])]
        drawn = mark_steps(axes, coarse, 1e3, 1)
    assert drawn == {"rise", "open"}
    assert [handle.get_label() for handle in step_handles(drawn)] == [
        "step: wider is slower",
        "step somewhere in between",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.parquet"], r"nowhere\.parquet: no such file\. Make one with `hakd sweep`"),
        (["t.parquet", "--group", "e"], r"--group: no such group: 'e'\. Known: a, b, c, d, tile1"),
        (["t.parquet", "--group", "tile1"], r"no curves, only tiles"),
        (["t.parquet", "--level", "0.3"], r"--level: no such level: 0\.3\. Known: 0\.5, 1"),
        (["t.parquet", "--out", "x.svg"], r"x\.svg: --out: a picture cannot be \.svg\. Use \.pdf or \.png"),
        (["t.xlsx"], r"not a latency table by its suffix \(\.xlsx\)"),
        (["bad.json"], r"bad\.json: rows: no rows with a description"),
    ],
)
def test_mistakes_are_one_line(table, tmp_path, capsys, words, message):
    (tmp_path / "bad.json").write_text('{"kind": "latency", "format": 1}')
    before = set(tmp_path.iterdir())
    assert main(["staircase", *words]) == FINDING
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1
    assert set(tmp_path.iterdir()) == before
