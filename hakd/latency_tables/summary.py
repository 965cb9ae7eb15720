"""A latency table in words: what each curve shows, and how well it is known."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import pandas as pd

from hakd.latency_tables.files import all_curves
from hakd.records.text import counted
from hakd.staircase.curve import Curve
from hakd.staircase.features import describe
from hakd.staircase.inversions import in_words, inversions

FURTHER = (
    "  undecided curves are named below: run the same command again for further looks (up to 12 in all), raise "
    "`processes`, or stop other programs on the device"
)
SHOWN = 6  # changes of a curve in the summary


def summary(frame: pd.DataFrame, metadata: Mapping[str, Any]) -> list[str]:
    """What the curves show, a line per group and level, and how well it is known."""
    engine = f"{metadata['engine']} {metadata['engine_version']}"
    known, curves = metadata["curves_decided"], metadata["curves"]
    place = f"{frame['network'].iloc[0]} on {metadata['device']} ({engine})"
    decided = f"{known} of {counted(curves, 'curve')} decided"
    lines = [f"{place}: {counted(len(frame), 'point')}, {decided}, {metadata['seconds']:.0f} s"]
    if known < curves:
        lines.append(FURTHER)
    for level, curves_there in groupby(all_curves(frame), key=lambda curve: curve.level):
        by_group = {curve.group: curve for curve in curves_there}
        wide = max(map(len, by_group))
        lines.append(f"level {level:g}: latency over the width of each group")
        lines += [f"  {group:<{wide}}  {_about(curve)}" for group, curve in by_group.items()]
    lines += [f"  {key} failed: {reason}" for key, reason in metadata["failures"].items()]
    return lines


def _about(curve: Curve) -> str:
    """A curve in one line: range, features, noise."""
    first, last = curve.widths[0], curve.widths[-1]
    text = (
        f"{counted(len(curve.widths), 'width')}, {_time(curve.latency_ms[0])} at {first},"
        f" {_time(curve.latency_ms[-1])} at {last}: {describe(curve).words(SHOWN)}"
    )
    inverted = in_words(inversions(curve))
    return "; ".join(part for part in (text, inverted, curve.reason) if part)


def _time(latency_ms: float) -> str:
    return f"{latency_ms:.2f} ms" if latency_ms >= 1 else f"{latency_ms * 1e3:.1f} us"
