"""Test accuracy of every training: how far the seeds of a candidate scatter, beside what candidates differ by."""

import os
from collections.abc import Callable
from functools import partial

import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hakd.analysis.series import series_name, several_budgets
from hakd.analysis.spread import student_interval
from hakd.plots import style
from hakd.records.tables import with_late

_LINES = 40  # candidates that fit on a page
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.3, 0.97, 0.86, 0.1  # of the axes, as fractions of the page


def seeds_figure(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a page (or more, where there are many candidates) per network.

    Args:
        frame: a `summary` table. A network that several devices timed counts once.
        path: the PDF to write.
    """
    frame = with_late("summary", frame).drop_duplicates("candidate")
    frame = frame.assign(name=_names(frame), percent=100 * frame["accuracy"])
    pages: list[Callable[[], Figure]] = []
    for network, rows in frame.groupby("network", sort=True):
        means = rows.groupby("name", sort=False)["percent"].mean().sort_values(ascending=False, kind="stable")
        limits = _limits(rows["percent"])
        for start in range(0, len(means), _LINES):
            names = list(means.index[start : start + _LINES])
            page = rows[rows["name"].isin(names)]
            pages.append(partial(_page, f"Seeds of {network}", page, names, limits))
    style.save_pages(path, pages, "Test accuracy of every seed")


def _names(frame: pd.DataFrame) -> list[str]:
    """Method, level, recipe and loss of each row; also the device, where widths were chosen for one of several."""
    several = frame["target_device"].nunique() > 1
    return [
        f"{series_name(row.method, row.target_device, row.budget)} {style.plain(row.level)}, {row.recipe} {row.loss}"
        + (f", {row.target_device}" if several and isinstance(row.target_device, str) else "")
        for row in frame.assign(budget=several_budgets(frame)).itertuples()
    ]


def _limits(percent: pd.Series) -> tuple[float, float]:
    pad = max(0.06 * (percent.max() - percent.min()), 0.2)
    return percent.min() - pad, min(percent.max() + pad, 100 + pad / 4)


def _page(title: str, rows: pd.DataFrame, names: list[str], limits: tuple[float, float]) -> Figure:
    figure = style.page()
    subtitle = (
        "Test accuracy of each training (dots), their mean (line across) and its 95 % Student-t interval over seeds "
        "(bar; the range of two seeds, nothing for one).\nBest mean first. Bars that overlap do not show that two "
        "candidates are equal: differences of paired seeds are in contrasts.pdf"
    )
    style.heading(figure, title, subtitle)
    height = (_TOP - _BOTTOM) * min(1.0, (len(names) + 1) / _LINES)
    axes = figure.add_axes((_LEFT, _TOP - height, _RIGHT - _LEFT, height))
    style.grid(axes)
    colours = {method: style.text_colour(method) for method in rows["method"].unique()}
    common = {"data": rows, "x": "percent", "y": "name", "order": names, "ax": axes}
    seaborn.stripplot(
        **common, hue="method", palette=colours, size=4.5, alpha=0.7, jitter=False, legend=False
    )
    seaborn.pointplot(
        **common, errorbar=_interval, linestyle="none", marker="|", markersize=11, color=style.INK,
        err_kws={"linewidth": 1.0},
    )  # fmt: skip
    axes.set_xlim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
    axes.set(xlabel="test accuracy (%)", ylabel="")
    axes.tick_params(axis="y", length=0, labelsize=7.5)
    return figure


def _interval(values: pd.Series) -> tuple[float, float]:
    """Ends of a candidate's bar."""
    return student_interval(values) if len(values) > 2 else (float(min(values)), float(max(values)))
