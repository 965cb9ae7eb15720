"""Limits, scales and ticks chosen from the data."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from hakd.plots.style import INK, plain


def accuracy_axis(axes: Axes, page: pd.DataFrame) -> float:
    """Set the accuracy limits in per cent; return the floor below which candidates are shown at the edge.

    A few candidates far below the rest (at most a quarter, under a gap wider than half the range) would
    squeeze all others into a line: they are drawn at the lower edge with their value. Error bars widen the
    axis, but never to more than 2.5 times what the points need; longer ones run off it.
    """
    mean = np.sort(page["accuracy"].to_numpy(dtype=float) * 100)
    core = mean[_first_of_core(mean) :]
    span = max(core[-1] - core[0], 0.5)
    shown = page[page["accuracy"] * 100 >= core[0]]
    low = np.nanmin([core[0], *shown["bar_low"] * 100])
    high = np.nanmax([core[-1], *shown["bar_high"] * 100])
    low, high = max(low, core[0] - 0.75 * span), min(high, core[-1] + 0.75 * span)
    pad = 0.07 * (high - low)
    outside = len(core) < len(mean)
    axes.set_ylim(low - pad * (2 if outside else 1), min(high + pad, 100 + pad / 2))
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
    return float(core[0])


def at_the_edge(axes: Axes, x: np.ndarray, y: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Which points lie below the floor, and the height to draw each at: those stand at the edge, with an arrow."""
    below = y < floor
    bottom, top = axes.get_ylim()
    shown = np.where(below, bottom + 0.06 * (top - bottom), y)
    for i in np.flatnonzero(below):
        arrow = {"arrowstyle": "-|>", "lw": 0.8, "color": INK}
        axes.annotate("", (x[i], bottom), (x[i], shown[i]), arrowprops=arrow)
    return below, shown


def _first_of_core(ordered: np.ndarray) -> int:
    """Index of the first value that is not a far outlier below."""
    if len(ordered) < 5:
        return 0
    gaps = np.diff(ordered[: len(ordered) // 4 + 1])
    if not len(gaps):
        return 0
    widest = int(np.argmax(gaps))
    return widest + 1 if gaps[widest] > 0.5 * (ordered[-1] - ordered[0]) else 0


def cost_axis(axes: Axes, values: np.ndarray, label: str) -> None:
    """Logarithmic where values span more than a factor of three, with plain numbers at the ticks."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if high / low > 3:
        pad = (high / low) ** 0.05
        low, high = low / pad, high * pad
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(_log_ticks(low, high)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        label += ", log scale"
    else:
        pad = max(0.06 * (high - low), 0.02 * high)
        low, high = low - pad, high + pad
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value, 4)))
    axes.set_xlim(low, high)
    axes.set_xlabel(label)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between the limits: as many per decade as give five ticks or so."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(ticks) >= 5:
            break
    return ticks
