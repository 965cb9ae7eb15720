"""Legends of the figures, and the looks of pruned and chosen widths."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hakd.analysis.series import series_name
from hakd.plots import style
from hakd.plots.steps import step_handles
from hakd.records.budgets import choice_key

# Concentric, so that all are seen where they fall together: size in points, line style, line width.
Ring = tuple[Any, float, Any, float]
PRUNED: Ring = ("o", 9.0, (0, (4, 2)), 0.9)
CHOSEN: dict[str, Ring] = {
    "hakd": ("s", 6.0, "solid", 1.1),
    "hakd_free": ("D", 4.0, (0, (1, 1)), 1.1),
    "joint": ("^", 7.5, (0, (5, 1, 1, 1)), 1.1),
}
UNCHANGED = "#8a8a8a"


def chosen_look(method: str, number: int = 0) -> Ring:
    """Marker, its size, line style and line width of a chosen width; wider for each further budget of a method."""
    ring = CHOSEN.get(method, (style.look(method).marker, 5.0, (0, (3, 1, 1, 1)), 1.0))
    return (ring[0], ring[1] + 2.5 * number, *ring[2:])


def with_series(choices: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Choices with their `series` (the method, with its budget where it has several) and the budget's `number`."""
    budgets: dict[str, list[str | None]] = {}
    for choice in choices:
        own = budgets.setdefault(choice["method"], [])
        if choice.get("budget") not in own:
            own.append(choice.get("budget"))
    found: list[Mapping[str, Any]] = []
    for choice in choices:
        method, budget = choice["method"], choice.get("budget")
        series = choice_key(method, budget, len(budgets[method]) > 1)
        found.append({**choice, "series": series, "number": budgets[method].index(budget)})
    return found


def ring_marker(look: Ring, colour: str) -> dict[str, Any]:
    """The marker of a pruned or chosen width, through which the curve is seen."""
    edge = 1.1 if look is PRUNED else 1.4
    return {"marker": look[0], "ms": look[1], "mfc": "none", "mec": colour, "mew": edge}


def _legend(figure: Figure, handles: list[Any], y: float) -> None:
    """One row of entries across the page."""
    figure.legend(
        handles=handles,
        loc="center",
        bbox_to_anchor=(0.5, y),
        ncols=len(handles),
        frameon=False,
        fontsize=7.5,
    )


def pareto_legend(figure: Figure, page: pd.DataFrame, y: float) -> None:
    """What fills and lines mean; colours and shapes are explained by the key, row by row."""
    shared: dict[str, Any] = {
        "color": style.INK,
        "markersize": 6.5,
        "markerfacecoloralt": "white",
        "linestyle": "none",
    }
    handles = []
    shown = set(map(style.kind_of, page["recipe"], page["loss"]))
    for fill in dict.fromkeys(style.RECIPE_FILLS.values()):
        recipes = [kind for kind, of_kind in style.RECIPE_FILLS.items() if of_kind == fill and kind in shown]
        if recipes:
            face: Any = "white" if fill == "none" else style.INK
            label = ", ".join(recipes)
            handles.append(
                Line2D([], [], marker="o", fillstyle=fill, markerfacecolor=face, label=label, **shared)
            )
    handles.append(Line2D([], [], color=style.INK, lw=1.5, alpha=0.55, label="Pareto front"))
    handles.append(
        Line2D([], [], color=style.GREY, lw=0.9, ls=(0, (1, 1.5)), label="levels of one method and recipe")
    )
    if (page["method"] == "teacher").any():
        handles.append(Line2D([], [], color=style.INK, lw=0.7, ls=(0, (6, 3)), label="teacher's accuracy"))
    _legend(figure, handles, y)


def methods_legend(figure: Figure, page: pd.DataFrame) -> None:
    """Colours and shapes, for a page whose key is on the next one."""
    series = page[["method", "target_device", "budget"]].drop_duplicates().itertuples(index=False)
    named = {series_name(*one): one.method for one in series}
    handles = [
        Line2D([], [], label=name, **style.marker(method, "distilled", 6.5)) for name, method in named.items()
    ]
    _legend(figure, handles, 0.045)
    figure.text(0.05, 0.012, "The numbers are explained on the next page.", fontsize=7, color=style.GREY)


def staircase_legend(
    figure: Figure,
    series: Mapping[str, tuple[str, int]],
    pruned: bool,
    untrusted: bool,
    marks: Set[str] = frozenset(),
) -> None:
    """What is on a page: {series: (method, number)} that chose there (`with_series`), and whether a pruned width,
    unknown noise and steps are shown.
    """
    blue = style.METHOD_LOOKS["fisher"].colour
    handles: list[Any] = [_curve(blue, "measured width, 95 % interval over processes")]
    if pruned:
        handles.append(_ringed(PRUNED, style.INK, "pruned width"))
    known = list(style.METHOD_LOOKS)
    for name, (method, number) in sorted(
        series.items(), key=lambda one: (known.index(one[1][0]) if one[1][0] in known else len(known), one[1])
    ):
        handles.append(_ringed(chosen_look(method, number), style.look(method).colour, f"chosen: {name}"))
    if series:
        handles.append(Patch(fc="#E69F00", alpha=0.35, label="tolerance band of the pruned width"))
    handles += step_handles(marks)
    if untrusted:
        handles.append(_curve(UNCHANGED, "noise unknown: width kept" if pruned else "noise unknown"))
    _legend(figure, handles, 0.028)


def _curve(colour: str, label: str) -> Line2D:
    """The entry of a measured curve."""
    return Line2D([], [], color=colour, marker=".", lw=0.6, ms=4, label=label)


def _ringed(look: Ring, colour: str, label: str) -> Line2D:
    """The entry of a width with its own line, ringed where it meets the curve."""
    return Line2D([], [], color=colour, lw=look[3], ls=look[2], label=label, **ring_marker(look, colour))
