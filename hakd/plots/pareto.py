"""Accuracy against measured latency and against size: a page per network and device, every candidate numbered.

The page's lower part is the key: what each number is, with its figures. Where the key is too long for the
page it gets its own page.
"""

import math
import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hakd.analysis.series import series_name, several_budgets
from hakd.analysis.summary import aggregate, pareto_front
from hakd.plots import style
from hakd.plots.axes import accuracy_axis, at_the_edge, cost_axis
from hakd.plots.key import KEY_PITCH, KEY_ROWS, KEY_ROWS_FULL_PAGE, draw_key
from hakd.plots.labels import Box, place
from hakd.plots.legends import methods_legend, pareto_legend
from hakd.records.errors import HakdError

_MARKER = 7.0  # points
_LABEL = 7.5
_NAMED = 14  # up to this number of candidates on a page are labelled by name as well
_SERIES = ["method", "budget", "recipe", "loss", "target_device"]


@dataclass(frozen=True)
class _Panel:
    """One plot of a page: what is on its horizontal axis."""

    column: str
    low: str | None
    high: str | None
    factor: float
    label: str


_LATENCY = _Panel(
    "latency_ms", "latency_low_ms", "latency_high_ms", 1.0, "measured latency of one image (ms)"
)
_SIZE = _Panel("size_bytes", None, None, 1e-3, "size of the file (kB, 1 kB = 1000 bytes)")


def pareto_figure(frame: pd.DataFrame, path: str | os.PathLike, missing: Sequence[str] = ()) -> list[str]:
    """Write the Pareto plots of a summary as PDF, one page (or more, if its key is long) per network and device.

    Left: test accuracy against measured latency, right: against the size of the file. Seeds are averaged
    (`aggregate`). Error bars: 95 % Student-t interval over seeds for accuracy (the range of two seeds,
    nothing for one), 95 % interval over processes for latency. The step line is the Pareto front of the
    averages.

    Args:
        frame: a `summary` table, a row per candidate and device.
        path: the PDF to write.
        missing: devices without results, named at the top of every page.

    Returns:
        The titles of the pages.

    Raises:
        HakdError: a column missing, no rows.
    """
    averages = aggregate(frame)
    for name in ("size_bytes", "macs"):
        if name not in averages.columns:
            raise HakdError("column missing", where="Pareto plot", key=name)
    titles: list[str] = []
    pages: list[Callable[[], Figure]] = []
    for (network, device, data), group in averages.groupby(["network", "device", "data"], sort=True):
        title = f"{network} on {data}, timed on {device}"
        page = numbered(group)
        footer = _footer(frame[(frame["network"] == network) & (frame["device"] == device)])
        short = len(page) <= KEY_ROWS
        pages.append(partial(_plots, page, title, footer, missing))
        titles.append(title)
        for start in range(0, 0 if short else len(page), KEY_ROWS_FULL_PAGE):
            rows = page.iloc[start : start + KEY_ROWS_FULL_PAGE]
            pages.append(partial(_key_page, rows, title))
            titles.append(f"{title}: key")
    style.save_pages(path, pages, "Accuracy against latency and size")
    return titles


def numbered(group: pd.DataFrame) -> pd.DataFrame:
    """Candidates in the order of the key, with their numbers and their fronts; budgets where there are several."""
    group = group.reset_index(drop=True)
    group["budget"] = several_budgets(group)
    group["number"] = np.arange(1, len(group) + 1)
    group["on_latency_front"] = pareto_front(group, "latency_ms", "accuracy")
    group["on_size_front"] = pareto_front(group, "size_bytes", "accuracy")
    # Two seeds make a t interval of 6.4 times their distance: their range says more.
    few = group["seeds"] < 3
    group["bar_low"] = group["accuracy_low"].where(~few, group["accuracy_min"]).clip(0, 1)
    group["bar_high"] = group["accuracy_high"].where(~few, group["accuracy_max"]).clip(0, 1)
    return group


def _plots(page: pd.DataFrame, title: str, footer: str, missing: Sequence[str]) -> Figure:
    figure = style.page()
    style.heading(figure, title, _subtitle(page))
    if missing:
        named = textwrap.shorten(", ".join(missing), 60, placeholder=" ...")
        figure.text(0.985, 0.965, f"no results from: {named}", fontsize=8, va="top", ha="right")
    short = len(page) <= KEY_ROWS
    rows = math.ceil(len(page) / 2) if short else 0
    key_top = 0.055 + KEY_PITCH * (rows + 1.15)
    bottom = key_top + 0.108 if short else 0.15
    height = 0.865 - bottom
    left = figure.add_axes((0.062, bottom, 0.423, height))
    right = figure.add_axes((0.562, bottom, 0.423, height))
    _draw(left, page, _LATENCY)
    _draw(right, page, _SIZE)
    pareto_legend(figure, page, bottom - 0.076)
    if short:
        draw_key(figure, page, top=key_top)
    else:
        methods_legend(figure, page)
    figure.text(0.985, 0.012, footer, fontsize=6, color=style.GREY, ha="right", va="bottom")
    return figure


