"""Latency staircases: what each width group's width costs on a device, and where the choices went.

A panel per width group and set of neighbours' widths, because a curve without its neighbours is undefined; a
page per device, network and level, continued where there are many groups.
"""

import json
import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hakd.choosing.snap import READINGS
from hakd.plots import style
from hakd.plots.legends import (
    CHOSEN,
    PRUNED,
    UNCHANGED,
    chosen_look,
    ring_marker,
    staircase_legend,
    with_series,
)
from hakd.plots.steps import mark_steps
from hakd.records.errors import HakdError
from hakd.records.text import counted
from hakd.staircase.curve_rows import curve_of

PANELS = 16  # on one page
LETTERS = {1: 200, 2: 96, 3: 62}  # of the neighbours' widths, by panels in a row
NEEDED = ("network", "level", "kind", "group", "width", "neighbour_widths", "latency_ms", "trusted")
CHOICE = (
    "network",
    "level",
    "device",
    "group",
    "method",
    "width_from",
    "width_to",
    "latency_from_ms",
    "tolerance",
)


def staircase_figure(
    tables: Mapping[str, pd.DataFrame],
    choices: Sequence[Mapping[str, Any]],
    path: str | os.PathLike,
    notes: Mapping[str, str] | None = None,
    steps: bool = False,
) -> list[str]:
    """Write the staircases as PDF: a page per device, network and level (more where there are over 16 curves).

    Shown per curve: the measured widths with their intervals, the pruned width, the width each method chose
    and, from the pruned width on, the tolerance band (its latency L(t) to (1 + eps) L(t), within which a
    wider layer counts as free). Where a choice is undecided the curve says why; curves of unknown noise are grey,
    and nothing was chosen by them.

    Args:
        tables: `latency` tables by device, several networks' tables below each other; only `block` rows are
            drawn.
        choices: `Choice.to_dict` (hakd/choosing/snap.py) plus `network` and `device`; at least the keys `CHOICE`,
            of which `width_from` is the pruned width. A choice without `neighbour_widths` belongs to all curves
            of its group and level. Budgets of one method (`budget`) have their own entries.
        path: the PDF to write; for `.png` a picture per page (`style.save_pages`).
        notes: a line by device for the page's head, e.g. engine, threads and processor.
        steps: mark where a curve changes by more than its tolerance, for pages without choices.

    Returns:
        The titles of the pages.

    Raises:
        HakdError: a column or key missing, or no `block` rows at all.
    """
    for choice in choices:
        for key in CHOICE:
            if key not in choice:
                raise HakdError("a choice lacks this key", where="staircase plot", key=key)
    choices = with_series(choices)
    titles: list[str] = []
    pages: list[Callable[[], Figure]] = []
    for device, table in tables.items():
        for name in NEEDED:
            if name not in table.columns:
                raise HakdError("column missing", where=f"latency table of {device}", key=name)
        blocks = table[table["kind"] == "block"]
        for (network, level), curves in blocks.groupby(["network", "level"], sort=True, dropna=False):
            chosen = [
                choice
                for choice in choices
                if choice["device"] == device
                and choice["network"] == network
                and _same(choice["level"], level)
            ]
            note = (notes or {}).get(device, "")
            for title, make in _pages(device, network, level, curves, chosen, note, steps):
                titles.append(title)
                pages.append(make)
    if not pages:
        raise HakdError(
            "no block was measured", where="staircase plot", remedy="Run the sweep of a device first"
        )
    style.save_pages(path, pages, "Latency staircases")
    return titles


def _same(level: float | None, other: float | None) -> bool:
    """Whether two levels are one; a sweep without a study has none."""
    return level == other or bool(pd.isna(level) and pd.isna(other))


def _pages(
    device: str,
    network: str,
    level: float,
    table: pd.DataFrame,
    choices: list[Mapping[str, Any]],
    note: str,
    steps: bool,
) -> list[tuple[str, Callable[[], Figure]]]:
    """Titles and drawers of the pages of one device, network and level."""
    curves = [
        part.sort_values("width") for _, part in table.groupby(["group", "neighbour_widths"], sort=False)
    ]
    label = "" if pd.isna(level) else f", level {style.plain(level)}"
    scale, unit = (1000.0, "µs") if table["latency_ms"].max() < 2 else (1.0, "ms")
    parts = [curves[i : i + PANELS] for i in range(0, len(curves), PANELS)]
    made: list[tuple[str, Callable[[], Figure]]] = []
    for i, part in enumerate(parts):
        more = f" ({i + 1} of {len(parts)})" if len(parts) > 1 else ""
        title = f"{network}{label} on {device}{more}"
        subtitle = _subtitle(table, curves, choices, note)
        made.append((title, partial(_page, part, choices, title, subtitle, scale, unit, steps)))
    return made


