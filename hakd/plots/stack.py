"""Across the stack: threads, time, memory and bytes, each beside the accuracy that it buys. Only what a study holds.

The axes are those of the characterisation of CNNs across the stack (arXiv 1809.07196, section V): accuracy, inference
time and memory at run time, for ways of compressing and numbers of threads.
"""

import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hakd.analysis.series import chosen_there, several_budgets
from hakd.analysis.stack import at_accuracy
from hakd.analysis.summary import aggregate, pareto_front
from hakd.plots import style
from hakd.plots.axes import accuracy_axis, at_the_edge, cost_axis

MIB, KB = 2**-20, 1e-3
_PANELS = 6  # levels on a page of speed-ups
_METHODS = 14  # bars of a panel
# Column, factor from its unit to the axis', and the axis' label.
_COSTS = (
    ("latency_ms", 1.0, "latency (ms)"),
    ("memory_bytes", MIB, "peak memory (MiB)"),
    ("weight_bytes", MIB, "weights in memory (MiB)"),
    ("size_bytes", KB, "file size (kB)"),
    ("energy_mj", 1.0, "energy (mJ)"),
)
_FRONTS = ("latency_ms", "memory_bytes", "size_bytes", "energy_mj")
_LINE = ["method", "budget", "recipe", "loss", "target_device"]

Page = Callable[[], Figure]


def stack_figure(
    frame: pd.DataFrame, speedups: pd.DataFrame, accuracy: float, path: str | os.PathLike
) -> None:
    """Write the pages: speed-up over threads, costs at one accuracy, accuracy over compression, fronts of each cost.

    Args:
        frame: a `summary` table.
        speedups: of it, by `hakd.analysis.stack.speedups`; without rows there is no page of threads.
        accuracy: on the validation split, of the page of costs.
        path: the PDF to write.
    """
    averages = _averages(frame)
    pages: list[Page] = []
    for (network, board), rows in speedups.groupby(["network", "board"], sort=True):
        pages += _thread_pages(str(network), str(board), rows)
    reached, missed = at_accuracy(frame, accuracy)
    for network, rows in averages.groupby("network", sort=True):
        own = reached[reached["network"] == network]
        lacking = {device: names for (name, device), names in missed.items() if name == network}
        pages.append(partial(_equal_accuracy, str(network), own, lacking, accuracy))
        pages.append(partial(_compression, str(network), rows))
    for (network, device), rows in averages.groupby(["network", "device"], sort=True):
        pages.append(partial(_fronts, f"{network} on {device}", rows.reset_index(drop=True)))
    style.save_pages(path, pages, "Across the stack")


def _averages(frame: pd.DataFrame) -> pd.DataFrame:
    """`aggregate`, with the ends of the accuracy's bars; networks chosen for another device left out."""
    averages = aggregate(frame)
    few = averages["seeds"] < 3
    averages["bar_low"] = averages["accuracy_low"].where(~few, averages["accuracy_min"]).clip(0, 1)
    averages["bar_high"] = averages["accuracy_high"].where(~few, averages["accuracy_max"]).clip(0, 1)
    return averages[chosen_there(averages)].assign(budget=several_budgets(averages))


def _base(series: str) -> str:
    """The method of a series' name: `joint@round16` is of `joint`, `fleet pis` of `fleet`."""
    return series.partition("@")[0].partition(" ")[0]


def _thread_pages(network: str, board: str, rows: pd.DataFrame) -> list[Page]:
    teacher = rows[rows["method"] == "teacher"]
    others = rows[~rows["method"].isin(["teacher", "deep_compression"])]
    levels: list[Any] = sorted(others["level"].unique(), reverse=True) or sorted(teacher["level"].unique())
    pages: list[Page] = []
    for start in range(0, len(levels), _PANELS):
        shown = levels[start : start + _PANELS]
        pages.append(
            partial(_threads, f"Speed-up over threads: {network} on {board}", others, teacher, shown)
        )
    return pages