def _key_page(rows: pd.DataFrame, title: str) -> Figure:
    figure = style.page()
    style.heading(figure, f"{title}: key", _subtitle(rows))
    draw_key(figure, rows, top=0.86)
    return figure


def _draw(axes: Axes, page: pd.DataFrame, panel: _Panel) -> None:
    """Points, bars, front, series lines and numbers of one panel."""
    x = page[panel.column].to_numpy(dtype=float) * panel.factor
    y = page["accuracy"].to_numpy(dtype=float) * 100
    floor = accuracy_axis(axes, page)
    spans = [x] + [
        page[name].to_numpy(dtype=float) * panel.factor for name in (panel.low, panel.high) if name
    ]
    cost_axis(axes, np.concatenate(spans), panel.label)
    axes.set_ylabel("test accuracy (%)")
    style.grid(axes)
    below, shown = at_the_edge(axes, x, y, floor)
    _series_lines(axes, page, x, y, below)
    boxes = _front_line(axes, x, y, pareto_front(page, panel.column, "accuracy"))
    boxes += _teacher_line(axes, page)
    boxes += _bars(axes, page, panel, x, shown, below)
    for i, row in enumerate(page.itertuples()):
        size = _MARKER * _nested(axes, x, shown, i)
        axes.plot(
            [x[i]],
            [shown[i]],
            **style.marker(row.method, style.kind_of(row.recipe, row.loss), size),
            zorder=5,
            clip_on=False,
        )
    texts = [_label(row, row.accuracy * 100 < floor, len(page)) for row in page.itertuples()]
    colours = [style.text_colour(method) for method in page["method"]]
    _numbers(axes, np.column_stack([x, shown]), texts, colours, boxes)


def _label(row: Any, below: bool, candidates: int) -> str:
    """The number, with the name where few candidates leave room for it, and with the value at the lower edge."""
    text = str(row.number)
    if candidates <= _NAMED:
        text += f" {series_name(row.method, row.target_device, row.budget)}" + (
            "" if row.method == "teacher" else f" {style.plain(row.level)}"
        )
    return f"{text} ({row.accuracy * 100:.1f} %)" if below else text


def _nested(axes: Axes, x: np.ndarray, y: np.ndarray, i: int) -> float:
    """How much smaller a marker is drawn than the earlier ones that it would hide."""
    at = axes.transData.transform(np.column_stack([x[: i + 1], y[: i + 1]]))
    hidden = np.linalg.norm(at[:-1] - at[-1], axis=1) < 0.3 * _MARKER * axes.figure.dpi / 72
    return 0.66 ** int(min(hidden.sum(), 3))


def _bars(
    axes: Axes, page: pd.DataFrame, panel: _Panel, x: np.ndarray, y: np.ndarray, below: np.ndarray
) -> list[Box]:
    """Error bars both ways; returns the boxes, in pixels, that labels must not cover."""
    boxes = []
    clip = axes.get_window_extent()
    half = _MARKER / 2 * axes.figure.dpi / 72

    def box(x0: float, y0: float, x1: float, y1: float, pad: float) -> None:
        (a, b), (c, d) = axes.transData.transform([(x0, y0), (x1, y1)])
        b, d = max(b, clip.y0), min(d, clip.y1)
        boxes.append((a - pad, b - pad, c + pad, d + pad))

    for i, row in enumerate(page.itertuples()):
        colour = style.look(row.method).colour
        box(x[i], y[i], x[i], y[i], half)
        low, high = row.bar_low * 100, row.bar_high * 100
        if math.isfinite(low) and high > low and not below[i]:
            axes.plot([x[i], x[i]], [low, high], color=colour, lw=0.8, alpha=0.8, zorder=3)
            box(x[i], low, x[i], high, 0.8)
        if panel.low is not None and panel.high is not None:
            low, high = getattr(row, panel.low) * panel.factor, getattr(row, panel.high) * panel.factor
            if math.isfinite(low) and high > low:
                axes.plot([low, high], [y[i], y[i]], color=colour, lw=0.8, alpha=0.8, zorder=3)
                box(low, y[i], high, y[i], 0.8)
    return boxes


def _series_lines(axes: Axes, page: pd.DataFrame, x: np.ndarray, y: np.ndarray, below: np.ndarray) -> None:
    """Faint lines through the levels of one method, recipe and loss."""
    for key, group in page.groupby(_SERIES, dropna=False, sort=False):
        places = [i for i in group.sort_values("level").index if not below[i]]
        axes.plot(
            x[places],
            y[places],
            color=style.look(key[0]).colour,
            lw=0.6,
            alpha=0.4,
            ls=(0, (1, 1.5)),
            zorder=2,
        )


