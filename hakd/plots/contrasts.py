"""Declared contrasts as a forest plot: a line per contrast, network and device, with interval and verdict."""

import os
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hakd.analysis.contrasts import APART, HEADLINES
from hakd.plots import style

_LINES = 30  # that fit on a page, headings included
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.22, 0.62, 0.85, 0.11  # of the axes, as fractions of the page
_CELLS = (
    (0.72, "difference (points)"),
    (0.83, "95 % interval"),
    (0.89, "p (Holm)"),
    (0.985, "detectable (points)"),
)
_COLOURS = {"a": "#0072B2", "b": "#D55E00"}  # who is more accurate

Line = tuple[str, Any]  # a contrast's heading with None, or network and device with their row


def contrasts_figure(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write the means over the shared latencies or sizes, with as many pages as they need.

    Args:
        table: of `hakd.analysis.contrasts.contrasts`.
        path: the PDF to write.
    """
    means = table[table["scope"].isin(HEADLINES)]
    pages: list[list[Line]] = [[]]
    for (contrast, at), rows in means.groupby(["contrast", "at"], sort=False):
        name, headed = str(contrast) + (", at equal size" if at == "size" else ""), False
        for row in rows.itertuples():
            if len(pages[-1]) + (1 if headed else 2) > _LINES:
                pages.append([])
                headed = False
            pages[-1] += [] if headed else [(name, None)]
            place = f"{row.network} on {row.device}" + (" *" if row.scope == "within" else "")
            pages[-1].append((place if row.reason != APART else "", row))
            headed = True
    limits = _limits(means)
    style.save_pages(path, [partial(_page, lines, limits) for lines in pages], "Declared contrasts")


def _limits(means: pd.DataFrame) -> tuple[float, float]:
    """Of the axis, in points; an interval far longer than the others runs off it."""
    ends = means[["low", "high", "difference"]].abs().max(axis=1).dropna().to_numpy(dtype=float) * 100
    ends = ends[ends > 0]  # two series of the same networks say nothing of what is usual
    if not len(ends):
        return -1.0, 1.0
    reach = 1.08 * max(
        min(ends.max(), 4 * float(np.median(ends))), 100 * means["difference"].abs().max(), 0.1
    )
    return -reach, reach


def _page(lines: Sequence[Line], limits: tuple[float, float]) -> Figure:
    figure = style.page()
    subtitle = (
        "Test accuracy of the first series minus the second's at equal measured latency, or at equal size where "
        "noted, mean over those that both reach; bars: 95 % interval over\nseeds and test images. Full marker: "
        "different at 5 % by Holm's procedure over the contrasts of a network and device; detectable: what one test "
        "at 5 % finds with a probability\nof 80 %. * One is faster (smaller) throughout: its slowest (largest) network "
        "against the other's fastest (smallest)"
    )
    style.heading(figure, "Declared contrasts", subtitle)
    height = (_TOP - _BOTTOM) * len(lines) / _LINES
    axes = figure.add_axes((_LEFT, _TOP - height, _RIGHT - _LEFT, height))
    style.grid(axes, "x")
    axes.axvline(0, color=style.INK, lw=0.8)
    axes.set_xlim(*limits)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(
        "\N{LEFTWARDS ARROW} second is better   difference (percentage points)   first is better \N{RIGHTWARDS ARROW}"
    )
    for x, heading in _CELLS:
        figure.text(x, _TOP + 0.008, heading, fontsize=7, color=style.GREY, ha="right")
    for i, (name, row) in enumerate(lines):
        y = _TOP - height * (i + 0.5) / len(lines)
        _text(figure, axes, y, i, name, row)
    return figure


def _text(figure: Figure, axes: Axes, y: float, i: int, name: str, row: Any) -> None:
    """One line: a heading, or a row with its interval and figures."""
    if row is None:
        figure.text(
            0.05,
            y,
            textwrap.shorten(name, 60, placeholder=" ..."),
            fontsize=8.5,
            fontweight="bold",
            va="center",
        )
        return
    figure.text(0.062, y, textwrap.shorten(name, 36, placeholder=" ..."), va="center")
    if np.isnan(row.difference):
        figure.text(_CELLS[1][0], y, row.reason, fontsize=7, color=style.GREY, va="center", ha="right")
        return
    colour = _COLOURS.get(row.verdict, style.INK)
    points = [100 * value for value in (row.difference, row.low, row.high, row.detectable)]
    if not np.isnan(points[1]):
        axes.plot(points[1:3], [i, i], color=colour, lw=1.4, solid_capstyle="butt")
    face = colour if row.verdict in _COLOURS else "white"
    axes.plot(points[:1], [i], "o", ms=5.5, color=colour, mfc=face, zorder=4)
    if np.isnan(points[1]):
        texts: tuple[str, ...] = (f"{points[0]:+.2f}", "no interval", "", "")
    else:
        interval = f"{points[1]:+.2f} to {points[2]:+.2f}"
        texts = (f"{points[0]:+.2f}", interval, _p(row.p_holm), f"{points[3]:.2f}")
    for (x, _), text in zip(_CELLS, texts, strict=True):
        figure.text(x, y, text, fontsize=7.5, va="center", ha="right", color=colour)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