def _threads(title: str, rows: pd.DataFrame, teacher: pd.DataFrame, levels: Sequence[float]) -> Figure:
    """A panel per level: speed-up of each method's networks over the number of threads."""
    figure = style.page()
    subtitle = (
        "Latency with the fewest threads over latency with more, of the network that each method has at a level. "
        "Dashed: as many times as fast as there are threads.\nMethods that look at the device may choose other widths "
        "for each number of threads (`same_network` in speedup.csv). Deep Compression runs at the teacher's widths"
    )
    style.heading(figure, title, subtitle)
    threads = sorted({*rows["threads"], *teacher["threads"]})
    fastest = float(pd.concat([rows["speedup"], teacher["speedup"]]).max())
    names = list(dict.fromkeys([*teacher["method"], *rows["method"]]))
    grid = figure.add_gridspec(
        *((1, len(levels)) if len(levels) < 4 else (2, (len(levels) + 1) // 2)),
        left=0.06, right=0.97, top=0.83, bottom=0.15, hspace=0.35,
    )  # fmt: skip
    for number, level in enumerate(levels):
        axes = figure.add_subplot(grid[divmod(number, grid.ncols)])
        style.grid(axes)
        ideal = np.array(threads) / threads[0]
        axes.plot(threads, ideal, color=style.GREY, lw=0.9, ls=(0, (5, 3)))
        own = rows[rows["level"] == level]
        for name, part in pd.concat([teacher, own]).groupby("method", sort=False):
            mark = style.marker(_base(str(name)), "distilled", 5.5) | {"linestyle": "solid"}
            seaborn.lineplot(part, x="threads", y="speedup", ax=axes, legend=False, errorbar=None, **mark)
        axes.set(title=f"level {level:g}", xlabel="threads", ylabel="speed-up")
        axes.set_xticks(threads)
        axes.set_ylim(0, max(1.2, 1.12 * fastest))
    _legend(figure, names, 0.05)
    return figure


def _equal_accuracy(
    network: str, rows: pd.DataFrame, missed: Mapping[str, Sequence[str]], accuracy: float
) -> Figure:
    """Grouped bars: what the fastest network of each method that reaches an accuracy costs, by device."""
    figure = style.page()
    lacking = "; ".join(f"{device}: {', '.join(names)}" for device, names in missed.items() if names)
    subtitle = (
        f"The fastest network of each method whose validation accuracy is at least {100 * accuracy:g} % "
        "(mean over seeds; `stack.accuracy`), at any level and recipe.\n"
        "Lower is better; peak memory is the resident set beyond the empty engine"
    )
    style.heading(figure, f"{network} at equal accuracy", subtitle)
    note = textwrap.fill(
        f"Not reached on {lacking}" if lacking else "Every method reaches it", 200, max_lines=3
    )
    figure.text(0.05, 0.02, note, fontsize=7, color=style.GREY, va="bottom", ha="left")
    if rows.empty:
        figure.text(0.05, 0.8, "No network reaches this accuracy. Lower `stack.accuracy`.")
        return figure
    shown = _known(rows)
    order = list(dict.fromkeys(rows["method"]))[:_METHODS]
    devices = sorted(rows["device"].unique())
    colours = dict(zip(devices, seaborn.color_palette("colorblind", len(devices)), strict=True))
    grid = figure.add_gridspec(1, len(shown), left=0.13, right=0.97, top=0.83, bottom=0.17, wspace=0.12)
    for number, (column, factor, label) in enumerate(shown):
        axes = figure.add_subplot(grid[number])
        style.grid(axes, "x")
        data = rows.assign(value=rows[column].astype(float) * factor)
        seaborn.barplot(
            data, x="value", y="method", hue="device", order=order, hue_order=devices, palette=colours, ax=axes,
            saturation=1, legend=False,
        )  # fmt: skip
        axes.set(xlabel=label, ylabel="")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(axis="y", length=0, labelleft=number == 0)
        for bars in axes.containers:
            axes.bar_label(bars, fmt=lambda value: style.plain(value) if value else "", fontsize=6, padding=2)  # type: ignore[arg-type]
        axes.margins(x=0.18)
    handles = [Line2D([], [], marker="s", ls="none", ms=7, color=colours[one], label=one) for one in devices]
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.5, 0.09), ncols=len(handles), frameon=False
    )
    return figure


