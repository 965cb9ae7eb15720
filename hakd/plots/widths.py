"""The widths that each method chose: a table coloured by how much of the full width is left."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hakd.analysis.series import on_their_devices, series_name, several_budgets
from hakd.plots import style
from hakd.records.arch import Architecture
from hakd.records.columns import METHODS

_LINES = 34  # networks that fit on a page
_LEFT, _RIGHT, _TOP, _PITCH = 0.17, 0.88, 0.83, 0.0215  # of the table, as fractions of the page
_PALE, _FULL = (1.0, 1.0, 1.0), (0.34, 0.63, 0.83)  # colours of no width and of the full one

Row = tuple[float, str, Architecture, str]  # level, name, network, its cost in words


def widths_figure(
    frame: pd.DataFrame,
    networks: Mapping[str, Architecture],
    full: Mapping[str, Mapping[str, int]],
    path: str | os.PathLike,
) -> None:
    """Write a page (or more, where there are many networks) per network and device.

    Args:
        frame: a `summary` table of networks whose widths were chosen. Of several search seeds the smallest is shown.
        networks: by arch.
        full: widths of the unpruned network, by the network's name, in the order of its layers.
        path: the PDF to write.
    """
    frame = on_their_devices(frame)
    frame = frame[frame["search_seed"].isna() | (frame["search_seed"] == frame["search_seed"].min())]
    frame = frame.assign(budget=several_budgets(frame))
    pages: list[Any] = []
    for (network, device), part in frame.groupby(["network", "device"], sort=True):
        rows = _rows(part, networks)
        title = f"Widths of {network}, chosen for {device}"
        for start in range(0, len(rows), _LINES):
            pages.append(partial(_page, title, rows[start : start + _LINES], full[str(network)]))
    style.save_pages(path, pages or [_empty], "Widths")


def _empty() -> Figure:
    figure = style.page()
    style.heading(figure, "Widths", "No method of this study chooses widths")
    return figure


def _rows(part: pd.DataFrame, networks: Mapping[str, Architecture]) -> list[Row]:
    """Each choice once, wide levels first, methods in the order of the tables."""
    order = {method: place for place, method in enumerate(METHODS)}
    chosen = part.drop_duplicates(["level", "method", "budget", "arch"])
    rows = [
        (order.get(row.method.split()[0], len(order)), row.level, row, networks[row.arch])
        for row in chosen.itertuples()
    ]
    rows.sort(key=lambda one: (-one[1], one[0], str(one[2].budget)))
    return [
        (
            level,
            series_name(row.method, None, row.budget),
            one,
            f"{row.latency_ms:.3f} ms, {row.macs / 1e6:.2f} M",
        )
        for _, level, row, one in rows
    ]


def _page(title: str, rows: Sequence[Row], full: Mapping[str, int]) -> Figure:
    figure = style.page()
    subtitle = (
        "Channels of each width group, from input to output; the darker, the more of the full width (top row) is left. "
        "Bold: a multiple of 8.\nRight: measured latency, and millions of multiply-accumulates"
    )
    style.heading(figure, title, subtitle)
    across = (_RIGHT - _LEFT) / len(full)
    size = min(7.0, 320 * across)
    for i, group in enumerate(full):
        x = _LEFT + (i + 0.5) * across
        figure.text(x, _TOP + 0.008, group, fontsize=min(6.5, size), rotation=40, color=style.GREY, ha="left")
    lines: list[tuple[float | None, str, Mapping[str, int], str]] = [(None, "full network", full, "")]
    lines += [(level, name, network.widths, cost) for level, name, network, cost in rows]
    last: float | None = None
    for i, (level, name, widths, cost) in enumerate(lines):
        y = _TOP - (i + 1) * _PITCH
        middle = y + 0.45 * _PITCH
        if level != last:
            figure.text(0.05, middle, f"{level:g}", fontsize=8, fontweight="bold", va="center")
            last = level
        colour = style.INK if level is None else style.text_colour(name.split("@")[0].split()[0])
        figure.text(_LEFT - 0.008, middle, name, fontsize=7, va="center", ha="right", color=colour)
        for j, (group, most) in enumerate(full.items()):
            share = widths[group] / most
            face = tuple(a + (b - a) * share for a, b in zip(_PALE, _FULL, strict=True))
            at = (_LEFT + j * across, y)
            figure.add_artist(Rectangle(at, 0.97 * across, 0.92 * _PITCH, facecolor=face, edgecolor="none"))
            weight = "bold" if widths[group] % 8 == 0 else "normal"
            text: dict[str, Any] = {"fontsize": size, "fontweight": weight, "va": "center", "ha": "center"}
            figure.text(at[0] + across / 2, middle, str(widths[group]), **text)
        figure.text(_RIGHT + 0.005, middle, cost, fontsize=6.5, va="center")
    return figure
