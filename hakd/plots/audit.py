"""How far the predictions of a device are to be trusted: a page of predicted against measured, before and after."""

import os
import textwrap
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hakd.plots import style
from hakd.plots.axes import cost_axis

COLUMNS = (
    "arch",
    "candidates",
    "tiles",
    "sum_ms",
    "one_overhead_ms",
    "seams_ms",
    "predicted_ms",
    "measured_ms",
    "ratio_before",
    "ratio_after",
)
_STAGES = {
    "sum_ms": "sum of tiles",
    "one_overhead_ms": "sum minus one overhead per tile",
    "seams_ms": "sum minus what seams save",
    "predicted_ms": "the same, corrected if biased",
}
_BAND = 0.05


def audit_table(audit: Mapping[str, Any]) -> pd.DataFrame:
    """A row per architecture of a benchmark's `audit`, with the ratios predicted / measured before and after."""
    frame = pd.DataFrame(list(audit.get("archs", ())), columns=list(COLUMNS[:-2]))
    frame["candidates"] = ["; ".join(names) for names in frame["candidates"]]
    frame["ratio_before"] = frame["sum_ms"] / frame["measured_ms"]
    frame["ratio_after"] = frame["predicted_ms"] / frame["measured_ms"]
    return frame


def audit_figure(benchmark: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write the page of one device: ratios over latency at the left, what they add up to at the right.

    Args:
        benchmark: what `hakd.evaluation.benchmark` made.
        path: the PDF to write.
    """
    style.save_pages(path, [partial(_page, benchmark)], "Predicted against measured latency")


def _page(benchmark: Mapping[str, Any]) -> Figure:
    device, audit = benchmark["device"], benchmark["audit"]
    figure = style.page()
    threads = f"{device['threads']} thread" + ("s" if device["threads"] != 1 else "")
    title = f"Predicted against measured latency on {device['name']}"
    trust = textwrap.shorten(str(benchmark["trust"]), 120, placeholder=" ...")
    style.heading(figure, title, f"{device['engine']}, {threads}; {trust}")
    if not audit:
        figure.text(0.05, 0.8, "No network could be timed with all its tiles: nothing to compare.")
        return figure
    _ratios(figure.add_axes((0.062, 0.11, 0.5, 0.75)), audit_table(audit))
    figure.text(0.60, 0.86, _words(audit), va="top", fontsize=8, linespacing=1.6)
    return figure


def _ratios(axes: Axes, frame: pd.DataFrame) -> None:
    """Ratio of each architecture, the plain sum's and the corrected one's joined by a line."""
    x = frame["measured_ms"].to_numpy(dtype=float)
    before, after = (frame[name].to_numpy(dtype=float) for name in ("ratio_before", "ratio_after"))
    style.grid(axes)
    axes.axhspan(1 - _BAND, 1 + _BAND, color=style.PALE, alpha=0.35, linewidth=0)
    axes.axhline(1, color=style.INK, linewidth=0.7)
    axes.vlines(x, np.minimum(before, after), np.maximum(before, after), color=style.PALE, linewidth=0.7)
    axes.plot(x, before, "o", color=style.GREY, fillstyle="none", markersize=5, label=_STAGES["sum_ms"])
    axes.plot(x, after, "o", color="#0072B2", markersize=5, label="predicted (leave-one-out)")
    cost_axis(axes, x, "measured latency of one image (ms)")
    axes.set_ylabel("predicted / measured; grey: within 5 %")
    axes.legend(loc="best", frameon=False)


def _words(audit: Mapping[str, Any]) -> str:
    """What the audit found, in lines."""
    lines = []
    for size, about in (("all", "All networks"), ("large", "Networks of at least 0.2 ms")):
        lines.append(about)
        for stage, name in _STAGES.items():
            one = audit["quality"][stage][size]
            lines.append(f"    {name}: " + ("none" if one is None else _quality(one)))
        lines.append("")
    overhead, found = audit["overhead"], audit["correction"]
    if overhead["seams"]:
        low, middle, high = (overhead[f"{name}_ms"] * 1e3 for name in ("lowest", "median", "highest"))
        lines.append(f"Overhead: a seam saves {middle:.1f} µs (median of {overhead['seams']};")
        lines.append(f"    {low:.1f} to {high:.1f})")
    lines.append(f"As one overhead per tile: {overhead['one_per_tile_ms'] * 1e3:.1f} µs")
    paces = ", ".join(f"{pace:.3f}" for pace in audit["paces"])
    lines.append(f"Pace of the machine, networks / parts: {paces}")
    lines += ["", f"Median of predicted / measured, seams saved: {found['ratio']:.3f}", _verdict(found)]
    return "\n".join(lines)


def _quality(one: Mapping[str, Any]) -> str:
    ends = f"{one['median']:.2f} ({one['lowest']:.2f} to {one['highest']:.2f})"
    return f"{ends},\n        {one['within_5']:.0%} within 5 %, {one['within_10']:.0%} within 10 % of {one['networks']}"


def _verdict(found: Mapping[str, Any]) -> str:
    """Whether the seams' predictions are biased, and what follows."""
    if found["low"] is None:
        return f"    of {found['networks']}: too few to detect a bias; not corrected"
    interval = f"    95 % interval {found['low']:.3f} to {found['high']:.3f}"
    if not found["biased"]:
        return f"{interval}: no bias; not corrected"
    return f"{interval}: biased;\n    multiplied by {found['factor']:.3f} (each network: by the factor of the others)"
