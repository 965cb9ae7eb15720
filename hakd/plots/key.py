"""The key of a Pareto page: a small table that says what each number is, with its figures."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hakd.analysis.series import series_name
from hakd.plots import style
from hakd.study.candidates import COMPRESSIONS

KEY_ROWS = 32  # candidates that fit under the plots, in two columns
KEY_ROWS_FULL_PAGE = 84
_FONT = 7.0
_PITCH = 0.147  # inches between rows
KEY_PITCH = _PITCH / style.A4_LANDSCAPE[1]  # the same as a fraction of the page's height
_LEFT, _COLUMN = 0.55, 5.5  # inches: left edge of the first column, distance of the columns
_LETTERS = {"method": 18, "recipe": 12}  # that fit in the places of the longest texts

# Heading, distance from the column's left edge in inches, alignment.
_CELLS = (
    ("no.", 0.14, "right"),
    ("method", 0.40, "left"),
    ("level", 1.68, "right"),
    ("recipe", 1.78, "left"),
    ("loss", 2.47, "left"),
    ("accuracy (%)", 3.86, "right"),
    ("latency (ms)", 4.54, "right"),
    ("size (kB)", 5.02, "right"),
    ("front", 5.10, "left"),
)


def draw_key(figure: Figure, page: pd.DataFrame, top: float) -> None:
    """Draw the key's two columns under `top` (fraction of the page's height)."""
    width, height = figure.get_size_inches()
    half = math.ceil(len(page) / 2)
    for column in range(2 if len(page) > 1 else 1):
        left = _LEFT + column * _COLUMN
        for heading, x, align in _CELLS:
            figure.text(
                (left + x) / width, top, heading, fontsize=_FONT, color=style.GREY, ha=align, va="center"
            )
        line = top - 0.55 * _PITCH / height
        figure.add_artist(
            Line2D([(left - 0.12) / width, (left + 5.3) / width], [line, line], color=style.PALE, lw=0.6)
        )
        for i, row in enumerate(page.iloc[column * half : (column + 1) * half].itertuples()):
            _row(figure, row, left, top * height - (i + 1.1) * _PITCH)
    _footnote(figure, page, top - (half + 1.15) * _PITCH / height)


def _row(figure: Figure, row: Any, left: float, y: float) -> None:
    """One candidate: number, marker, what it is, its figures."""
    width, height = figure.get_size_inches()
    for text, (heading, x, align) in zip(cells(row), _CELLS, strict=True):
        # "METHOD for DEVICE", "fleet NAME" and compressed students can be longer than their place.
        font = min(_FONT, _FONT * _LETTERS.get(heading, len(text)) / max(len(text), 1))
        figure.text((left + x) / width, y / height, text, fontsize=font, ha=align, va="center_baseline")
    x = (left + 0.26) / width
    figure.add_artist(
        Line2D([x], [y / height], **style.marker(row.method, style.kind_of(row.recipe, row.loss), 6.0))
    )


def cells(row: Any) -> tuple[str, ...]:
    """The texts of one candidate's row, in the order of the headings."""
    method = series_name(row.method, row.target_device, row.budget)
    if row.method != "fleet" and isinstance(row.target_device, str) and row.target_device != row.device:
        method += f" for {row.target_device}"
    mark = "" if row.trusted else "*"
    fronts = ["L"] * bool(row.on_latency_front) + ["S"] * bool(row.on_size_front)
    return (
        str(row.number),
        method,
        style.plain(row.level),
        row.recipe,
        row.loss,
        _accuracy(row),
        style.plain(row.latency_ms, zeros=True) + mark,
        style.plain(row.size_bytes / 1000, zeros=True),
        " ".join(fronts),
    )


def _accuracy(row: Any) -> str:
    """Mean with half the interval (three seeds or more), or with the range of two seeds."""
    mean = f"{row.accuracy * 100:.1f}"
    if row.seeds >= 3:
        return f"{mean} ± {(row.accuracy_high - row.accuracy) * 100:.1f}"
    if row.seeds == 2:
        return f"{mean} ({row.accuracy_min * 100:.1f}\N{EN DASH}{row.accuracy_max * 100:.1f})"
    return mean


def _footnote(figure: Figure, page: pd.DataFrame, y: float) -> None:
    text = "level: fraction of multiply-accumulates left"
    compressed = [method for method in COMPRESSIONS if (page["method"] == method).any()]
    if compressed:
        text += f" ({', '.join(compressed)}: of weights)"
    text += "; front: L = on the Pareto front of latency, S = of size"
    if not np.all(page["trusted"]):
        text += "; * latency not known to within half of min_step"
    figure.text(_LEFT / figure.get_size_inches()[0] - 0.01, y, text, fontsize=6.5, color=style.GREY, va="top")
