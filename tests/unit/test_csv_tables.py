"""Tables that went through a spreadsheet: what it did without loss is read, what it damaged is named in one line."""

import csv
import random
import re
from pathlib import Path

import pandas as pd
import pytest

from hakd.cli import FINDING, FINE, main
from hakd.latency_tables.files import read_latency
from hakd.records.errors import HakdError
from hakd.records.tables import check_table, read_table, write_table
from tests.unit.table_rows import HAZARD_ROW, LATENCY_ROW, SUMMARY_ROW

ROWS = [
    {
        **LATENCY_ROW,
        "shape": "123456789012",
    },  # digits alone, and digits with an e: as likely as any other hash
    {**LATENCY_ROW, "shape": "12e4500000000000", "group": "pw2", "trusted": False, "reason": 'a, "b" and ½'},
    {
        **LATENCY_ROW,
        "shape": "0012345678901234",
        "group": "pw3",
        "level": None,
        "kind": "tile",
        "width": None,
    },
]


@pytest.fixture
def cells(tmp_path, monkeypatch) -> list[list[str]]:
    """The cells of a latency table that hakd wrote as CSV; the working directory is empty but for it."""
    monkeypatch.chdir(tmp_path)
    write_table("good.csv", "latency", pd.DataFrame(ROWS))
    with open("good.csv", newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def save(rows: list[list[str]], name: str = "t.csv", start: str = "", **options: str) -> str:
    """Write cells as a spreadsheet does."""
    with open(name, "w", newline="", encoding="utf-8") as stream:
        stream.write(start)
        csv.writer(stream, **options).writerows(rows)
    return name


def changed(rows: list[list[str]], column: str, value: str) -> list[list[str]]:
    """The cells with one of them changed, in the second row."""
    made = [list(row) for row in rows]
    made[2][rows[0].index(column)] = value
    return made


def as_wanted(path: str) -> None:
    """The file holds the table of `ROWS`, also for `hakd import-table`."""
    frame, _ = read_latency(path)
    pd.testing.assert_frame_equal(frame, check_table("latency", pd.DataFrame(ROWS)))
    assert main(["import-table", path, "--unchecked", "--out", "taken.parquet"]) == FINE
    pd.testing.assert_frame_equal(read_table("taken.parquet", "latency")[0], frame)


def test_hashes_of_digits_are_read_back_as_text(cells):
    as_wanted("good.csv")
    assert [row[cells[0].index("shape")] for row in cells[1:]] == [row["shape"] for row in ROWS]


@pytest.mark.parametrize("words", [("TRUE", "FALSE"), ("true", "false")])
def test_logical_values_are_read_in_any_case(cells, words):
    spelled = dict(zip(("True", "False"), words, strict=True))
    as_wanted(save([[spelled.get(cell, cell) for cell in row] for row in cells]))


def test_a_byte_order_mark_and_another_case_of_the_suffix(cells):
    as_wanted(save(cells, "T.CSV", start="\ufeff"))


@pytest.mark.parametrize("place", [1, 2, 4])
def test_empty_rows_and_columns_are_left_out(cells, place):
    width = len(cells[0])
    as_wanted(save([*cells[:place], [""] * width, [], *cells[place:], [""] * width]))
    Path("taken.parquet").unlink()
    as_wanted(save([[*row, "", ""] for row in cells]))


def refused(path: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the file and the problem; nothing is written."""
    assert main(["import-table", path, "--unchecked", "--out", "taken.parquet"]) == FINDING
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}: {problem}") and said.count("\n") == 1
    assert "Parquet or JSON file" in said
    assert not Path("taken.parquet").exists()


@pytest.mark.parametrize(("mark", "words"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_another_separator_and_decimal_commas_are_named(cells, mark, words, capsys):
    refused(save(cells, delimiter=mark), f"cells are separated by {words}. Save it", capsys)
    refused(save(cells, start=f"sep={mark}\n", delimiter=mark), f"cells are separated by {words}", capsys)
    commas = [[re.sub(r"^(\d+)\.(\d+)$", r"\1,\2", cell) for cell in row] for row in cells]
    problem = f"cells are separated by {words} and numbers have a decimal comma. Save it"
    refused(save(commas, delimiter=mark), problem, capsys)
    refused(save(commas), "level: not float: row 0 holds '0,5', with a decimal comma. Save it", capsys)


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        (
            "shape",
            "1.23457E+15",
            "shape: row 1 holds '1.23457E+15': a spreadsheet has turned a hash into a number. ",
        ),
        ("shape", "1,20E+46", "shape: row 1 holds '1,20E+46': a spreadsheet"),
        ("shape", "1E+15", "shape: row 1 holds '1E+15': a spreadsheet"),
        ("trusted", "WAHR", "trusted: not bool: row 1 holds 'WAHR'. "),
        ("bursts", "1.5E+03", "bursts: not int: row 1 holds '1.5E+03'. "),
        ("latency_ms", "#NAME?", "latency_ms: not float: row 1 holds '#NAME?'. "),
    ],
)
def test_a_damaged_cell_is_named(cells, column, value, problem, capsys):
    refused(save(changed(cells, column, value)), problem, capsys)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda text: text.encode("cp1252"), "not a CSV table ('utf-8' codec can't decode"),
        (lambda text: text.encode("utf-16"), "not a CSV table ('utf-8' codec can't decode"),
        (lambda text: text[: text.index("½")].encode(), "not a CSV table (unexpected end of data)"),
        (lambda text: b"\n,,\n", "not a CSV table (it is empty)"),
        (lambda text: text.replace("pw2", "pw2,0").encode(), "row 1 has 20 cells, the head has 19. "),
    ],
)
def test_a_file_that_cannot_be_taken_apart_is_named(cells, content, problem, capsys):
    Path("t.csv").write_bytes(content(Path("good.csv").read_text(encoding="utf-8")))
    refused("t.csv", problem, capsys)


def test_damaged_hashes_are_refused_in_every_table(tmp_path):
    for kind, row, column in (("summary", SUMMARY_ROW, "arch"), ("summary", SUMMARY_ROW, "config_hash")):
        with pytest.raises(HakdError, match=f"{column}: row 0 holds '1.2E\\+11': a spreadsheet"):
            write_table(tmp_path / "t.parquet", kind, pd.DataFrame([{**row, column: "1.2E+11"}]))
    nothing = pd.DataFrame([{**SUMMARY_ROW, "config_hash": None}])
    assert check_table("summary", nothing)["config_hash"].isna().all()
    assert (
        len(check_table("hazards", pd.DataFrame([{**HAZARD_ROW, "group": "1.2E+11"}]))) == 1
    )  # a name is free


def test_no_hash_is_taken_for_damaged():
    rng = random.Random(0)
    shapes = [f"{rng.getrandbits(64):016x}" for _ in range(300)] + [
        "1e5",
        "12e45",
        "0000",
        "9" * 16,
        f"1{'e' * 15}",
    ]
    rows = [{**LATENCY_ROW, "group": f"pw{i}", "shape": shape} for i, shape in enumerate(shapes)]
    assert check_table("latency", pd.DataFrame(rows))["shape"].tolist() == shapes
