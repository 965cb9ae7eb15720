"""CSV tables, cell by cell, also when a spreadsheet program has written them again."""

import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from hakd.records.columns import Column
from hakd.records.errors import HakdError, make_again

SAVE = (
    "Save it as CSV in UTF-8, with commas between cells and decimal points, or use the Parquet or JSON file"
)
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


def read_csv(path: str | os.PathLike, columns: Sequence[Column]) -> pd.DataFrame:
    """Rows of a CSV file, each cell in the type of its column, None for an empty one.

    Every cell is read as text: guesses would turn `007` into a number and `NA` into null. What spreadsheets add without
    loss is accepted: a byte-order mark, TRUE and FALSE, empty rows, empty columns at the right.

    Raises:
        HakdError: text in another encoding, another separator, rows of another length, a cell that is not of the
            column's type.
    """
    head, *rows = _cells(path)
    frame = pd.DataFrame(rows, columns=head, dtype=object)
    if frame.columns.is_unique:  # or else the check of the columns refuses it
        for column in columns:
            if column.name in frame.columns:
                frame[column.name] = _converted(frame[column.name], column, path)
    return frame


def _cells(path: str | os.PathLike) -> list[list[str | None]]:
    """Head and rows, all as long as the head."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        _refuse_separator(text, path)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise HakdError(f"not a CSV table ({error})", where=path, remedy=make_again(path, SAVE)) from None
    if not rows:
        raise HakdError("not a CSV table (it is empty)", where=path, remedy=make_again(path, SAVE))
    width = max(i + 1 for i, cell in enumerate(rows[0]) if cell)
    for number, row in enumerate(rows):
        if any(row[width:]):
            problem = f"row {number - 1} has {len(row)} cells, the head has {width}"
            raise HakdError(problem, where=path, remedy=make_again(path, SAVE))
    return [[cell or None for cell in (row + [""] * width)[:width]] for row in rows]


def _refuse_separator(text: str, path: str | os.PathLike) -> None:
    """Refuse cells that are not separated by commas: a decimal comma looks like a separator."""
    head = text.lstrip().partition("\n")[0]
    for mark, words in SEPARATORS.items():
        if mark in head and "," not in head:
            comma = re.search(rf'{re.escape(mark)}"?{DECIMAL_COMMA.pattern}', text)
            problem = f"cells are separated by {words}" + (
                " and numbers have a decimal comma" if comma else ""
            )
            raise HakdError(problem, where=path, remedy=make_again(path, SAVE))


def _converted(cells: pd.Series, column: Column, path: str | os.PathLike) -> pd.Series:
    if column.type in ("text", "json", "category"):
        return cells
    kinds: dict[str, Callable[[str], object]] = {"float": float, "bool": _truth}
    convert = kinds.get(column.type, int)
    values = []
    for row, cell in enumerate(cells):
        try:
            values.append(None if cell is None else convert(cell))
        except (ValueError, KeyError):
            comma = ", with a decimal comma" if DECIMAL_COMMA.fullmatch(cell.strip()) else ""
            problem = f"not {column.type}: row {row} holds {cell!r}{comma}"
            raise HakdError(problem, where=path, key=column.name, remedy=make_again(path, SAVE)) from None
    return pd.Series(values, dtype=object)


def _truth(cell: str) -> bool:
    return {"true": True, "false": False}[cell.strip().lower()]