def _front_line(axes: Axes, x: np.ndarray, y: np.ndarray, front: np.ndarray) -> list[Box]:
    """The Pareto front: the best accuracy to be had up to each cost. Returns its boxes in pixels."""
    order = np.argsort(x[front], kind="stable")
    px, py = x[front][order], y[front][order]
    bottom, right = axes.get_ylim()[0], axes.get_xlim()[1]
    px, py = np.concatenate([px[:1], px, [right]]), np.concatenate([[bottom], py, py[-1:]])
    axes.plot(px, py, drawstyle="steps-post", color=style.INK, lw=1.5, alpha=0.55, zorder=1.5)
    at = axes.transData.transform(np.column_stack([px, py]))
    boxes = []
    for (x0, y0), (x1, y1) in pairwise(at):
        boxes += [(x0, y0 - 1, x1, y0 + 1), (x1 - 1, min(y0, y1), x1 + 1, max(y0, y1))]
    return boxes


def _teacher_line(axes: Axes, page: pd.DataFrame) -> list[Box]:
    boxes = []
    frame = axes.get_window_extent()
    for accuracy in page.loc[page["method"] == "teacher", "accuracy"]:
        axes.axhline(accuracy * 100, color=style.INK, lw=0.7, ls=(0, (6, 3)), alpha=0.7, zorder=1)
        y = axes.transData.transform((axes.get_xlim()[0], accuracy * 100))[1]
        boxes.append((frame.x0, y - 0.7, frame.x1, y + 0.7))
    return boxes


def _numbers(axes: Axes, points: np.ndarray, texts: list[str], colours: list[str], boxes: list[Box]) -> None:
    """The candidates' numbers, moved apart, with a line to the point where they had to move far."""
    pixel = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    at = axes.transData.transform(points)
    sizes = [((0.6 * len(t) + 0.3) * _LABEL * pixel, 1.15 * _LABEL * pixel) for t in texts]
    bounds = (frame.x0 + 1, frame.y0 + 1, frame.x1 + 10 * pixel, frame.y1 + 6 * pixel)
    centres = place(at, sizes, boxes, bounds)
    for i, (point, pixels, centre, text) in enumerate(zip(points, at, centres, texts, strict=True)):
        # From every point to the label's edge: a line leads to its point where another is about as near.
        outside = np.maximum(np.abs(at - centre) - np.array(sizes[i]) / 2, 0)
        gap = np.linalg.norm(outside, axis=1)
        led = np.delete(gap, i).min(initial=np.inf) < 1.4 * gap[i] or gap[i] > 1.3 * sizes[i][1]
        axes.annotate(
            text,
            xy=tuple(point),
            xytext=tuple((centre - pixels) / pixel),
            textcoords="offset points",
            fontsize=_LABEL,
            color=colours[i],
            ha="center",
            va="center",
            zorder=7,
            annotation_clip=False,
            bbox={"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none", "alpha": 0.75},
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": colours[i], "shrinkA": 1, "shrinkB": 2.5}
            if led
            else None,
        )


def _subtitle(page: pd.DataFrame) -> str:
    engine, threads = page["engine"].iloc[0], int(page["threads"].iloc[0])
    least, most = int(page["seeds"].min()), int(page["seeds"].max())
    seeds = f"{most} seed{'s' if most > 1 else ''}" if least == most else f"{least} to {most} seeds"
    bars = []
    if most >= 3:
        bars.append("95 % Student-t interval over seeds")
    if (page["seeds"] == 2).any():
        bars.append("range of the seeds" + (" where there are two" if most >= 3 else ""))
    accuracy = (
        f"accuracy is the mean over {seeds}" if most > 1 else "accuracy of one seed, without error bars"
    )
    if bars:
        accuracy += f" (bars: {', '.join(bars)})"
    latency = "latency is that of the fastest calls, the lower quartile over processes"
    if page["latency_low_ms"].notna().any():
        held = ", widened to hold every seed" if most > 1 else ""
        latency += f" (bars: 95 % interval over processes{held})"
    plural = "" if threads == 1 else "s"
    return f"{engine}, {threads} thread{plural}, {seeds}; {accuracy};\n{latency}"


def _footer(frame: pd.DataFrame) -> str:
    parts = []
    for name, word in (("commit", "commit"), ("config_hash", "configuration")):
        if name in frame.columns:
            values = sorted(set(frame[name].dropna()))
            if values:
                parts.append(f"{word} {', '.join(values[:3])}{' ...' if len(values) > 3 else ''}")
    return "   ".join(parts)