def _compression(network: str, rows: pd.DataFrame) -> Figure:
    """Accuracy over the share of weights that are gone, and over how many times smaller the file is."""
    figure = style.page()
    subtitle = (
        "Left: the share of the largest network's parameters that are pruned or zero. Right: the size of the largest "
        "file over that of this one.\nMeans over seeds with their 95 % interval (of two seeds the range); lines join "
        "the levels of one method, recipe and loss"
    )
    style.heading(figure, f"{network}: accuracy over compression", subtitle)
    once = rows.drop_duplicates([*_LINE, "level"])
    once = once.assign(
        sparsity=100 * (1 - once["nonzero_params"] / once["params"].max()),
        rate=once["size_bytes"].max() / once["size_bytes"],
    )
    grid = figure.add_gridspec(1, 2, left=0.06, right=0.97, top=0.84, bottom=0.15, wspace=0.15)
    labels = {"sparsity": "weights pruned or zero (%)", "rate": "compression rate (times smaller)"}
    for number, (column, label) in enumerate(labels.items()):
        axes = figure.add_subplot(grid[number])
        _points(axes, once, column, 1.0)
        if column == "rate":
            cost_axis(axes, once[column].to_numpy(dtype=float), label)
        else:
            axes.set_xlabel(label)
    _legend(figure, _methods(once), 0.05)
    return figure


def _fronts(title: str, rows: pd.DataFrame) -> Figure:
    """Accuracy against each cost, with the front of each."""
    figure = style.page()
    shown = [one for one in _known(rows) if one[0] in _FRONTS]
    subtitle = (
        "Test accuracy against each cost; the step line is the Pareto front. Means over seeds with their 95 % interval "
        "(of two seeds the range).\nHypervolumes, with their intervals, are in hypervolume.csv"
    )
    style.heading(figure, f"Fronts of {title}", subtitle)
    grid = figure.add_gridspec(1, len(shown), left=0.06, right=0.97, top=0.84, bottom=0.15, wspace=0.2)
    for number, (column, factor, label) in enumerate(shown):
        axes = figure.add_subplot(grid[number])
        known = rows[rows[column].notna()].reset_index(drop=True)
        _points(axes, known, column, factor)
        front = known[pareto_front(known, column, "accuracy")].sort_values(column)
        x = front[column].to_numpy(dtype=float) * factor
        cost_axis(axes, known[column].to_numpy(dtype=float) * factor, label)
        x, y = np.append(x, axes.get_xlim()[1]), 100 * front["accuracy"].to_numpy(dtype=float)
        axes.set_ylabel("" if number else axes.get_ylabel())
        axes.step(x, np.append(y, y[-1]), where="post", color=style.INK, lw=1.5, alpha=0.55, zorder=1)
    _legend(figure, _methods(rows), 0.05)
    return figure


def _points(axes: Axes, rows: pd.DataFrame, column: str, factor: float) -> None:
    """Averages with their bars, their levels joined, on an axis of accuracy."""
    style.grid(axes)
    floor = accuracy_axis(axes, rows)
    for key, part in rows.groupby(_LINE, dropna=False, sort=False):
        part = part.sort_values("level")
        x, y = part[column].to_numpy(dtype=float) * factor, 100 * part["accuracy"].to_numpy(dtype=float)
        low, high = (100 * part[name].to_numpy(dtype=float) for name in ("bar_low", "bar_high"))
        method, kind = str(key[0]), style.kind_of(str(key[2]), str(key[3]))
        colour = style.look(method).colour
        below, shown = at_the_edge(axes, x, y, floor)
        axes.plot(x[~below], y[~below], color=colour, lw=0.7, ls=(0, (1, 1.5)), zorder=2)
        bars = x, np.where(below, y, np.fmin(low, y)), np.where(below, y, np.fmax(high, y))
        axes.vlines(*bars, color=colour, lw=0.7, alpha=0.7, zorder=2)
        axes.plot(x, shown, zorder=3, **style.marker(method, kind, 5.5))
        for i in np.flatnonzero(below):
            value = f"{y[i]:.1f} %"
            axes.annotate(
                value, (x[i], shown[i]), (0, 5), textcoords="offset points", fontsize=6, ha="center"
            )
    axes.set_ylabel("test accuracy (%)")


def _known(rows: pd.DataFrame) -> list[tuple[str, float, str]]:
    """The costs that were measured for some rows."""
    return [one for one in _COSTS if one[0] in rows and rows[one[0]].notna().any()]


def _methods(rows: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(map(str, rows["method"])))


def _legend(figure: Figure, names: Sequence[str], y: float) -> None:
    """Colours and shapes of the methods, in rows of eight."""
    handles = [Line2D([], [], label=name, **style.marker(_base(name), "distilled", 6.5)) for name in names]
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.5, y), ncols=min(8, max(1, len(handles))), frameon=False,
        fontsize=7.5,
    )  # fmt: skip