def _page(
    curves: list[pd.DataFrame],
    choices: list[Mapping[str, Any]],
    title: str,
    subtitle: str,
    scale: float,
    unit: str,
    steps: bool,
) -> Figure:
    figure = style.page()
    style.heading(figure, title, subtitle)
    columns = len(curves) if len(curves) <= 3 else min(4, math.ceil(math.sqrt(len(curves))))
    rows = math.ceil(len(curves) / columns)
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.06,
        right=0.985,
        top=0.845,
        bottom=0.115,
        hspace=0.72 if rows > 2 else 0.4,
        wspace=0.24,
    )
    drawn: dict[str, tuple[str, int]] = {}
    marks: set[str] = set()
    pruned = False
    for i, curve in enumerate(curves):
        axes = figure.add_subplot(grid[i // columns, i % columns])
        own = _own(choices, curve)
        _panel(axes, curve, own, scale, columns)
        if steps:
            marks |= mark_steps(axes, curve, scale, columns)
        if known(curve):
            drawn |= {choice["series"]: (choice["method"], choice["number"]) for choice in own}
        pruned = pruned or bool(own)
    figure.supxlabel("width of the group (channels)", fontsize=9, y=0.062)
    figure.supylabel(f"latency of the block ({unit})", fontsize=9, x=0.012)
    staircase_legend(figure, drawn, pruned, not all(known(curve) for curve in curves), marks)
    return figure


def known(curve: pd.DataFrame) -> bool:
    """Whether anything is known of a curve: its noise is known, and its widths lie on one scale."""
    found = curve_of(curve)
    return found.tolerance is not None and found.linked


def _open(choices: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the methods that use this curve which are undecided."""
    return [one for one in choices if one["method"] in READINGS and not one.get("trusted", True)]


def _own(choices: list[Mapping[str, Any]], curve: pd.DataFrame) -> list[Mapping[str, Any]]:
    """The choices made by this curve, in the order in which they are drawn."""
    group, neighbours = curve["group"].iloc[0], json.loads(curve["neighbour_widths"].iloc[0])
    own = []
    for choice in choices:
        said = choice.get("neighbour_widths")
        said = json.loads(said) if isinstance(said, str) else said
        if choice["group"] == group and (said is None or dict(said) == neighbours):
            own.append(choice)
    order = list(CHOSEN)
    return sorted(own, key=lambda c: order.index(c["method"]) if c["method"] in order else len(order))


def _panel(
    axes: Axes, curve: pd.DataFrame, choices: list[Mapping[str, Any]], scale: float, columns: int = 4
) -> None:
    """One curve with its choices, in one of `columns` panels in a row."""
    trusted, decided = known(curve), not _open(choices)
    x = curve["width"].to_numpy(dtype=float)
    y = curve["latency_ms"].to_numpy(dtype=float) * scale
    colour = style.METHOD_LOOKS["fisher"].colour if trusted else UNCHANGED
    axes.plot(x, y, color=colour, lw=0.6, alpha=0.7, zorder=2)
    axes.plot(x, y, linestyle="none", marker=".", markersize=3.6, color=colour, zorder=3)
    if {"latency_low_ms", "latency_high_ms"} <= set(curve.columns):
        low, high = (
            curve[name].to_numpy(dtype=float) * scale for name in ("latency_low_ms", "latency_high_ms")
        )
        axes.vlines(x, low, high, color=colour, lw=0.8, alpha=0.6, zorder=2.5)
    _limits(axes, curve, choices, scale)
    if choices:
        _choices(axes, x, y, choices if trusted else choices[:1], scale, trusted)
    _titles(axes, curve, choices, LETTERS.get(columns, 46))
    if not (trusted and decided):
        _reason(axes, curve, choices)
    style.grid(axes, "y")
    axes.tick_params(labelsize=7, length=2.5, pad=2)


def _limits(axes: Axes, curve: pd.DataFrame, choices: list[Mapping[str, Any]], scale: float) -> None:
    """Latency from the data, not from zero: what counts are steps of some per cent."""
    y = curve["latency_ms"].to_numpy(dtype=float) * scale
    ends = [y.min(), y.max(), *(c["latency_from_ms"] * (1 + (c["tolerance"] or 0)) * scale for c in choices)]
    pad = max(0.12 * (max(ends) - min(ends)), 0.01 * max(ends))
    boxed = not known(curve) or bool(_open(choices))
    room = 0.4 * (max(ends) - min(ends) + 2 * pad) if boxed else 0.0  # for the reason
    axes.set_ylim(min(ends) - pad, max(ends) + pad + room)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    last = max([float(curve["width"].max()), *(float(c.get("full_width") or 0) for c in choices)])
    first = min([float(curve["width"].min()), *(float(c["width_from"]) for c in choices)])
    axes.set_xlim(first - 0.04 * (last - first) - 0.5, last + 0.04 * (last - first) + 0.5)
    axes.xaxis.set_major_locator(
        MaxNLocator(6, integer=True, steps=[1, 2, 4, 8, 10] if last < 40 else [1, 2, 4, 8])
    )


def _choices(
    axes: Axes, x: np.ndarray, y: np.ndarray, choices: list[Mapping[str, Any]], scale: float, trusted: bool
) -> None:
    """The pruned width and, where the curve is trusted, the tolerance band and the chosen widths."""
    first = choices[0]
    pruned, level = float(first["width_from"]), float(first["latency_from_ms"]) * scale
    axes.axvline(pruned, color=style.INK, lw=PRUNED[3], ls=PRUNED[2], zorder=1.5)
    axes.plot([pruned], [level], ls="none", zorder=5, **ring_marker(PRUNED, style.INK))
    if not trusted:
        return
    if first["tolerance"]:
        right, top = axes.get_xlim()[1], level * (1 + float(first["tolerance"]))
        axes.fill_between([pruned, right], level, top, color="#E69F00", alpha=0.35, lw=0, zorder=1)
        axes.plot([pruned, right], [top, top], color="#9a6a00", lw=0.6, zorder=1)
    for choice in choices:
        look = chosen_look(choice["method"], choice.get("number", 0))
        colour = style.look(choice["method"]).colour
        at = float(choice["width_to"])
        axes.axvline(at, color=colour, lw=look[3], ls=look[2], zorder=1.6)
        axes.plot([at], [np.interp(at, x, y)], ls="none", zorder=6, **ring_marker(look, colour))


def _titles(axes: Axes, curve: pd.DataFrame, choices: list[Mapping[str, Any]], letters: int) -> None:
    """Group and what became of its width, and the neighbours' widths below."""
    axes.set_title(str(curve["group"].iloc[0]), loc="left", fontsize=8.5, fontweight="bold", pad=13)
    if choices:
        pruned = int(choices[0]["width_from"])
        chosen = list(dict.fromkeys(int(choice["width_to"]) for choice in choices))
        ends = ", ".join(map(str, chosen))
        moves = f"{pruned} kept" if chosen == [pruned] else f"{pruned} \N{RIGHTWARDS ARROW} {ends}"
        axes.set_title(moves, loc="right", fontsize=8, pad=13)
    axes.annotate(
        neighbours(curve["neighbour_widths"].iloc[0], letters),
        xy=(0, 1),
        xytext=(0, 3.5),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=6.8,
        color=style.GREY,
        va="bottom",
    )


def neighbours(widths: str, limit: int = 46) -> str:
    """Neighbours' widths in few words: `in 64 / out 96`; as many as fit in `limit` characters, then how many more."""
    content = json.loads(widths)
    if not content:
        return "no neighbours of variable width"
    words = [f"{name} {width}" for name, width in content.items()]
    shown = len(words)
    while shown > 1 and len(" / ".join(words[:shown])) > limit:
        shown -= 1
    more = f" / +{len(words) - shown} more" if shown < len(words) else ""
    return " / ".join(words[:shown]) + more


def _reason(axes: Axes, curve: pd.DataFrame, choices: list[Mapping[str, Any]]) -> None:
    reasons = [choice["reason"] for choice in _open(choices) if choice.get("reason")]
    reasons += list(curve["reason"].dropna()) if "reason" in curve.columns else []
    text = f"undecided: {reasons[0]}" if reasons else "undecided"
    lines = textwrap.wrap(text, 34, max_lines=3, placeholder=" ...")
    axes.text(
        0.03,
        0.95,
        "\n".join(lines),
        transform=axes.transAxes,
        fontsize=6.5,
        va="top",
        zorder=8,
        bbox={"boxstyle": "square,pad=0.15", "fc": "white", "ec": style.PALE, "lw": 0.5, "alpha": 0.9},
    )


def _subtitle(
    table: pd.DataFrame, curves: list[pd.DataFrame], choices: list[Mapping[str, Any]], note: str
) -> str:
    if choices:
        decided = sum(not _open(_own(choices, curve)) for curve in curves)
        parts = [f"{decided} of {counted(len(curves), 'curve')} decided"]
    else:
        within = sum(bool(curve["trusted"].all()) for curve in curves)
        parts = [f"{within} of {counted(len(curves), 'curve')} known to within their tolerance"]
    if "residual_p95" in table.columns and table["residual_p95"].notna().any():
        parts.append(f"residual p95 {table['residual_p95'].median() * 100:.1f} % (median of curves)")
    tolerances = sorted(
        {round(float(choice["tolerance"]) * 100, 1) for choice in choices if choice["tolerance"]}
    )
    if tolerances:
        ends = f"{tolerances[0]:g}" if len(tolerances) == 1 else f"{tolerances[0]:g} to {tolerances[-1]:g}"
        parts.append(f"tolerance {ends} %")
    parts.append("vertical axes do not start at zero")
    return f"{note}\n{'; '.join(parts)}" if note else "; ".join(parts)
