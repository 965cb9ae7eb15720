"""Marks of a curve's steps, for staircases that are drawn without choices: where they are, how high, how exact."""

from collections.abc import Set

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hakd.plots import style
from hakd.staircase.curve_rows import curve_of
from hakd.staircase.features import describe
from hakd.staircase.mapping import Change

RISE, FALL = "#D55E00", "#009E73"
LABELS = {1: 10, 2: 6, 3: 4, 4: 3}  # figures in a panel at most, by panels in a row
_NEAR = 0.05  # of the axis where one panel fills the page: labels nearer than this would overlap
_OPEN = (0, (1, 1))


def mark_steps(axes: Axes, rows: pd.DataFrame, scale: float, columns: int) -> set[str]:
    """Draw every change above the tolerance, with its height where there is room; says what was drawn.

    A change between adjacent widths is a solid line where it is; one that was not narrowed down spans its gap, dotted.

    Args:
        axes: with its limits set.
        rows: of one curve.
        scale: of the axis, per millisecond.
        columns: panels in a row, which decides how many figures fit.

    Returns:
        Of `rise`, `fall`, `open`, those that were drawn.
    """
    curve = curve_of(rows)
    features = describe(curve)
    left, right = axes.get_xlim()
    placed: list[float] = []
    drawn: set[str] = set()
    for change in features.largest:
        low, high = curve.at(change.before) * scale, curve.at(change.after) * scale
        colour, dashes = RISE if change.ratio > 1 else FALL, "solid" if change.exact else _OPEN
        drawn |= {"rise" if change.ratio > 1 else "fall"} | (set() if change.exact else {"open"})
        axes.plot(
            [change.before, change.after], [low, high], color=colour, lw=1.5, ls=dashes, zorder=2.8, alpha=0.9
        )
        middle = (change.before + change.after) / 2
        room = all(abs(middle - other) > _NEAR * (right - left) * columns for other in placed)
        if room and len(placed) < LABELS[min(columns, 4)]:
            placed.append(middle)
            _label(axes, change, max(low, high), colour)
    axes.set_title(features.words(), loc="right", fontsize=7.5, pad=13, color=style.GREY)
    return drawn


def _label(axes: Axes, change: Change, top: float, colour: str) -> None:
    between = "\N{RIGHTWARDS ARROW}" if change.exact else "\N{HORIZONTAL ELLIPSIS}"
    words = f"{change.before}{between}{change.after}\n{change.ratio - 1:+.0%}"
    axes.annotate(
        words,
        xy=((change.before + change.after) / 2, top),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=5.8,
        color=colour,
        ha="center",
        va="bottom",
        linespacing=0.95,
        zorder=7,
        bbox={"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none", "alpha": 0.75},
    )


def step_handles(drawn: Set[str]) -> list[Line2D]:
    """Entries of the legend for what `mark_steps` drew."""
    looks = (
        ("rise", RISE, "solid", "step: wider is slower"),
        ("fall", FALL, "solid", "cliff: wider is faster"),
        ("open", style.GREY, _OPEN, "step somewhere in between"),
    )
    return [
        Line2D([], [], color=colour, lw=1.5, ls=dashes, label=words)
        for name, colour, dashes, words in looks
        if name in drawn
    ]
